"""Training of segmentation networks: the loop, readable as the algorithm.

draw labelled faces → move, cover, relight and spoil them → logits → cross-entropy → Adam; save, preview and report by
the clock. Pretraining draws all faces and asks for their grey picture through the bottleneck alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.authorization import check_authorization
from dflcore.config.segment import MaskTrainSettings
from dflcore.io.masks import MaskRecipe
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.device import resolve_autocast, resolve_device
from dflcore.models.segment_presets import SegmentRecipe, load_segment_preset
from dflcore.progress import LoggedRun, Notice, RunControl, StopRequest
from dflcore.train import segment_session, session
from dflcore.train.clock import StepClock
from dflcore.train.loop import LoopSettings, TrainingLoop
from dflcore.train.losses.reconstruction import Dssim
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.optim.schedule import Schedule
from dflcore.train.segment_batches import MaskBatches
from dflcore.train.segment_preview import compose_mask_preview
from dflcore.train.segment_samples import MaskSamples
from dflcore.weights.store import WeightStore

OPEN_END_FACTOR = 0.3
"""Share of the peak rate a run without a budget trains at: it never reaches the cosine's fine end."""
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
        with folder.lock():
            return _train_locked(settings, samples, folder, control, store or WeightStore())


def _train_locked(
    settings: MaskTrainSettings, samples: MaskSamples, folder: ModelFolder, control: RunControl, store: WeightStore
) -> SegmenterResult:
    device = resolve_device(settings.device)
    with contextlib.closing(MaskSteps(settings, samples, folder, store, device)) as steps:
        generation, state = segment_session.resume(settings, folder, control)
        steps.go_back(generation)
        schedule = Schedule(
            peak=settings.learning_rate or steps.recipe.learning_rate,
            iterations=settings.iterations,
            seconds=None if settings.minutes is None else settings.minutes * 60.0,
            open_end_factor=OPEN_END_FACTOR,
        )
        pace = LoopSettings(
            save_interval_s=settings.save_interval_s,
            preview_interval_s=settings.preview_interval_s,
            keep_generations=settings.keep_generations,
        )
        with contextlib.closing(
            TrainingLoop(steps, folder, control, schedule, generation, state, pace, device)
        ) as loop:
            stopped = loop.run()
            return SegmenterResult(
                iteration=state.iteration,
                elapsed_s=state.elapsed_s,
                generation=state.generation,
                labelled_faces=len(samples.names),
                losses=loop.losses,
                step_ms=loop.step_times.step_ms,
                data_ms=loop.step_times.data_ms,
                stopped=stopped,
            )


class MaskSteps:
    """What a segmentation network learns, one step after the other."""

    def __init__(
        self,
        settings: MaskTrainSettings,
        samples: MaskSamples,
        folder: ModelFolder,
        store: WeightStore,
        device: torch.device,
    ) -> None:
        self.settings, self.samples, self.folder, self.store, self.device = settings, samples, folder, store, device
        self.loss_names: tuple[str, ...] = _PRETRAIN_LOSS_NAMES if settings.pretrain else _LOSS_NAMES
        self.preview_title = "face, its grey copy and both" if settings.pretrain else "face, mask and overlay"
        self.recipe: SegmentRecipe = load_segment_preset(folder.description.preset).recipe
        self._autocast = resolve_autocast(settings.precision, device)
        self._notices: list[Notice] = []
        resolution = folder.description.resolution
        self._loss: nn.Module = GreyLoss(resolution) if settings.pretrain else MaskLoss(self.recipe.overlap_weight)
        self._loss.to(device)
        self.batches = MaskBatches.from_settings(
            settings, self.recipe, samples, folder.description.face_type, resolution, device
        )

    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration: draw, segment, compare, learn."""
        set_learning_rate(self.optimizer, rate)
        with clock.measure_data():
            faces, masks = self.batches.make()
        with clock.measure_compute():
            truth = grey_of(faces) if self.settings.pretrain else masks
            losses = self._loss(self._logits(faces), truth)
            self.optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            self.optimizer.step()
            return dict(zip(self.loss_names, losses.detach(), strict=True))

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        training = session.optimizer_tensors("optimizer", self.network, self.optimizer) | self.batches.state()
        return dict(self.network.state_dict()), training, segment_session.describe_run(self.settings, self.samples)

    def preview(self) -> NDArray[np.uint8] | None:
        faces = self.batches.preview_faces
        if not len(faces):
            return None
        self.network.eval()
        with torch.no_grad():
            pictures = self._logits(faces).sigmoid()
        self.network.train()
        return compose_mask_preview(faces, pictures)

    def take_notices(self) -> list[Notice]:
        notices, self._notices = self._notices, []
        return notices + self.batches.take_notices()

    def go_back(self, generation: Generation | None) -> None:
        """Weights, optimiser and random state of a generation; a new network's without one."""
        training = {} if generation is None else generation.training
        self.network = segment_session.load_network(self.settings, self.folder, self.store, generation, self._notices)
        self.network.to(self.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(
            self.network.parameters(), self.settings.learning_rate or self.recipe.learning_rate, self.recipe.beta2
        )
        session.restore_optimizer("optimizer", self.network, self.optimizer, training)
        if training and not self.batches.restore(training):
            message = "The labelled faces changed since the model was last trained; they are drawn in a new order."
            self._notices.append(Notice(message=message, reason="FACESET_CHANGED", severity="info"))

    def close(self) -> None:
        self.batches.close()

    def _logits(self, faces: Tensor) -> Tensor:
        faces = faces.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None):
            logits: Tensor = self.network(faces, use_skips=not self.settings.pretrain)
        return logits.float()


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
