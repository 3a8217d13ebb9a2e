"""From a button to a result: what is sent, what is shown, and what is not waited for."""

from __future__ import annotations

import json
import os
import threading

import pytest

from dflhost.errors import HostError


def test_a_reads_own_files_are_sent_and_nothing_is_rendered(shot):
    shot.press("swap_range")
    job = shot.job()
    asked = shot.session.submitted[0]
    assert asked["plate"].path == f"{shot.folder}/plates/a.####.exr"
    assert asked["plate"].frames.frames == (1001, 1002, 1003, 1004)
    assert asked["plate"].graph_hash == ""
    assert asked["model"] == "/models/anna"
    assert asked["settings"] == {"profile": "layered"}
    assert "{version}" in asked["output"]
    assert asked["output"].startswith(f"{shot.folder}/dfl_swap/main/")
    assert shot.world.renders == []
    job.finish()
    shot.until(lambda: shot.status == "Done")


def test_the_result_arrives_frame_by_frame_and_stays(shot):
    shot.load("watch").SHOWN_EVERY_S = 0.0
    shot.press("swap_range")
    job = shot.job()
    job.make_frame(1001)
    shot.until(lambda: shot.node["result_last"].value() == 1001)
    assert "1/4" in shot.status
    job.make_frame(1003)
    job.make_frame(1002)
    shot.until(lambda: shot.node["result_last"].value() == 1003)
    job.make_frame(1004)
    job.end("SUCCEEDED")
    shot.until(lambda: shot.status == "Done")
    read = shot.node.node("Result")
    assert read["file"].value() == f"{shot.folder}/dfl_swap/main/DFL_Swap1_swap/v001/DFL_Swap1_swap.%04d.exr"
    assert (read["first"].value(), read["last"].value()) == (1001, 1004)
    assert read["reload"]._runs, "a Read shows no new frames of the same files by itself"
    assert shot.node["label"].value() == "DFL_Swap1_swap v001 1001-1004"
    shot.until(lambda: shot.node["version"].value() == "v001")
    assert shot.node["jobs"].value() == ""


def test_a_gap_is_not_shown_while_frames_come(shot):
    shot.load("watch").SHOWN_EVERY_S = 0.0
    shot.press("swap_range")
    job = shot.job()
    job.make_frame(1001)
    job.make_frame(1003)
    shot.until(lambda: "2/4" in shot.status)
    assert shot.node["result_last"].value() == 1001


def test_nothing_of_the_press_waits_for_the_daemon(shot):
    gate = threading.Event()
    model = shot.session.model
    shot.session.model = lambda path: gate.wait(10.0) and model(path)
    shot.press("swap_range")
    assert shot.status == "Connecting"
    assert shot.session.submitted == []
    gate.set()
    shot.job().finish()
    shot.until(lambda: shot.status == "Done")


def test_what_lies_between_is_rendered_by_nuke(shot):
    between = shot.world.make("Grade", {"name": "Grade1", "inputs": [shot.read]})
    shot.node.setInput(0, between)
    shot.world.root["proxy"].setValue(True)
    shot.swap()
    (render,) = shot.world.renders
    assert render["frames"] == [1001, 1002, 1003, 1004]
    assert render["views"] == ["main"]
    plate = shot.session.submitted[0]["plate"]
    assert plate.path == render["file"].replace("%V", "main").replace("%04d", "####")
    assert plate.graph_hash
    assert plate.color_space == "lin_rec709"
    assert shot.world.root["proxy"].value() is True, "the artist's proxy mode comes back"
    assert shot.node.node("PlateWrite")["disable"].value() is True
    assert shot.node.node("Result")["raw"].value() is True


def test_plates_are_rendered_once_and_again_when_the_graph_changes(shot):
    between = shot.world.make("Grade", {"name": "Grade1", "inputs": [shot.read]})
    shot.node.setInput(0, between)
    shot.swap()
    shot.swap()
    assert len(shot.world.renders) == 1
    between.setXYpos(10, 10)
    between["label"].setValue("hello")
    shot.swap()
    assert len(shot.world.renders) == 1, "where a node stands changes no pixel"
    between["multiply"].setValue(2.0)
    shot.swap()
    assert len(shot.world.renders) == 2
    os.utime(shot.folder / "plates" / "a.1002.exr", (1, 1))
    shot.swap()
    assert len(shot.world.renders) == 3, "a file that was read is another"
    shot.node["last"].setValue(1006)


