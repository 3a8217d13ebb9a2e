"""What the face model minimises: the network and all its losses as one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from dflcore.config.train import TrainSettings
from dflcore.models.face_model import TARGET, FaceModel, Painted
from dflcore.models.registry import Recipe
from dflcore.train.batches import SideBatch
from dflcore.train.losses.reconstruction import ReconstructionLoss
from dflcore.train.losses.style import BackgroundStyle, FaceStyle
from dflcore.train.losses.targets import BlurOut
from dflcore.tuning.arithmetic import Arithmetic


class Generator(nn.Module):
    """Batches → losses.

    Args:
        settings: resolved, see :func:`dflcore.train.plan.resolve_settings`.
        arithmetic: of the network; losses are always computed in float32.

    Attributes:
        painted: what the last call painted, in float32, for the critics to judge and to learn from.
        targets: the batches of the last call, as they were to be painted.
    """

    painted: dict[str, Painted]
    targets: dict[str, SideBatch]

    def __init__(self, model: FaceModel, settings: TrainSettings, recipe: Recipe, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.model = model
        self._arithmetic = arithmetic
        side = model.resolution

        def reconstruction(background_weight: float = 0.0) -> ReconstructionLoss:
            return ReconstructionLoss(
                side,
                masked=settings.masked_training,
                edge_weight=recipe.edge_weight,
                two_windows=recipe.two_windows,
                background_weight=background_weight,
            )

        self.of_sources = reconstruction()
        self.of_target = reconstruction(recipe.background_weight)
        self.blur_out = BlurOut(side) if settings.blur_out_mask else None
        self.face_style = FaceStyle(side, settings.face_style_power) if settings.face_style_power else None
        power = settings.background_style_power
        self.background_style = BackgroundStyle(side, power) if power else None
        self.painted, self.targets = {}, {}
        self._reconstruct: Callable[[Mapping[str, Tensor]], dict[str, Painted]] = model.reconstruct

    def compile_network(self, mode: str) -> None:
        """Compile the painting, before the first step; losses stay as they are.

        Args:
            mode: see :func:`torch.compile`.
        """
        self._reconstruct = torch.compile(self.model.reconstruct, mode=mode)

    def forward(self, batches: Mapping[str, SideBatch]) -> dict[str, Tensor]:
        """Scalars to be added up and minimised; those named after a person judge the run."""
        self.targets = {name: self._to_be_painted(batch) for name, batch in batches.items()}
        self.painted = painted = self._paint(batches)
        losses: dict[str, Tensor] = {}
        for name, one in painted.items():
            wanted = self.targets[name]
            loss = self.of_target if name == TARGET else self.of_sources
            losses[name] = loss(one.face, one.mask, wanted.face, wanted.mask, wanted.priority).total
        return losses | self._styles(painted)

    def _to_be_painted(self, batch: SideBatch) -> SideBatch:
        if self.blur_out is None:
            return batch
        return replace(batch, face=self.blur_out(batch.face, batch.mask))

    def _paint(self, batches: Mapping[str, SideBatch]) -> dict[str, Painted]:
        form = self._arithmetic.memory_format
        seen = {name: batch.seen.contiguous(memory_format=form) for name, batch in batches.items()}
        with self._autocast(next(iter(seen.values()))):
            painted = self._reconstruct(seen)
        return {name: Painted(*(tensor.float() for tensor in one)) for name, one in painted.items()}

    def _styles(self, painted: Mapping[str, Painted]) -> dict[str, Tensor]:
        """What the swap should take over from the target."""
        losses: dict[str, Tensor] = {}
        target, wanted = painted[TARGET], self.targets[TARGET]
        if self.face_style is not None:
            face, mask = self._paint_swap(target.code.detach())
            losses["face_style"] = self.face_style(face, mask, target.face, target.mask)
        if self.background_style is not None:
            face, mask = self._paint_swap(target.code)
            losses["background_style"] = self.background_style(face, mask, wanted.face, target.mask)
        return losses

    def _paint_swap(self, code: Tensor) -> tuple[Tensor, Tensor]:
        with self._autocast(code):
            face, mask = self.model.paint_swap(code)
        return face.float(), mask.float()

    def _autocast(self, like: Tensor) -> torch.autocast:
        dtype = self._arithmetic.autocast
        return torch.autocast(like.device.type, dtype=dtype, enabled=dtype is not None)
