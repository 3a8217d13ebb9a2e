"""`dfl faceset ...`, `dfl train-mask` and corrections against a fake daemon: what they ask, submit and print."""

import json
import os

import pytest

from dflcore.errors import ResourceExhausted
from dfldaemon.client import DaemonClient
from dflproto.v1 import common_pb2, faceset_service_pb2

LANDMARKS = [[float(index), float(index) + 0.5] for index in range(68)]


@pytest.fixture
def asked(daemon, monkeypatch):
    """Requests that reach the daemon by calls the fake does not answer; corrections are known for frames 3 and 5."""
    requests = []

    def list_faces(self, path, **request):
        requests.append(("list", path, request))
        for frame in range(1, 8):
            face = faceset_service_pb2.Face(name=f"a_{frame}.png", frame=frame, yaw_rad=0.5, origin="detected")
            face.landmarks_px.extend([1.0, 2.0])
            if request.get("sort_by"):
                face.sort_value = frame / 10
            yield face

    def correct_faces(self, request):
        requests.append(("correct", request))
        return sorted({*(one.frame for one in request.corrections), *request.forget_frames})

    def list_corrections(self, path, plate=""):
        requests.append(("corrections", path, plate))
        box = faceset_service_pb2.FaceCorrection(frame=3, box_xyxy_px=(1, 2, 3, 4))
        placed = faceset_service_pb2.FaceCorrection(frame=5, remove=True)
        placed.placement.size_px = 9
        return [box, placed]

    def list_tracks(self, path):
        track = faceset_service_pb2.Track(plate="/p.####.exr", track_id=2, first_frame=1, last_frame=9, face_count=8)
        return [track]

    def describe_curation(self):
        field = faceset_service_pb2.FaceField(name="yaw", unit="deg", help="To the side.")
        sort = faceset_service_pb2.FaceSort(name="blur", help="Sharpest first.", needs_measure=True)
        return faceset_service_pb2.DescribeCurationResponse(fields=[field], sorts=[sort])

    for function in (list_faces, correct_faces, list_corrections, list_tracks, describe_curation):
        monkeypatch.setattr(DaemonClient, function.__name__, function)
    return requests


def events_of(out):
    return [json.loads(line) for line in out.splitlines()]


def submitted(daemon):
    return list(daemon.jobs.values())[-1].spec


def test_listing_asks_for_what_was_meant_and_stops_where_told(dfl, asked, tmp_path):
    code, out, _ = dfl("faceset", "list", "f", "--where", "yaw < 3", "--sort", "blur", "--reverse", "--limit", "2")
    assert code == 0
    assert asked == [
        (
            "list",
            str(tmp_path / "f"),
            {"where": "yaw < 3", "sort_by": "blur", "reverse": True, "view": "", "page_size": 2},
        )
    ]
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[-1] == "blur"
    assert lines[1].split() == ["a_1.png", "1", "29", "0", "0.00000", "detected", "0.1"]
    assert len(dfl("faceset", "list", "f", "--limit", "0")[1].splitlines()) == 8
    code, out, _ = dfl("--json", "faceset", "list", "f", "--view", "best")
    faces = events_of(out)
    assert (code, len(faces), faces[0]["type"], faces[0]["landmarks_px"]) == (0, 7, "face", [1.0, 2.0])
    assert "sort_value" not in faces[0]
    assert asked[-1][2]["view"] == "best"


def test_a_limit_below_nothing_is_a_mistake(dfl, asked):
    code, out, _ = dfl("--json", "faceset", "list", "f", "--limit", "-3")
    assert (code, events_of(out)[0]["reason"]) == (2, "BAD_USAGE")
    assert asked == []


def test_tracks_fields_and_info(dfl, asked, daemon):
    daemon.record.CopyFrom(common_pb2.Authorization(person="Eileen Collins"))
    assert dfl("faceset", "tracks", "f")[1].splitlines()[1].split() == ["2", "1-9", "8", "0", "/p.####.exr"]
    assert events_of(dfl("--json", "faceset", "tracks", "f")[1])[0]["track_id"] == 2
    assert "Sharpest first. *" in dfl("faceset", "fields")[1]
    assert events_of(dfl("--json", "faceset", "fields")[1])[0]["sorts"][0]["needs_measure"] is True
    assert "of Eileen Collins, for any use" in dfl("faceset", "info", "f")[1]
    assert events_of(dfl("--json", "faceset", "info", "f")[1])[0]["type"] == "faceset"


