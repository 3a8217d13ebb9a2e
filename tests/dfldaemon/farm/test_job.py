"""What a farm job is: divided paths, frames as text, and what is refused before anything is sent."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.frames import FrameRange
from dfldaemon.cli.chunks import Chunk
from dfldaemon.farm.job import FarmJob, FarmPath, chunk_count, make_job, range_text

TEN = FrameRange.parse("1001-1010")


def merge_job(folder: Path, **changed: object) -> FarmJob:
    paths = {role: FarmPath(str(folder), role) for role in ("plate", "model", "faceset", "output")}
    return make_job("merge", paths, **{"settings": {}, "frames": TEN, "chunk": 4, **changed})


@given(st.sets(st.integers(-300, 300), min_size=1))
def test_frames_survive_their_text(numbers: set[int]) -> None:
    frames = FrameRange.of(numbers)
    assert FrameRange.parse(range_text(frames)) == frames


@pytest.mark.parametrize("text", ["1-9:2,20", "1001-1100", "-5--1", "5", "1,4", "1-9:2,20-24", "-10-10:5"])
def test_the_text_of_frames_is_short(text: str) -> None:
    assert range_text(FrameRange.parse(text)) == text


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("/show/sh010/plate.####.exr", "/show/sh010", "plate.####.exr"),
        ("/show/out/{version}/swap.####.exr", "/show/out", "{version}/swap.####.exr"),
        ("/show/out/swap_{version}/a/swap.####.exr", "/show/out", "swap_{version}/a/swap.####.exr"),
        ("/show/clip.mov", "/show", "clip.mov"),
    ],
)
def test_a_path_is_a_folder_and_a_name(path: str, folder: str, name: str) -> None:
    assert FarmPath.of(path) == FarmPath(folder, name)
    assert str(FarmPath.of(path)) == path


def test_a_job_survives_json(tmp_path: Path) -> None:
    job = merge_job(tmp_path, settings={"opacity": 0.5, "overrides": "1001: opacity=1"}, model_digest="ab")
    assert FarmJob.from_values(json.loads(json.dumps(job.to_values()))) == job


def test_a_description_that_is_none_is_refused(tmp_path: Path) -> None:
    values = merge_job(tmp_path).to_values()
    with pytest.raises(DataCorrupt, match="submit it again"):
        FarmJob.from_values({**values, "kind": "paint"})
    with pytest.raises(DataCorrupt):
        FarmJob.from_values({name: value for name, value in values.items() if name != "paths"})
    with pytest.raises(DataCorrupt, match="without a path for faceset"):
        FarmJob.from_values({**values, "paths": {one: values["paths"][one] for one in ("plate", "model", "output")}})
    with pytest.raises(Unsupported, match="newer"):
        FarmJob.from_values({**values, "format": 99})
    with pytest.raises(InvalidInput, match="opacity"):
        FarmJob.from_values({**values, "settings": {"opacity": 7.0}})


@pytest.mark.parametrize(
    ("changed", "reason", "word"),
    [
        ({"chunk": 0}, "BAD_CHUNK", "--chunk"),
        ({"chunk": -3}, "BAD_CHUNK", "--chunk"),
        ({"frames": FrameRange(())}, "EMPTY_FRAME_RANGE", "--frames"),
    ],
)
def test_a_job_of_nothing_is_refused(tmp_path: Path, changed: dict[str, object], reason: str, word: str) -> None:
    with pytest.raises(InvalidInput, match=word) as caught:
        merge_job(tmp_path, **changed)
    assert caught.value.reason == reason


def test_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    paths = {role: FarmPath(str(tmp_path)) for role in ("plate", "model", "faceset", "output")}
    with pytest.raises(NotFound, match="nowhere for the model"):
        make_job("merge", {**paths, "model": FarmPath(str(tmp_path / "nowhere"))}, {}, frames=TEN, chunk=1)
    make_job("merge", {**paths, "output": FarmPath(str(tmp_path / "new"))}, {}, frames=TEN, chunk=1)
    with pytest.raises(InvalidInput, match="cannot be reached") as caught:
        make_job("merge", {**paths, "output": FarmPath(str(tmp_path / "share" / "out"))}, {}, frames=TEN, chunk=1)
    assert caught.value.reason == "OUTPUT_NOT_REACHABLE"


@pytest.mark.parametrize(
    ("settings", "has_window"),
    [
        ({}, False),
        ({"smooth_landmarks": 5}, False),  # landmarks are in the faceset: no other frame is read
        ({"smooth_matte": 1}, True),
        ({"smooth_colors": 3}, True),
        ({"smooth_colors": 0}, False),
    ],
)
def test_a_window_is_known(tmp_path: Path, settings: dict[str, object], has_window: bool) -> None:
    assert merge_job(tmp_path, settings=settings).has_window is has_window


@pytest.mark.parametrize("chunk", [1, 3, 4, 10, 99])
def test_counted_parts_are_the_frames_and_none_is_too_large(tmp_path: Path, chunk: int) -> None:
    job = merge_job(tmp_path, chunk=chunk)
    count = chunk_count(job)
    parts = [Chunk(index, count).of(job.frames) for index in range(1, count + 1)]
    assert [frame for part in parts for frame in part] == list(TEN)
    assert max(len(part) for part in parts) <= chunk


def test_paths_inside_settings_are_mapped(tmp_path: Path) -> None:
    settings = {
        "segmenter": "/show/masks",
        "enhancer": "detail:/show/detail?x=1",
        "cast": "track 3 = /show/anna; others = plate",
        "ocio_config": "/show/config.ocio",
        "opacity": 0.5,
    }
    job = merge_job(tmp_path, settings=settings).with_mapped_settings(lambda path: path.replace("/show", "/mnt"))
    assert job.settings["segmenter"] == "/mnt/masks"
    assert job.settings["enhancer"] == "detail:/mnt/detail?x=1"
    assert "/mnt/anna" in job.settings["cast"]
    assert "plate" in job.settings["cast"]
    assert job.settings["ocio_config"] == "/mnt/config.ocio"
    assert job.settings["opacity"] == 0.5


def test_lists_of_paths_get_the_separator_of_this_machine(tmp_path: Path) -> None:
    paths = {"plate": FarmPath(str(tmp_path), "a.####.exr"), "faceset": FarmPath(str(tmp_path / "faces"))}
    job = make_job("extract", paths, {"keep_person": r"Z:\a.png;Z:\b.png"})
    values = {**job.to_values(), "path_separator": ";"}
    mapped = FarmJob.from_values(values).with_mapped_settings(lambda path: path.replace("Z:\\", "/mnt/"))
    assert mapped.settings["keep_person"] == os.pathsep.join(("/mnt/a.png", "/mnt/b.png"))


def test_only_paths_of_the_job_have_folders(tmp_path: Path) -> None:
    job = merge_job(tmp_path).with_folders({"plate": "/mnt/x"})
    assert str(job.paths["plate"]) == "/mnt/x/plate"
    assert job.paths["model"].folder == str(tmp_path)
    with pytest.raises(InvalidInput, match="no path 'target'"):
        job.with_folders({"target": "/mnt/x"})
