"""Training of segmentation networks: the loop, readable as the algorithm.

draw labelled faces → move, cover, relight and spoil them → logits → cross-entropy → Adam; save, preview and report by
the clock. Pretraining draws all faces and asks for their grey picture through the bottleneck alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.authorization import check_authorization
from dflcore.config.segment import MaskTrainSettings
from dflcore.errors import InvalidInput
from dflcore.io.masks import MaskRecipe
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.device import resolve_autocast, resolve_device
from dflcore.models.segment_presets import SegmentRecipe, load_segment_preset
from dflcore.progress import LoggedRun, Notice, Preview, RunControl, Saved, StopRequest, TrainProgress
from dflcore.train import segment_session, session
from dflcore.train.clock import StepClock, StepTimes
from dflcore.train.losses.reconstruction import Dssim
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.optim.schedule import Schedule
from dflcore.train.preview import write_png
from dflcore.train.segment_batches import MaskBatches
from dflcore.train.segment_preview import compose_mask_preview
from dflcore.train.segment_samples import MaskSamples
from dflcore.train.summary import EventFile
from dflcore.weights.store import WeightStore

PROGRESS_INTERVAL_S = 1.0
PREVIEW_NAME = "preview.png"
FINITE_CHECK_STEPS = 16
"""On a GPU the loss is read back this rarely, so that the host never waits for the card at every step."""
_LUMA = (0.299, 0.587, 0.114)
_LOSS_NAMES = ("mask", "overlap_error")
_PRETRAIN_LOSS_NAMES = ("structure", "pixel")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterResult:
    """How a run ended.

    Attributes:
        iteration, elapsed_s: of the model since it was last pretrained. generation: number of the newest save.
        labelled_faces: samples learnt from.
        losses: means of the last progress event. step_ms, data_ms: means over this run, the second part of the first.
        stopped: what asked the run to leave early, None when its budget was used up.
    """

    iteration: int
    elapsed_s: float
    generation: int
    labelled_faces: int
    losses: dict[str, float]
    step_ms: float
    data_ms: float
    stopped: StopRequest | None


def train_segmenter(
    settings: MaskTrainSettings,
    facesets: Sequence[Path],
    model_path: Path,
    control: RunControl | None = None,
    *,
    store: WeightStore | None = None,
) -> SegmenterResult:
    """Train a segmentation network until its budget is used up or somebody asks it to stop. It is saved in every case.

    Args:
        settings: what to do; a model that exists already keeps its own network.
        facesets: folders with labelled faces; those of another face type than the model's are cut anew.
        model_path: the model's folder, created when it does not exist.
        control: receives progress, previews, saves and notices; asked once per step whether to stop.
        store: where weights to start from are looked for.

    Raises:
        InvalidInput: no face has a mask to learn from, a setting does not fit the model, an authorisation has expired,
            the folder holds a face model, or training diverged; the newest generation on disk is the last good one.
        NotFound: a faceset, or the preset, does not exist.
        Conflict: another process trains this model.
        DataCorrupt: the model, or every labelled face, is damaged.
        ResourceExhausted: the disk is full; the generations saved before are untouched.
    """
    control = control or LoggedRun()
    resolve_device(settings.device)
    recipe = MaskRecipe.parse(settings.masks)
    with MaskSamples(facesets, recipe, with_masks=not settings.pretrain) as samples:
        project, use = settings.authorization_project, settings.authorization_use
        for info in samples.infos:
            for notice in check_authorization(info.authorization, f"the faceset {info.path}", project=project, use=use):
                control.emit(notice)
        folder = segment_session.open_or_create_model(settings, Path(model_path), samples.infos[0].face_type)
        with (
            folder.lock(),
            contextlib.closing(
                SegmentTrainer(settings, samples, folder, control, store=store or WeightStore())
            ) as trainer,
        ):
            return trainer.run()


class SegmentTrainer:
    """One run over one model. Use :func:`train_segmenter`, or step it by hand; the folder's lock must be held."""

    def __init__(
        self,
        settings: MaskTrainSettings,
        samples: MaskSamples,
        folder: ModelFolder,
        control: RunControl,
        *,
        store: WeightStore,
    ) -> None:
        self.settings, self.samples, self.folder, self.control = settings, samples, folder, control
        self.device = resolve_device(settings.device)
        self.autocast = resolve_autocast(settings.precision, self.device)
        self.recipe: SegmentRecipe = load_segment_preset(folder.description.preset).recipe
        self.about = segment_session.describe_run(settings, samples)
        self.network, self.state, saved = segment_session.load_network(settings, folder, control, store)
        self.network.to(self.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        peak = settings.learning_rate or self.recipe.learning_rate
        self.schedule = Schedule(
            peak=peak,
            iterations=settings.iterations,
            seconds=None if settings.minutes is None else settings.minutes * 60.0,
        )
        self.optimizer = build_optimizer(self.network.parameters(), peak, self.recipe.beta2)
        session.restore_optimizer(self.network, self.optimizer, saved)
        resolution = folder.description.resolution
        self.loss: nn.Module = (GreyLoss(resolution) if settings.pretrain else MaskLoss(self.recipe.overlap_weight)).to(
            self.device
        )
        self.batches = MaskBatches.from_settings(
            settings, self.recipe, samples, folder.description.face_type, resolution, self.device
        )
        try:
            if saved and not self.batches.restore(saved):
                message = "The labelled faces changed since the model was last trained; they are drawn in a new order."
                control.emit(Notice(message=message, reason="FACESET_CHANGED", severity="info"))
            self.events = EventFile(folder.events_path, self.state.iteration)
        except BaseException:
            self.batches.close()
            raise
        self._clock = StepClock()
        self._loss_sums = torch.zeros(2, device=self.device)
        self._losses: dict[str, float] = {}

    def run(self) -> SegmenterResult:
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
        """One iteration: draw, segment, compare, learn."""
        rate = self.schedule.rate(self.state.iteration, self.state.elapsed_s)
        set_learning_rate(self.optimizer, rate)
        with self._clock.measure_data():
            faces, masks = self.batches.make()
        with self._clock.measure_compute():
            truth = grey_of(faces) if self.settings.pretrain else masks
            losses = self.loss(self._logits(faces), truth)
            self.optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            self.optimizer.step()
            self._loss_sums += losses.detach()
            self.state.iteration += 1
            if self.device.type == "cpu" or self._clock.steps % FINITE_CHECK_STEPS == 0:
                self._require_finite_losses()

    def save(self) -> None:
        """Write a generation, unless the weights went bad, which raises and keeps the last good one."""
        self._require_finite_losses()
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            raise self._diverged()
        generation = Generation(
            weights=dict(self.network.state_dict()),
            training=session.optimizer_tensors(self.network, self.optimizer) | self.batches.state(),
            history=torch.tensor(self.state.history, dtype=torch.float64).reshape(-1, 4),
            state={"iteration": self.state.iteration, "elapsed_s": self.state.elapsed_s, **self.about},
        )
        saved = self.folder.save(generation, self.settings.keep_generations)
        self.state.generation = saved.number
        self.control.emit(Saved(path=str(self.folder.path), iteration=self.state.iteration, generation=saved.number))

    def write_preview(self) -> None:
        """Replace the preview picture; says nothing when no face can be shown."""
        faces = self.batches.preview_faces
        if not len(faces):
            return
        self.network.eval()
        with torch.no_grad():
            pictures = self._logits(faces).sigmoid()
        self.network.train()
        path = self.folder.previews_path / PREVIEW_NAME
        write_png(path, compose_mask_preview(faces, pictures))
        title = "face, its grey copy and both" if self.settings.pretrain else "face, mask and overlay"
        self.control.emit(Preview(path=str(path), title=title, iteration=self.state.iteration))

    def report(self) -> None:
        """Emit mean losses and times since the last report; keep them in history and event file."""
        for notice in self.batches.take_notices():
            self.control.emit(notice)
        times: StepTimes = self._clock.take_interval()
        if not times.steps:
            return
        self._require_finite_losses()
        first, second = (self._loss_sums / times.steps).tolist()
        self._loss_sums.zero_()
        names = _PRETRAIN_LOSS_NAMES if self.settings.pretrain else _LOSS_NAMES
        self._losses = dict(zip(names, (first, second), strict=True))
        self.state.history.append((self.state.iteration, self.state.elapsed_s, first, second))
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
        """Stop the loader thread and close the event file."""
        self.batches.close()
        self.events.close()

    def _logits(self, faces: Tensor) -> Tensor:
        faces = faces.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits: Tensor = self.network(faces, use_skips=not self.settings.pretrain)
        return logits.float()

    def _require_finite_losses(self) -> None:
        if not bool(self._loss_sums.isfinite().all()):
            raise self._diverged()

    def _diverged(self) -> InvalidInput:
        kept = f"Generation {self.state.generation} on disk is good" if self.state.generation else "Nothing was saved"
        return InvalidInput(
            f"Training of {self.folder.path} diverged at iteration {self.state.iteration}: the loss is not a number. "
            f"{kept}. Go on with a lower learning rate.",
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

    def _result(self, stopped: StopRequest | None) -> SegmenterResult:
        total = self._clock.total
        return SegmenterResult(
            iteration=self.state.iteration,
            elapsed_s=self.state.elapsed_s,
            generation=self.state.generation,
            labelled_faces=len(self.samples.names),
            losses=self._losses,
            step_ms=total.step_ms,
            data_ms=total.data_ms,
            stopped=stopped,
        )


class MaskLoss(nn.Module):
    """Cross-entropy of every pixel, and the share by which mask and truth fail to overlap (soft Dice error).

    Args:
        overlap_weight: what the second counts in training.
    """

    def __init__(self, overlap_weight: float) -> None:
        super().__init__()
        self.overlap_weight = overlap_weight

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(2,): what is differentiated, and the overlap error, detached. Args: (B, 1, R, R); truth in [0, 1]."""
        masks = logits.sigmoid()
        shared = (masks * truth).sum(dim=(1, 2, 3))
        both = masks.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
        overlap_error = (1.0 - (2.0 * shared + 1.0) / (both + 1.0)).mean()
        entropy = F.binary_cross_entropy_with_logits(logits, truth)
        return torch.stack([entropy + self.overlap_weight * overlap_error, overlap_error.detach()])


class GreyLoss(nn.Module):
    """Structural and squared error of a grey picture, as the reference weighs them (deepfacelab fact sheet §6.4)."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.structures = nn.ModuleList(Dssim(resolution, int(resolution / share)) for share in (11.6, 23.2))

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(2,): structure and pixel term, both to be minimised."""
        grey = logits.sigmoid()
        structure = torch.stack([5.0 * dssim(grey, truth) for dssim in self.structures]).sum()
        return torch.stack([structure, 10.0 * (grey - truth).square().mean()])


def grey_of(faces: Tensor) -> Tensor:
    """(B, 3, R, R) → (B, 1, R, R), the luma of sRGB code values."""
    weights = faces.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (faces * weights).sum(dim=1, keepdim=True)
