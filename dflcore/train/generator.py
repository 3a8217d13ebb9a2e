"""What the face model minimises: the network and all its losses as one module, so that it can be wrapped as one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dflcore.config.train import TrainSettings
from dflcore.models.face_model import FaceModel, Painted
from dflcore.models.registry import Recipe
from dflcore.train.batches import SideBatch
from dflcore.train.losses.reconstruction import ReconstructionLoss


class Generator(nn.Module):
    """Batches → losses.

    Args:
        settings: resolved, see :func:`dflcore.train.plan.resolve_settings`.
        autocast: the network's arithmetic, None for float32; losses are always float32.

    Attributes:
        painted: what the last call painted, in float32, for the critics to learn from.
    """

    painted: dict[str, Painted]

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
        self.painted = {}

    def forward(self, batches: Mapping[str, SideBatch]) -> dict[str, Tensor]:
        """Scalars to be added up and minimised; those named after a person judge the run."""
        self.painted = painted = self._paint(batches)
        return {
            name: self.reconstruction(one.face, one.mask, batches[name].face, batches[name].mask).total
            for name, one in painted.items()
        }

    def _paint(self, batches: Mapping[str, SideBatch]) -> dict[str, Painted]:
        device_type = next(iter(batches.values())).seen.device.type
        with torch.autocast(device_type, dtype=self._autocast, enabled=self._autocast is not None):
            painted = self.model.reconstruct({name: batch.seen for name, batch in batches.items()})
        return {name: Painted(*(tensor.float() for tensor in one)) for name, one in painted.items()}
