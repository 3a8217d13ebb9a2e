# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips that do not show their files as they are, rendered by a second Blender in the background.

This Blender only saves a copy of its file; its window stays free. Frames appear in a folder beside the results, which
gets its name once it is whole, and which is found again as long as the strip does not change.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from ._dflhost.errors import HostError
from ._dflhost.events import CANCELLED, FAILED, RUNNING, SUCCEEDED, FramesDone, StateChanged
from ._dflhost.feed import Feed, JobStatus
from ._dflhost.plates import FrameSet, frame_path
from ._dflhost.session import DaemonSession
from ._dflhost.tasks import Task
from .desk import Facts, Step, StepJob

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "render_strip.py")
RENDERED = "FACE SWAP FRAME "
LAST_LINES = 8
Told = Callable[[int], None]
Started = Callable[["subprocess.Popen[str]"], None]


@dataclass(frozen=True)
class StripRender:
    """What the second Blender is told.

    Attributes:
        file: the copy to open; removed afterwards. scene, strip: names in it.
        pattern: files to be made, in a folder of their own. frames: scene frames.
    """

    file: str
    scene: str
    strip: str
    pattern: str
    frames: FrameSet

    def make(
        self,
        told: Told = lambda count: None,
        is_stopped: Callable[[], bool] = lambda: False,
        started: Started = lambda process: None,
    ) -> None:
        """Render and wait.

        Args:
            told: how many frames are done. is_stopped: asked with each line that it says. started: gets the process.

        Raises:
            HostError: it did not work (``PLATE_NOT_RENDERED``) or was stopped (``RENDER_STOPPED``).
        """
        folder, name = os.path.split(self.pattern)
        unfinished = f"{folder}.part"
        pattern = os.path.join(unfinished, name)
        shutil.rmtree(unfinished, ignore_errors=True)
        order = {
            "file": self.file,
            "scene": self.scene,
            "strip": self.strip,
            "pattern": pattern,
            "first": self.frames.frames[0],
            "last": self.frames.frames[-1],
        }
        try:
            os.makedirs(unfinished)
            lines = self._run(order, told, is_stopped, started)
            made = [frame for frame in self.frames if os.path.isfile(frame_path(pattern, frame))]
            if len(made) != len(self.frames):
                raise _not_rendered(f'"{self.strip}": {_reason(lines)}', lines)
            os.rename(unfinished, folder)
        except OSError as error:
            raise _not_rendered(f"{folder}: {error.strerror}", []) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.remove(self.file)

    def _run(self, order: dict[str, Any], told: Told, is_stopped: Callable[[], bool], started: Started) -> list[str]:
        """The last lines it said."""
        program = bpy.app.binary_path
        begin = [program, "--background", "--factory-startup", "--python"] if program else [sys.executable]
        end = ["--"] if program else []
        process = subprocess.Popen(
            [*begin, SCRIPT, *end, json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        lines: list[str] = []
        count = 0
        started(process)
        with process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines = [*lines, line.strip()][-LAST_LINES:]
                    if line.startswith(RENDERED):
                        count += 1
                        told(count)
                    if is_stopped():
                        break
            finally:
                process.kill()
        if is_stopped():
            raise HostError("Rendering was stopped.", reason="RENDER_STOPPED", category="CANCELLED")
        return lines


@dataclass(frozen=True)
class _Status(JobStatus):
    @property
    def text(self) -> str:
        """As a job's, in its own words."""
        return f"Rendering plate {self.done}/{self.total}" if self.state == RUNNING else super().text


class PlateRender(Feed):
    """Looks to the desk like a job, but lives here: closing Blender ends it."""

    kind = "plate"
    id = reference = ""

    def __init__(self, render: StripRender) -> None:
        super().__init__(_Status(self.kind, "", RUNNING, total=len(render.frames)))
        self._render, self._is_stopped = render, False
        self._process: subprocess.Popen[str] | None = None
        self._task = Task(self._work, "dfl-plate")

    def cancel(self) -> None:
        """End the second Blender."""
        self._is_stopped = True
        if self._process is not None:
            self._process.kill()

    def detach(self) -> None:
        """As :meth:`cancel`."""
        self.cancel()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread."""
        self._task.join(timeout_s)

    def _work(self) -> None:
        total = len(self._render.frames)
        try:
            self._render.make(
                lambda count: self._put(FramesDone(count, total)), lambda: self._is_stopped, self._set_process
            )
            self._put(StateChanged(SUCCEEDED))
        except HostError as error:
            is_ours = error.reason == "RENDER_STOPPED"
            self._put(StateChanged(CANCELLED) if is_ours else StateChanged(FAILED, error))
        except Exception as error:  # the edge of the thread
            problem = HostError(f"The extension met an error of its own: {error}.", reason="UNEXPECTED_ERROR")
            self._put(StateChanged(FAILED, problem))
        finally:
            self._be_quiet()

    def _set_process(self, process: subprocess.Popen[str]) -> None:
        self._process = process


def render_of(scene: Any, strip_name: str, pattern: str, frames: FrameSet) -> StripRender:
    """Save a copy of this file for the second Blender. Raises HostError."""
    path = os.path.join(bpy.app.tempdir, f"face_swap_{uuid.uuid4().hex}.blend")
    try:
        bpy.ops.wm.save_as_mainfile(filepath=path, copy=True, check_existing=False)
    except RuntimeError as error:
        raise _not_rendered(str(error).strip(), []) from error
    return StripRender(path, scene.name, strip_name, pattern, frames)


def steps(scene: Any, facts: Facts) -> list[Step]:
    """Render the plate of these facts where it must be and is not there yet. Raises HostError."""
    if not facts.get("render") or os.path.isdir(os.path.dirname(facts["plate"])):
        return []
    render = render_of(scene, facts["item"], facts["plate"], FrameSet.parse(facts["frames"]))

    def step(_session: DaemonSession, _facts: Facts) -> StepJob:
        return PlateRender(render)

    return [step]


def frame_of(scene: Any, facts: Facts, frame: int) -> StripRender | None:
    """The same for a single frame, in the temporary folder; None where the plate is there. Changes the facts."""
    if not facts.get("render") or os.path.isdir(os.path.dirname(facts["plate"])):
        return None
    name = os.path.basename(facts["plate"])
    facts["plate"] = os.path.join(bpy.app.tempdir, f"face_swap_{uuid.uuid4().hex}", name)
    return render_of(scene, facts["item"], facts["plate"], FrameSet.of([frame]))


def _reason(lines: list[str]) -> str:
    said = [line for line in lines if "rror" in line]
    return said[-1] if said else "Blender ended before all frames were there"


def _not_rendered(what: str, lines: list[str]) -> HostError:
    return HostError(
        f"The plate could not be rendered: {what}. Render the strip to an image sequence yourself and swap that.",
        reason="PLATE_NOT_RENDERED",
        category="UNSUPPORTED",
        details={"said": " | ".join(lines)} if lines else {},
    )
