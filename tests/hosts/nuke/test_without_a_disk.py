"""Every button with a daemon that sees none of this machine's disks: what is sent, and what comes back."""

from __future__ import annotations

import threading

import pytest

from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.paths import PathMap


@pytest.fixture(params=["another machine", "a tunnel"])
def far_shot(shot, request):
    """Known by its address, or by the artist's tick: a tunnel's address is this machine's."""
    if request.param == "a tunnel":
        shot.node["fetch"].setValue(True)
    else:
        shot.session.settings = ConnectionSettings(address="farm:50051")
    model = shot.folder / "model"
    model.mkdir()
    shot.node["model"].setValue(str(model))
    return shot


def done(shot):
    shot.until(lambda: shot.status == "Done")


def test_extract_sends_the_plate_and_the_faces_lie_with_the_daemon(far_shot):
    far_shot.press("extract")
    far_shot.job().end("SUCCEEDED")
    done(far_shot)
    assert far_shot.session.sent == [(f"{far_shot.folder}/plates/a.####.exr", (1001, 1002, 1003, 1004))]
    asked = far_shot.session.submitted[0]
    assert asked["plate"].path == "/there/inbox/plate/a.####.exr"
    assert asked["faceset"].startswith("/there/made/facesets/DFL_Swap1-")
    assert far_shot.node["faceset"].value() == asked["faceset"], "the next step finds them"


def test_extract_of_views_keeps_them_apart(far_shot):
    far_shot.world.views = ["left", "right"]
    far_shot.read["file"].setValue(f"{far_shot.folder}/plates/%V/a.%04d.exr")
    for view in far_shot.world.views:
        (far_shot.folder / "plates" / view).mkdir()
        for frame in range(1001, 1011):
            (far_shot.folder / "plates" / view / f"a.{frame}.exr").write_bytes(b"plate")
    far_shot.press("extract")
    for number in (0, 1):
        far_shot.job(number).end("SUCCEEDED")
    done(far_shot)
    folders = [asked["faceset"] for asked in far_shot.session.submitted]
    assert [folder.rpartition("/")[2] for folder in folders] == ["left", "right"]
    assert far_shot.node["faceset"].value() == folders[0].replace("/left", "/%V")


def test_train_sends_faces_and_a_model_that_was_begun_here(far_shot):
    source = far_shot.folder / "source"
    source.mkdir()
    far_shot.node["source"].setValue(str(source))
    far_shot.node["faceset"].setValue("/there/made/facesets/x")
    far_shot.press("train")
    far_shot.job().end("SUCCEEDED")
    done(far_shot)
    asked = far_shot.session.submitted[0]
    assert (asked["source"], asked["target"]) == ("/there/inbox/source", "/there/made/facesets/x")
    assert asked["model"] == far_shot.node["model"].value() == "/there/inbox/model"


def test_a_model_that_is_begun_there_has_a_place_of_its_own(far_shot):
    far_shot.node["source"].setValue("/there/faces/anna")
    far_shot.node["model"].setValue("")
    far_shot.session.unknown = {f"{far_shot.folder}/dfl_swap/model"}
    far_shot.press("train")
    far_shot.job().end("SUCCEEDED")
    done(far_shot)
    assert far_shot.session.submitted[0]["model"].startswith("/there/made/models/model-")
    assert far_shot.node["model"].value() == far_shot.session.submitted[0]["model"]


def test_a_range_is_sent_and_its_frames_come_back_one_by_one(far_shot):
    far_shot.load("watch").SHOWN_EVERY_S = 0.0
    gates = {frame: threading.Event() for frame in (1001, 1002, 1003, 1004)}
    made = far_shot.session.merge_frame
    far_shot.session.merge_frame = lambda request: gates[request.frame].wait(5.0) and made(request)
    far_shot.press("swap_range")
    for frame in (1001, 1002):
        gates[frame].set()
        far_shot.until(lambda last=frame: far_shot.node["result_last"].value() == last)
    for gate in gates.values():
        gate.set()
    done(far_shot)
    assert far_shot.session.submitted == []
    assert [request.frame for request in far_shot.session.requests] == [1001, 1002, 1003, 1004]
    asked = far_shot.session.requests[0]
    assert (asked.plate_path, asked.model_path) == ("/there/inbox/plate/a.####.exr", "/there/inbox/model")
    assert asked.layers == ("beauty", "swap", "raw", "matte", "st")
    assert far_shot.node["result_last"].value() == 1004


