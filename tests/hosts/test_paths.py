"""The same file on the workstation and on the daemon's machine, whatever systems these are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflhost.errors import HostError
from dflhost.paths import PathMap, settings_to_daemon

WINDOWS_TO_POSIX = PathMap.parse(r"P:\shots=/mnt/shots; \\server\cache=/cache; P:\shots\hero = /fast/hero")
NAMES = st.lists(st.text("abcXYZ019_. é顔-", min_size=1, max_size=6), max_size=4)


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        (r"P:\shots\a\b.####.exr", "/mnt/shots/a/b.####.exr"),
        ("p:/SHOTS/a/b.exr", "/mnt/shots/a/b.exr"),
        (r"P:\shots", "/mnt/shots"),
        (r"P:\shots\hero\x.exr", "/fast/hero/x.exr"),
        (r"\\server\cache\v001", "/cache/v001"),
        (r"P:\shotsandmore\x", r"P:\shotsandmore\x"),
        ("/elsewhere/x", "/elsewhere/x"),
    ],
)
def test_windows_workstation_and_posix_daemon(local: str, remote: str) -> None:
    assert WINDOWS_TO_POSIX.to_daemon(local) == remote


def test_the_way_back_is_written_as_the_workstation_writes() -> None:
    assert WINDOWS_TO_POSIX.to_workstation("/mnt/shots/a/b.exr") == r"P:\shots\a\b.exr"
    assert WINDOWS_TO_POSIX.to_workstation("/fast/hero/x/y.exr") == r"P:\shots\hero\x\y.exr"
    assert WINDOWS_TO_POSIX.to_workstation("/mnt/shotsandmore") == "/mnt/shotsandmore"


def test_posix_to_posix_minds_case_and_borders() -> None:
    paths = PathMap.parse("/Volumes/jobs=/mnt/jobs\n/=/root_of_all")
    assert paths.to_daemon("/Volumes/jobs/a") == "/mnt/jobs/a"
    assert paths.to_daemon("/volumes/jobs/a") == "/root_of_all/volumes/jobs/a"
    assert PathMap.parse("/a=/b").to_daemon("/ab/c") == "/ab/c"
    assert PathMap.parse("/a=/b").to_daemon("/a/x\\y.exr") == "/b/x\\y.exr"


def test_posix_workstation_and_windows_daemon() -> None:
    paths = PathMap.parse("/mnt/shots=P:/shots")
    assert paths.to_daemon("/mnt/shots/a/b.exr") == "P:/shots/a/b.exr"
    assert paths.to_workstation(r"p:\shots\a\b.exr") == "/mnt/shots/a/b.exr"


@given(NAMES)
def test_there_and_back_is_the_same_path(names: list[str]) -> None:
    for prefix, paths in (("/here", PathMap((("/here", "/there"),))), ("C:\\here", PathMap((("C:\\here", "/there"),)))):
        slash = "\\" if "\\" in prefix else "/"
        path = slash.join([prefix, *names])
        assert paths.to_workstation(paths.to_daemon(path)) == path


def test_an_empty_map_changes_nothing_and_text_comes_back() -> None:
    assert PathMap().to_daemon("/a") == PathMap.parse(" ; ").to_workstation("/a") == "/a"
    assert PathMap.parse(str(WINDOWS_TO_POSIX)) == WINDOWS_TO_POSIX


@pytest.mark.parametrize("text", ["P:\\shots", "shots=/mnt", "/a=", "=/b", "/a=b/c"])
def test_maps_that_cannot_be_read(text: str) -> None:
    with pytest.raises(HostError) as failure:
        PathMap.parse(text)
    assert failure.value.reason == "BAD_PATH_MAP"


def test_settings_that_name_files_are_mapped_and_plain_names_are_not() -> None:
    given_settings = {
        "ocio_config": r"P:\shots\config.ocio",
        "segmenter": "bisenet",
        "enhancer": r"onnx:P:\shots\e.onnx?range=unit",
        "keep_person": r"P:\shots\a.png;P:\shots\b.png",
        "cast": r'track 3 = P:\shots\anna, morph 0.7; track 4 = "P:\shots\bob"; others = plate',
        "matte_feather": 4.0,
        "device": None,
    }
    assert settings_to_daemon(given_settings, WINDOWS_TO_POSIX) == {
        "ocio_config": "/mnt/shots/config.ocio",
        "segmenter": "bisenet",
        "enhancer": "onnx:/mnt/shots/e.onnx?range=unit",
        "keep_person": "/mnt/shots/a.png:/mnt/shots/b.png",
        "cast": 'track 3 = /mnt/shots/anna, morph 0.7; track 4 = "/mnt/shots/bob"; others = plate',
        "matte_feather": 4.0,
    }
