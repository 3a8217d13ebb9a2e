"""The real frame worker, which misbehaves where a request names a model folder that begins with ``pretend-``.

What it does is the rest of the folder's name; it makes a file ``begun`` there first. Frames are then rendered with the
folder ``model`` beside it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfldaemon import frame_worker, worker

PREFIX = "pretend-"
SLOW_S = 20.0
HELD_S = 30.0


class Frames:
    """What stands in for :class:`dflcore.merge.frame.WarmFrames`."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.files = real.files

    def render(self, request: Any, check: Callable[[], None]) -> Any:
        behaviour = request.model.name
        if not behaviour.startswith(PREFIX):
            return self._real.render(request, check)
        (request.model / "begun").touch()
        misbehave(behaviour.removeprefix(PREFIX), request.model, check)
        return self._real.render(replace(request, model=request.model.with_name("model")), check)


def misbehave(behaviour: str, folder: Path, check: Callable[[], None]) -> None:
    if behaviour == "slow":  # as many small steps
        end = time.monotonic() + SLOW_S
        while time.monotonic() < end:
            check()
            time.sleep(0.01)
    elif behaviour == "late":  # as one step that cannot be interrupted
        time.sleep(1.0)
    elif behaviour == "held":  # likewise, until it is let go
        end = time.monotonic() + HELD_S
        while not (folder / "let_go").exists() and time.monotonic() < end:
            time.sleep(0.01)
    elif behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behaviour == "bug":
        raise ZeroDivisionError("division by zero")
    elif behaviour == "memory":
        raise MemoryError
    elif behaviour == "exit":
        os._exit(3)


open_real = frame_worker._open_frames

if __name__ == "__main__":
    frame_worker._open_frames = lambda *arguments: Frames(open_real(*arguments))
    worker.leave(frame_worker.main())
