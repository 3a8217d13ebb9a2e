"""The real worker process with a pretended pipeline, so that tests need neither torch nor plates.

What it does is the name of the faceset folder up to the first dash; ``frames`` says how often. It writes finished
frames to ``done.txt`` there, and a later run goes on after them, as the real pipelines do.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import NotFound
from dflcore.progress import FrameProgress, Notice, RunControl, Saved, StopRequest
from dfldaemon import worker
from dfldaemon.jobs import Work

FRAME_S = 0.02


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@dataclass(frozen=True)
class Outcome:
    stopped: StopRequest | None
    facts: dict[str, str]


def run_work(work: Work, control: RunControl, weights: object) -> Outcome:
    folder = Path(work.paths["faceset"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid.txt").write_text(str(os.getpid()))
    with (folder / "attempts.txt").open("a") as file:
        file.write("run\n")
    attempt = len((folder / "attempts.txt").read_text().split())
    behaviour = folder.name.partition("-")[0]
    print("third parties print where they like", flush=True)
    total = int(work.frames.rpartition("-")[2] or 5)
    done = _done(folder)
    for frame in range(done + 1, total + 1):
        if behaviour != "stubborn" and (request := control.stop_requested()):
            return Outcome(request, {})
        if frame == done + 3:
            misbehave(behaviour, attempt, control)
        with (folder / "done.txt").open("a") as file:
            file.write(f"{frame}\n")
        control.emit(FrameProgress(done=frame, total=total, frame=frame, faces=1))
        if behaviour == "weak" and frame < 8:
            control.emit(Saved(path=str(folder), iteration=frame, generation=frame))
        time.sleep(0 if behaviour == "chatty" else FRAME_S)
    return Outcome(None, {"frames": str(total)})


def misbehave(behaviour: str, attempt: int, control: RunControl) -> None:
    """In the middle of the third frame of a run."""
    if behaviour in ("killed", "weak") or (behaviour == "killedonce" and attempt == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behaviour == "mute":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif behaviour == "stall":
        time.sleep(60)
    elif behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    elif behaviour == "garbage":
        descriptor = next(arg.rpartition("=")[2] for arg in sys.argv if arg.startswith("--channel"))
        os.write(int(descriptor), b"this is not JSON\n")
        time.sleep(60)
    elif behaviour == "exit":
        os._exit(3)
    elif behaviour == "memory":
        raise MemoryError
    elif behaviour == "gpumemory":
        raise OutOfMemoryError("CUDA out of memory")
    elif behaviour == "missing" and attempt == 1:
        raise NotFound("There is no such frame.", reason="FRAME_NOT_FOUND", frame=3, path="/plates/a.0003.exr")
    elif behaviour == "bug":
        raise ZeroDivisionError("division by zero")
    elif behaviour == "notice":
        control.emit(Notice(message="Frame 3 shows no face.", reason="NO_FACE_FOUND", details={"frame": "3"}))


def _done(folder: Path) -> int:
    path = folder / "done.txt"
    return len(path.read_text().split()) if path.exists() else 0


if __name__ == "__main__":
    pretended = types.ModuleType("dfldaemon.worker_jobs")
    pretended.run_work = run_work  # type: ignore[attr-defined]
    sys.modules["dfldaemon.worker_jobs"] = pretended
    worker.leave(worker.main())