def test_corrections_name_the_plate_as_it_was_extracted(dfl, asked, tmp_path):
    """The daemon knows plates by their whole path; a relative one would be another plate nobody ever extracts."""
    (tmp_path / "c.json").write_text(
        json.dumps([{"frame": 1, "box": [1, 2, 3, 4]}, {"frame": 2, "landmarks": LANDMARKS}])
    )
    code, out, _ = dfl("faceset", "correct", "f", "--plate", "plates/a.####.exr", "--file", "c.json", "--add")
    assert (code, out) == (0, "Frames 1-2: run `dfl extract` on the plate again to act on it.\n")
    (_, request) = asked[-1]
    assert (request.path, request.plate) == (str(tmp_path / "f"), str(tmp_path / "plates/a.####.exr"))
    assert request.add
    assert list(request.corrections[1].landmarks_px[:4]) == [0.0, 0.5, 1.0, 1.5]
    dfl("faceset", "correct", "f", "--plate", "plates/a.####.exr")
    assert asked[-1] == ("corrections", str(tmp_path / "f"), str(tmp_path / "plates/a.####.exr"))
    dfl("faceset", "correct", "f")
    assert asked[-1] == ("corrections", str(tmp_path / "f"), "")


def test_a_long_range_forgets_the_frames_that_have_corrections(dfl, asked):
    code, out, _ = dfl("faceset", "correct", "f", "--forget", "1-9000000")
    assert (code, out.split(":")[0]) == (0, "Frames 3,5")
    assert list(asked[-1][1].forget_frames) == [3, 5]
    code, out, _ = dfl("--json", "faceset", "correct", "f", "--forget", "7-9")
    assert events_of(out) == [{"type": "corrected", "frames": []}]
    assert "nothing was changed" in dfl("faceset", "correct", "f", "--forget", "7-9")[1]
    assert dfl("faceset", "correct", "f")[1].splitlines() == ["frame 3: face, by box", "frame 5: no face, by placement"]


def test_frames_are_forgotten_also_where_there_are_too_many_corrections_to_list(dfl, asked, monkeypatch):
    def too_many(self, path, plate=""):
        raise ResourceExhausted("Too large for one call.", reason="MESSAGE_TOO_LARGE")

    monkeypatch.setattr(DaemonClient, "list_corrections", too_many)
    assert dfl("faceset", "correct", "f", "--forget", "7-9")[0] == 0
    assert list(asked[-1][1].forget_frames) == [7, 8, 9]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"corrections": 3}', "no list of corrections"),
        ("[3]", "Correction 1"),
        ('[{"frame": 1, "box": [1, 2, 3, 4]}, {"frame": "x"}]', "Correction 2"),
        ('[{"frame": 1, "sparkle": 1}]', "sparkle"),
        ('[{"frame": 99999999999999999999, "box": [1, 2, 3, 4]}]', "Correction 1"),
        ('[{"frame": 1, "landmarks": [[1, 2, 3]]}]', "Correction 1"),
        ('[{"frame": 1, "placement": {"size": 3}}]', "Correction 1"),
        ('[{"box": [1, 2, 3, 4]}]', "frame"),
    ],
)
def test_a_file_of_corrections_with_garbage_changes_nothing(dfl, asked, daemon, tmp_path, text, says):
    (tmp_path / "c.json").write_text(text)
    code, _, err = dfl("faceset", "correct", "f", "--file", "c.json")
    assert (code, says in err) == (2, True), err
    code, _, err = dfl("extract", "a.####.exr", "--faceset", "f", "--corrections", "c.json")
    assert (code, says in err) == (2, True), err
    assert asked == []
    assert not daemon.jobs
    assert not (tmp_path / "f").exists()


