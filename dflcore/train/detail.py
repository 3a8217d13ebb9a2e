"""Training of a personal detail enhancer: the loop, readable as the algorithm.

draw sharp faces of one person → cut pieces, make them soft, or take a face model's own painting of them → restore →
compare pixels, structure, edges and texture → Adam; save, preview and report by the clock.

It learns from the person's own faceset, so it needs no foreign weights and invents nobody else's features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.config.detail import DetailTrainSettings
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.detail import enlarge
from dflcore.models.detail_presets import DetailRecipe, load_detail_preset
from dflcore.models.device import resolve_device
from dflcore.progress import LoggedRun, RunControl
from dflcore.train import detail_session
from dflcore.train.clock import StepClock
from dflcore.train.detail_batches import DetailBatches
from dflcore.train.detail_loss import DetailLoss, gain_db
from dflcore.train.detail_preview import compose_detail_preview
from dflcore.train.detail_samples import DetailDecoder, DetailSamples, FacePainter
from dflcore.train.network_steps import NetworkResult, NetworkSteps, train_network
from dflcore.train.optim.build import set_learning_rate

LONGEST_GRADIENT = 1.0
"""Longer ones are shortened: the first faces of a run are far from what is wanted."""
_LOSS_NAMES = ("pixel", "structure")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailResult(NetworkResult):
    """How a run ended; of its losses, ``gain_db`` is how much nearer to the truth the faces came.

    Attributes:
        faces: samples learnt from.
    """

    faces: int


def train_detail(
    settings: DetailTrainSettings, facesets: Sequence[Path], model_path: Path, control: RunControl | None = None
) -> DetailResult:
    """Train a detail enhancer until its budget is used up or somebody asks it to stop. It is saved in every case.

    Args:
        settings: what to do; a model that exists already keeps its own network.
        facesets: folders with sharp faces of one person; those of another face type than the model's are cut anew.
        model_path: the model's folder, created when it does not exist.
        control: receives progress, previews, saves and notices; asked once per step whether to stop.

    Raises:
        InvalidInput: there are no faces, a setting does not fit the model, an authorisation has expired, the folder
            holds a model of another kind, or training diverged; the newest generation on disk is the last good one.
        NotFound: a faceset, the face model or the preset does not exist.
        Conflict: another process trains this model.
        DataCorrupt: the model, the face model or every face is damaged.
        ResourceExhausted: the disk is full; the generations saved before are untouched.
    """
    control = control or LoggedRun()
    device = resolve_device(settings.device)
    with DetailSamples(facesets, settings.sharpest) as samples:
        project, use = settings.authorization_project, settings.authorization_use
        for notice in samples.check_authorizations(project=project, use=use):
            control.emit(notice)
        painter = FacePainter(Path(settings.face_model), device) if settings.face_model.strip() else None
        for notice in [] if painter is None else painter.notices:
            control.emit(notice)
        folder = detail_session.open_or_create_model(settings, Path(model_path), samples.infos[0].face_type, painter)
        with (
            folder.lock(),
            contextlib.closing(DetailSteps(settings, samples, painter, folder, device)) as steps,
        ):
            generation, state = detail_session.resume(folder, control, painter)
            result = train_network(steps, settings, control, generation, state)
            return DetailResult(faces=len(samples.names), **asdict(result))


class DetailSteps(NetworkSteps):
    """What a detail network learns, one step after the other."""

    loss_names: tuple[str, ...] = _LOSS_NAMES
    preview_title = "soft face, restored and truth"
    faces_are_called = "faces"
    batches: DetailBatches

    def __init__(
        self,
        settings: DetailTrainSettings,
        samples: DetailSamples,
        painter: FacePainter | None,
        folder: ModelFolder,
        device: torch.device,
    ) -> None:
        self.settings, self.samples, self.painter = settings, samples, painter
        description = folder.description
        recipe: DetailRecipe = load_detail_preset(description.preset).recipe
        self.scale = int(description.network["scale"])
        decoder = DetailDecoder(samples, description.face_type, description.resolution, self.scale, painter)
        batches = DetailBatches.from_settings(settings, recipe, samples, decoder, self.scale, device)
        super().__init__(settings, recipe, folder, batches, device)
        side = min(recipe.crop_px, description.resolution) * self.scale
        self._loss = DetailLoss(side, settings.texture).to(device)

    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration: draw, restore, compare, learn."""
        set_learning_rate(self.optimizer, rate)
        with clock.measure_data():
            soft, sharp = self.batches.make()
        with clock.measure_compute():
            restored = self._restore(soft)
            losses = self._loss(restored, sharp)
            self.optimizer.zero_grad(set_to_none=True)
            losses[0].backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
            self.optimizer.step()
            with torch.no_grad():
                gain = gain_db(restored.detach(), enlarge(soft, self.scale), sharp)
            return {**dict(zip(_LOSS_NAMES, losses.detach()[1:], strict=True)), "gain_db": gain}

    def _load_network(self, generation: Generation | None) -> nn.Module:
        return detail_session.load_network(self.settings, self.folder, generation)

    def _describe_run(self) -> dict[str, Any]:
        return detail_session.describe_run(self.settings, self.samples, self.painter)

    def _paint_preview(self) -> NDArray[np.uint8] | None:
        soft, sharp = self.batches.preview_faces
        if not len(soft):
            return None
        return compose_detail_preview(enlarge(soft, self.scale), self._restore(soft), sharp)

    def _restore(self, soft: Tensor) -> Tensor:
        with self._in_precision():
            restored: Tensor = self.network(soft)
        return restored.float()