def test_a_frame_is_sent_alone(far_shot):
    far_shot.world.frame = 1003
    far_shot.press("swap_frame")
    done(far_shot)
    assert (f"{far_shot.folder}/plates/a.####.exr", (1003,)) in far_shot.session.sent
    assert far_shot.session.requests[0].model_path == "/there/inbox/model"
    assert far_shot.node["still_frame"].value() == 1003


def test_where_a_path_map_leads_nothing_is_sent(shot):
    paths = PathMap(((str(shot.folder), "/mnt/shot"),))
    shot.session.settings = ConnectionSettings(address="farm:50051", path_map=paths)
    shot.swap()
    assert shot.session.sent == []
    assert shot.session.submitted[0]["plate"].path == f"{shot.folder}/plates/a.####.exr"


def test_what_lacks_goes_to_the_same_version_and_is_shown_with_the_rest(far_shot):
    far_shot.press("swap_range")
    done(far_shot)
    far_shot.node["last"].setValue(1005)
    far_shot.press("update")
    far_shot.until(lambda: far_shot.node["result_last"].value() == 1005)
    done(far_shot)
    assert [request.frame for request in far_shot.session.requests][4:] == [1005]
    assert far_shot.node["result_first"].value() == 1001
    assert "/v001/" in far_shot.node.node("Result")["file"].value()


def test_a_plate_changed_in_one_frame_makes_that_frame_again(far_shot):
    far_shot.press("swap_range")
    done(far_shot)
    (far_shot.folder / "plates" / "a.1002.exr").write_bytes(b"another plate")
    far_shot.press("update")
    read = far_shot.node.node("Result")
    far_shot.until(lambda: "/v002/" in read["file"].value() and far_shot.status == "Done")
    assert [request.frame for request in far_shot.session.requests][4:] == [1002]
    assert (read["first"].value(), read["last"].value()) == (1001, 1004)
    older = far_shot.folder / "dfl_swap/main/DFL_Swap1_swap/v001/DFL_Swap1_swap.1002.exr"
    assert older.is_file(), "no version is written over"


def test_another_model_is_a_new_version_of_all_frames(far_shot):
    far_shot.press("swap_range")
    done(far_shot)
    far_shot.session.digest = "e" * 64
    far_shot.press("update")
    far_shot.until(lambda: "/v002/" in far_shot.node.node("Result")["file"].value() and far_shot.status == "Done")
    assert len(far_shot.session.requests) == 8


def test_update_goes_on_where_nuke_was_closed(far_shot):
    gate = threading.Event()
    made = far_shot.session.merge_frame

    def slow(request):
        if request.frame == 1003:
            gate.wait(5.0)
        return made(request)

    far_shot.session.merge_frame = slow
    far_shot.press("swap_range")
    far_shot.until(lambda: "2/4" in far_shot.status)
    far_shot.press("cancel")
    gate.set()
    far_shot.until(lambda: far_shot.status == "Cancelled")
    far_shot.press("update")
    done(far_shot)
    assert [request.frame for request in far_shot.session.requests] == [1001, 1002, 1003, 1004]
    assert "/v001/" in far_shot.node.node("Result")["file"].value()


def test_cancel_while_files_are_sent(far_shot):
    far_shot.session.held = threading.Event()
    far_shot.press("swap_range")
    far_shot.press("cancel")
    far_shot.session.held.set()
    far_shot.until(lambda: "stopped" in far_shot.status or "ancelled" in far_shot.status)
    assert far_shot.session.requests == []
    assert far_shot.node["tile_color"].value() == 0, "what the artist asked for is no failure"
    far_shot.session.held = None
    far_shot.press("swap_range")
    done(far_shot)


def test_a_full_inbox_is_said(far_shot):
    far_shot.session.send_plate = lambda *_: (_ for _ in ()).throw(
        HostError("There is no room for 3 GB.", reason="INBOX_FULL", category="RESOURCE_EXHAUSTED")
    )
    far_shot.press("extract")
    far_shot.until(lambda: far_shot.status.startswith("Failed"))
    assert "no room" in far_shot.status
    assert far_shot.session.submitted == []