def test_an_extraction_brings_its_corrections_along(dfl, asked, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    (tmp_path / "c.json").write_text('{"corrections": [{"frame": 1, "box": [1, 2, 3, 4], "remove": true}]}')
    pictures = os.pathsep.join(("her.png", "/b/other.png"))
    assert dfl("extract", "a.####.exr", "--faceset", "f", "--corrections", "c.json", "--keep-person", pictures)[0] == 0
    (_, request) = asked[-1]
    assert (request.path, request.plate) == (str(tmp_path / "f"), str(tmp_path / "a.####.exr"))
    assert request.corrections[0].remove
    wanted = os.pathsep.join((str(tmp_path / "her.png"), "/b/other.png"))
    assert submitted(daemon).extract.settings.keep_person == wanted
    (tmp_path / "file").touch()
    code, _, err = dfl("extract", "a.####.exr", "--faceset", "file/f", "--corrections", "c.json")
    assert (code, "cannot be a folder" in err) == (2, True), err
    code, _, err = dfl("extract", "a.####.exr", "--faceset", "x" * 300, "--corrections", "c.json")
    assert (code, "too long" in err) == (2, True), err


def test_operations_submit_whole_paths_and_only_what_was_given(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id, faces="3")
    code, _, err = dfl("faceset", "coverage", "f", "--target", "../t", "--output", "r.png", "--reach", "7")
    assert (code, "faces: 3" in err) == (0, True)
    curate = submitted(daemon).curate
    assert (curate.faceset_path, curate.other_path, curate.output_path) == (
        str(tmp_path / "f"),
        str(tmp_path.parent / "t"),
        str(tmp_path / "r.png"),
    )
    assert curate.coverage.reach == 7
    assert dfl("faceset", "measure", "f", "--detach", "--quiet")[1].startswith("curate-")
    assert submitted(daemon).curate.WhichOneof("operation") == "measure"
    assert not submitted(daemon).curate.measure.ListFields()
    for missing in (["coverage", "f", "--output", "r.png"], ["change", "f"], ["import-legacy", "f"], ["shrink", "f"]):
        assert dfl("faceset", *missing)[0] == 2


def test_files_among_the_settings_are_the_users(dfl, daemon, tmp_path):
    """The daemon does not know the shell's folder."""
    daemon.on_submit = lambda job: daemon.finish(job.id)
    (tmp_path / "f").mkdir()
    for file in ("her.png", "f/face.png", "face.png", "net.onnx", "meta.dat"):
        (tmp_path / file).touch()

    def reference(text):
        assert dfl("faceset", "sort", "f", "--by", "identity", "--reference", text)[0] == 0
        return submitted(daemon).curate.sort.reference

    assert reference("her.png") == str(tmp_path / "her.png")
    assert reference("sub/her.png") == str(tmp_path / "sub/her.png")
    assert reference("/else/her.png") == "/else/her.png"
    assert reference("face.png") == "face.png", "a face of the set comes first"
    assert reference("nobody.png") == "nobody.png"
    dfl("faceset", "enhance", "f", "--output", "g", "--enhancer", "onnx:net.onnx?range=signed")
    assert submitted(daemon).curate.enhance.enhancer == f"onnx:{tmp_path}/net.onnx?range=signed"
    dfl("faceset", "enhance", "f", "--output", "g", "--enhancer", "onnx:known-name")
    assert submitted(daemon).curate.enhance.enhancer == "onnx:known-name"
    dfl("faceset", "enhance", "f", "--output", "g")
    assert not submitted(daemon).curate.enhance.HasField("enhancer")
    dfl("faceset", "import-legacy", "g", "--from", "old", "--meta-dat", "meta.dat", "--plate", "p/a.####.exr")
    legacy = submitted(daemon).curate.import_legacy
    assert (legacy.meta_dat, legacy.plate) == (str(tmp_path / "meta.dat"), str(tmp_path / "p/a.####.exr"))
    dfl("faceset", "import-mattes", "f", "--from", "m.####.exr", "--plate", "imported")
    assert submitted(daemon).curate.import_mattes.plate == "imported", "a plate that is only a name"


def test_a_segmenter_learns_from_several_facesets(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    assert dfl("train-mask", "--faceset", "a", "--faceset", "/b", "--model", "m", "--iterations", "9")[0] == 0
    spec = submitted(daemon).train_mask
    assert list(spec.faceset_paths) == [str(tmp_path / "a"), "/b"]
    assert (spec.model_path, spec.settings.iterations) == (str(tmp_path / "m"), 9)
    assert [field.name for field, _ in spec.settings.ListFields()] == ["iterations"]
    assert dfl("train-mask", "--model", "m")[0] == 2


def test_a_detail_enhancer_learns_from_faces_and_a_face_model(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    words = ("--faceset", "a", "--model", "m", "--face-model", "f", "--minutes", "3")
    assert dfl("train-detail", *words)[0] == 0
    spec = submitted(daemon).train_detail
    assert list(spec.faceset_paths) == [str(tmp_path / "a")]
    assert (spec.model_path, spec.settings.minutes) == (str(tmp_path / "m"), 3.0)
    assert spec.settings.face_model == str(tmp_path / "f")
    assert dfl("train-detail", "--model", "m")[0] == 2
