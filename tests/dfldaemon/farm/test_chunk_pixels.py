"""A chunk is merged as the whole shot is, where frames around it count too."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from dflcore.io.exr import read_exr_layers
from frame_shot import FACES, FrameShot

pytestmark = pytest.mark.slow


def test_handle_frames_are_read_and_not_written(shot: FrameShot, tmp_path: Path) -> None:
    window = {"smooth_matte": 1, "smooth_colors": 1}
    shot.merge(tmp_path / "whole" / "a.####.exr", FACES, **window)
    shot.merge(tmp_path / "alone" / "a.####.exr", FACES)
    for chunk in ((1001,), (1002, 1003)):
        shot.merge(tmp_path / "parts" / "a.####.exr", chunk, **window)
        written = {path.name for path in (tmp_path / "parts").glob("*.exr")}
        assert written == {f"a.{frame}.exr" for frame in range(1001, chunk[-1] + 1)}
    for frame in FACES:
        whole, parts, alone = (
            read_exr_layers(tmp_path / name / f"a.{frame}.exr") for name in ("whole", "parts", "alone")
        )
        assert all(np.array_equal(whole[name], parts[name]) for name in whole)
        assert any(not np.array_equal(whole[name], alone[name]) for name in whole)  # the window does count


@pytest.mark.parametrize("name", ["v", "{version}"])
def test_workers_that_know_the_show_by_other_names_fill_one_sequence(
    shot: FrameShot, tmp_path: Path, name: str
) -> None:
    """The same files by other paths are the same work."""
    (tmp_path / "mount").symlink_to(shot.folder)
    here, there = shot, FrameShot(tmp_path / "mount")

    def merge(by: FrameShot, frames: tuple[int, ...]) -> tuple[int, int]:
        done = by.merge(by.folder / "out" / name / "a.####.exr", frames)
        return done.frames_written, done.frames_kept

    assert merge(here, FACES[:2]) == (2, 0)
    assert merge(there, FACES[1:]) == (1, 1)
    assert merge(here, FACES) == (0, 3)
    (version,) = (shot.folder / "out").iterdir()
    assert len(list(version.glob("a.*.exr"))) == 3


@pytest.mark.parametrize("offset_s", [-86_400, 86_400])
def test_workers_whose_clocks_differ_keep_each_others_frames(shot: FrameShot, tmp_path: Path, offset_s: int) -> None:
    assert shot.merge(tmp_path / "a.####.exr", FACES).frames_written == 3
    for path in tmp_path.glob("*.exr"):
        os.utime(path, times=(time.time() + offset_s,) * 2)
    again = shot.merge(tmp_path / "a.####.exr", FACES)
    assert (again.frames_written, again.frames_kept) == (0, 3)