def test_a_longer_range_renders_the_frames_that_lack(shot):
    shot.read["colorspace"].setValue("sRGB")  # not sure to be linear: rendered
    shot.swap()
    shot.node["last"].setValue(1006)
    shot.swap()
    assert [render["frames"] for render in shot.world.renders] == [[1001, 1002, 1003, 1004], [1005, 1006]]


@pytest.mark.parametrize(
    ("knob", "value"),
    [("frame_mode", "offset"), ("premultiplied", True), ("colorspace", "sRGB"), ("file", "relative/a.%04d.exr")],
)
def test_a_read_that_is_more_than_its_files_is_rendered(shot, knob, value):
    if knob == "frame_mode":
        shot.read["frame"].setValue("10")
    shot.read[knob].setValue(value)
    shot.press("swap_range")
    shot.job().finish()
    assert len(shot.world.renders) == 1


def test_dots_and_switched_off_nodes_are_nothing_between(shot):
    dot = shot.world.make("Dot", {"name": "Dot1", "inputs": [shot.read]})
    off = shot.world.make("Grade", {"name": "Grade1", "inputs": [dot], "disable": True})
    shot.node.setInput(0, off)
    shot.swap()
    assert shot.world.renders == []
    assert shot.session.submitted[0]["plate"].path.endswith("/plates/a.####.exr")


def test_with_ocio_the_plate_names_its_space_and_the_result_is_read_in_it(shot):
    shot.world.root["colorManagement"].setValue("OCIO")
    shot.read["colorspace"].setValue("ACES2065-1")
    shot.swap()
    assert shot.session.submitted[0]["plate"].color_space == "ACES2065-1"
    result = shot.node.node("Result")
    assert (result["colorspace"].value(), result["raw"].value()) == ("ACES2065-1", False)
    shot.world.root["workingSpaceLUT"].setValue("ACEScg")
    shot.node["use_files"].setValue(False)
    shot.swap()
    assert shot.session.submitted[1]["plate"].color_space == "ACEScg"
    assert shot.node.node("PlateWrite")["raw"].value() is True
    assert shot.node.node("Result")["raw"].value() is True


def test_handles_stay_inside_the_plate(shot):
    shot.node["first"].setValue(1002)
    shot.node["handles"].setValue(5)
    shot.swap()
    assert shot.session.submitted[0]["plate"].frames.frames == tuple(range(1001, 1010))


def test_every_view_is_a_job_and_one_read_shows_them(shot):
    shot.world.views = ["left", "right"]
    shot.read["file"].setValue(f"{shot.folder}/plates/%V/a.%04d.exr")
    shot.swap()
    paths = [asked["plate"].path for asked in shot.session.submitted]
    assert paths == [f"{shot.folder}/plates/{view}/a.####.exr" for view in ("left", "right")]
    assert [asked["faceset"].rpartition("/")[2] for asked in shot.session.submitted] == ["left", "right"]
    assert "/%V/DFL_Swap1_swap/v001/" in shot.node.node("Result")["file"].value()


def test_settings_become_knobs_and_only_what_differs_is_sent(shot):
    shot.press("get_settings")
    shot.until(lambda: shot.node.knob("merge_opacity"))
    node = shot.node
    assert node["merge_mode"].values() == ["overlay", "seamless"]
    assert node["merge_smooth_matte"].label() == "Smooth matte (frames)"
    assert node["merge_morph"].Class() == "String_Knob"
    assert node.knob("merge_profile") is None
    node["merge_mode"].setValue("seamless")
    node["merge_layers"].setValue("st")
    node["merge_morph"].setValue("0.5")
    shot.swap()
    assert shot.session.submitted[0]["settings"] == {
        "profile": "layered",
        "mode": "seamless",
        "layers": "st,swap,matte",
        "morph": 0.5,
    }


