"""Strips that show something else than their files, in real Blenders; and movies, which need no rendering."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import DaemonProcess

pytestmark = pytest.mark.slow
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def facts(shot: Any, merging_daemon: DaemonProcess, tmp_path: Path) -> dict[str, Any]:
    state = merging_daemon.folder / "state"
    return {"state": state, "plate": shot.plate, "model": shot.model, "faces": "", "output": tmp_path / "out"}


def test_a_second_blender_renders_what_a_strip_shows(run_in_bpy: Run, facts: dict[str, Any], shot: Any) -> None:
    new_effect = {"length": 90} if "bpy52" in run_in_bpy.python else {"frame_end": 90}
    said = run_in_bpy("render_plate", **{**facts, "faces": shot.faceset}, effect=new_effect)
    assert (said["said"]["told"], said["said"]["outcome"]) == ("", "SUCCEEDED")
    assert said["before"]
    assert said["reversed_by"] < 0.005
    assert said["brightest"] > 3.0
    assert said["is_found_again"]
    assert said["changes"] == [True, True, True]
    assert (said["scene_told"], said["scene"]) == ("", "SUCCEEDED")
    assert said["scene_by"] < 0.005
    assert said["meta"] == "SUCCEEDED"
    assert said["meta_by"] < 0.005
    assert "holds no face of this plate" in said["told_frame"]  # the frame was rendered, sent and looked at
    assert said["stopped"] == ["CANCELLED", "Cancelled"]
    assert said["unfinished"] == said["leftovers"] == []
    assert said["muted"] == []


def test_a_movie_is_its_own_plate(run_in_bpy: Run, facts: dict[str, Any], tmp_path: Path) -> None:
    movie = tmp_path / "Take 3.mp4"
    writer = cv2.VideoWriter(str(movie), cv2.VideoWriter.fourcc(*"mp4v"), 24.0, (320, 240))
    for number in range(12):
        writer.write(np.full((240, 320, 3), 20 * number, np.uint8))
    writer.release()
    said = run_in_bpy("movie", **facts, movie=movie)
    assert said["whole"] == [str(movie), "1-12", 1]
    assert said["trimmed"] == [str(movie), "4-9", 4]
    assert "face" in said["told"].lower()
    assert said["outcome"] == "FAILED"  # there is no face in grey pictures
    assert said["clip"] == [str(movie), "1-12", 1]
