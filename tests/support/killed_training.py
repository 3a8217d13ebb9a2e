"""Trainings that are killed: a process that has torch loaded forks one life after the other, of a tiny model.

Run as a program it reads orders from its standard input, one JSON object a line, and answers each when that life is
over; :class:`TrainingNursery` is the other end. A life writes what happens into a log as it happens, which a kill
cannot take back.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TARGET_ITERATIONS = 5000
NETWORK = {"resolution": 32, "grid_blocks": 8, "code_dims": 16, "e_dims": 8}
NETWORK |= {"coarse_dims": 16, "middle_dims": 16, "fine_dims": 16}
SETTINGS: dict[str, Any] = {
    "preset": "tiny",
    "iterations": TARGET_ITERATIONS,  # the rate must follow from the iteration, not from the clock
    "batch_size": 2,
    "device": "cpu",
    "seed": 4,
    "gan_power": 0.1,
    "gan_patch_size": 4,
    "gan_dims": 4,
    "true_face_power": 0.01,
    "ema_decay": 0.99,
    "lr_dropout": 0.3,
    "keep_backups": 3,
}
OFTEN: dict[str, float] = {"save_interval_s": 0.03, "preview_interval_s": 0.2, "backup_interval_h": 0.05 / 3600}
"""Beyond what the settings allow, so that many kills strike while something is written."""
DISK_CALLS = ("rename", "replace", "unlink", "fsync", "mkdir", "rmdir", "link")
LONGEST_LIFE_S = 200.0
GENERATION_FILES = ("weights.safetensors", "training.safetensors", "history.safetensors", "state.json", "manifest.json")


@dataclass(frozen=True)
class Order:
    """How to live, and when to die.

    Attributes:
        kill_after_s: seconds after the fork. kill_at_call: the disk operation that is not done any more, from 1.
        stop_at: the iteration after which it is asked to pause instead.
        changes: settings that differ from :data:`SETTINGS`. pace: how often, if other than :data:`OFTEN`.
    """

    model: str
    source: str
    target: str
    log: str
    kill_after_s: float | None = None
    kill_at_call: int | None = None
    stop_at: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    pace: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Life:
    """What a log tells of one life.

    Attributes:
        code: as ``subprocess`` has it; -9 for a kill.
        began_at: the iteration it went on from, None when it died before.
        losses: iteration → loss by name. saved: iterations that were reported as saved. notices: their reasons.
        working_on: what it was doing when it died: starting, stepping, save, back_up or preview.
        leftovers: temporary files there were when it made its first step.
        error: reason and message of the error it ended with.
    """

    code: int
    began_at: int | None
    losses: dict[int, dict[str, float]]
    saved: list[int]
    notices: list[str]
    working_on: str
    leftovers: list[str]
    error: tuple[str, str] | None

    @classmethod
    def read(cls, code: int, log: Path) -> Life:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        doing = ["starting"]
        for line in lines:
            if "doing" in line:
                doing.append(line["doing"])
            elif "done" in line:
                doing.pop()
        of = {key: [line[key] for line in lines if key in line] for key in ("began_at", "saved", "notice", "error")}
        return cls(
            code=code,
            began_at=of["began_at"][0] if of["began_at"] else None,
            losses={line["step"]: line["losses"] for line in lines if "step" in line},
            saved=of["saved"],
            notices=of["notice"],
            working_on=doing[-1],
            leftovers=next((line["leftovers"] for line in lines if "leftovers" in line), []),
            error=tuple(of["error"][0]) if of["error"] else None,
        )


class TrainingNursery:
    """The process that lives are forked from."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._count = 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def live(self, model: Path, source: Path, target: Path, **order: Any) -> Life:
        """One life from its start to its end."""
        self._count += 1
        log = self._folder / f"life {self._count}.jsonl"
        given = asdict(Order(model=str(model), source=str(source), target=str(target), log=str(log), **order))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery died"
        return Life.read(int(answer), log)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def damage_file(path: Path, damage: str) -> None:
    """What a power cut leaves: ``zeroed``, ``cut`` in half, or ``gone``; ``whole`` leaves it alone."""
    data = path.read_bytes()
    path.unlink()  # a backup may share it
    if damage != "gone":
        path.write_bytes({"zeroed": bytes(len(data)), "cut": data[: len(data) // 2], "whole": data}[damage])


def main() -> None:
    _load()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        started = time.monotonic()
        child = os.fork()
        if not child:
            code = 1
            try:
                code = _live(order)
            finally:
                os._exit(code)
        print(_end_of(child, started + (order.kill_after_s or LONGEST_LIFE_S)), flush=True)


def _load() -> None:
    """All that takes long, and starts no thread."""
    import torch.utils.tensorboard.writer  # noqa: F401

    import dflcore.io.faceset
    import dflcore.models.presets
    import dflcore.train.trainer  # noqa: F401


def _end_of(child: int, killed_at: float) -> int:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= killed_at:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.002)


def _live(order: Order) -> int:
    from dflcore.config.train import TrainSettings
    from dflcore.errors import DflError
    from dflcore.io.faceset import Faceset
    from dflcore.train import trainer

    log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def tell(**what: Any) -> None:
        os.write(log, (json.dumps(what) + "\n").encode())

    register_tiny_preset()
    control = _Control(tell, order.stop_at)
    _tell_what_happens(tell, Path(order.model), control)
    if order.kill_at_call is not None:
        _die_at(order.kill_at_call)
    settings = TrainSettings.from_values({**SETTINGS, **order.changes})
    trainer.LoopSettings = functools.partial(_often, {**OFTEN, **order.pace})  # type: ignore[misc,assignment]
    with Faceset.open(Path(order.source)) as source, Faceset.open(Path(order.target)) as target:
        try:
            trainer.train(settings, source, target, Path(order.model), control)
        except DflError as error:
            tell(error=(error.reason, error.message))
            return 2
        except Exception as error:
            tell(error=(type(error).__name__, str(error)))
            raise
    return 0


def _often(pace: Mapping[str, float], **given: Any) -> Any:
    from dflcore.train.loop import LoopSettings

    return LoopSettings(**{**given, **pace})


def register_tiny_preset(set_item: Callable[[dict[str, str], str, str], None] = operator.setitem) -> None:
    """A network that steps in milliseconds, as the preset ``tiny``.

    Args:
        set_item: of pytest's ``monkeypatch``, in a process that does other things afterwards.
    """
    from dflcore.models import registry

    set_item(registry._PRESETS._builtin, "tiny", f"{tiny_preset.__module__}:tiny_preset")


def tiny_preset() -> Any:
    """As the registry wants it."""
    from dflcore.config.network import QuickSettings
    from dflcore.models import presets, registry

    network = QuickSettings.from_values(NETWORK)
    return registry.Preset(help="Tiny.", network=network, build=presets.quick().build, recipe=presets.QUICK_RECIPE)


def _tell_what_happens(tell: Callable[..., None], model: Path, control: _Control) -> None:
    from dflcore.io.atomic import TEMPORARY_MARK
    from dflcore.models.checkpoint import ModelFolder
    from dflcore.train import loop, trainer

    class ToldSteps(trainer.FaceSteps):
        def go_back(self, generation: Any) -> None:
            super().go_back(generation)
            control.iteration = 0 if generation is None else generation.iteration
            tell(began_at=control.iteration)

        def step(self, rate: float, progress: float, clock: Any) -> Any:
            if not control.is_stepping:
                control.is_stepping = True
                tell(leftovers=[str(path) for path in model.rglob(f"*{TEMPORARY_MARK}*")])
                tell(doing="stepping")
            losses = super().step(rate, progress, clock)
            control.iteration += 1
            tell(step=control.iteration, losses={name: float(loss) for name, loss in losses.items()})
            return losses

    def told(name: str, real: Any) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            tell(doing=name)
            try:
                return real(*given, **options)
            finally:
                tell(done=name)

        return call

    trainer.FaceSteps = ToldSteps  # type: ignore[misc]
    for owner, method, name in (
        (ModelFolder, "save", "save"),
        (ModelFolder, "back_up", "back_up"),
        (loop.TrainingLoop, "write_preview", "preview"),
    ):
        setattr(owner, method, told(name, getattr(owner, method)))
    loop.PROGRESS_INTERVAL_S = 0.1


class _Control:
    """Tells what it is told, and asks to pause after an iteration."""

    def __init__(self, tell: Callable[..., None], stop_at: int | None) -> None:
        self._tell, self._stop_at = tell, stop_at
        self.iteration = 0
        self.is_stepping = False

    def emit(self, event: Any) -> None:
        from dflcore.progress import Notice, Saved

        if isinstance(event, Saved):
            self._tell(saved=event.iteration)
        elif isinstance(event, Notice):
            self._tell(notice=event.reason)

    def stop_requested(self) -> Any:
        from dflcore.progress import StopRequest

        return StopRequest.PAUSE if self._stop_at is not None and self.iteration >= self._stop_at else None


def _die_at(calls: int) -> None:
    """Let the n-th disk operation be the one that is not done."""
    left = calls

    def dying(real: Any) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **options)

        return call

    for name in DISK_CALLS:
        setattr(os, name, dying(getattr(os, name)))


if __name__ == "__main__":
    main()
