"""What is done to facesets, through `dfl` and a real daemon: every operation once, and what people do wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.io.faceset import Faceset
from dflcore.io.masks import MaskStore
from dfldaemon.client import DaemonClient, connect, session_endpoint
from dflproto.v1 import faceset_service_pb2, job_service_pb2, settings_pb2
from journey import DFL, Daemon, dfl, json_lines
from legacy_files import face_jpeg, pak_bytes, plain_jpeg, with_payload, write_folder
from tiny_onnx import color_matrix_x2

pytestmark = pytest.mark.slow

FRAMES = (1001, 1002, 1003)
SIZE = 96


@pytest.fixture
def client(running: Daemon) -> Iterator[DaemonClient]:
    with connect(lambda: session_endpoint(running.state_dir)) as connected:
        yield connected


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, hopper: np.ndarray) -> Path:
    """Two people side by side."""
    folder = tmp_path_factory.mktemp("plate")
    crops = astronaut[:300, 90:390], hopper[20:420, 60:460]
    one, two = (cv2.resize(crop, (240, 240), interpolation=cv2.INTER_AREA) for crop in crops)
    for index, frame in enumerate(FRAMES):
        pixels = np.full((270, 540, 3), 90, np.uint8)
        pixels[15:255, 10 + 2 * index : 250 + 2 * index] = one
        pixels[15:255, 280 - index : 520 - index] = two
        assert cv2.imwrite(str(folder / f"duo.{frame}.png"), pixels[..., ::-1])
    assert cv2.imwrite(str(folder / "collins.png"), one[..., ::-1])
    return folder / "duo.####.png"


@pytest.fixture(scope="module")
def extracted(running: Daemon, plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    faces = tmp_path_factory.mktemp("extracted") / "faces"
    dfl("extract", plate, "--faceset", faces, "--aligned-size", str(SIZE), "--authorization-person", "test",
        daemon=running)  # fmt: skip
    return faces


@pytest.fixture
def faces(extracted: Path, tmp_path: Path) -> Path:
    """Six faces to do anything with."""
    return Path(shutil.copytree(extracted, tmp_path / "Gesichter für Zoë 画"))


def run(daemon: Daemon, *arguments: str | Path) -> dict[str, Any]:
    """The last event of a command that must work."""
    return list(json_lines(dfl("--json", *arguments, daemon=daemon).stdout))[-1]


def refused(daemon: Daemon, *arguments: str | Path, code: int, says: str) -> dict[str, Any]:
    """Expect the exit code, and one sentence with the words."""
    result = dfl("--json", *arguments, daemon=daemon, check=False)
    text = result.stdout + result.stderr
    assert result.returncode == code, text
    assert "Traceback" not in text
    last = list(json_lines(result.stdout or result.stderr))[-1]
    assert says in json.dumps(last, ensure_ascii=False), text
    return last


def listed(daemon: Daemon, *arguments: str | Path) -> list[dict[str, Any]]:
    return list(json_lines(dfl("--json", "faceset", "list", *arguments, daemon=daemon).stdout))


def names_of(faceset: Path) -> list[str]:
    with Faceset.open(faceset) as opened:
        return list(opened.names)


def test_looking(running: Daemon, faces: Path, tmp_path: Path) -> None:
    """Nothing that looks writes anything."""
    before = sorted(path.name for path in faces.iterdir())
    info = run(running, "faceset", "info", faces)
    assert (info["type"], info["face_count"], info["face_type"], info["aligned_size_px"]) == (
        "faceset",
        6,
        "full",
        SIZE,
    )
    everything = listed(running, faces)
    assert [face["frame"] for face in everything] == [frame for frame in FRAMES for _ in range(2)]
    assert {"name", "plate", "frame", "box_xyxy_px", "landmarks_px", "yaw_rad", "origin"} <= set(everything[0])
    assert len(listed(running, faces, "--limit", "4")) == 4
    assert len(listed(running, faces, "--limit", "0", "--where", "frame != 1002")) == 4
    backwards = listed(running, faces, "--sort", "face-yaw", "--reverse")
    values = [face["sort_value"] for face in backwards]
    assert values == sorted(values) or values == sorted(values, reverse=True)
    tracks = list(json_lines(dfl("--json", "faceset", "tracks", faces, daemon=running).stdout))
    assert [track["face_count"] for track in tracks] == [3, 3]
    fields = run(running, "faceset", "fields")
    assert {"yaw", "sharpness", "blur"} <= {field["name"] for field in fields["fields"]}
    assert "identity" in {sort["name"] for sort in fields["sorts"]}
    assert dfl("faceset", "list", faces, daemon=running).stdout.count("duo_00100") == 6
    assert dfl("--json", "faceset", "correct", tmp_path, daemon=running).stdout == ""
    assert sorted(path.name for path in faces.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == [faces.name], "looking makes no file"


def test_questions_that_make_no_sense(running: Daemon, faces: Path, tmp_path: Path) -> None:
    listing = ("faceset", "list", faces)
    for where in ("__import__('os')", "yaw.__class__", "yaw < ", "1 +", "((((", "name == 'x'; 1", "yaw < 1e999999"):
        result = dfl("--json", *listing, "--where", where, daemon=running, check=False)
        assert result.returncode in (0, 2), (where, result.stdout)
        assert "Traceback" not in result.stdout + result.stderr
    refused(running, *listing, "--where", "__import__('os')", code=2, says="__import__")
    refused(running, *listing, "--where", "blur > 1", code=2, says="measure")
    refused(running, *listing, "--where", "(" * 5000 + "yaw" + ")" * 5000, code=2, says="filter")
    refused(running, *listing, "--limit", "-1", code=2, says="--limit -1")
    refused(running, *listing, "--sort", "prettiness", code=3, says="prettiness")
    refused(running, *listing, "--view", "../../etc", code=2, says="cannot name a view")
    refused(running, *listing, "--view", "nothing", code=3, says="no view named")
    refused(running, "faceset", "list", tmp_path / "nowhere", code=3, says="nowhere")
    refused(running, "faceset", "info", tmp_path, code=3, says="not a faceset")
    refused(running, "faceset", "correct", faces, "--forget", "9-1", code=2, says="last frame")
    garbage = tmp_path / "garbage.json"
    garbage.write_bytes(b"\xff\xfe\x00" * 100)
    refused(running, "faceset", "correct", faces, "--file", garbage, code=2, says="garbage.json")
    refused(running, "faceset", "correct", faces, "--file", tmp_path / "none.json", code=3, says="none.json")


def test_sorting_filtering_and_the_trash(
    running: Daemon, faces: Path, plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets = tmp_path / "out"
    ended = run(running, "faceset", "sort", faces, "--by", "blur", "--browse", "--output", sheets)
    assert (ended["result"]["faces"], ended["result"]["path"]) == ("6", str(sheets))
    assert (sheets / "sheet_001.png").is_file()
    assert len(list((faces / "views" / "blur browse").iterdir())) == 6
    assert len(names_of(faces)) == 6
    monkeypatch.chdir(plate.parent)  # pictures are named as the user's shell sees them
    run(running, "faceset", "sort", faces, "--by", "identity", "--reference", "collins.png", "--view", "like her")
    nearest = listed(running, faces, "--view", "like her")
    assert all(face["box_xyxy_px"][2] < 270 for face in nearest[:3]), "she stands on the left"
    refused(running, "faceset", "sort", faces, "--by", "identity", "--reference", "nobody.png", code=2,
            says="no face of the set")  # fmt: skip
    trash = ("faceset", "trash", faces)
    refused(running, *trash, "--names", "../faces.png", code=2, says="not the file name")
    assert run(running, *trash, "--where", "frame < 1003 and abs(yaw) < 80")["result"]["faces"] == "4"
    assert len(names_of(faces)) == 2
    assert run(running, "faceset", "restore", faces)["result"]["faces"] == "4"
    assert len(names_of(faces)) == 6
    run(running, *trash, "--names", f"{names_of(faces)[0]}, nobody.png")
    assert run(running, "faceset", "empty-trash", faces)["result"]["faces"] == "1"
    assert len(names_of(faces)) == 5


def test_other_facesets_are_made_of_one(running: Daemon, faces: Path, tmp_path: Path) -> None:
    """Coverage, change, enhance, pack, metadata and names."""
    report = tmp_path / "report.png"
    run(running, "faceset", "coverage", faces, "--target", faces, "--output", report)
    assert report.is_file()
    bigger = tmp_path / "bigger"
    run(running, "faceset", "change", faces, "--output", bigger, "--face-type", "whole", "--aligned-size", "128")
    info = run(running, "faceset", "info", bigger)
    assert (info["face_type"], info["aligned_size_px"], info["face_count"]) == ("whole", 128, 6)
    again = ("faceset", "change", faces, "--aligned-size", "64", "--output")
    refused(running, *again, faces, code=2, says="the faceset itself")
    network = tmp_path / "tiny.onnx"
    network.write_bytes(color_matrix_x2(np.eye(3), np.zeros(3)))
    clear = tmp_path / "clear"
    run(running, "faceset", "enhance", faces, "--output", clear, "--enhancer", f"onnx:{os.path.relpath(network)}")
    assert len(names_of(clear)) == 6
    with Faceset.open(faces) as faceset:
        pictures = {name: faceset.read_image(name) for name in faceset.names}
    run(running, "faceset", "pack", faces)
    assert not list(faces.glob("*.png"))
    assert len(listed(running, faces)) == 6
    pack = next(faces.glob("*.pack"))
    whole = pack.read_bytes()
    pack.write_bytes(whole[: len(whole) // 2])
    refused(running, "faceset", "unpack", faces, code=6, says=pack.name)
    refused(running, "faceset", "list", faces, code=6, says=pack.name)
    pack.write_bytes(whole)
    run(running, "faceset", "unpack", faces)
    with Faceset.open(faces) as faceset:
        assert all(np.array_equal(faceset.read_image(name), picture) for name, picture in pictures.items())
    saved = tmp_path / "saved.json.gz"
    run(running, "faceset", "save-metadata", faces, "--output", saved)
    (faces / "index.sqlite").write_bytes(b"damaged")
    refused(running, "faceset", "list", faces, code=6, says="index.sqlite")
    run(running, "faceset", "restore-metadata", faces, "--from", saved)
    assert len(listed(running, faces)) == 6
    assert run(running, "faceset", "recover-names", faces)["result"]["renamed"] == "0"


def test_the_older_kind_of_faceset(running: Daemon, faces: Path, tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old")
    (old / "00008_0.jpg").write_bytes(with_payload(plain_jpeg(), b"\x80\x03]q\x00(garbage"))
    (old / "00009_0.jpg").write_bytes(face_jpeg(5, frame="00009.png")[:900])
    imported = tmp_path / "imported"
    result = dfl("--json", "faceset", "import-legacy", imported, "--from", old, "--authorization-person", "test",
                 daemon=running)  # fmt: skip
    assert "00008_0.jpg" in result.stdout
    assert len(names_of(imported)) == 3
    packed = tmp_path / "faceset.pak"
    run(running, "faceset", "export-legacy", faces, "--output", packed)
    refused(running, "faceset", "export-legacy", faces, "--output", packed, code=4, says="exists")
    run(running, "faceset", "import-legacy", tmp_path / "again", "--from", packed)
    assert len(names_of(tmp_path / "again")) == 6
    cut = tmp_path / "cut.pak"
    cut.write_bytes(packed.read_bytes()[:4000])
    refused(running, "faceset", "import-legacy", tmp_path / "cut", "--from", cut, code=6, says="cut.pak")
    assert not (tmp_path / "cut").exists()


class Hostile:
    """Pickled, it is a command."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._canary}'",)


