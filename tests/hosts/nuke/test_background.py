"""Plates that another Nuke writes: this one goes on, and what came out is looked at."""

from __future__ import annotations

import pytest


@pytest.fixture
def rendered(shot):
    """Something lies between the Read and the node."""
    shot.node["background"].setValue(True)
    shot.node.setInput(0, shot.world.make("Grade", {"name": "Grade1", "inputs": [shot.read]}))
    return shot


def started(shot):
    shot.until(lambda: len(shot.world.background) > 0)
    return max(shot.world.background)


def test_the_swap_begins_when_the_plates_are_there(rendered):
    rendered.world.root["proxy"].setValue(True)
    rendered.press("swap_range")
    number = started(rendered)
    assert rendered.world.renders == [], "this Nuke renders nothing"
    assert rendered.session.submitted == []
    assert rendered.status == "Sending plates 0/4"
    assert rendered.world.root["proxy"].value() is True
    assert rendered.node.node("PlateWrite")["disable"].value() is True, "no farm runs it"
    rendered.world.finish_background(number)
    rendered.job().finish()
    rendered.until(lambda: rendered.status == "Done")
    assert rendered.session.submitted[0]["plate"].graph_hash
    rendered.press("update")
    rendered.until(lambda: "nothing has changed" in rendered.status)


def test_progress_is_frames_of_frames(rendered):
    rendered.press("extract")
    number = started(rendered)
    rendered.world._call_back("frame", {"id": number, "frame": 1002, "numFrames": 4, "frameProgress": 2})
    rendered.until(lambda: rendered.status == "Sending plates 2/4")
    rendered.world._call_back("end", {"id": 99})
    rendered.world.pump()
    assert rendered.session.submitted == [], "another Write of the artist's has ended"


def test_cancelled_there_or_a_full_disk_says_which_frames_lack(rendered):
    rendered.press("swap_range")
    rendered.world.finish_background(started(rendered), frames=2)
    rendered.until(lambda: "wrote no plate for frames 1003-1004" in rendered.status)
    rendered.press("swap_range")
    rendered.until(lambda: len(rendered.world.background) == 2)
    assert rendered.world.background[2]["frames"] == [1003, 1004], "what is there is not written again"


def test_cancel_here_sends_nothing_when_they_are_done(rendered):
    rendered.press("swap_range")
    number = started(rendered)
    rendered.press("swap_range")
    assert "not finished" in rendered.status
    rendered.press("cancel")
    rendered.world.finish_background(number)
    rendered.until(lambda: "ancelled" in rendered.status)
    assert rendered.session.submitted == []


def test_a_node_that_is_deleted_meanwhile_sends_nothing(rendered):
    rendered.press("swap_range")
    number = started(rendered)
    rendered.world.do_delete(rendered.node)
    rendered.world.finish_background(number)
    rendered.world.pump()
    assert rendered.session.submitted == []


def test_no_licence_and_an_unsaved_script_are_said(rendered):
    rendered.world.background_fails = True
    rendered.press("swap_range")
    rendered.until(lambda: "could not start another Nuke" in rendered.status)
    rendered.node["folder"].setValue(f"{rendered.folder}/elsewhere")
    rendered.world.root["name"].setValue("")
    rendered.press("swap_range")
    rendered.until(lambda: "Save the script first" in rendered.status)
    assert rendered.node.node("PlateWrite")["disable"].value() is True


def test_a_terminal_and_a_farm_write_them_themselves(terminal_shot):
    shot = terminal_shot
    shot.session.finishes = True
    shot.node["use_files"].setValue(False)
    shot.node["background"].setValue(True)
    shot.load("scripting").swap_range(shot.node)
    assert len(shot.world.renders) == 1
    assert shot.world.background == {}
