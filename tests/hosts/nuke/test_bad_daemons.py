"""A real daemon that is not there, old, strange, busy or killed; and a Nuke that is closed while its job runs."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DaemonProcess

from dflhost.plates import FrameSet, Plate

FRAMES = 40


class Scene:
    """A script with a plate, in a Nuke that finds daemons by the studio's variables."""

    def __init__(self, world: Any, load: Callable[[str], Any], folder: Path) -> None:
        self.world, self.load, self.folder = world, load, folder
        plates = folder / "plates"
        plates.mkdir(exist_ok=True)
        for frame in range(1, FRAMES + 1):
            (plates / f"a.{frame:04d}.exr").write_bytes(b"")
        world.root["name"].setValue(str(folder / "shot.nk"))
        read = world.make("Read", {"name": "Read1", "first": 1, "last": FRAMES, "file": f"{plates}/a.%04d.exr"})
        world.selected = read
        self.node = load("group").create()
        self.node["faceset"].setValue(str(folder / "good-faces"))

    @property
    def status(self) -> str:
        return str(self.node["status"].value())

    def press(self, button: str) -> None:
        self.world.press(self.node, f"press_{button}")

    def until(self, look: Callable[[], Any]) -> None:
        end = time.monotonic() + 40.0
        while not look():
            self.world.pump()
            assert time.monotonic() < end, self.status
            time.sleep(0.01)


@pytest.fixture
def scene(start_nuke: Any, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("DFL_ADDRESS", "DFL_TOKEN_FILE", "DFL_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DFL_STATE_DIR", str(tmp_path / "nobody"))
    made = Scene(start_nuke(), load, tmp_path)
    yield made
    load("connection").drop()


def test_no_daemon(scene: Scene) -> None:
    scene.press("extract")
    scene.until(lambda: scene.status == "Not connected: The face swap daemon is not running. Start it, then try again.")
    assert scene.world.messages == []


def test_an_old_daemon(scene: Scene) -> None:
    state = scene.folder / "nobody"
    state.mkdir()
    facts = {"address": "unix:/none", "token_path": "/none", "protocol": "dflproto.v0", "process_identity": ""}
    (state / "session.json").write_text(json.dumps({**facts, "format": 1, "pid": 1}))
    scene.press("extract")
    scene.until(lambda: "older than this integration. Update and restart it." in scene.status)


def test_a_wrong_token(scene: Scene, daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads((daemon.folder / "state" / "session.json").read_text())
    wrong = scene.folder / "token"
    wrong.write_text("of yesterday")
    monkeypatch.setenv("DFL_ADDRESS", facts["address"])
    monkeypatch.setenv("DFL_TOKEN_FILE", str(wrong))
    scene.press("extract")
    scene.until(lambda: "does not accept this workstation's token" in scene.status)
    assert "of yesterday" not in scene.status
    monkeypatch.setenv("DFL_TOKEN_FILE", facts["token_path"])
    scene.press("extract")
    scene.until(lambda: scene.status == "Done")


def test_a_busy_daemon(scene: Scene, own_daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFL_STATE_DIR", own_daemon.host.state_dir)
    with own_daemon.connect() as session:
        long = Plate(f"{scene.folder}/plates/a.####.exr", FrameSet.parse("1-100000"))
        before = session.submit_extract(long, str(scene.folder / "good-others"))
        scene.until(lambda: before.status.state == "RUNNING")
        scene.press("extract")
        scene.until(lambda: scene.status.startswith("Queued"))
        scene.press("cancel")
        scene.until(lambda: scene.status == "Cancelled")
        assert not before.status.is_ended, "nobody else's job is touched"


def test_a_daemon_that_is_killed_in_a_job_goes_on_with_it(
    scene: Scene, own_daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFL_STATE_DIR", own_daemon.host.state_dir)
    scene.press("extract")
    scene.until(lambda: f"/{FRAMES}" in scene.status)
    own_daemon.stop(signal.SIGKILL)
    own_daemon.start()
    scene.until(lambda: scene.status == "Done")


def test_nuke_is_closed_in_a_job_and_finds_it_again(
    scene: Scene, daemon: DaemonProcess, start_nuke: Any, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFL_STATE_DIR", daemon.host.state_dir)
    scene.press("extract")
    scene.until(lambda: scene.node["jobs"].value())
    path = str(scene.folder / "shot.nk")
    scene.world.do_scriptSaveAs(path)
    scene.load("connection").drop()  # Nuke is closed
    again = start_nuke()
    load("menu").install()
    again.do_scriptOpen(path)
    scene.world, scene.node = again, again.do_toNode("DFL_Swap1")
    assert scene.node["jobs"].value()
    scene.until(lambda: scene.status == "Done")
    assert scene.node["jobs"].value() == ""
    done = (scene.folder / "good-faces" / "done.txt").read_text().split()
    assert len(done) == FRAMES, "each frame once"
