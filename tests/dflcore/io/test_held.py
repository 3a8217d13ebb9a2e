"""Plates with gaps that hold the frame before: every number between first and last, with the right picture."""

import numpy as np
import pytest

from dflcore.errors import NotFound
from dflcore.frames import FrameRange
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Window

THERE = (1001, 1002, 1005)


@pytest.fixture
def pattern(tmp_path):
    window = Window(x=0, y=0, width=8, height=6)
    for frame in THERE:
        layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=np.full((6, 8, 3), frame - 1000, np.float16))
        path = tmp_path / f"shot.{frame}.exr"
        write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")
    return str(tmp_path / "shot.####.exr")


def test_gaps_show_the_frame_before(pattern):
    plate = open_plate(pattern, missing="hold")
    assert plate.frames.frames == (1001, 1002, 1003, 1004, 1005)
    images = [plate.read(frame) for frame in plate.frames]
    assert [image.frame for image in images] == [1001, 1002, 1003, 1004, 1005]
    assert [float(image.pixels[0, 0, 0]) for image in images] == [1.0, 2.0, 2.0, 2.0, 5.0]
    assert plate.identity(1003) == plate.identity(1002) != plate.identity(1005)
    (notice,) = [notice for notice in plate.notices if notice.reason.startswith("FRAMES")]
    assert (notice.reason, notice.details["frame"]) == ("FRAMES_HELD", "1003-1004")


def test_a_part_that_begins_in_a_gap_shows_what_stands_before_it(pattern):
    plate = open_plate(pattern, frames=FrameRange.parse("1004-1005"), missing="hold")
    assert [float(plate.read(frame).pixels.max()) for frame in plate.frames] == [2.0, 5.0]


def test_a_whole_sequence_is_as_ever(pattern):
    asked = FrameRange.parse("1001-1002")
    held, plain = (open_plate(pattern, frames=asked, missing=policy) for policy in ("hold", "error"))
    assert held.frames == plain.frames
    assert held.notices == plain.notices
    assert all(held.identity(frame) == plain.identity(frame) for frame in asked)
    assert (held.name, held.size, held.rate, held.color_space) == (
        plain.name,
        plain.size,
        plain.rate,
        plain.color_space,
    )


@pytest.mark.parametrize("text", ["1000-1002", "1004-1009"])
def test_what_lies_beyond_the_plate_is_missing(pattern, text):
    with pytest.raises(NotFound, match="Only gaps between frames can be held") as caught:
        open_plate(pattern, frames=FrameRange.parse(text), missing="hold")
    assert caught.value.details["frame"] in ("1000", "1006-1009")
