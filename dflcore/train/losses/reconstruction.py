"""What training minimises: masked structural dissimilarity, masked squared error, mask error, and what may join them.

Source: paper arXiv:2005.05535, §3.2 (DSSIM + MSE); window sizes, weights and mask blur as measured facts of
DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.train.losses.dssim import Dssim as Dssim
from dflcore.train.losses.filters import GaussianBlur, widen
from dflcore.train.losses.smoothness import SMOOTHNESS_WEIGHT, smoothness

STRUCTURE_WEIGHT = 10.0
PIXEL_WEIGHT = 10.0
MASK_WEIGHT = 10.0
PRIORITY_WEIGHT = 300.0
"""Of the mean absolute error in eyes and mouth, whose pixels are few."""
SECOND_WINDOW_FROM_PX = 256
"""From this resolution on the structure term is the mean of two window sizes."""


class MaskBlur(nn.Module):
    """Grow a mask outward softly: 2 min(Gauss(mask), 0.5), so that it stays 1 inside.

    Args:
        resolution: side in pixels; sigma is max(1, resolution // 32).
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.blur = GaussianBlur(resolution, float(max(1, resolution // 32)))

    def forward(self, mask: Tensor) -> Tensor:
        """Args: mask: (B, 1, R, R) in [0, 1]. Returns the same shape in [0, 1]."""
        grown: Tensor = 2 * self.blur(mask).clamp(max=0.5)
        return grown


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Scalars of one side, 0 for what is switched off; ``total`` is what is differentiated."""

    structure: Tensor
    pixel: Tensor
    mask: Tensor
    edge: Tensor
    priority: Tensor
    background: Tensor

    @property
    def total(self) -> Tensor:
        return self.structure + self.pixel + self.mask + self.edge + self.priority + self.background


class ReconstructionLoss(nn.Module):
    """The loss of one person, computed in float32 inside autocast too.

    Means over the batch, where the reference adds up: the same direction, a gradient shorter by the batch size, and
    halves of a batch average to the loss of the whole.

    Args:
        resolution: side of the pictures in pixels.
        masked: compare inside the softly grown mask only.
        edge_weight: weight of the mean absolute difference of neighbouring-pixel steps; 0 leaves it out.
        two_windows: compare structure with two window sizes below 256 px too.
        background_weight: of the squared error outside the mask, with a little smoothing, while ``masked``; AMP's
            target has 0.1. 0 leaves what is outside to chance.
    """

    def __init__(
        self,
        resolution: int,
        *,
        masked: bool,
        edge_weight: float = 0.0,
        two_windows: bool = False,
        background_weight: float = 0.0,
    ) -> None:
        super().__init__()
        windows = [int(resolution / 11.6)]
        if two_windows or resolution >= SECOND_WINDOW_FROM_PX:
            windows.append(int(resolution / 23.2))
        self.structures = nn.ModuleList(Dssim(resolution, window) for window in windows)
        self.blur_mask = MaskBlur(resolution)
        self.masked = masked
        self.edge_weight = edge_weight
        self.background_weight = background_weight if masked else 0.0

    def forward(
        self,
        painted_face: Tensor,
        painted_mask: Tensor,
        face: Tensor,
        mask: Tensor,
        priority: Tensor | None = None,
    ) -> LossTerms:
        """Compare what a decoder painted with the truth.

        Args:
            painted_face, face: (B, 3, R, R), display-referred sRGB in [0, 1].
            painted_mask, mask: (B, 1, R, R) in [0, 1].
            priority: (B, 1, R, R) in [0, 1], 1 on eyes and mouth: there the whole picture counts, masked or not.
        """
        with torch.autocast(painted_face.device.type, enabled=False):
            painted_face, painted_mask, face, mask = map(widen, (painted_face, painted_mask, face, mask))
            return self._compare(painted_face, painted_mask, face, mask, priority)

    def _compare(
        self, painted_face: Tensor, painted_mask: Tensor, face: Tensor, mask: Tensor, priority: Tensor | None
    ) -> LossTerms:
        none = painted_face.new_zeros(())
        mask_error = MASK_WEIGHT * F.mse_loss(painted_mask, mask)
        first = background = edge = none
        if priority is not None:
            first = PRIORITY_WEIGHT * F.l1_loss(painted_face * widen(priority), face * widen(priority))
        if self.masked:
            inside = self.blur_mask(mask)
            if self.background_weight:
                painted_rest, rest = painted_face * (1 - inside), face * (1 - inside)
                background = self.background_weight * F.mse_loss(painted_rest, rest)
                background = background + SMOOTHNESS_WEIGHT * smoothness(painted_rest)
            painted_face, face = painted_face * inside, face * inside
        structure = torch.stack([dssim(painted_face, face) for dssim in self.structures]).mean()
        pixel = F.mse_loss(painted_face, face)
        if self.edge_weight:
            difference = painted_face - face
            edge = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
            edge = self.edge_weight * edge
        return LossTerms(STRUCTURE_WEIGHT * structure, PIXEL_WEIGHT * pixel, mask_error, edge, first, background)