@pytest.mark.parametrize("where", ["pak", "jpeg", "meta.dat"])
def test_a_hostile_pickle_runs_nothing(running: Daemon, tmp_path: Path, where: str) -> None:
    canary = tmp_path / "canary"
    hostile = pickle.dumps([Hostile(canary)])
    source, flags = tmp_path / "faceset.pak", tuple[str, ...]()
    if where == "pak":
        source.write_bytes(pak_bytes([("a.jpg", None, face_jpeg())], index=hostile))
    else:
        source = write_folder(tmp_path / "old", 1)
    if where == "jpeg":
        (source / "00001_0.jpg").write_bytes(with_payload(plain_jpeg(), hostile))
    elif where == "meta.dat":
        (source / "meta.dat").write_bytes(hostile)
        flags = ("--meta-dat", str(source / "meta.dat"))
    result = dfl("--json", "faceset", "import-legacy", tmp_path / "f", "--from", source, *flags, daemon=running,
                 check=False)  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode in (2, 6), text
    assert "Traceback" not in text
    assert not canary.exists()
    subprocess.run(["sh", "-c", f"touch '{canary}.proof'"], check=True)  # the command itself would have worked


def polygon(face: str) -> dict[str, Any]:
    points = [[8, 8], [88, 8], [88, 88], [8, 88]]
    shape = {"label": "face", "points": points, "shape_type": "polygon"}
    return {"version": "5", "shapes": [shape], "imagePath": face, "imageHeight": SIZE, "imageWidth": SIZE}


