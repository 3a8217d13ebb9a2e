"""Training of segmentation networks: the loop, readable as the algorithm.

draw labelled faces → move, cover, relight and spoil them → logits → cross-entropy → Adam; save, preview and report by
the clock. Pretraining draws all faces and asks for their grey picture through the bottleneck alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.config.segment import MaskTrainSettings
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.device import resolve_device
from dflcore.models.segment_presets import SegmentRecipe, load_segment_preset
from dflcore.progress import LoggedRun, RunControl
from dflcore.train import segment_session
from dflcore.train.clock import StepClock
from dflcore.train.losses.reconstruction import Dssim
from dflcore.train.network_steps import NetworkResult, NetworkSteps, train_network
from dflcore.train.optim.build import set_learning_rate
from dflcore.train.segment_batches import MaskBatches
from dflcore.train.segment_preview import compose_mask_preview
from dflcore.train.segment_samples import MaskSamples
from dflcore.weights.store import WeightStore

_LUMA = (0.299, 0.587, 0.114)
_LOSS_NAMES = ("mask", "overlap_error")
_PRETRAIN_LOSS_NAMES = ("structure", "pixel")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterResult(NetworkResult):
    """How a run ended; iterations and seconds count since the model was last pretrained.

    Attributes:
        labelled_faces: samples learnt from.
    """

    labelled_faces: int


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
    device = resolve_device(settings.device)
    recipe = MaskRecipe.parse(settings.masks)
    with MaskSamples(facesets, recipe, with_masks=not settings.pretrain) as samples:
        project, use = settings.authorization_project, settings.authorization_use
        for notice in samples.check_authorizations(project=project, use=use):
            control.emit(notice)
        folder = segment_session.open_or_create_model(settings, Path(model_path), samples.infos[0].face_type)
        with (
            folder.lock(),
            contextlib.closing(MaskSteps(settings, samples, folder, store or WeightStore(), device)) as steps,
        ):
            generation, state = segment_session.resume(settings, folder, control)
            result = train_network(steps, settings, control, generation, state)
            return SegmenterResult(labelled_faces=len(samples.names), **asdict(result))


class MaskSteps(NetworkSteps):
    """What a segmentation network learns, one step after the other."""

    faces_are_called = "labelled faces"
    batches: MaskBatches

    def __init__(
        self,
        settings: MaskTrainSettings,
        samples: MaskSamples,
        folder: ModelFolder,
        store: WeightStore,
        device: torch.device,
    ) -> None:
        description = folder.description
        recipe: SegmentRecipe = load_segment_preset(description.preset).recipe
        batches = MaskBatches.from_settings(
            settings, recipe, samples, description.face_type, description.resolution, device
        )
        super().__init__(settings, recipe, folder, batches, device)
        self.settings, self.samples, self.store = settings, samples, store
        self._loss: nn.Module
        if settings.pretrain:
            self.loss_names, self.preview_title = _PRETRAIN_LOSS_NAMES, "face, its grey copy and both"
            self._loss = GreyLoss(description.resolution)
        else:
            self.loss_names, self.preview_title = _LOSS_NAMES, "face, mask and overlay"
            self._loss = MaskLoss(recipe.overlap_weight)
        self._loss.to(device)

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

    def _load_network(self, generation: Generation | None) -> nn.Module:
        return segment_session.load_network(self.settings, self.folder, self.store, generation, self._notices)

    def _describe_run(self) -> dict[str, Any]:
        return segment_session.describe_run(self.settings, self.samples)

    def _paint_preview(self) -> NDArray[np.uint8] | None:
        faces = self.batches.preview_faces
        return compose_mask_preview(faces, self._logits(faces).sigmoid()) if len(faces) else None

    def _logits(self, faces: Tensor) -> Tensor:
        faces = faces.contiguous(memory_format=torch.channels_last)
        with self._in_precision():
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