def test_another_daemons_settings_lose_no_value(shot):
    shot.press("get_settings")
    shot.until(lambda: shot.node.knob("merge_opacity"))
    shot.node["merge_opacity"].setValue(0.5)
    shot.node["merge_mode"].setValue("seamless")
    newer = [one for one in shot.session.specs if one.name != "opacity"]
    mode = next(one for one in newer if one.name == "mode")
    shot.session.specs = [one for one in newer if one is not mode]
    shot.session.specs.append(type(mode)(**{**mode.__dict__, "choices": ("overlay", "other")}))
    shot.press("get_settings")
    shot.until(lambda: "other" in shot.node["merge_mode"].values())
    assert shot.node["merge_mode"].value() == "seamless"
    assert shot.node["merge_opacity"].value() == 0.5


def test_update_does_nothing_when_nothing_has_changed(shot):
    shot.swap()
    shot.press("update")
    shot.until(lambda: "nothing has changed" in shot.status)
    assert len(shot.session.submitted) == 1


def test_update_after_training_and_after_a_lost_frame(shot):
    shot.swap()
    shot.session.digest = "e" * 64
    shot.press("update")
    shot.job(1).finish()
    shot.until(lambda: shot.status == "Done")
    lost = shot.folder / "dfl_swap/main/DFL_Swap1_swap/v001/DFL_Swap1_swap.1002.exr"
    lost.unlink()
    shot.press("update")
    shot.job(2)


def test_a_changed_knob_marks_the_result_stale_and_starts_nothing(shot):
    shot.load("menu").install()
    shot.swap()
    shot.world.change(shot.node, "faceset", "/faces/other")
    assert shot.status.startswith("Stale")
    assert len(shot.session.submitted) == 1
    shot.world.change(shot.node, "faceset", "")
    assert shot.status == "Done"


def test_older_versions_can_be_shown(shot):
    shot.load("menu").install()
    shot.swap()
    shot.node["faceset"].setValue("/faces/other")
    shot.swap()
    shot.until(lambda: shot.node["version"].values() == ["v002", "v001"])
    shot.world.change(shot.node, "version", "v001")
    shot.until(lambda: "/v001/" in shot.node.node("Result")["file"].value())
    shot.press("update")
    shot.job(2).finish()
    shot.until(lambda: shot.status == "Done")
    assert "/v002/" in shot.node.node("Result")["file"].value(), "the version of what the knobs ask for"


def test_cancel_keeps_the_frames_there_are(shot):
    shot.load("watch").SHOWN_EVERY_S = 0.0
    shot.press("swap_range")
    job = shot.job()
    job.make_frame(1001)
    shot.until(lambda: shot.node["result_last"].value() == 1001)
    shot.press("cancel")
    shot.until(lambda: shot.node["jobs"].value() == "")
    assert job.was_cancelled
    assert shot.node["result_last"].value() == 1001


def test_nukes_own_progress_bar_cancels_too(shot):
    shot.press("swap_range")
    job = shot.job()
    bar = shot.until(lambda: shot.world.bars and shot.world.bars[0])
    bar._cancelled = True
    shot.until(lambda: job.was_cancelled)


def test_a_second_press_is_refused_while_one_runs(shot):
    shot.press("swap_range")
    shot.job()
    shot.until(lambda: shot.node["jobs"].value())
    shot.press("swap_range")
    assert "not finished" in shot.status
    assert len(shot.session.submitted) == 1


def test_a_double_click_is_one_job(shot):
    shot.press("swap_range")
    shot.press("swap_range")
    assert "not finished" in shot.status
    shot.job().finish()
    shot.until(lambda: shot.status == "Done")
    assert len(shot.session.submitted) == 1
    assert shot.node["tile_color"].value() == 0


def test_a_frame_outside_the_plate_is_refused(shot):
    shot.world.frame = 900
    shot.press("swap_frame")
    assert "1001-1010" in shot.status
    assert shot.session.requests == []


def test_one_frame_is_shown_in_its_place(shot):
    shot.world.frame = 1003
    shot.press("swap_frame")
    shot.until(lambda: shot.status == "Done")
    (request,) = shot.session.requests
    assert (request.frame, request.layers) == (1003, ("beauty", "swap", "matte"))
    still = shot.node.node("Still")
    assert still["file"].value() == f"{shot.folder}/dfl_swap/frames/DFL_Swap1_abcdef012345.1003.exr"
    assert os.path.isfile(still["file"].value())
    assert (shot.node["still_shown"].value(), shot.node["still_frame"].value()) == (1, 1003)
    shot.swap()
    assert shot.node["still_shown"].value() == 0


