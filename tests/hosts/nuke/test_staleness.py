"""A result is marked stale when settings, model or plate have changed, and nothing is made by itself."""

from __future__ import annotations

import os

import pytest

from dflhost.errors import HostError


@pytest.fixture
def swapped(shot):
    shot.load("menu").install()
    shot.press("get_settings")
    shot.until(lambda: shot.node.knob("merge_opacity"))
    shot.swap()
    return shot


def look(shot):
    """Open the node's panel."""
    shot.world.notify(shot.node, shot.world.api.String_Knob("showPanel"))


@pytest.mark.parametrize(
    ("knob", "value"),
    [("merge_opacity", 0.5), ("model", "/models/ben"), ("faceset", "/faces/b"), ("last", 1006), ("handles", 2)],
)
def test_a_knob_that_was_changed(swapped, knob, value):
    before = swapped.node[knob].value()
    swapped.world.change(swapped.node, knob, value)
    assert swapped.status == "Stale: press Update."
    swapped.world.change(swapped.node, knob, before)
    assert swapped.status == "Done"
    assert len(swapped.session.submitted) == 1


def test_a_model_that_was_trained_further(swapped):
    swapped.session.digest = "e" * 64
    look(swapped)
    swapped.until(lambda: swapped.status == "Stale: The model was trained further or is another one. Press Update.")
    swapped.session.digest = "d" * 64
    look(swapped)
    swapped.until(lambda: swapped.status == "Done")


def test_training_marks_results_of_that_model_by_itself(swapped):
    swapped.node["source"].setValue("/faces/anna")
    swapped.press("train")
    swapped.session.digest = "e" * 64
    swapped.job(1).end("SUCCEEDED")
    swapped.until(lambda: swapped.status.startswith("Stale: The model was trained"))


def test_a_file_of_the_plate_that_was_replaced(swapped):
    os.utime(swapped.folder / "plates" / "a.1002.exr", (1, 1))
    look(swapped)
    swapped.until(lambda: swapped.status == "Stale: The plate has changed in 1 frame. Press Update.")


def test_a_node_above_that_was_changed(shot):
    shot.load("menu").install()
    grade = shot.world.make("Grade", {"name": "Grade1", "inputs": [shot.read]})
    shot.node.setInput(0, grade)
    shot.swap()
    shot.world.change(grade, "xpos", 40)
    shot.world.change(grade, "multiply", 2.0)
    shot.until(lambda: shot.status.startswith("Stale"))
    shot.world.change(grade, "multiply", 1.0)
    shot.until(lambda: shot.status == "Done")
    assert len(shot.session.submitted) == 1


def test_a_frame_that_is_gone_is_seen_when_the_script_opens(swapped):
    path = str(swapped.folder / "shot.nk")
    swapped.world.do_scriptSaveAs(path)
    (swapped.folder / "dfl_swap/main/DFL_Swap1_swap/v001/DFL_Swap1_swap.1003.exr").unlink()
    swapped.world.do_scriptOpen(path)
    swapped.node = swapped.world.do_toNode("DFL_Swap1")
    swapped.until(lambda: swapped.status == "Stale: 1 frame not made yet. Press Update.")


def test_without_a_daemon_a_script_is_looked_at_in_peace(swapped):
    swapped.session.error = HostError("No daemon runs.", reason="DAEMON_NOT_RUNNING")
    look(swapped)
    for _ in range(20):
        swapped.world.pump()
    assert swapped.status == "Done"
    assert swapped.node["tile_color"].value() == 0


def test_the_config_that_names_the_colours_goes_along(shot, monkeypatch):
    shot.world.root["colorManagement"].setValue("OCIO")
    shot.world.root["customOCIOConfigPath"].setValue("/configs/show.ocio")
    shot.read["colorspace"].setValue("ACES2065-1")
    shot.swap()
    assert "ocio_config" not in shot.session.submitted[0]["settings"], "the menu says another config"
    shot.world.root["OCIO_config"].setValue("custom")
    shot.swap()
    assert shot.session.submitted[1]["settings"]["ocio_config"] == "/configs/show.ocio"
    monkeypatch.setenv("OCIO", "/studio/config.ocio")
    shot.swap()
    assert shot.session.submitted[2]["settings"]["ocio_config"] == "/studio/config.ocio"
    shot.world.frame = 1002
    shot.press("swap_frame")
    shot.until(lambda: shot.session.requests)
    settings = shot.session.requests[0].settings
    assert settings == {"input_colorspace": "ACES2065-1", "ocio_config": "/studio/config.ocio"}


def test_an_error_stays_in_sight(swapped):
    swapped.node["model"].setValue("")
    swapped.press("swap_range")
    assert swapped.status.startswith("Failed")
    look(swapped)
    swapped.world.change(swapped.node, "first", 1002)
    swapped.world.pump()
    assert swapped.status.startswith("Failed")


def test_a_frame_that_is_played_asks_nothing(swapped, monkeypatch):
    asked = []
    monkeypatch.setattr(swapped.load("staleness"), "look_soon", lambda **_: asked.append(True))
    swapped.world.notify(swapped.world.root, swapped.world.api.Int_Knob("frame"))
    assert asked == []
    swapped.world.change(swapped.read, "frame", "10")
    assert asked == [True], "a Read's own is another matter"
