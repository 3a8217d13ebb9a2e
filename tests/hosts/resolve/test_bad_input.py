"""What goes wrong, in the window: one sentence that says what to do, nothing lost, and it goes on afterwards."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from conftest import DaemonProcess
from pressing import fill, show, wait

from dflhost.errors import HostError
from dflhost.session import connect_task
from dflresolve.app import App
from dflresolve.host import Host

FRAMES = 100
"""Of the pretended extraction, 20 ms each: long enough to be met in the middle."""


@pytest.fixture
def long_clip(world):
    """A clip of many frames, counted from 1."""
    world.item._media = world.media = world.add_media(f"long.[0001-{FRAMES:04d}].exr", FRAMES)
    world.item._offset, world.item._count, world.item._span = 0, FRAMES, FRAMES
    for frame in range(1, FRAMES + 1):
        (world.folder / f"long.{frame:04d}.exr").touch()
    return world


def press(world, tmp_path, *sentences, button="SwapRange"):
    """Press it in a window with the real client; these words come."""

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click(button)
        wait(dispatcher, lambda: all(one in main.items["Notes"].PlainText for one in sentences))
        assert "Traceback" not in main.items["Notes"].PlainText

    return show(world, connect_task, tmp_path, script)


def test_no_daemon(world, tmp_path, monkeypatch):
    monkeypatch.setenv("DFL_STATE_DIR", str(tmp_path / "state"))
    app, _ = press(world, tmp_path, "The face swap daemon is not running. Start it")
    assert app.desk.run.error.reason == "DAEMON_NOT_RUNNING"


def test_an_old_daemon(world, tmp_path, monkeypatch):
    monkeypatch.setenv("DFL_STATE_DIR", str(tmp_path))
    texts = {"address": "unix:/x", "token_path": "/x", "protocol": "dflproto.v0", "process_identity": ""}
    (tmp_path / "session.json").write_text(json.dumps({**texts, "format": 1, "pid": 1}))
    press(world, tmp_path, "older than this integration. Update and restart it.")


def test_a_wrong_token(world, tmp_path, monkeypatch, daemon: DaemonProcess):
    monkeypatch.setenv("DFL_STATE_DIR", daemon.host.state_dir)
    (tmp_path / "token").write_text("x" * 43)
    monkeypatch.setenv("DFL_TOKEN_FILE", str(tmp_path / "token"))
    press(world, tmp_path, "does not accept this workstation's token", "name the right token in the preferences")


def test_a_busy_daemon_says_how_many_go_before(long_clip, tmp_path, monkeypatch, own_daemon: DaemonProcess):
    monkeypatch.setenv("DFL_STATE_DIR", own_daemon.host.state_dir)
    for frame in range(1, 3):
        (tmp_path / f"other.{frame:04d}.exr").touch()
    with own_daemon.connect() as other:
        job = other.submit_extract(str(tmp_path / "other.####.exr"), str(tmp_path / "stall-faces"))

        def script(dispatcher, main):
            fill(main, tmp_path)
            main.click("ExtractFacesTarget")
            wait(dispatcher, lambda: main.items["State"].Text == "Queued (1 ahead)")
            main.click("Cancel")
            wait(dispatcher, lambda: main.items["State"].Text == "Cancelled")

        show(long_clip, connect_task, tmp_path, script)
        job.cancel()


def test_a_daemon_that_is_killed_goes_on_where_it_was(long_clip, tmp_path, monkeypatch, own_daemon: DaemonProcess):
    monkeypatch.setenv("DFL_STATE_DIR", own_daemon.host.state_dir)

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("ExtractFacesTarget")
        wait(dispatcher, lambda: "Extracting" in main.items["State"].Text)
        own_daemon.stop(signal.SIGKILL)
        own_daemon.start()
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Done: Extract Faces"))

    show(long_clip, connect_task, tmp_path, script)
    assert len((tmp_path / "swap" / "long_faces" / "done.txt").read_text().split()) >= FRAMES


def test_resolve_closed_meanwhile_and_opened_again(long_clip, tmp_path, monkeypatch, daemon: DaemonProcess):
    monkeypatch.setenv("DFL_STATE_DIR", daemon.host.state_dir)

    def begin(dispatcher, main):
        fill(main, tmp_path)
        main.click("ExtractFacesTarget")
        wait(dispatcher, lambda: "Extracting" in main.items["State"].Text)

    show(long_clip, connect_task, tmp_path, begin)

    def look(dispatcher, main):
        wait(dispatcher, lambda: main.items["State"].Text == "Done")

    app, _ = show(long_clip, connect_task, tmp_path, look)
    assert app.desk.run.attach
    with daemon.connect() as other:
        assert sum(job.kind == "extract" and job.state == "SUCCEEDED" for job in other.jobs()) == 1


def test_a_full_disk_on_the_other_side(world, session, tmp_path):
    def script(dispatcher, main):
        fill(main, tmp_path)
        session.error = HostError("x", reason="DISK_FULL", category="RESOURCE_EXHAUSTED", details={"frame": "1013"})
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text == "Failed")
        assert "Frame 1013: The disk is full. Make room, then press Update" in main.items["Notes"].PlainText
        session.error = None
        main.click("Update")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))

    show(world, session.connect, tmp_path, script)


def test_frames_outside_the_clip(world, session, tmp_path):
    def script(dispatcher, main):
        fill(main, tmp_path)
        main.items["Frames"].Text = "1000-1012"
        main.click("SwapRange")
        assert "Frames 1000-1010 lie outside" in main.items["Notes"].PlainText
        main.items["Frames"].Text = "soon"
        main.click("SwapRange")
        assert "write for example 1001-1100" in main.items["Notes"].PlainText

    show(world, session.connect, tmp_path, script)
    assert session.submitted == []


def test_a_project_that_was_never_saved_is_not_saved_by_us(world, session, tmp_path):
    world.traps.add("never saved")

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))
        assert "never saved: save it" in main.items["Notes"].PlainText

    show(world, session.connect, tmp_path, script)
    assert "SaveProject" not in world.calls


@pytest.mark.parametrize("plates", [1, 2])
def test_a_folder_that_plates_cannot_be_written_to(world, session, tmp_path, plates):
    (tmp_path / "swap").write_text("no folder")

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.items["Plates"].CurrentIndex, main.items["ColorSpace"].Text = plates, "ACEScg"
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text == "Failed")
        assert "may not write to" in main.items["Notes"].PlainText

    show(world, session.connect, tmp_path, script)
    assert (world.page, session.submitted) == ("edit", [])


def test_a_folder_that_the_daemon_may_not_write_to(world, session, tmp_path):
    def script(dispatcher, main):
        fill(main, tmp_path)
        session.error = HostError("x", reason="NOT_WRITABLE", details={"path": "/shots/swap"})
        main.click("SwapRange")
        wait(dispatcher, lambda: "may not write to /shots/swap. Choose another folder" in main.items["Notes"].PlainText)

    show(world, session.connect, tmp_path, script)
    assert world.item._takes == []


def test_a_training_is_not_forgotten_because_the_daemon_is_away(world, tmp_path, monkeypatch):
    monkeypatch.setenv("DFL_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "resolve.json"
    path.write_text(json.dumps({"training": "job7@3"}))

    def script(dispatcher, main):
        wait(dispatcher, lambda: "not running" in main.items["Notes"].PlainText)

    show(world, connect_task, tmp_path, script)
    assert App(Host(world.resolve), str(Path(path))).preferences.training == "job7@3"
