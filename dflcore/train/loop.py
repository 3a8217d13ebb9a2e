"""What every training does around its steps: the clock, reports, previews, saves, backups, and the way back from
numbers that went bad. Face models and segmentation networks are trained by the same loop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.errors import DflError, Internal, InvalidInput
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.progress import Notice, Preview, RunControl, Saved, StopRequest, TrainProgress
from dflcore.train.clock import StepClock, StepTimes
from dflcore.train.optim.schedule import Schedule
from dflcore.train.parallel.group import AloneGroup, TrainingGroup
from dflcore.train.preview import write_png
from dflcore.train.summary import EventFile

PROGRESS_INTERVAL_S = 1.0
PREVIEW_NAME = "preview.png"
FINITE_CHECK_STEPS = 16
"""On a GPU the loss is read back this rarely, so that the host never waits for the card at every step."""
MOST_HISTORY = 20_000
"""Rows of the curves that are kept."""
ROLLBACK_FACTOR = 0.5
"""What is left of the learning rate after numbers went bad."""


class Diverged(Exception):
    """A loss or a weight is not a number."""


@dataclass(slots=True)
class TrainingState:
    """Counters and curves of one model's whole life.

    Attributes:
        iteration: finished steps. elapsed_s: seconds spent training.
        history: rows of iteration, seconds and the losses by which the run is judged.
        generation: number of the newest save, 0 before the first.
        rate_factor: share of the learning rate left after divergences.
        backup_s: seconds of training at the last backup.
    """

    iteration: int = 0
    elapsed_s: float = 0.0
    history: list[tuple[float, ...]] = field(default_factory=list)
    generation: int = 0
    rate_factor: float = 1.0
    backup_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How often the loop does what; names as in the settings of training."""

    save_interval_s: float
    preview_interval_s: float
    keep_generations: int
    backup_interval_h: float = 0.0
    keep_backups: int = 24
    preview_history: int = 0


class Steps(Protocol):
    """What is trained, one step after the other."""

    loss_names: tuple[str, ...]
    """Of the losses by which the run is judged, the columns of the history."""
    preview_title: str

    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration. Returns detached scalars by name: those of ``loss_names`` and any others worth a curve."""

    def networks(self) -> tuple[nn.Module, ...]:
        """All that must hold finite numbers when it is saved."""

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        """Weights, training state and JSON facts of a generation."""

    def preview(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB, None when there is nothing to show."""

    def take_notices(self) -> list[Notice]:
        """What a person should know since the last call."""

    def go_back(self, generation: Generation | None) -> None:
        """Take weights, optimiser and random state from a generation; None starts anew."""

    def close(self) -> None:
        """Stop loader threads."""


