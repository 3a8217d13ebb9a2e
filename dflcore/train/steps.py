"""One training step of a face model, readable as the algorithm.

draw a batch of each person → encode all through the shared part → paint each with their own decoder →
masked DSSIM + MSE + mask error and what else was asked for → optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.config.train import TrainSettings
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.device import resolve_autocast
from dflcore.models.face_model import SOURCE, TARGET, FaceModel, Painted
from dflcore.models.registry import Recipe
from dflcore.progress import Notice
from dflcore.train import session
from dflcore.train.batches import BatchMakers, SideBatch
from dflcore.train.clock import StepClock
from dflcore.train.dataset import TrainingFaces
from dflcore.train.losses.reconstruction import ReconstructionLoss
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.preview import compose_preview

PREVIEW_ROWS = 4


class GeneratorLoss(nn.Module):
    """What the face model minimises: the network and its losses in one module, so that it can be wrapped as one."""

    def __init__(
        self,
        model: FaceModel,
        settings: TrainSettings,
        recipe: Recipe,
        *,
        autocast: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.reconstruction = ReconstructionLoss(
            model.resolution, masked=settings.masked_training, edge_weight=recipe.edge_weight
        )
        self._autocast = autocast

    def forward(self, batches: Mapping[str, SideBatch]) -> dict[str, Tensor]:
        """Scalars to be added up and minimised; those named after a person judge the run."""
        painted = self._paint(batches)
        return {
            name: self.reconstruction(one.face, one.mask, batches[name].face, batches[name].mask).total
            for name, one in painted.items()
        }

    def _paint(self, batches: Mapping[str, SideBatch]) -> dict[str, Painted]:
        device_type = next(iter(batches.values())).seen.device.type
        with torch.autocast(device_type, dtype=self._autocast, enabled=self._autocast is not None):
            painted = self.model.reconstruct({name: batch.seen for name, batch in batches.items()})
        return {name: Painted(*(tensor.float() for tensor in one)) for name, one in painted.items()}


class FaceSteps:
    """What a face model learns, one step after the other; see :class:`dflcore.train.loop.Steps`.

    Nothing can be stepped before :meth:`go_back` has said where to begin.
    """

    preview_title = "source, target, swap and its mask"

    def __init__(
        self,
        settings: TrainSettings,
        recipe: Recipe,
        faces: Mapping[str, TrainingFaces],
        folder: ModelFolder,
        device: torch.device,
    ) -> None:
        self.settings, self.recipe, self.folder, self.device = settings, recipe, folder, device
        self.loss_names = tuple(faces)
        self._about = session.describe_run(settings, session.infos_of(faces.items()))
        self._notices: list[Notice] = []
        self.batches = BatchMakers.from_settings(
            settings,
            recipe,
            faces[SOURCE],
            faces[TARGET],
            face_type=folder.description.face_type,
            resolution=folder.description.resolution,
            device=device,
        )

    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration: draw, paint, compare, learn."""
        set_learning_rate(self.optimizer, rate)
        with clock.measure_data():
            warp = progress < self.recipe.warp_share
            batches = {SOURCE: self.batches.source.make(warp=warp), TARGET: self.batches.target.make(warp=warp)}
        with clock.measure_compute():
            losses: dict[str, Tensor] = self.generator(batches)
            self.optimizer.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            return {name: loss.detach() for name, loss in losses.items()}

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.model,)

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        training = session.optimizer_tensors("optimizer", self.model, self.optimizer)
        for side, maker in (("source", self.batches.source), ("target", self.batches.target)):
            training |= {f"batches.{side}.{name}": tensor for name, tensor in maker.state().items()}
        return dict(self.model.state_dict()), training, {"pretrain": self.settings.pretrain, **self._about}

    def preview(self) -> NDArray[np.uint8] | None:
        source = self.batches.source.preview_faces(PREVIEW_ROWS)
        target = self.batches.target.preview_faces(PREVIEW_ROWS)
        if not len(source) or not len(target):
            return None
        self.model.eval()
        picture = compose_preview(self.model, source, target)
        self.model.train()
        return picture

    def take_notices(self) -> list[Notice]:
        notices, self._notices = self._notices, []
        return notices + self.batches.source.take_notices() + self.batches.target.take_notices()

    def go_back(self, generation: Generation | None) -> None:
        """Weights, optimiser and random state of a generation; a new network's without one."""
        self.model = session.new_network(self.folder.description, self.settings.seed)
        training: dict[str, Tensor] = {}
        if generation is not None:
            training = generation.training
            session.put_weights(self.model, generation, self.folder.path)
        self.model.to(self.device).train()
        self.generator = GeneratorLoss(
            self.model, self.settings, self.recipe, autocast=resolve_autocast(self.settings.precision, self.device)
        ).to(self.device)
        peak = self.settings.learning_rate or self.recipe.learning_rate
        self.optimizer = build_optimizer(self.model.parameters(), peak, self.recipe.beta2)
        session.restore_optimizer("optimizer", self.model, self.optimizer, training)
        if training and not self._restore_batches(training):
            message = "A faceset changed since the model was last trained; its faces are drawn in a new order."
            self._notices.append(Notice(message=message, reason="FACESET_CHANGED", severity="info"))

    def close(self) -> None:
        self.batches.close()

    def _restore_batches(self, training: Mapping[str, Tensor]) -> bool:
        """False when a faceset changed, which then starts in a new order."""
        kept = True
        for side, maker in (("source", self.batches.source), ("target", self.batches.target)):
            prefix = f"batches.{side}."
            state = {name[len(prefix) :]: t for name, t in training.items() if name.startswith(prefix)}
            kept = bool(state) and maker.restore(state) and kept
        return kept
