"""Resume, versions, conflicts, and what must never be written over."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import OpenImageIO as oiio  # noqa: N813
import pytest

import dflcore
from dflcore.errors import Conflict, InvalidInput, ResourceExhausted
from dflcore.io.exr import is_valid_exr
from dflcore.io.sequence import SequencePattern
from dflcore.merge import rendering
from dflcore.merge.output import OutputSequence
from dflcore.merge.provenance import read_manifest
from dflcore.types import Authorization


def frames_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".exr")


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix == ".exr"}


def test_a_second_run_keeps_everything(make_shot):
    shot = make_shot()
    shot.merge()
    before = times(shot.folder / "out")
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (0, 3)
    assert times(shot.folder / "out") == before


def test_only_what_is_missing_or_broken_is_done_again(make_shot):
    shot = make_shot()
    shot.merge()
    out = shot.folder / "out"
    (out / "swap.1001.exr").unlink()
    broken = out / "swap.1002.exr"
    broken.write_bytes(broken.read_bytes()[:-5000])
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (2, 1)
    assert all(is_valid_exr(out / name) for name in frames_in(out))


@pytest.mark.parametrize("change", ["settings", "model", "plate", "landmarks", "alignment"])
def test_frames_made_otherwise_stop_the_merge_before_it_starts(make_shot, fake_swapper, change):
    shot = make_shot()
    shot.merge(swapper=fake_swapper())
    before = times(shot.folder / "out")
    options = {"swapper": fake_swapper()}
    if change == "settings":
        options["opacity"] = 0.5
    elif change == "model":
        options["swapper"] = fake_swapper(digest="beef")
    elif change == "plate":
        plate = shot.folder / "plate/shot.1002.exr"
        os.utime(plate, ns=(1, 1))
    elif change == "landmarks":
        shot = make_shot(faces=((1.0, 0.0),))
    else:
        shot = make_shot(corrected=(3.0, 0.0))
    with pytest.raises(Conflict, match="Nothing was written") as caught:
        shot.merge(**options)
    assert caught.value.reason == "OUTPUT_EXISTS"
    assert times(shot.folder / "out") == before
    result, _ = shot.merge(**options, overwrite=True)
    foreign = 1 if change == "plate" else 3
    assert (result.frames_written, result.frames_kept) == (foreign, 3 - foreign)
    assert shot.merge(**options)[0].frames_kept == 3


def test_settings_that_do_not_matter_for_pixels_keep_the_frames(make_shot):
    shot = make_shot()
    shot.merge()
    result, _ = shot.merge(device="cpu", authorization_use="test")
    assert result.frames_kept == 3


def test_an_interrupted_overwriting_merge_goes_on_where_it_was(make_shot, recorder):
    shot = make_shot(frames=tuple(range(1001, 1013)))
    shot.merge()
    first, _ = shot.merge(opacity=0.5, overwrite=True, control=recorder(stop_after=2))
    assert first.stopped is not None
    assert (first.frames_kept, 2 <= first.frames_written < 12) == (0, True)
    before = times(shot.folder / "out")
    second, _ = shot.merge(opacity=0.5, overwrite=True)
    assert second.frames_kept == first.frames_written
    assert second.frames_kept + second.frames_written == 12
    after = times(shot.folder / "out")
    assert sum(after[name] == before[name] for name in after) == second.frames_kept


def test_overwriting_repairs_current_frames_that_are_broken(make_shot):
    shot = make_shot()
    shot.merge()
    broken = shot.folder / "out/swap.1002.exr"
    broken.write_bytes(broken.read_bytes()[:-5000])
    result, _ = shot.merge(overwrite=True)
    assert (result.frames_written, result.frames_kept) == (1, 2)
    assert is_valid_exr(broken)


def test_a_version_is_never_overwritten(make_shot):
    shot = make_shot()
    first, _ = shot.merge("r/{version}/a.####.exr")
    os.utime(shot.folder / "plate/shot.1002.exr", ns=(1, 1))
    other, _ = shot.merge("r/{version}/a.####.exr", overwrite=True)
    again, _ = shot.merge("r/{version}/a.####.exr", overwrite=True)
    assert "v001" in first.output
    assert ("v002" in other.output, other.frames_written) == (True, 3)
    assert (again.output, again.frames_kept) == (other.output, 3)


def test_foreign_files_are_not_replaced(make_shot):
    shot = make_shot()
    foreign = shot.folder / "out/swap.1003.exr"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with pytest.raises(Conflict, match="1003"):
        shot.merge()
    assert foreign.read_text() == "mine"


def test_versions_mean_one_thing_forever(make_shot, fake_swapper):
    shot = make_shot()
    pattern = "renders/{version}/swap_{version}.####.exr"
    first, _ = shot.merge(pattern, frames=(1001, 1002))
    assert first.output.endswith("renders/v001/swap_v001.####.exr")
    more, _ = shot.merge(pattern)
    assert more.output == first.output
    assert (more.frames_written, more.frames_kept) == (1, 2)
    other, _ = shot.merge(pattern, opacity=0.5)
    assert other.output.endswith("renders/v002/swap_v002.####.exr")
    again, _ = shot.merge(pattern)
    assert (again.output, again.frames_written) == (first.output, 0)
    for path in (shot.folder / "renders/v001").iterdir():
        path.unlink()
    (shot.folder / "renders/v001").rmdir()
    late, _ = shot.merge(pattern)
    assert "v003" in late.output


def test_fixed_landmarks_go_to_a_new_version(make_shot):
    make_shot().merge("r/{version}/a.####.exr")
    result, _ = make_shot(faces=((1.0, 0.0),)).merge("r/{version}/a.####.exr")
    assert "v002" in result.output


@pytest.mark.parametrize("way", ["same", "folder link", "file link", "hard link"])
def test_the_plate_is_never_written_over(make_shot, way):
    shot = make_shot()
    plate = shot.folder / "plate"
    before = (plate / "shot.1002.exr").read_bytes()
    output = "link/shot.####.exr"
    if way == "same":
        output = "plate/shot.####.exr"
    elif way == "folder link":
        (shot.folder / "link").symlink_to(plate)
    else:
        (shot.folder / "link").mkdir()
        target = shot.folder / "link/shot.1002.exr"
        target.symlink_to(plate / "shot.1002.exr") if way == "file link" else os.link(plate / "shot.1002.exr", target)
    with pytest.raises(InvalidInput) as caught:
        shot.merge(output, overwrite=True)
    assert caught.value.reason == "OUTPUT_IS_PLATE"
    assert (plate / "shot.1002.exr").read_bytes() == before


@pytest.mark.parametrize("output", ["out/a.png", "out/a.exr", "plate"])
def test_outputs_that_cannot_work_are_refused(make_shot, output):
    with pytest.raises(InvalidInput) as caught:
        make_shot().merge(output)
    assert caught.value.reason == "BAD_OUTPUT_PATTERN"


def test_one_frame_may_have_a_plain_name(make_shot):
    shot = make_shot(frames=(1001,))
    result, _ = shot.merge("out/still.exr")
    assert result.frames_written == 1
    assert frames_in(shot.folder / "out") == ["still.exr"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(make_shot):
    shot = make_shot()
    (shot.folder / "out").mkdir(mode=0o500)
    with pytest.raises(InvalidInput) as caught:
        shot.merge()
    assert caught.value.reason == "NOT_WRITABLE"


def test_a_full_disk_ends_clearly_and_the_next_run_goes_on(make_shot, monkeypatch):
    shot = make_shot()
    real = rendering.write_exr

    def full(path, **arguments):
        if "1002" in path.name:
            raise ResourceExhausted("The disk is full.", reason="DISK_FULL", path=path)
        real(path, **arguments)

    monkeypatch.setattr(rendering, "write_exr", full)
    with pytest.raises(ResourceExhausted):
        shot.merge()
    monkeypatch.setattr(rendering, "write_exr", real)
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (2, 1)


def test_an_expired_permission_stops_the_merge(make_shot):
    shot = make_shot()
    expired = Authorization(person="E. Collins", until="2020-12-31")
    with pytest.raises(InvalidInput, match="2020-12-31") as caught:
        shot.merge(authorization=expired)
    assert caught.value.reason == "AUTHORIZATION_EXPIRED"
    assert not (shot.folder / "out").exists()


def test_a_face_that_nobody_is_named_for_is_reported(make_shot):
    _, control = make_shot(frames=(1001,)).merge(authorization=Authorization())
    assert control.reasons == ["AUTHORIZATION_MISSING"]


def test_the_manifest_tells_how_frames_were_made(make_shot):
    shot = make_shot()
    result, control = shot.merge(authorization_project="demo", provenance_attributes="full")
    document = json.loads(Path(result.manifest).read_text())
    assert document["synthetic"] is True
    assert document["digitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert document["authorization"]["person"] == "E. Collins"
    assert document["authorization"]["project"] == "show A"
    assert document["made_for"] == {"project": "demo", "use": ""}
    assert control.reasons == ["AUTHORIZATION_DIFFERS"]
    spec = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr")).spec()
    assert spec.get_string_attribute("dfl/authorizationProject") == "show A"
    assert spec.get_string_attribute("dfl/madeForProject") == "demo"
    assert document["model"]["digest"] == "f00d"
    assert set(document["frames"]) == {"1001", "1002", "1003"}
    import hashlib

    data = (shot.folder / "out/swap.1002.exr").read_bytes()
    fact = document["frames"]["1002"]["files"]["swap.1002.exr"]
    assert fact == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert not list((shot.folder / "out").rglob(".*.journal"))


@pytest.mark.parametrize(("policy", "says"), [("off", set()), ("minimal", {"dfl/synthetic", "dfl/modelDigest"})])
def test_the_header_says_what_the_policy_allows(make_shot, policy, says):
    shot = make_shot(frames=(1001,), metadata={"dfl/model": "from an earlier merge", "nuke/node": "kept"})
    shot.merge(provenance_attributes=policy)
    spec = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr")).spec()
    names = {attribute.name for attribute in spec.extra_attribs}
    ours = {name for name in names if name.startswith("dfl/")}
    assert says <= ours
    assert bool(ours) == bool(says)
    assert not {"dfl/model", "dfl/authorizationReference"} & ours
    assert "nuke/node" in names


def test_old_leftovers_of_killed_merges_are_removed(make_shot):
    shot = make_shot(frames=(1001,))
    out = shot.folder / "out"
    out.mkdir()
    old, new = (out / f".{name}.partial-1-ab.exr" for name in ("swap.1001", "swap.1002"))
    foreign = out / "other.1001.exr"
    for path in (old, new, foreign):
        path.write_bytes(b"half")
    for path in (old, foreign):
        os.utime(path, (1, 1))
    shot.merge()
    assert [path.exists() for path in (old, new, foreign)] == [False, True, True]


def test_two_merges_of_one_sequence_share_its_manifest(make_shot):
    """As farm tasks do: the second starts and ends while the first is at work."""
    shot = make_shot(frames=(1001, 1002))
    outer = []

    class Nested:
        def emit(self, event):
            outer.append(event)

        def stop_requested(self):
            if any(getattr(event, "path", None) for event in outer) and not getattr(self, "is_done", False):
                self.is_done = True
                shot.merge(frames=(1002,))

    shot.merge(frames=(1001,), control=Nested())
    manifest = read_manifest(shot.folder / "out/swap.provenance.json")
    assert set(manifest.frames) == {1001, 1002}


KILLED = """
    import sys
    from pathlib import Path
    from dflcore.color.ocio import ColorConverter
    from dflcore.config.merge import MergeSettings
    from dflcore.io.faceset import Faceset
    from dflcore.io.open_plate import open_plate
    from dflcore.merge.pipeline import merge_range
    from dflcore.progress import LoggedRun
    from dflcore.types import FaceType
    import torch

    class Swapper:
        resolution, face_type, name, digest = 64, FaceType.FULL, "fake", "f00d"

        def swap(self, target):
            mask = torch.ones(len(target), 1, 64, 64)
            return target, mask, mask

    plate, faces, output = sys.argv[1:]
    merge_range(
        open_plate(plate), Swapper(), Faceset.open(Path(faces)), output, MergeSettings(), LoggedRun(),
        converter=ColorConverter(),
    )
