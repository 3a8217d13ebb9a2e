"""Strips as plates: the files they show, or why they show none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def strips(part: Callable[[str], Any]) -> Any:
    return part("strip_plates")


@pytest.fixture
def host_error(part: Callable[[str], Any]) -> Any:
    return part("_dflhost.errors").HostError


def facts(strips: Any, **fields: Any) -> Any:
    given = {"name": "Take", "folder": "/s", "names": ("a.0001.exr",), "is_movie": False, "frames_seen": 1}
    return strips.ElementFacts(**{**given, **fields})


def test_an_image_strip_is_the_sequence_of_the_files_it_shows(strips: Any) -> None:
    names = tuple(f"a_v2.{number:04d}.jp2" for number in (12, 13, 14))
    plate = strips.plate_of_strip(facts(strips, names=names, frames_seen=3))
    assert (plate.path, plate.frames.frames) == ("/s/a_v2.####.jp2", (12, 13, 14))


def test_a_trimmed_movie_strip_says_which_of_its_frames_are_seen(strips: Any) -> None:
    movie = facts(strips, names=("t.mov",), is_movie=True, frames_seen=10, first_movie_frame=6)
    plate = strips.plate_of_strip(movie)
    assert (plate.path, plate.frames.frames[0], plate.frames.frames[-1]) == ("/s/t.mov", 6, 15)


def test_a_still_has_no_frame_number(strips: Any) -> None:
    assert strips.plate_of_strip(facts(strips, names=("portrait.png",))).frames.frames == ()


@pytest.mark.parametrize("names", [("a.1.exr", "a.3.exr"), ("a.1.exr", "b.2.exr"), ("a.1.exr", "b.exr")])
def test_files_that_are_no_sequence_are_refused(strips: Any, host_error: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(host_error) as caught:
        strips.plate_of_strip(facts(strips, names=names))
    assert caught.value.reason == "NOT_A_SEQUENCE"


def test_a_strip_that_changes_its_file_is_refused_with_what_it_does(strips: Any, host_error: Any) -> None:
    with pytest.raises(host_error, match="another speed, strobe"):
        strips.plate_of_strip(facts(strips, changes=("another speed", "strobe")))


@pytest.mark.parametrize(
    ("name", "stem"),
    [("Take 2.mov", "Take_2"), ("shot.1001.exr", "shot"), ("shot.####.exr", "shot"), ("Übung", "bung"), ("…", "shot")],
)
def test_names_become_file_names(strips: Any, name: str, stem: str) -> None:
    assert strips.file_name(name) == stem
