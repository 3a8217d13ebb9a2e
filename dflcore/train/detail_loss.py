"""What a detail network minimises: wrong pixels, wrong structure, wrong edges, and the wrong amount of texture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.train.losses.filters import widen
from dflcore.train.losses.reconstruction import Dssim

PIXEL_WEIGHT = 10.0
STRUCTURE_WEIGHT = 2.0
EDGE_WEIGHT = 10.0
TEXTURE_WEIGHT = 10.0
WINDOW = 11
"""Taps of the window in which structure is compared, in pixels of the sharp face (Wang et al. 2004)."""
FLAT = 1e-3
"""Differences below this share of white weigh by their square, so that the last ones are not chased."""
TEXTURE_PX = 8
"""Side of the cells in which the amount of texture is compared, in pixels of the sharp face."""
_TEXTURE_FLOOR = 1e-3
"""Added in squares to the amount of texture, as a share of white: its root would have no slope at 0."""
LEAST_MSE = 1e-10
"""100 dB; keeps the gain of equal pictures a number."""


class DetailLoss(nn.Module):
    """Charbonnier's distance of pixels (arXiv:1704.03915), structural dissimilarity, the mean absolute difference of
    neighbouring-pixel steps, and that of the local amount of texture.

    The first three make the likeliest picture, and the likeliest skin is smooth. The fourth asks for as much roughness
    as the truth has, wherever its pores lie; with much weight it makes detail up.

    Args:
        side: of the sharp pieces in pixels.
        texture: weight of the fourth term, 0 leaves it out.
    """

    def __init__(self, side: int, texture: float) -> None:
        super().__init__()
        self.structure = Dssim(side, min(WINDOW, side))
        self.texture = texture

    def forward(self, restored: Tensor, truth: Tensor) -> Tensor:
        """(3,): what is differentiated; pixels' and structures' part of it, detached. Args: (B, 3, S, S)."""
        restored, truth = widen(restored), widen(truth)
        difference = restored - truth
        pixel = PIXEL_WEIGHT * (difference.square() + FLAT**2).sqrt().mean()
        structure = STRUCTURE_WEIGHT * self.structure(restored, truth)
        edge = EDGE_WEIGHT * (difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean())
        total = pixel + structure + edge
        if self.texture:
            total = total + self.texture * TEXTURE_WEIGHT * (roughness(restored) - roughness(truth)).abs().mean()
        return torch.stack([total, pixel.detach(), structure.detach()])


def roughness(pictures: Tensor) -> Tensor:
    """(B, 3, S, S) → (B, 1, s, s): root mean square of what a 3 x 3 mean takes away from the grey picture, per cell."""
    grey = pictures.mean(dim=1, keepdim=True)
    fine = grey - F.avg_pool2d(grey, 3, stride=1, padding=1, count_include_pad=False)
    return (F.avg_pool2d(fine.square(), TEXTURE_PX) + _TEXTURE_FLOOR**2).sqrt()


def gain_db(restored: Tensor, enlarged: Tensor, truth: Tensor) -> Tensor:
    """Mean over the batch of how many dB nearer to the truth the restored pictures are than the enlarged ones."""

    def error(pictures: Tensor) -> Tensor:
        return (pictures - truth).square().mean(dim=(1, 2, 3)).clamp_min(LEAST_MSE)

    return 10.0 * (error(enlarged) / error(restored)).log10().mean()