def test_labels_masks_and_a_segmenter(running: Daemon, faces: Path, plate: Path, tmp_path: Path) -> None:
    names = names_of(faces)
    labels, masks, mattes = (tmp_path / name for name in ("labels", "masks", "mattes"))
    for folder in (labels, masks, mattes):
        folder.mkdir()
    for name in [*names[:4], "nobody.png"]:
        (labels / f"{Path(name).stem}.json").write_text(json.dumps(polygon(name)))
    (labels / f"{Path(names[4]).stem}.json").write_text("{")
    output = dfl("--json", "faceset", "import-labels", faces, "--from", labels, daemon=running).stdout
    assert {"FACE_NOT_FOUND", "FILES_REFUSED"} <= {event.get("reason") for event in json_lines(output)}
    assert list(json_lines(output))[-1]["result"]["imported"] == "4"
    for name, size in ((names[0], (40, 40)), (names[1], (50, 40)), ("nobody.png", (40, 40))):
        cv2.imwrite(str(masks / name), np.full(size, 255, np.uint8))
    output = dfl("--json", "faceset", "import-masks", faces, "--from", masks, daemon=running).stdout
    assert "nobody.png" in output
    assert names[1] in output, "a mask that is not square is named"
    for frame in FRAMES:
        cv2.imwrite(str(mattes / f"m.{frame}.png"), np.full((270, 540), 255, np.uint8))
        cv2.imwrite(str(mattes / f"odd.{frame}.png"), np.full((90, 540), 255, np.uint8))
    pattern = ("faceset", "import-mattes", faces, "--plate", os.path.relpath(plate))
    run(running, *pattern, "--from", mattes / "m.####.png")
    refused(running, *pattern, "--from", mattes / "odd.####.png", "--source", "odd", code=2, says="another shape")
    with MaskStore.open(faces) as store:
        assert store.labelled_faces() == sorted(names[:4])
        assert store.faces_with("painted") == [names[0]]
        assert store.faces_with("matte") == sorted(names)
    exported = tmp_path / "exported"
    run(running, "faceset", "export-masks", faces, "--output", exported, "--recipe", "label > matte")
    assert len(list(exported.iterdir())) == 6
    retouched = exported / f"{Path(names[0]).stem}_mask.png"
    retouched.write_bytes(b"hours of work")
    run(running, "faceset", "remove-masks", faces, "--source", "matte")
    with MaskStore.open(faces) as store:
        assert store.faces_with("matte") == []
    run(running, "faceset", "remove-masks", faces, "--source", "matte", "--restore")
    with MaskStore.open(faces) as store:
        assert len(store.faces_with("matte")) == 6
    model = tmp_path / "segmenter"
    small = ("--resolution", "64", "--batch-size", "2", "--iterations", "2", "--no-random-flip")
    run(running, "train-mask", "--faceset", faces, "--model", model, *small)
    run(running, "faceset", "apply-masks", faces, "--model", model)
    with MaskStore.open(faces) as store:
        assert len(store.faces_with("xseg")) == 6
    run(running, "faceset", "remove-masks", faces, "--source", "label")
    refused(running, "train-mask", "--faceset", faces, "--model", tmp_path / "m2", *small, code=2, says="mask")