"""


@pytest.mark.slow
def test_a_kill_leaves_no_torn_file_and_the_next_run_completes(make_shot):
    shot = make_shot(frames=tuple(range(1001, 1017)))
    script = shot.folder / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    out = shot.folder / "out"
    command = [sys.executable, str(script), shot.pattern, str(shot.faceset), str(out / "swap.####.exr")]
    environment = {**os.environ, "PYTHONPATH": str(Path(dflcore.__file__).parents[1])}
    for wait in (1, 7):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if out.is_dir() and len(frames_in_final(out)) >= wait:
                break
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert out.is_dir(), said.decode()
        assert all(is_valid_exr(out / name) for name in frames_in_final(out))
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(frames_in_final(out)) == 16
    manifest = read_manifest(out / "swap.provenance.json")
    assert len(manifest.frames) == 16
    assert not manifest.unfinished
    assert not list(out.rglob(".*.journal"))


def frames_in_final(folder):
    return [name for name in frames_in(folder) if not name.startswith(".")]


@pytest.mark.parametrize(
    ("pattern", "matte", "manifest"),
    [
        ("shot.####.exr", "shot_matte.1001.exr", "shot.provenance.json"),
        ("shot_v2_####.exr", "shot_v2_matte_1001.exr", "shot_v2.provenance.json"),
        ("####.exr", "matte.1001.exr", "sequence.provenance.json"),
        ("shot%04d.exr", "shot_matte.1001.exr", "shot.provenance.json"),
    ],
)
def test_names_of_siblings(tmp_path, pattern, matte, manifest):
    sequence = OutputSequence(pattern=SequencePattern.parse(str(tmp_path / pattern)), siblings=("matte",))
    assert sequence.files(1001)["matte"].name == matte
    assert sequence.manifest.name == manifest