class TrainingLoop:
    """Steps until the budget is used up or a stop is asked for; saves in every case.

    Args:
        steps: what is trained. folder: its model folder; the lock must be held.
        start: the generation the steps began from, None for a new model. state: its counters, continued in place.
        group: processes that train together, each with a loop of its own; the lead's clock and control count, and it
            alone writes and reports.
    """

    def __init__(
        self,
        steps: Steps,
        folder: ModelFolder,
        control: RunControl,
        schedule: Schedule,
        start: Generation | None,
        state: TrainingState,
        settings: LoopSettings,
        device: torch.device,
        group: TrainingGroup | None = None,
    ) -> None:
        self.steps, self.folder, self.control = steps, folder, control
        self.state, self.settings, self.device = state, settings, device
        self.group: TrainingGroup = group or AloneGroup()
        self._full_schedule = schedule
        self.clock = StepClock()
        self.losses: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._start: tuple[Generation | None, TrainingState] | None = (start, replace(state, history=[*state.history]))
        """Where to go back to while nothing has been saved; let go of then, as it holds all weights."""
        self._has_gone_back = False
        self._not_written: set[str] = set()
        self._first_iteration = state.iteration
        self._started = 0.0
        self.events = EventFile(folder.events_path, state.iteration) if self.group.is_lead else None

    @property
    def schedule(self) -> Schedule:
        return self._full_schedule.lowered(self.state.rate_factor)

    def run(self) -> StopRequest | None:
        """Returns what asked the run to leave early, None when its budget was used up.

        Raises:
            InvalidInput: training diverged twice; the newest generation on disk is the last good one.
            ResourceExhausted: the disk is full; the generations saved before are untouched.
        """
        self._started = time.monotonic() - self.state.elapsed_s
        due = _Due(self.settings)
        while True:
            order = self._agree(due)
            if order.is_over or order.stop is not None:
                break
            try:
                self.step()
                self._work_that_is_due(order, due)
            except Diverged:
                self._go_back_once()
        stopped = order.stop
        if self.state.iteration > self._first_iteration:
            self._finish()
        elif not stopped:
            self._tell_budget_was_used()
        return stopped

    def step(self) -> None:
        """One iteration."""
        schedule, state = self.schedule, self.state
        rate = schedule.rate(state.iteration, state.elapsed_s)
        losses = self.steps.step(rate, schedule.progress(state.iteration, state.elapsed_s), self.clock)
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        state.iteration += 1
        if self._started:
            state.elapsed_s = time.monotonic() - self._started
        if self.device.type == "cpu" or self.clock.steps % FINITE_CHECK_STEPS == 0:
            self._require_finite_losses()

    def save(self) -> None:
        """Write a generation, unless numbers went bad.

        Raises:
            Diverged: a loss or a weight is not a number; nothing was written.
        """
        self._require_finite_losses()
        for network in self.steps.networks():
            if not self.group.is_same(network):
                raise Internal(
                    "The processes that train together no longer have the same weights; nothing was saved. Go on from "
                    "the last save with one process, and please report it.",
                    reason="WEIGHTS_PARTED",
                    path=self.folder.path,
                )
            if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
                raise Diverged
        state = self.state
        last_backup_s, interval_s = state.backup_s, self.settings.backup_interval_h * 3600.0
        is_backup_due = bool(interval_s) and state.elapsed_s - last_backup_s >= interval_s
        if is_backup_due:
            state.backup_s = state.elapsed_s  # saved with what is backed up: a kill makes no further backup due
        weights, training, facts = self.steps.tensors()
        width = 2 + len(self.steps.loss_names)
        counters = {
            "iteration": state.iteration,
            "elapsed_s": state.elapsed_s,
            "rate_factor": state.rate_factor,
            "backup_s": state.backup_s,
            "loss_names": list(self.steps.loss_names),
        }
        generation = Generation(
            weights=weights,
            training=training,
            history=torch.tensor(state.history, dtype=torch.float64).reshape(-1, width),
            state={**counters, **facts},
        )
        if not self.group.is_lead:
            state.generation = self.group.agree(0)
            self._start = None
            return
        saved = self.folder.save(generation, self.settings.keep_generations)
        state.generation = self.group.agree(saved.number)
        self._start = None
        self.control.emit(Saved(path=str(self.folder.path), iteration=state.iteration, generation=saved.number))
        if is_backup_due and not self._back_up():
            state.backup_s = last_backup_s  # the next save tries again

    def write_preview(self, *, keep: bool = False) -> None:
        """Replace the preview picture; says nothing when there is nothing to show, and once that it cannot be written.

        Args:
            keep: also leave a copy of it in the time-lapse.
        """
        picture = self.steps.preview() if self.group.is_lead else None
        if picture is None:
            return
        path = self.folder.previews_path / PREVIEW_NAME
        with self._worth_a_notice("preview"):
            write_png(path, picture)
            if keep:
                write_png(self.folder.previews_path / "history" / f"{self.state.iteration:08d}.png", picture)
            self.control.emit(Preview(path=str(path), title=self.steps.preview_title, iteration=self.state.iteration))

    def report(self) -> None:
        """Emit mean losses and times since the last report; keep them in history and event file.

        Raises:
            Diverged: a loss is not a number.
        """
        for notice in self.steps.take_notices():
            self.control.emit(notice)
        times = self.clock.take_interval()
        if not times.steps:
            return
        self._require_finite_losses()
        state, schedule = self.state, self.schedule
        means = self.group.mean(torch.stack([total.float() for total in self._sums.values()]) / times.steps)
        self.losses = dict(zip(self._sums, means.tolist(), strict=True))
        self._sums.clear()
        row = (self.losses[name] for name in self.steps.loss_names)
        state.history.append((state.iteration, state.elapsed_s, *row))
        if len(state.history) >= MOST_HISTORY:  # what is long ago needs no row for every second
            state.history[: MOST_HISTORY // 2] = state.history[: MOST_HISTORY // 2 : 2]
        progress = TrainProgress(
            iteration=state.iteration,
            target_iterations=schedule.iterations,
            elapsed_s=state.elapsed_s,
            target_s=schedule.seconds,
            losses=self.losses,
            step_ms=times.step_ms,
            data_ms=times.data_ms,
            learning_rate=schedule.rate(state.iteration, state.elapsed_s),
        )
        if self.events is not None:
            with self._worth_a_notice("loss curve"):
                self.events.add(progress)
            self.control.emit(progress)

    @property
    def step_times(self) -> StepTimes:
        """Sums over all steps of this run."""
        return self.clock.total

    def close(self) -> None:
        """Close the event file."""
        if self.events is not None:
            self.events.close()

    def _agree(self, due: _Due) -> _Order:
        """What the lead says is to be done next, and what time it is."""
        state, keeps, now = self.state, self.settings.preview_history, time.monotonic()
        stop = self.control.stop_requested() if self.group.is_lead else None
        keeps_preview = bool(keeps) and (state.iteration + 1) % keeps == 0
        wishes = [
            int(self.schedule.is_over(state.iteration, state.elapsed_s)),
            0 if stop is None else 1 + _STOPS.index(stop),
            int(now >= due.progress),
            int(now >= due.preview or keeps_preview),
            int(now >= due.save),
            int(state.elapsed_s * 1e6),
        ]
        is_over, stop_number, reports, previews, saves, elapsed_us = self.group.agree_all(wishes)
        if self.group.world > 1:  # the lead too: one clock, to the last digit, or rates and weights part
            state.elapsed_s = elapsed_us / 1e6
        return _Order(
            is_over=bool(is_over),
            stop=_STOPS[stop_number - 1] if stop_number and not is_over else None,
            reports=bool(reports),
            previews=bool(previews),
            keeps_preview=keeps_preview,
            saves=bool(saves),
        )

    def _work_that_is_due(self, order: _Order, due: _Due) -> None:
        if order.reports:
            self.report()
            due.progress = time.monotonic() + PROGRESS_INTERVAL_S
        if order.previews:
            self.write_preview(keep=order.keeps_preview)
            due.preview = time.monotonic() + self.settings.preview_interval_s
        if order.saves:
            self.save()
            due.save = time.monotonic() + self.settings.save_interval_s

    def _back_up(self) -> bool:
        with self._worth_a_notice("backup"):
            backup = self.folder.back_up(self.settings.keep_backups)
            message = f"Iteration {self.state.iteration} was backed up to {backup}."
            self.control.emit(Notice(message=message, reason="BACKED_UP", severity="info"))
            return True
        return False

    @contextlib.contextmanager
    def _worth_a_notice(self, what: str) -> Iterator[None]:
        """What training can do without never ends it; a person is told once until it works again."""
        try:
            yield
        except (DflError, OSError) as error:
            if what not in self._not_written:
                self._not_written.add(what)
                text = error.message if isinstance(error, DflError) else f"{error.filename}: {error.strerror}."
                message = f"A {what} was not written; training goes on, and saves. {text}"
                self.control.emit(Notice(message=message, reason=f"{what.replace(' ', '_').upper()}_NOT_WRITTEN"))
        else:
            self._not_written.discard(what)

    def _finish(self) -> None:
        try:
            self.report()
            self.save()
        except Diverged:
            raise self._explained() from None
        self.write_preview()

    def _require_finite_losses(self) -> None:
        if not self._sums:
            return
        sums = self.group.mean(torch.stack([total.float() for total in self._sums.values()]))
        if not bool(sums.isfinite().all()):
            raise Diverged

    def _go_back_once(self) -> None:
        """To the newest generation on disk, with a lower rate; the second time is the end."""
        if self._has_gone_back:
            raise self._explained() from None
        self._has_gone_back = True
        bad = self.state.iteration
        if self._start is not None:
            start, good = self._start
        else:
            start, notices = self.folder.load()
            for notice in notices:
                self.control.emit(notice)
            good = TrainingState() if start is None else state_of(start)
        self.steps.go_back(start)
        self._sums.clear()
        self.clock.take_interval()
        factor = self.state.rate_factor * ROLLBACK_FACTOR
        for name in ("iteration", "history", "generation", "backup_s"):  # lost time was spent all the same
            setattr(self.state, name, getattr(good, name))
        self.state.rate_factor = factor
        self._first_iteration = min(self._first_iteration, self.state.iteration)
        message = (
            f"Training of {self.folder.path} diverged at iteration {bad}: it goes on from iteration "
            f"{self.state.iteration}, the last good one, at {100 * factor:.0f} % of the learning rate."
        )
        self.control.emit(Notice(message=message, reason="ROLLED_BACK", details={"iteration": str(bad)}))

    def _explained(self) -> InvalidInput:
        state = self.state
        kept = f"Generation {state.generation} on disk is good" if state.generation else "Nothing was saved"
        again = " again, after going back once with a lower rate" if self._has_gone_back else ""
        return InvalidInput(
            f"Training of {self.folder.path} diverged at iteration {state.iteration}{again}: the loss is not a "
            f"number. {kept}. Go on with a lower learning_rate, with clip_gradients 1, or without style and GAN "
            "powers; look for damaged faces in the facesets.",
            reason="TRAINING_DIVERGED",
            path=self.folder.path,
            field="learning_rate",
        )

    def _tell_budget_was_used(self) -> None:
        message = (
            f"The model {self.folder.path} has had its {self.state.iteration} iterations "
            f"({self.state.elapsed_s / 60:.1f} min) already; raise iterations or minutes to go on."
        )
        self.control.emit(Notice(message=message, reason="BUDGET_USED", severity="info"))


_STOPS = tuple(StopRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the lead wants done: end, or stop, or one more step and then these."""

    is_over: bool
    stop: StopRequest | None
    reports: bool
    previews: bool
    keeps_preview: bool
    saves: bool


class _Due:
    """When what is done by the clock is due next, on the monotonic clock."""

    def __init__(self, settings: LoopSettings) -> None:
        now = time.monotonic()
        self.progress = now + PROGRESS_INTERVAL_S
        self.preview = now
        self.save = now + settings.save_interval_s


def state_of(generation: Generation) -> TrainingState:
    """Counters and curves as they were saved."""
    facts = generation.state
    return TrainingState(
        iteration=generation.iteration,
        elapsed_s=float(facts["elapsed_s"]),
        history=[tuple(row) for row in generation.history.tolist()],
        generation=generation.number,
        rate_factor=float(facts.get("rate_factor", 1.0)),
        backup_s=float(facts.get("backup_s", 0.0)),
    )
