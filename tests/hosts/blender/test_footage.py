"""Real talking heads in real Blenders, with a real daemon: from two movies to a swapped strip, near and far away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import DaemonProcess

from dflcore.io.exr import read_exr_layers

pytestmark = [pytest.mark.slow, pytest.mark.footage]
FRAMES = 8


@pytest.fixture
def facts(material: Path, tmp_path: Path) -> dict[str, Any]:
    movies = {name: tmp_path / f"{name}.mp4" for name in ("source", "target")}
    for name, movie in movies.items():
        cut(material / "footage" / f"{name}_talk.mp4", movie)
    train = {"preset": "quick96", "resolution": "64", "batch_size": "2", "iterations": "4"}
    return {
        **movies,
        "model": "",
        "faces": "",
        "output": tmp_path / "out",
        "train": train,
        "merge": {"matte_mode": "hull"},  # four steps teach no mask
    }


def test_two_movies_become_a_swapped_strip(
    run_in_bpy: Callable[..., dict[str, Any]], merging_daemon: DaemonProcess, facts: dict[str, Any]
) -> None:
    said = run_in_bpy("footage", **facts, state=merging_daemon.folder / "state", variables={})
    check(said)
    assert Path(said["faces"]).is_relative_to(facts["output"])


def test_the_same_with_a_daemon_that_sees_no_disk_of_ours(
    run_in_bpy: Callable[..., dict[str, Any]], far_worker: DaemonProcess, facts: dict[str, Any], tmp_path: Path
) -> None:
    said = run_in_bpy("footage", **facts, state=tmp_path, variables=far_worker.variables_from_afar())
    check(said)
    for kept in (said["faces"], said["model"]):
        assert Path(kept).is_relative_to(far_worker.folder / "state" / "made")


def cut(movie: Path, short: Path) -> None:
    """Some frames from the middle."""
    reader = cv2.VideoCapture(str(movie))
    reader.set(cv2.CAP_PROP_POS_FRAMES, 30)
    writer = None
    for _ in range(FRAMES):
        is_read, picture = reader.read()
        assert is_read
        if writer is None:
            writer = cv2.VideoWriter(str(short), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, picture.shape[1::-1])
        writer.write(picture)
    assert writer is not None
    writer.release()


def check(said: dict[str, Any]) -> None:
    assert said["told"] == dict.fromkeys(("source", "target", "train", "range"), "")
    assert set(said["outcomes"].values()) == {"SUCCEEDED"}
    frames = sorted(Path(said["pattern"]).parent.glob("*_swap.*.exr"))
    assert len(frames) == FRAMES
    for frame in frames:
        matte = read_exr_layers(Path(str(frame).replace("_swap.", "_swap_matte.")))
        sizes = [(values.astype(np.float32) > 0.5).sum() for values in matte.values()]
        assert max(sizes) > 2000, "a face in every frame"