def test_a_faceset_deleted_while_it_is_measured(running: Daemon, faces: Path, tmp_path: Path) -> None:
    """One sentence, whatever was being done."""
    for name in list(names_of(faces)):
        for copy in range(40):  # enough pictures for the deletion to come between two of them
            os.link(faces / name, faces / f"copy{copy}_{name}")
    for verb in ("measure", "sort"):
        doomed = Path(shutil.copytree(faces, tmp_path / verb))
        arguments = [*DFL, "--json", "faceset", verb, str(doomed)]
        process = subprocess.Popen(
            arguments, env=running.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if '"state": "running"' in line:
                break
        shutil.rmtree(doomed)
        output, errors = process.communicate(timeout=120)
        assert process.returncode in (0, 2, 3, 4, 6), output + errors
        assert "Traceback" not in output + errors
        assert "UNEXPECTED" not in output + errors
        assert not doomed.exists() or verb == "sort", "nothing is put where the faceset was"


def test_pages_filters_and_views_over_the_wire(client: DaemonClient, faces: Path) -> None:
    stub = client._facesets()
    metadata = [("authorization", f"Bearer {client.endpoint.token}")]

    def page(**request: Any) -> faceset_service_pb2.ListFacesResponse:
        asked = faceset_service_pb2.ListFacesRequest(path=str(faces), **request)
        answer: faceset_service_pb2.ListFacesResponse = stub.ListFaces(asked, metadata=metadata, timeout=30)
        return answer

    first = page(page_size=4)
    assert (len(first.faces), first.total_count) == (4, 6)
    second = page(page_size=4, page_token=first.next_page_token)
    assert (len(second.faces), second.next_page_token) == (2, "")
    by_yaw = [face.sort_value for face in client.list_faces(str(faces), sort_by="face-yaw", page_size=2)]
    assert by_yaw == [face.sort_value for face in client.list_faces(str(faces), sort_by="face-yaw")]
    chosen = list(client.list_faces(str(faces), where="frame == 1002", sort_by="face-pitch", reverse=True, page_size=1))
    assert {face.frame for face in chosen} == {1002}
    assert [len(track.sample_face) > 0 for track in client.list_tracks(str(faces))] == [True, True]
    described = client.describe_curation()
    assert {"apply_masks", "import_legacy"} <= {one.name for one in described.operations}
    correction = faceset_service_pb2.FaceCorrection(frame=1002, box_xyxy_px=(1, 2, 90, 95))
    request = faceset_service_pb2.CorrectFacesRequest(path=str(faces), corrections=[correction])
    assert client.correct_faces(request) == [1002]
    assert list(client.list_corrections(str(faces))[0].box_xyxy_px) == [1, 2, 90, 95]
    for bad in (
        faceset_service_pb2.FaceCorrection(frame=1),
        faceset_service_pb2.FaceCorrection(frame=1, box_xyxy_px=(1, 2, 3)),
        faceset_service_pb2.FaceCorrection(frame=1, box_xyxy_px=(float("nan"), 2, 3, 4)),
        faceset_service_pb2.FaceCorrection(frame=1, landmarks_px=[1.0] * 135),
        faceset_service_pb2.FaceCorrection(frame=1, box_xyxy_px=(1, 2, 3, 4), landmarks_px=[1.0] * 136),
    ):
        with pytest.raises(InvalidInput):
            client.correct_faces(faceset_service_pb2.CorrectFacesRequest(path=str(faces), corrections=[bad]))
    assert len(client.list_corrections(str(faces))) == 1
    with pytest.raises(grpc.RpcError, match="first page"):
        page(page_token="nobody.png")
    with pytest.raises(NotFound):
        client.list_tracks(str(faces.parent))


def test_many_questions_at_once(running: Daemon, faces: Path) -> None:
    """Listing while the set is corrected, from several connections."""
    failures: list[DflError] = []

    def ask(number: int) -> None:
        try:
            with connect(lambda: session_endpoint(running.state_dir)) as own:
                for frame in range(5):
                    box = faceset_service_pb2.FaceCorrection(frame=number * 10 + frame, box_xyxy_px=(1, 2, 90, 95))
                    own.correct_faces(
                        faceset_service_pb2.CorrectFacesRequest(path=str(faces), corrections=[box], add=True)
                    )
                    assert len(list(own.list_faces(str(faces)))) == 6
        except DflError as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_path_leads_out_of_the_roots(tmp_path: Path, extracted: Path, plate: Path) -> None:
    """Every field of every request that names a path, and links that lie inside."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    outside.mkdir()
    faces = Path(shutil.copytree(extracted, inside / "faces"))
    (inside / "leak").symlink_to(outside)
    (outside / "secret.png").write_bytes((plate.parent / "collins.png").read_bytes())
    daemon = Daemon(tmp_path / "daemon", roots=inside)
    with daemon.start() as client:
        try:
            for job in _jobs_that_name(str(inside), str(faces), str(outside / "x.png")):
                with pytest.raises(InvalidInput, match="outside the folders") as caught:
                    client.submit(job)
                assert caught.value.reason == "PATH_OUTSIDE_ROOTS", job
            for job in _jobs_that_name(str(inside), str(faces), str(inside / "leak" / "secret.png")):
                with pytest.raises(InvalidInput, match="outside the folders"):
                    client.submit(job)
            away = str(outside)
            for ask in (
                lambda: client.get_faceset(away),
                lambda: list(client.list_faces(away)),
                lambda: client.list_tracks(away),
                lambda: client.list_corrections(away),
                lambda: client.correct_faces(faceset_service_pb2.CorrectFacesRequest(path=away)),
            ):
                with pytest.raises(InvalidInput, match="outside the folders"):
                    ask()
            assert not list(client.list_jobs())
            for frame in FRAMES:  # a pattern inside the roots, a frame of which lies outside
                shutil.copy(plate.parent / f"duo.{frame}.png", inside / f"p.{frame}.png")
            (inside / "ref.0001.png").symlink_to(outside / "secret.png")
            refused(daemon, "extract", inside / "p.####.png", "--faceset", inside / "kept", "--keep-person",
                    inside / "ref.####.png", code=2, says="outside the folders")  # fmt: skip
            # The index names the plate the faces are cut anew from; anybody may have written it.
            refused(daemon, "faceset", "change", faces, "--output", inside / "new", "--aligned-size", "64", code=2,
                    says="outside the folders")  # fmt: skip
            dfl("faceset", "change", faces, "--output", inside / "new", "--aligned-size", "64", "--no-from-plate",
                daemon=daemon)  # fmt: skip
        finally:
            daemon.close()
    assert [path.name for path in outside.iterdir()] == ["secret.png"]


def _jobs_that_name(inside: str, faces: str, path: str) -> Iterator[job_service_pb2.JobSpec]:
    """One job per field, wrong in that field only."""
    new = f"{inside}/new"

    def curate(**fields: Any) -> job_service_pb2.JobSpec:
        return job_service_pb2.JobSpec(curate=job_service_pb2.CurateSpec(**{"faceset_path": faces, **fields}))

    def extract(plate: str = f"{inside}/p.####.png", faceset: str = new, **settings: Any) -> job_service_pb2.JobSpec:
        return job_service_pb2.JobSpec(
            extract=job_service_pb2.ExtractSpec(
                plate=job_service_pb2.PlateSpec(path=plate),
                faceset_path=faceset,
                settings=settings_pb2.ExtractSettings(**settings),
            )
        )

    yield extract(plate=path)
    yield extract(faceset=path)
    yield extract(keep_person=path)
    yield extract(keep_person=os.pathsep.join((f"{inside}/a.png", path)))
    yield extract(ocio_config=path)
    yield curate(faceset_path=path, measure=settings_pb2.MeasureSettings())
    yield curate(output_path=path, sort=settings_pb2.SortSettings())
    yield curate(sort=settings_pb2.SortSettings(by="identity", reference=path))
    yield curate(other_path=path, output_path=new, coverage=settings_pb2.CoverageSettings())
    yield curate(other_path=faces, output_path=path, coverage=settings_pb2.CoverageSettings())
    yield curate(output_path=path, change=settings_pb2.ChangeSettings())
    yield curate(output_path=path, enhance=settings_pb2.EnhanceSettings())
    yield curate(output_path=new, enhance=settings_pb2.EnhanceSettings(enhancer=f"onnx:{path}?range=unit"))
    yield curate(faceset_path=new, other_path=path, import_legacy=settings_pb2.ImportLegacySettings())
    yield curate(faceset_path=path, other_path=faces, import_legacy=settings_pb2.ImportLegacySettings())
    for field in ("meta_dat", "plate"):
        legacy = settings_pb2.ImportLegacySettings(**{field: path})
        yield curate(faceset_path=new, other_path=faces, import_legacy=legacy)
    yield curate(output_path=path, export_legacy=settings_pb2.ExportLegacySettings())
    yield curate(output_path=path, save_metadata=settings_pb2.SaveMetadataSettings())
    yield curate(other_path=path, restore_metadata=settings_pb2.RestoreMetadataSettings())
    yield curate(other_path=path, import_labels=settings_pb2.ImportLabelsSettings())
    yield curate(other_path=path, import_masks=settings_pb2.ImportMasksSettings())
    yield curate(other_path=path, import_mattes=settings_pb2.ImportMattesSettings())
    yield curate(other_path=faces, import_mattes=settings_pb2.ImportMattesSettings(plate=path))
    yield curate(output_path=path, export_masks=settings_pb2.ExportMasksSettings())
    yield curate(other_path=path, apply_masks=settings_pb2.ApplyMasksSettings())
    for facesets, model in (([path], new), ([faces, path], new), ([faces], path)):
        yield job_service_pb2.JobSpec(
            train_mask=job_service_pb2.TrainMaskSpec(faceset_paths=facesets, model_path=model)
        )
