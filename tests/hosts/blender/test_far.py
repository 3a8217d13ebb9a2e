"""The extension with a daemon on another machine: TLS, no common disk, everything sent and brought back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DaemonProcess

from dflcore.io.exr import read_exr_layers

pytestmark = pytest.mark.slow
DIMS = {"ae_dims": "32", "e_dims": "16", "d_dims": "16", "d_mask_dims": "16"}
TRAINING = {"preset": "df", "resolution": "64", "batch_size": "2", "iterations": "2", **DIMS}


def test_every_action_works_without_a_common_disk(
    run_in_bpy: Callable[..., dict[str, Any]], far_worker: DaemonProcess, shot: Any, tmp_path: Path
) -> None:
    variables = far_worker.variables_from_afar()
    facts = {"plate": shot.plate, "model": shot.model, "faces": shot.faceset, "output": tmp_path / "out"}
    said = run_in_bpy("far", **facts, state=tmp_path, variables=variables, settings=TRAINING)
    no_face = {"extract": "No face was found"}  # the plate is drawn
    for name, told in said["told"].items():
        assert no_face.get(name, "") in told, (name, told)
        assert bool(told) == (name in no_face), (name, told)
    expected = {"range": "SUCCEEDED", "update": "SUCCEEDED", "nodes": "SUCCEEDED", "train": "SUCCEEDED"}
    assert said["outcomes"] == {**expected, "frame": "{'FINISHED'}", "extract": "FAILED", "swap with it": "SUCCEEDED"}

    result = said["strips"]["Take_1_swap v001 1001-1004"]
    assert result["files"] == [f"Take_1_swap.{number}.exr" for number in range(1001, 1005)]
    assert said["strips"]["Take_1_swap v001 1001-1004 matte"]["muted"]
    shot.merge(tmp_path / "near.####.exr", (1001,))
    near, far_frame = (read_exr_layers(path) for path in (tmp_path / "near.1001.exr", frame(said["pattern"], 1001)))
    assert set(far_frame) == set("RGBA")
    assert all(np.array_equal(far_frame[name], near[name]) for name in far_frame)
    matte = read_exr_layers(frame(said["pattern"].replace("_swap.", "_swap_matte."), 1001))
    assert list(matte) == ["Y"]
    assert matte["Y"].max() == near["matte.A"].max()  # its window is cut to the face
    assert np.isclose(matte["Y"].sum(dtype=np.float64), near["matte.A"].sum(dtype=np.float64))
    assert said["matte"][0] == "IMAGE"

    assert "not made yet" in said["stale"]
    assert said["again"] == ["Take_1_swap.1002.exr", "Take_1_swap_matte.1002.exr"]
    assert said["frame"] == [400, 300]
    layered = read_exr_layers(frame(said["layered"], 1001))
    assert {"R", "A", "matte.A", "swap.R", "raw.R", "st.R"} <= set(layered)
    assert all(np.array_equal(layered[name], near[name]) for name in near)
    assert said["groups"] == 1

    assert not Path(said["trained"]).is_relative_to(tmp_path / "out")
    assert said["trained"] in said["menus"]["models"]
    assert said["chosen"] == said["trained"]


def frame(pattern: str, number: int) -> Path:
    return Path(pattern.replace("####", str(number)))
