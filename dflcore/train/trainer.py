"""Training: the loop, readable as the algorithm.

draw a batch of each side → encode both through the shared part → paint each with its own decoder →
masked DSSIM + MSE + mask error → Adam; save, preview and report by the clock.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dflcore.authorization import check_authorization
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dflcore.models.checkpoint import ModelFolder
from dflcore.models.device import resolve_autocast, resolve_device
from dflcore.models.face_model import SOURCE, TARGET, Painted
from dflcore.models.registry import load_preset
from dflcore.progress import LoggedRun, Notice, Preview, RunControl, Saved, StopRequest, TrainProgress
from dflcore.train import session
from dflcore.train.batches import BatchMakers, SideBatch
from dflcore.train.clock import StepClock, StepTimes
from dflcore.train.dataset import TrainingFaces
from dflcore.train.losses.reconstruction import ReconstructionLoss
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.optim.schedule import Schedule
from dflcore.train.preview import compose_preview, write_png
from dflcore.train.summary import EventFile

PROGRESS_INTERVAL_S = 1.0
PREVIEW_ROWS = 4
PREVIEW_NAME = "preview.png"
FINITE_CHECK_STEPS = 16
"""On a GPU the loss is read back this rarely, so that the host never waits for the card at every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        iteration, elapsed_s: of the model's whole life. generation: number of the newest save.
        losses: means of the last progress event. step_ms, data_ms: means over this run, the second part of the first.
        stopped: what asked the run to leave early, None when its budget was used up.
    """

    iteration: int
    elapsed_s: float
    generation: int
    losses: dict[str, float]
    step_ms: float
    data_ms: float
    stopped: StopRequest | None


def train(
    settings: TrainSettings,
    source: TrainingFaces,
    target: TrainingFaces,
    model_path: Path,
    control: RunControl | None = None,
) -> TrainResult:
    """Train a model until its budget is used up or somebody asks it to stop. It is saved in every case.

    Args:
        settings: what to do; a model that exists already keeps its own network.
        source, target: open facesets: the identity to put on, and the performer.
        model_path: the model's folder, created when it does not exist.
        control: receives progress, previews, saves and notices; asked once per step whether to stop.

    Raises:
        InvalidInput: a faceset is empty, its authorisation has expired, a setting does not fit the model, or
            training diverged; the newest generation on disk is the last good one.
        Conflict: another process trains this model.
        DataCorrupt: the model, or every face of a side, is damaged.
        ResourceExhausted: the disk is full; the generations saved before are untouched.
    """
    control = control or LoggedRun()
    resolve_device(settings.device)
    for side, faces in (("source", source), ("target", target)):
        project, use = settings.authorization_project, settings.authorization_use
        subject = f"the {side} faceset {faces.info.path}"
        for notice in check_authorization(faces.info.authorization, subject, project=project, use=use):
            control.emit(notice)
    facesets = {"source": source.info, "target": target.info}
    if not ModelFolder.exists(Path(model_path)):  # nothing may be left behind of a model that cannot be trained
        session.check_face_types(settings.face_type or source.info.face_type, facesets)
    folder = session.open_or_create_model(settings, Path(model_path), source.info.face_type)
    session.check_face_types(folder.description.face_type, facesets)
    with folder.lock(), contextlib.closing(Trainer(settings, source, target, folder, control)) as trainer:
        return trainer.run()


class Trainer:
    """One run over one model. Use :func:`train`, or step it by hand in a benchmark; the folder's lock must be held."""

    def __init__(
        self,
        settings: TrainSettings,
        source: TrainingFaces,
        target: TrainingFaces,
        folder: ModelFolder,
        control: RunControl,
    ) -> None:
        self.settings, self.folder, self.control = settings, folder, control
        self.device = resolve_device(settings.device)
        self.autocast = resolve_autocast(settings.precision, self.device)
        recipe = load_preset(folder.description.preset).recipe
        self._warp_share = recipe.warp_share
        self.about = session.describe_run(settings, source, target)
        self.model = session.new_network(folder.description, settings.seed)
        self.state, saved = session.load_training(folder, self.model, control)
        self.model.to(self.device).train()
        peak = settings.learning_rate or recipe.learning_rate
        self.schedule = Schedule(
            peak=peak,
            iterations=settings.iterations,
            seconds=None if settings.minutes is None else settings.minutes * 60.0,
        )
        self.optimizer = build_optimizer(self.model.parameters(), peak, recipe.beta2)
        session.restore_optimizer(self.model, self.optimizer, saved)
        self.loss = ReconstructionLoss(
            folder.description.resolution, masked=settings.masked_training, edge_weight=recipe.edge_weight
        ).to(self.device)
        self.batches = BatchMakers.from_settings(
            settings,
            recipe,
            source,
            target,
            face_type=folder.description.face_type,
            resolution=folder.description.resolution,
            device=self.device,
        )
        try:
            self._resume_batches(saved)
            self.events = EventFile(folder.events_path, self.state.iteration)
        except BaseException:
            self.batches.close()
            raise
        self._clock = StepClock()
        self._loss_sums = torch.zeros(2, device=self.device)
        self._losses: dict[str, float] = {}

    def run(self) -> TrainResult:
        """Step until the budget is used up or a stop is asked for; then save."""
        started = time.monotonic() - self.state.elapsed_s
        first_iteration = self.state.iteration
        next_save = time.monotonic() + self.settings.save_interval_s
        next_preview = time.monotonic()
        next_progress = time.monotonic() + PROGRESS_INTERVAL_S
        stopped: StopRequest | None = None
        while not self.schedule.is_over(self.state.iteration, self.state.elapsed_s):
            stopped = self.control.stop_requested()
            if stopped:
                break
            self.step()
            now = time.monotonic()
            self.state.elapsed_s = now - started
            if now >= next_progress:
                self.report()
                next_progress = time.monotonic() + PROGRESS_INTERVAL_S
            if now >= next_preview:
                self.write_preview()
                next_preview = time.monotonic() + self.settings.preview_interval_s
            if now >= next_save:
                self.save()
                next_save = time.monotonic() + self.settings.save_interval_s
        if self.state.iteration > first_iteration:
            self.report()
            self.write_preview()
            self.save()
        elif not stopped:
            self._tell_budget_was_used()
        return self._result(stopped)

    def step(self) -> None:
        """One iteration: draw, paint, compare, learn."""
        rate = self.schedule.rate(self.state.iteration, self.state.elapsed_s)
        set_learning_rate(self.optimizer, rate)
        with self._clock.measure_data():
            warp = self.schedule.progress(self.state.iteration, self.state.elapsed_s) < self._warp_share
            source, target = self.batches.source.make(warp=warp), self.batches.target.make(warp=warp)
        with self._clock.measure_compute():
            losses = self._losses_of(self._reconstruct(source, target), source, target)
            self.optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self._loss_sums += losses.detach()
            self.state.iteration += 1
            if self.device.type == "cpu" or self._clock.steps % FINITE_CHECK_STEPS == 0:
                self._require_finite_losses()

    def save(self) -> None:
        """Write a generation, unless the weights went bad, which raises and keeps the last good one."""
        self._require_finite_losses()
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise self._diverged()
        saved = session.save_training(
            self.folder,
            self.model,
            self.optimizer,
            self.batches,
            self.state,
            self.about,
            self.settings.keep_generations,
        )
        self.control.emit(Saved(path=str(self.folder.path), iteration=self.state.iteration, generation=saved.number))

    def write_preview(self) -> None:
        """Replace the preview picture; says nothing when no face of a side can be shown."""
        source = self.batches.source.preview_faces(PREVIEW_ROWS)
        target = self.batches.target.preview_faces(PREVIEW_ROWS)
        if not len(source) or not len(target):
            return
        self.model.eval()
        path = self.folder.previews_path / PREVIEW_NAME
        write_png(path, compose_preview(self.model, source, target))
        self.model.train()
        self.control.emit(Preview(path=str(path), title="source, target and swap", iteration=self.state.iteration))

    def report(self) -> None:
        """Emit mean losses and times since the last report; keep them in history and event file."""
        for notice in self.batches.source.take_notices() + self.batches.target.take_notices():
            self.control.emit(notice)
        times = self._clock.take_interval()
        if not times.steps:
            return
        self._require_finite_losses()
        source, target = (self._loss_sums / times.steps).tolist()
        self._loss_sums.zero_()
        self._losses = {"source": source, "target": target}
        self.state.history.append((self.state.iteration, self.state.elapsed_s, source, target))
        progress = TrainProgress(
            iteration=self.state.iteration,
            target_iterations=self.schedule.iterations,
            elapsed_s=self.state.elapsed_s,
            target_s=self.schedule.seconds,
            losses=self._losses,
            step_ms=times.step_ms,
            data_ms=times.data_ms,
            learning_rate=self.schedule.rate(self.state.iteration, self.state.elapsed_s),
        )
        self.events.add(progress)
        self.control.emit(progress)

    @property
    def step_times(self) -> StepTimes:
        """Sums over all steps of this run, for benchmarks."""
        return self._clock.total

    def close(self) -> None:
        """Stop loader threads and close the event file."""
        self.batches.close()
        self.events.close()

    def _reconstruct(self, source: SideBatch, target: SideBatch) -> dict[str, Painted]:
        enabled = self.autocast is not None
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=enabled):
            painted = self.model.reconstruct({SOURCE: source.seen, TARGET: target.seen})
        return {name: Painted(*(tensor.float() for tensor in one)) for name, one in painted.items()}

    def _losses_of(self, painted: dict[str, Painted], source: SideBatch, target: SideBatch) -> Tensor:
        """(2,): source and target loss."""
        of_source = self.loss(painted[SOURCE].face, painted[SOURCE].mask, source.face, source.mask)
        of_target = self.loss(painted[TARGET].face, painted[TARGET].mask, target.face, target.mask)
        return torch.stack([of_source.total, of_target.total])

    def _resume_batches(self, saved: dict[str, Tensor]) -> None:
        if saved and not session.restore_batches(self.batches, saved):
            message = "A faceset changed since the model was last trained; its faces are drawn in a new order."
            self.control.emit(Notice(message=message, reason="FACESET_CHANGED", severity="info"))

    def _require_finite_losses(self) -> None:
        if not bool(self._loss_sums.isfinite().all()):
            raise self._diverged()

    def _diverged(self) -> InvalidInput:
        kept = f"Generation {self.state.generation} on disk is good" if self.state.generation else "Nothing was saved"
        return InvalidInput(
            f"Training of {self.folder.path} diverged at iteration {self.state.iteration}: the loss is not a number. "
            f"{kept}. Go on with a lower learning rate, or look for damaged faces in the facesets.",
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

    def _result(self, stopped: StopRequest | None) -> TrainResult:
        total = self._clock.total
        return TrainResult(
            iteration=self.state.iteration,
            elapsed_s=self.state.elapsed_s,
            generation=self.state.generation,
            losses=self._losses,
            step_ms=total.step_ms,
            data_ms=total.data_ms,
            stopped=stopped,
        )
