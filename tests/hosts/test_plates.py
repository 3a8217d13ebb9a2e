"""Plates: frame ranges, file names of all hosts, and what tells that a frame has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflcore.frames import FrameRange
from dflcore.io import views
from dflhost.errors import HostError
from dflhost.paths import PathMap
from dflhost.plates import (
    FrameSet,
    Plate,
    frame_path,
    frames_on_disk,
    printf_pattern,
    sequence_pattern,
    split_view,
    with_view,
)

TOKENS = st.tuples(st.integers(-50, 50), st.integers(0, 30), st.integers(1, 4))


@given(st.lists(TOKENS, min_size=1, max_size=4))
def test_ranges_mean_what_they_mean_to_the_daemon(tokens: list[tuple[int, int, int]]) -> None:
    text = ",".join(f"{first}-{first + more}x{step}" for first, more, step in tokens)
    ours, theirs = FrameSet.parse(text), FrameRange.parse(text)
    assert ours.frames == theirs.frames
    assert str(ours) == str(theirs)
    assert FrameSet.parse(str(ours)) == ours


def test_sets_of_frames() -> None:
    frames = FrameSet.span(1001, 1010)
    assert str(frames - FrameSet((1004,))) == "1001-1003,1005-1010"
    assert str(FrameSet((3, 1)) | FrameSet.of((2, 2))) == "1-3"
    assert (len(frames), 1004 in frames, list(frames)[:2]) == (10, True, [1001, 1002])
    assert FrameSet.parse(" ") == FrameSet.span(5, 1) == FrameSet()
    assert str(FrameSet()) == ""


@pytest.mark.parametrize("text", ["a", "5-1", "1-9x0", "1--", "1-99999999999"])
def test_ranges_that_cannot_be_read(text: str) -> None:
    with pytest.raises(HostError) as failure:
        FrameSet.parse(text)
    assert failure.value.reason == "BAD_FRAME_RANGE"


@pytest.mark.parametrize(
    ("path", "pattern", "printf"),
    [
        ("/a/shot.%04d.exr", "/a/shot.####.exr", "/a/shot.%04d.exr"),
        ("/a/shot.%d.exr", "/a/shot.#.exr", "/a/shot.%d.exr"),
        ("/a/shot.@@@.dpx", "/a/shot.###.dpx", "/a/shot.%03d.dpx"),
        ("/a/shot.$F5.exr", "/a/shot.#####.exr", "/a/shot.%05d.exr"),
        ("/a/v001/shot.1001.exr", "/a/v001/shot.####.exr", "/a/v001/shot.%04d.exr"),
        (r"P:\a\shot_0007.png", r"P:\a\shot_####.png", r"P:\a\shot_%04d.png"),
        ("/a/take2.mov", "/a/take2.mov", "/a/take2.mov"),
        ("/a/still.exr", "/a/still.exr", "/a/still.exr"),
        ("/a#1/still.exr", "/a#1/still.exr", "/a#1/still.exr"),
    ],
)
def test_file_names_of_all_hosts(path: str, pattern: str, printf: str) -> None:
    assert sequence_pattern(path) == pattern
    assert printf_pattern(path) == printf


def test_frames_and_their_files(tmp_path: Path) -> None:
    for number in (1, 2, 12, 10000):
        (tmp_path / f"p.{number:04d}.exr").touch()
    (tmp_path / "p.00003.exr").touch()
    (tmp_path / "p.0004.exr.bak").touch()
    pattern = str(tmp_path / "p.####.exr")
    assert frames_on_disk(pattern).frames == (1, 2, 12, 10000)
    assert frame_path(pattern, 12) == str(tmp_path / "p.0012.exr")
    assert frame_path("/a/movie.mov", 12) == "/a/movie.mov"
    assert frames_on_disk(str(tmp_path / "none" / "p.####.exr")) == FrameSet()
    assert frames_on_disk("/a/movie.mov") == FrameSet()


def test_a_frames_identity_changes_with_what_decides_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "p.0001.exr"
    path.write_bytes(b"pixels")
    plate = Plate(str(tmp_path / "p.####.exr"), FrameSet((1, 2)))
    first = plate.identity(1)
    assert len(first) == 32
    assert plate.identity(1) == first
    assert plate.identity(2) == ""
    os.utime(path, ns=(0, 5_000_000_000))
    assert plate.identity(1) != first
    by_content = plate.identity(1, with_content=True)
    os.utime(path, ns=(0, 6_000_000_000))
    assert plate.identity(1, with_content=True) == by_content
    path.write_bytes(b"PIXELS")
    assert plate.identity(1, with_content=True) != by_content
    assert Plate(plate.path, color_space="ACEScg").identity(1) != plate.identity(1)
    assert dict(Plate(plate.path).identities()).keys() == {1}
    rendered = Plate(plate.path, graph_hash="abc")
    assert rendered.identity(2) != ""
    assert rendered.identity(2) != Plate(plate.path, graph_hash="abd").identity(2)


def test_a_view_stays_with_the_plate_and_is_no_part_of_its_files(tmp_path: Path) -> None:
    for frame in (1, 2):
        (tmp_path / f"a.{frame:04d}.exr").write_bytes(b"x")
    plate = f"{tmp_path}/a.####.exr?view=right"
    assert sequence_pattern(f"{tmp_path}/a.0001.exr?view=right") == plate
    assert sequence_pattern(f"{tmp_path}/a.%04d.exr?view=right") == plate
    assert printf_pattern(plate) == f"{tmp_path}/a.%04d.exr?view=right"
    assert frame_path(plate, 2) == str(tmp_path / "a.0002.exr")
    assert frames_on_disk(plate).frames == (1, 2)
    assert frame_path("/a/still.exr?view=left", 7) == "/a/still.exr"
    keys = {Plate(one).identity(1) for one in (plate, plate.replace("right", "left"), plate.partition("?")[0])}
    assert len(keys) == 3
    mapped = PathMap.parse(r"P:\shots=/mnt/shots")
    assert mapped.to_daemon(r"P:\shots\a.####.exr?view=right") == "/mnt/shots/a.####.exr?view=right"
    assert mapped.to_workstation("/mnt/shots/a.####.exr?view=right") == r"P:\shots\a.####.exr?view=right"


@given(st.text(min_size=1), st.sampled_from(["", "left", "a b", "x.y", "x/y", "?"]))
def test_a_view_is_read_as_the_daemon_reads_it(path: str, view: str) -> None:
    text = views.with_view(path, view)
    assert with_view(path, view) == text
    assert split_view(text) == views.split_view(text)
