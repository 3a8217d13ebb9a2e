"""What a merge finds where it is to write: its own frames, touched ones, other merges at work, disks without room."""

import json
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from dflcore.config.merge import MergeSettings
from dflcore.config.settings_file import read_settings_file
from dflcore.errors import Conflict, InvalidInput, ResourceExhausted
from dflcore.io.exr import is_valid_exr, read_exr_layers
from dflcore.merge import provenance
from dflcore.merge.provenance import read_manifest


def frames_in(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix == ".exr"}


def flip_a_bit(path):
    """Somebody's paint over a frame: the file is as long and as whole as before."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Frames that were touched after they were merged.


@pytest.mark.parametrize("damage", ["cut", "empty", "deleted", "header only"])
def test_what_is_left_of_a_frame_is_made_again_with_the_same_bits(make_shot, damage):
    shot = make_shot()
    shot.merge()
    path = shot.folder / "out/swap.1002.exr"
    before = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(before[: {"cut": len(before) - 100, "empty": 0, "header only": 600}[damage]])
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (1, 2)
    assert path.read_bytes() == before


@pytest.mark.parametrize("edit", ["same length", "another picture"])
def test_a_frame_somebody_painted_over_is_not_replaced_unasked(make_shot, edit):
    shot = make_shot()
    shot.merge(compression="none")
    path = shot.folder / "out/swap.1002.exr"
    if edit == "same length":
        flip_a_bit(path)
    else:
        path.write_bytes((shot.folder / "plate/shot.1002.exr").read_bytes())
    painted = path.read_bytes()
    with pytest.raises(Conflict, match=r"edited since\): 1002\. Nothing was written"):
        shot.merge(compression="none")
    assert path.read_bytes() == painted
    result, _ = shot.merge(compression="none", overwrite=True)
    assert (result.frames_written, result.frames_kept) == (1, 2)
    assert path.read_bytes() != painted


def test_a_version_with_a_painted_frame_is_left_alone(make_shot):
    shot = make_shot()
    shot.merge("r/{version}/a.####.exr", compression="none")
    flip_a_bit(shot.folder / "r/v001/a.1002.exr")
    result, _ = shot.merge("r/{version}/a.####.exr", compression="none")
    assert ("v002" in result.output, result.frames_written) == (True, 3)


def test_copied_frames_are_kept_whatever_their_dates(make_shot):
    """A folder that was copied without its dates holds the same frames: the sums tell."""
    shot = make_shot()
    shot.merge()
    for path in (shot.folder / "out").glob("*.exr"):
        os.utime(path)
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (0, 3)


@pytest.mark.parametrize("thing", ["folder", "link to nowhere"])
def test_what_is_no_file_under_a_frames_name_is_not_replaced(make_shot, thing):
    shot = make_shot()
    shot.merge()
    path = shot.folder / "out/swap.1002.exr"
    path.unlink()
    path.mkdir() if thing == "folder" else path.symlink_to(shot.folder / "nowhere.exr")
    with pytest.raises(Conflict, match="1002"):
        shot.merge()


def test_of_a_frame_of_several_files_each_counts(make_shot):
    shot = make_shot(frames=(1001, 1002))
    options = {"profile": "flat", "layers": "matte", "compression": "none"}
    shot.merge(**options)
    (shot.folder / "out/swap_matte.1001.exr").unlink()
    result, _ = shot.merge(**options)
    assert (result.frames_written, result.frames_kept) == (1, 1)
    flip_a_bit(shot.folder / "out/swap_matte.1002.exr")
    with pytest.raises(Conflict, match="1002"):
        shot.merge(**options)


# Long sequences, whose manifest is in parts.


def test_a_long_sequence_goes_on_at_the_frame_whatever_part_it_lies_in(make_shot, monkeypatch):
    shot = make_shot(frames=tuple(range(1001, 1008)))
    shot.merge("r/{version}/a.####.exr", frames=(1001, 1002, 1003), compression="none")
    monkeypatch.setattr(provenance, "PART_FRAMES", 2)  # a short one becomes a long one
    for frames, made, kept in (((1003, 1004), 1, 1), ((1006,), 1, 0), (None, 2, 5), ((1002,), 0, 1)):
        result, _ = shot.merge("r/{version}/a.####.exr", frames=frames, compression="none")
        assert ("v001" in result.output, result.frames_written, result.frames_kept) == (True, made, kept)
    assert len(list((shot.folder / "r/v001/a.provenance").iterdir())) == 4
    flip_a_bit(shot.folder / "r/v001/a.1006.exr")
    with pytest.raises(Conflict, match=r"edited since\): 1006\."):
        shot.merge("r/v001/a.####.exr", compression="none")
    assert shot.merge("r/v001/a.####.exr", frames=(1003,), compression="none")[0].frames_kept == 1
    assert shot.merge("r/v001/a.####.exr", compression="none", overwrite=True)[0].frames_written == 1


# Settings that come back from beside the result.


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"opacity": 0.1 + 0.2, "matte_erode": -1.5, "layers": "swap,matte", "compression": "piz"},
        {"overrides": "1001-1002:  opacity=0>1   matte_erode=02.50;1003: mode=original"},
        {"overrides": "1001: opacity=0.5; 1001-1002: opacity=1; 1001: matte_erode=-007"},
    ],
)
def test_the_look_beside_the_frames_gives_the_same_frames_again(make_shot, settings):
    shot = make_shot()
    first, _ = shot.merge("r/{version}/a.####.exr", **settings)
    (look,) = (shot.folder / "r/v001").glob("*.look-*.toml")
    values = read_settings_file(look, MergeSettings)
    again, _ = shot.merge("r/{version}/a.####.exr", **values)
    assert (again.output, again.frames_written, again.frames_kept) == (first.output, 0, 3)
    assert [path.name for path in look.parent.glob("*.look-*.toml")] == [look.name]


# Other merges at the same place.


class AtFirstFrame:
    """A run control that does something else once, when the first frame is there."""

    def __init__(self, action):
        self._action = action
        self.events = []

    def emit(self, event):
        self.events.append(event)
        if getattr(event, "path", None) and self._action is not None:
            action, self._action = self._action, None
            action()

    def stop_requested(self):
        return None


def test_a_merge_made_otherwise_does_not_mix_its_frames_into_one_at_work(make_shot):
    shot = make_shot(frames=(1001, 1002, 1003))
    refused = []

    def other():
        with pytest.raises(Conflict, match="Another merge is writing") as caught:
            shot.merge(opacity=0.5, frames=(1003,), overwrite=True)
        refused.append(caught.value.reason)

    result, _ = shot.merge(control=AtFirstFrame(other))
    assert refused == ["OUTPUT_BUSY"]
    assert result.frames_written == 3
    assert shot.merge()[0].frames_kept == 3
    assert shot.merge(opacity=0.5, overwrite=True)[0].frames_written == 3  # nobody is at work any more


def test_with_versions_each_merge_takes_its_own(make_shot):
    shot = make_shot(frames=(1001, 1002))
    outputs = []

    def other():
        outputs.append(shot.merge("r/{version}/a.####.exr", opacity=0.5)[0].output)

    result, _ = shot.merge("r/{version}/a.####.exr", control=AtFirstFrame(other))
    assert "v001" in result.output
    assert "v002" in outputs[0]


def test_a_folder_another_task_has_just_made_is_the_version_it_will_be(make_shot):
    """Tasks of a farm start in the same second; they belong into one folder."""
    shot = make_shot(frames=(1001,))
    (shot.folder / "r/v001").mkdir(parents=True)
    (shot.folder / "r/v001/.a.provenance.lock").touch()
    result, _ = shot.merge("r/{version}/a.####.exr")
    assert "v001" in result.output


def test_two_equal_merges_at_once_fill_one_sequence(make_shot, fake_swapper):
    shot = make_shot(frames=tuple(range(1001, 1007)))
    results, failures = [], []

    def merge():
        try:
            results.append(shot.merge("r/{version}/a.####.exr", swapper=fake_swapper())[0])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=merge) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {result.output for result in results} == {str(shot.folder / "r/v001/a.####.exr")}
    assert all(is_valid_exr(path) for path in (shot.folder / "r/v001").glob("a.*.exr"))
    assert shot.merge("r/{version}/a.####.exr", swapper=fake_swapper())[0].frames_kept == 6
    assert len(read_manifest(shot.folder / "r/v001/a.provenance.json").frames) == 6


# Places that cannot be written, and the plate itself.


@pytest.mark.parametrize(
    "output", ["plate/../plate/shot.%04d.exr", "./plate//shot.@@@@.exr", "plate/shot.#.exr", "{version}/shot.####.exr"]
)
def test_the_plate_is_recognised_however_it_is_spelled(make_shot, output):
    shot = make_shot()
    if "{version}" in output:  # a plate that lies in a version folder itself, with somebody's manifest
        shot.merge("v001/shot.####.exr")
        for frame in shot.frames:
            os.replace(shot.folder / f"plate/shot.{frame}.exr", shot.folder / f"v001/shot.{frame}.exr")
            os.symlink(shot.folder / f"v001/shot.{frame}.exr", shot.folder / f"plate/shot.{frame}.exr")
    with pytest.raises(InvalidInput) as caught:
        shot.merge(output, overwrite=True)
    assert caught.value.reason == "OUTPUT_IS_PLATE"


def test_the_plate_as_a_sibling_is_recognised(make_shot):
    shot = make_shot()
    for frame in shot.frames:
        (shot.folder / "out").mkdir(exist_ok=True)
        os.symlink(shot.folder / f"plate/shot.{frame}.exr", shot.folder / f"out/swap_matte.{frame}.exr")
    with pytest.raises(InvalidInput, match="swap_matte") as caught:
        shot.merge(profile="flat", layers="matte", overwrite=True)
    assert caught.value.reason == "OUTPUT_IS_PLATE"


def test_a_folder_that_would_lie_in_a_file_is_refused(make_shot):
    shot = make_shot()
    with pytest.raises(InvalidInput, match="would lie in a file") as caught:
        shot.merge("plate/shot.1001.exr/deeper/swap.####.exr")
    assert caught.value.reason == "BAD_OUTPUT_PATTERN"


@contextmanager
def mounted(folder, options):
    """A small disk of its own, where this test may mount one."""
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("may not mount a small disk here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_may_not_be_written_is_named(make_shot):
    shot = make_shot()
    with mounted(shot.folder / "disk", "ro"):
        with pytest.raises(InvalidInput, match=r"Cannot write .*Choose a folder you may write to") as caught:
            shot.merge("disk/out/swap.####.exr")
        assert caught.value.reason == "NOT_WRITABLE"


def test_a_disk_that_fills_up_keeps_whole_frames_only_and_the_next_run_goes_on(make_shot):
    frames = tuple(range(1001, 1009))
    shot = make_shot(frames=frames)
    plain, _ = shot.merge("plain/swap.####.exr")
    sizes = [path.stat().st_size for path in sorted((shot.folder / "plain").glob("*.exr"))]
    with mounted(shot.folder / "disk", f"size={int(3.5 * sizes[0] / 1024) + 40}k"):
        with pytest.raises(ResourceExhausted, match="disk is full") as caught:
            shot.merge("disk/swap.####.exr")
        assert caught.value.reason == "DISK_FULL"
        there = sorted((shot.folder / "disk").glob("*.exr"))
        assert 1 <= len(there) < len(frames)
        assert all(is_valid_exr(path) for path in there)
        assert not list((shot.folder / "disk").glob(".*partial*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(shot.folder / "disk")], check=True)
        result, _ = shot.merge("disk/swap.####.exr")
        assert result.frames_kept + result.frames_written == len(frames)
        assert result.frames_kept >= len(there) - 1
        for path in sorted((shot.folder / "plain").glob("*.exr")):
            one, other = read_exr_layers(path), read_exr_layers(shot.folder / "disk" / path.name)
            assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
    assert plain.frames_written == len(frames)


def test_a_damaged_manifest_says_what_to_do(make_shot):
    shot = make_shot()
    result, _ = shot.merge()
    with open(result.manifest, "r+", encoding="utf-8") as file:
        file.truncate(100)
    with pytest.raises(Exception, match=r"is damaged.*Move it away"):
        shot.merge()


def test_manifests_without_dates_are_read(make_shot):
    """As earlier builds wrote them."""
    shot = make_shot()
    result, _ = shot.merge()
    with open(result.manifest, encoding="utf-8") as file:
        document = json.load(file)
    for entry in document["frames"].values():
        del entry["written_ns"]
    with open(result.manifest, "w", encoding="utf-8") as file:
        json.dump(document, file)
    assert shot.merge()[0].frames_kept == 3
