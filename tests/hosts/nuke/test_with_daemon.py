"""An artist's session in Nuke against a real daemon that really merges: knobs, a frame, a range, what lacks of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DaemonProcess
from frame_asking import make_pretending_shot

from dflcore.io.exr import read_exr_layers
from frame_shot import make_frame_shot

VARIABLES = {
    "address": "DFL_ADDRESS",
    "token_path": "DFL_TOKEN_FILE",
    "ca_path": "DFL_CA_FILE",
    "certificate_path": "DFL_CERTIFICATE_FILE",
    "key_path": "DFL_KEY_FILE",
    "state_dir": "DFL_STATE_DIR",
}


@pytest.mark.slow
def test_an_artists_session(
    merging_daemon: DaemonProcess, start_nuke: Any, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_frame_shot(tmp_path / "shot")
    monkeypatch.setenv("DFL_STATE_DIR", merging_daemon.host.state_dir)
    world = start_nuke()
    world.root["name"].setValue(str(tmp_path / "shot.nk"))
    world.render = lambda node, frame, view: made.file(frame).read_bytes()
    pattern = made.plate.replace("####", "%04d")
    world.selected = world.make("Read", {"name": "Read1", "first": 1001, "last": 1004, "file": pattern})
    load("menu").install()
    node = world.commands["menu Nuke"]._items["Face Swap"]._items["DFL Swap"]()
    node["model"].setValue(str(made.model))
    node["faceset"].setValue(str(made.faceset))
    node["last"].setValue(1002)

    def until(look: Any) -> None:
        end = time.monotonic() + 60.0
        while not look():
            world.pump()
            assert time.monotonic() < end, node["status"].value()
            assert not node["status"].value().startswith(("Failed", "Not connected")), node["status"].value()
            time.sleep(0.01)

    try:
        until(lambda: node.knob("merge_opacity"))
        world.frame = 1001
        world.press(node, "press_swap_frame")
        until(lambda: node["status"].value().startswith("Done"))
        still = read_exr_layers(Path(node.node("Still")["file"].value()))
        assert {"R", "G", "B", "A", "swap.R", "matte.A"} <= set(still)
        assert world.renders == []

        node["use_files"].setValue(False)
        world.press(node, "press_swap_range")
        until(lambda: node["status"].value() == "Done")
        read = node.node("Result")
        assert "/v001/" in read["file"].value()
        assert (read["first"].value(), read["last"].value()) == (1001, 1002)
        found = read_exr_layers(Path(read["file"].value() % 1001))
        assert {"swap.R", "matte.A", "raw.R", "st.R"} <= set(found)

        world.press(node, "press_update")
        until(lambda: "nothing has changed" in node["status"].value())
        node["last"].setValue(1003)
        world.press(node, "press_update")
        until(lambda: read["last"].value() == 1003 and node["status"].value() == "Done")
        assert "/v001/" in read["file"].value(), "the frame that lacked went to the same version"
        assert [render["frames"] for render in world.renders] == [[1001, 1002], [1003]]

        world.change(node, "merge_opacity", 0.5)
        assert node["status"].value().startswith("Stale")
        world.press(node, "press_update")
        until(lambda: "/v002/" in read["file"].value() and node["status"].value() == "Done")
        until(lambda: node["version"].values() == ["v002", "v001"])
        node["fetch"].setValue(True)
        world.change(node, "merge_opacity", 0.25)
        world.press(node, "press_swap_range")
        until(lambda: "/v003/" in read["file"].value() and node["status"].value() == "Done")
        assert {"swap.R", "matte.A", "st.R"} <= set(read_exr_layers(Path(read["file"].value() % 1003)))
        assert json.loads(node["result"].value())["main"].endswith(".####.exr")
    finally:
        load("connection").drop()


@pytest.mark.slow
def test_every_step_with_a_daemon_that_sees_no_disk_of_ours(
    far_daemon: DaemonProcess,
    is_far: None,
    start_nuke: Any,
    load: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TLS, and roots that hold nothing of this machine; what comes back is what a merge here makes."""
    made = make_pretending_shot(tmp_path / "shot")
    made.merge(tmp_path / "near.####.exr", (1001, 1002), layers="swap,matte")
    for field, value in far_daemon.from_afar().items():
        monkeypatch.setenv(VARIABLES[field], value)
    monkeypatch.delenv("DFL_STATE_DIR", raising=False)
    world = start_nuke()
    world.root["name"].setValue(str(tmp_path / "shot.nk"))
    pattern = made.plate.replace("####", "%04d")
    world.selected = world.make("Read", {"name": "Read1", "first": 1001, "last": 1004, "file": pattern})
    load("menu").install()
    node = load("group").create()
    node["model"].setValue(str(made.model))
    node["last"].setValue(1002)

    def until(look: Any) -> None:
        end = time.monotonic() + 60.0
        while not look():
            world.pump()
            assert time.monotonic() < end, node["status"].value()
            assert not node["status"].value().startswith(("Failed", "Not connected")), node["status"].value()
            time.sleep(0.01)

    try:
        world.press(node, "press_extract")
        until(lambda: node["status"].value() == "Done")
        kept = far_daemon.folder / "state" / "made" / "facesets"
        assert Path(node["faceset"].value()).parent == kept
        assert (Path(node["faceset"].value()) / "done.txt").is_file(), "the job wrote there"
        node["faceset"].setValue(str(made.faceset))  # the job only pretended to find faces
        world.frame = 1001
        world.press(node, "press_swap_frame")
        until(lambda: node["still_shown"].value() == 1 and node["status"].value().startswith("Done"))
        _compare(Path(node.node("Still")["file"].value()), tmp_path / "near.1001.exr")

        world.press(node, "press_swap_range")
        until(lambda: node["still_shown"].value() == 0 and node["status"].value() == "Done")
        read = node.node("Result")
        assert (read["first"].value(), read["last"].value()) == (1001, 1002)
        for frame in (1001, 1002):
            _compare(Path(read["file"].value() % frame), tmp_path / f"near.{frame}.exr")

        node["last"].setValue(1003)
        world.press(node, "press_update")
        until(lambda: read["last"].value() == 1003 and node["status"].value() == "Done")
        assert "/v001/" in read["file"].value()
        world.press(node, "press_update")
        until(lambda: "nothing has changed" in node["status"].value())
        world.press(node, "press_choose_model")
        until(lambda: world.chosen)
        assert world.chosen[0][1][0].startswith("model "), "what was sent can be chosen from another machine"
    finally:
        load("connection").drop()


def _compare(found: Path, expected: Path) -> None:
    ours, theirs = read_exr_layers(found), read_exr_layers(expected)
    assert set(theirs) <= set(ours)
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