class TestWithoutASharedDisk:
    def test_cancel_and_failure(self, shot):
        shot.node["fetch"].setValue(True)
        shot.press("swap_range")
        shot.session.error = HostError("The rendering process died.", reason="FRAME_WORKER_LOST")
        shot.until(lambda: shot.status.startswith("Failed"))
        shot.session.error = None
        gate = threading.Event()
        merge_frame = shot.session.merge_frame
        shot.session.merge_frame = lambda request: gate.wait(3.0) and merge_frame(request)
        shot.press("swap_range")
        shot.until(lambda: shot.world.bars and "0/4" in shot.status)
        shot.press("cancel")
        gate.set()
        shot.until(lambda: shot.status.startswith("Cancelled"))


def test_faces_are_extracted_into_the_nodes_folder(shot):
    shot.press("extract")
    job = shot.job()
    job.end("SUCCEEDED")
    shot.until(lambda: shot.status == "Done")
    assert shot.node["faceset"].value() == f"{shot.folder}/dfl_swap/faces/DFL_Swap1"


def test_results_and_progress_are_no_steps_to_undo(shot):
    before = list(shot.world.undoable)
    shot.swap()
    assert shot.world.undoable == before
    assert shot.world.undo_off == 0


def test_a_script_that_is_opened_again_finds_its_job(shot):
    shot.load("menu").install()
    shot.press("swap_range")
    job = shot.job()
    shot.until(lambda: shot.node["jobs"].value())
    path = str(shot.folder / "shot.nk")
    shot.world.do_scriptSaveAs(path)
    shot.session.waiting = {job.reference: job}
    shot.node._deleted = True  # the script is closed
    job.make_frame(1001)
    shot.until(lambda: job.is_detached)
    shot.world.do_scriptOpen(path)
    shot.node = shot.world.do_toNode("DFL_Swap1")
    shot.until(lambda: shot.session.attached == [job.reference])
    for frame in (1002, 1003, 1004):
        job.make_frame(frame)
    job.end("SUCCEEDED")
    shot.until(lambda: shot.status == "Done")
    assert shot.node["result_last"].value() == 1004
    assert json.loads(shot.node["result"].value()).keys() == {"main"}


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda shot: shot.node.setInput(0, None), "Connect the plate"),
            (lambda shot: shot.node["model"].setValue(""), "trained model"),
            (lambda shot: shot.world.root["name"].setValue(""), "Save the script"),
            (lambda shot: shot.node["last"].setValue(2000), "1001-2000"),
            (lambda shot: shot.node["views"].setValue("left"), "no view left"),
        ],
        ids=["no plate", "no model", "unsaved script", "frames outside", "unknown view"],
    )
    def test_is_said_at_once_in_a_sentence(self, shot, change, said):
        change(shot)
        shot.press("swap_range")
        assert shot.status.startswith("Failed: ")
        assert said in shot.status
        assert shot.node["tile_color"].value() != 0
        assert shot.world.messages == [], "no dialog"

    def test_no_daemon(self, shot):
        shot.session.error = HostError("No daemon runs.", reason="DAEMON_NOT_RUNNING")
        shot.press("swap_range")
        shot.until(lambda: shot.status.startswith("Not connected"))
        assert shot.world.renders == []
        shot.session.error = None
        shot.swap()
        assert shot.node["tile_color"].value() == 0

    def test_a_folder_that_cannot_be_written(self, shot):
        (shot.folder / "file").write_text("")
        shot.node["folder"].setValue(f"{shot.folder}/file/sub")
        shot.press("swap_range")
        shot.until(lambda: "cannot be written" in shot.status)
        assert shot.session.submitted == []

    def test_a_render_that_is_cancelled_or_fails(self, shot):
        shot.node["use_files"].setValue(False)
        shot.world.render_error = RuntimeError("Cancelled")
        shot.press("swap_range")
        shot.until(lambda: "ancelled" in shot.status)
        shot.world.render_error = RuntimeError("I'm already executing something else")
        shot.press("swap_range")
        shot.until(lambda: "Nuke is rendering" in shot.status)
        assert shot.node.node("PlateWrite")["disable"].value() is True
        assert shot.session.submitted == []

    def test_plates_that_are_not_there_after_all(self, shot):
        shot.node["use_files"].setValue(False)
        written = shot.world.do_execute
        shot.world.api.__dict__["execute"] = lambda node, ranges, views: None
        shot.press("swap_range")
        shot.until(lambda: "wrote no plate" in shot.status)
        assert written is not None

    def test_a_job_that_fails_is_explained_and_reported(self, shot):
        shot.press("swap_range")
        shot.job().fail("NO_FACE_FOUND", "No face was found in frame 1002.")
        shot.until(lambda: shot.status.startswith("Failed"))
        shot.press("report")
        (text,) = shot.world.messages
        assert "14.0v5" in text
        assert "/state/daemon.log" in text
        assert "No face was found in frame 1002" in text
        assert "Traceback" not in text

    @pytest.mark.parametrize(
        ("reason", "said"),
        [
            ("DISK_FULL", "Make room, then press Update: finished frames are kept."),
            ("NOT_WRITABLE", "may not write"),
            ("QUEUE_FULL", "queue is full"),
        ],
    )
    def test_what_goes_wrong_with_the_daemon_is_said_and_frames_stay(self, shot, reason, said):
        shot.press("swap_range")
        job = shot.job()
        job.make_frame(1001)
        job.end("FAILED", HostError("It failed.", reason=reason, details={"path": "/shots"}))
        shot.until(lambda: shot.status.startswith("Failed"))
        assert said in shot.status
        assert shot.world.messages == [], "no dialog"
        shot.session.jobs_made.clear()
        shot.press("update")
        shot.job().finish()
        shot.until(lambda: shot.status == "Done")
        assert "/v001/" in shot.node.node("Result")["file"].value()

    def test_a_read_only_script_folder(self, shot, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        shot.press("swap_range")
        shot.until(lambda: "cannot be written. Choose another folder on the node." in shot.status)
        assert shot.session.submitted == []

    def test_an_error_of_ours_is_no_stack_trace(self, shot):
        shot.session.model = lambda path: 1 / 0
        shot.press("swap_range")
        shot.until(lambda: "error of its own" in shot.status)

    def test_a_node_that_is_deleted_lets_its_job_go_on(self, shot):
        shot.press("swap_range")
        job = shot.job()
        shot.until(lambda: shot.node["jobs"].value())
        shot.world.do_delete(shot.node)
        job.make_frame(1001)
        shot.world.pump()
        for _ in range(200):
            shot.world.pump()
            if job.is_detached:
                break
            threading.Event().wait(0.005)
        assert job.is_detached
        assert not job.was_cancelled
        job.end("SUCCEEDED")

    def test_a_node_that_is_deleted_before_the_daemon_answers_sends_nothing(self, shot):
        gate = threading.Event()
        model = shot.session.model
        shot.session.model = lambda path: gate.wait(3.0) and model(path)
        shot.press("swap_range")
        shot.world.do_delete(shot.node)
        gate.set()
        for _ in range(100):
            shot.world.pump()
            threading.Event().wait(0.002)
        assert shot.session.submitted == []


class TestTerminal:
    def test_a_script_swaps_from_beginning_to_end(self, terminal_shot):
        shot = terminal_shot
        shot.session.finishes = True
        shot.node["use_files"].setValue(False)
        shot.load("scripting").swap_range(shot.node)
        assert shot.node["result_last"].value() == 1004
        assert shot.world.queue == [], "nothing is left for a loop that a terminal has not"
        assert len(shot.world.renders) == 1

    def test_errors_are_raised(self, terminal_shot):
        shot = terminal_shot
        shot.session.error = HostError("No daemon runs.", reason="DAEMON_NOT_RUNNING")
        with pytest.raises(HostError, match="No daemon runs"):
            shot.load("scripting").swap_range(shot.node)
        with pytest.raises(HostError, match="No daemon runs"):
            shot.load("scripting").swap_frame(shot.node, 1001)

    def test_waiting_is_refused_where_there_is_a_window(self, shot):
        with pytest.raises(HostError, match="buttons"):
            shot.load("scripting").swap_range(shot.node)
