"""Requests for single frames to a real daemon whose frame worker pretends where a model's folder says so."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from dflcore.errors import DflError
from dfldaemon.client import DaemonClient, session_endpoint
from dfldaemon.client_frames import FramePicture
from dfldaemon.frame_folders import FALLBACK_NAME, MEMORY_FOLDER
from dflproto.v1 import merge_service_pb2 as wire
from frame_shot import FrameShot, make_frame_shot

BEHAVIOURS = ("slow", "late", "held", "killed", "crash", "bug", "memory", "exit")
"""Of the pretending frame worker."""


def make_pretending_shot(folder: Path) -> FrameShot:
    """A shot with model folders for every behaviour."""
    made = make_frame_shot(folder)
    for behaviour in BEHAVIOURS:
        (made.folder / f"pretend-{behaviour}").mkdir()
    return made


def pretend(shot: FrameShot, behaviour: str, **fields: Any) -> wire.MergeFrameRequest:
    request: wire.MergeFrameRequest = shot.request(model_path=str(shot.folder / f"pretend-{behaviour}"), **fields)
    return request


def frame_workers(daemon: Any) -> list[int]:
    """Processes of a daemon that render frames."""
    found = []
    for child in psutil.Process(daemon.process.pid).children():
        with contextlib.suppress(psutil.Error):
            if any("fake_frame_worker" in part for part in child.cmdline()):
                found.append(child.pid)
    return found


def folders_of(daemon: Any) -> list[Path]:
    """Where a daemon's pixels wait, as far as the folders are there."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(daemon.state_dir))).hexdigest()[:12]
    folders = (daemon.state_dir / FALLBACK_NAME, MEMORY_FOLDER / f"dfl-{os.geteuid()}-{digest}")
    return [folder for folder in folders if folder.is_dir()]


def pixel_files(daemon: Any) -> set[Path]:
    """What lies in those folders."""
    return {path for folder in folders_of(daemon) for path in folder.iterdir()}


class Asking(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, daemon: Any, request: wire.MergeFrameRequest, deadline_s: float = 60.0) -> None:
        super().__init__(daemon=True)
        self._endpoint = lambda: session_endpoint(daemon.state_dir)
        self._request = request
        self._deadline_s = deadline_s
        self.picture: FramePicture | None = None
        self.error: DflError | None = None
        self.ended = 0.0
        self.start()

    def run(self) -> None:
        with DaemonClient(self._endpoint) as client:
            try:
                self.picture = client.merge_frame(self._request, deadline_s=self._deadline_s)
            except DflError as error:
                self.error = error
        self.ended = time.monotonic()

    def end(self, limit_s: float = 60.0) -> Asking:
        self.join(limit_s)
        assert not self.is_alive(), "the call does not end"
        return self


def wait_until_begun(shot: FrameShot, behaviour: str) -> None:
    """Until the process is at a pretended request; call :func:`forget_begun` before it is made."""
    end = time.monotonic() + 30.0
    while not (shot.folder / f"pretend-{behaviour}" / "begun").exists():
        assert time.monotonic() < end, "the request does not reach the process"
        time.sleep(0.01)


def forget_begun(shot: FrameShot, behaviour: str) -> None:
    (shot.folder / f"pretend-{behaviour}" / "begun").unlink(missing_ok=True)


def begun(shot: FrameShot, daemon: Any, behaviour: str, **fields: Any) -> Asking:
    """A request that the process is at."""
    forget_begun(shot, behaviour)
    asking = Asking(daemon, pretend(shot, behaviour, **fields))
    wait_until_begun(shot, behaviour)
    return asking
