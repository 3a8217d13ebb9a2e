"""Daemons that are old, busy, killed, full, or another user's: one sentence that a person understands, and no hang."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DaemonProcess, wait_until

from dflhost.plates import FrameSet, Plate

pytestmark = pytest.mark.slow
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def facts(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Of a daemon and a case; the plate has two files that nobody looks into."""
    for number in (1, 2, 3, 4, 5):
        (tmp_path / f"plate.{number:04d}.exr").write_bytes(b"x" * 4096)

    def make(daemon: DaemonProcess, case: str) -> dict[str, Any]:
        nothing = {"model": "", "faces": "", "output": tmp_path / "out"}
        plate = tmp_path / "plate.####.exr"
        return {"state": daemon.folder / "state", "plate": plate, "folder": tmp_path, "case": case, **nothing}

    return make


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("old", "The face swap daemon is older than this integration."),
        ("token", "The daemon does not accept this workstation's token."),
    ],
)
def test_a_daemon_that_cannot_be_used_is_told(
    run_in_bpy: Run, facts: Callable[..., dict[str, Any]], daemon: DaemonProcess, case: str, words: str
) -> None:
    assert words in run_in_bpy("bad_daemon", **facts(daemon, case))["told"]


def test_a_full_queue_and_a_busy_faceset_are_told(
    run_in_bpy: Run, facts: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    busy = DaemonProcess(tmp_path / "busy", max_queued=1).start()
    try:
        with busy.connect() as session:
            plate = Plate(str(tmp_path / "plate.####.exr"), FrameSet.span(1, 5))
            jobs = []
            for name in ("stall-1", "stall-2", "stall-3"):
                jobs.append(session.submit_extract(plate, str(tmp_path / name)))
                job = jobs[-1]
                wait_until(lambda job=job: job.status.state != "SENDING")
                if job.status.state == "FAILED":
                    break
            said = run_in_bpy("bad_daemon", **facts(busy, "busy"))
    finally:
        busy.stop(signal.SIGKILL)
    assert said["outcome"] == "FAILED"
    assert "The daemon's queue is full. Try again later." in said["told"]


def test_a_daemon_that_is_killed_is_waited_for_and_its_job_goes_on(
    run_in_bpy: Run, facts: Callable[..., dict[str, Any]], own_daemon: DaemonProcess, tmp_path: Path
) -> None:
    def kill() -> None:
        wait_until((tmp_path / "kill it").exists, 60.0)
        own_daemon.stop(signal.SIGKILL)
        own_daemon.start()

    killer = threading.Thread(target=kill)
    killer.start()
    said = run_in_bpy("bad_daemon", **facts(own_daemon, "killed"))
    killer.join()
    assert (said["told"], said["outcome"]) == ("", "SUCCEEDED")
    assert any(text.startswith("Extracting") for text in said["texts"])


def test_a_daemon_without_room_for_what_is_sent_is_told(
    run_in_bpy: Run, facts: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    full = DaemonProcess(tmp_path / "full", inbox_gb=0.000001).start()
    try:
        said = run_in_bpy("bad_daemon", **facts(full, "full"))
    finally:
        full.stop()
    assert said["outcome"] == "FAILED"
    assert said["told"].startswith("The daemon has no room for the files.")
