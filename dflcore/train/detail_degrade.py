"""Sharp faces made soft, as face models paint them: what a detail network learns to undo.

A decoder's picture lacks fine detail by a different amount in each place, its edges are wide, and noise or compression
of the plate may lie on top. So, one after the other, each with a strength of its own per face:

    blur (two sigmas, across and along) → a blur twice as wide mixed in by a smooth random field → a coarser grid and
    back → noise → traces of compression

A share of the faces keeps all of its detail: what is sharp already must come back as it is. The ranges are those of
real decoders: as rough as the painting of a quick model after 8 minutes of training is the truth at 192 px under a blur
of 0.6 to 0.8 px, and that of quick96 after as long under one of 2.2 to 2.4 px.

Source: degradations in random order and strength as in Real-ESRGAN (arXiv:2107.10833), reduced to what decoders do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.train.segment_draws import Draws

SHARP_SHARE = 0.08
"""Of the faces that are left as they are."""
COARSER = (1.0, 2.5)
"""Range of the factor by which the coarser grid is coarser; one per batch."""
COARSER_SHARE = 0.5
FIELD_CELLS = 4
"""Waves of the field of lost detail along a side."""
PAINTED_SIGMA_PX = 0.8
"""A face model's painting is blurred by at most this much more, so that the network also knows worse days."""
DCT_PX = 8
"""Side of the blocks compression works on."""
DCT_STEPS = (0.01, 0.05)
"""Smallest and largest step to which compression rounds the finest wave, as shares of white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Softness:
    """How soft faces become.

    Attributes:
        blur_px: largest sigma. noise: largest share of white. compression: share of faces.
    """

    blur_px: float
    noise: float
    compression: float


def soften(faces: Tensor, softness: Softness, draws: Draws) -> Tensor:
    """Sharp pictures as a poor decoder would have painted them.

    Args:
        faces: (B, 3, R, R) sRGB-encoded in [0, 1]; R is that of ``draws``.

    Returns:
        (B, 3, R, R) in [0, 1].
    """
    blurred = blur(faces, _sigma(softness.blur_px, draws), _sigma(softness.blur_px, draws))
    wide = 2.0 * _sigma(softness.blur_px, draws)
    lost = draws.chance(0.5) * (draws.smooth(FIELD_CELLS, 1) * 0.5 + 0.5).clamp(0.0, 1.0)
    result = torch.lerp(blurred, blur(blurred, wide, wide), lost)
    result = torch.lerp(result, _on_coarser_grid(result, draws), draws.chance(COARSER_SHARE))
    result = torch.lerp(result, faces, draws.chance(SHARP_SHARE))
    return add_traces(result, softness, draws)


def wear(painted: Tensor, softness: Softness, draws: Draws) -> Tensor:
    """A face model's own painting on a worse day: a little softer, with noise and compression; shapes as above."""
    sigma = _sigma(min(PAINTED_SIGMA_PX, softness.blur_px), draws)
    worn = torch.lerp(painted, blur(painted, sigma, sigma), draws.chance(0.5))
    return add_traces(worn, softness, draws)


def add_traces(faces: Tensor, softness: Softness, draws: Draws) -> Tensor:
    """Noise and traces of compression; (B, 3, R, R) in [0, 1] → same."""
    strength = draws.uniform(0.0, softness.noise, 1, 1, 1) * draws.chance(0.7)
    noisy = faces + draws.normal(3, draws.resolution, draws.resolution) * strength
    step = torch.exp(draws.uniform(math.log(DCT_STEPS[0]), math.log(DCT_STEPS[1]), 1, 1, 1))
    return torch.lerp(noisy, compress(noisy, step), draws.chance(softness.compression)).clamp(0.0, 1.0)


def blur(faces: Tensor, sigma_x: Tensor, sigma_y: Tensor) -> Tensor:
    """Gaussian blur, each face with its own sigmas; pixels that exist weigh one together.

    Args:
        faces: (B, C, R, R). sigma_x, sigma_y: (B, 1, 1, 1) in pixels, 0 or more.
    """
    side = faces.shape[-1]
    place = torch.arange(side, device=faces.device, dtype=faces.dtype)
    squared = (place[:, None] - place).square()

    def weights(sigma: Tensor) -> Tensor:
        kernel = torch.exp(-squared / (2.0 * sigma.clamp_min(1e-2).square()))
        return kernel / kernel.sum(dim=-1, keepdim=True)  # (B, 1, R, R)

    return weights(sigma_y) @ faces @ weights(sigma_x).transpose(-1, -2)


def compress(faces: Tensor, step: Tensor) -> Tensor:
    """Waves of blocks of 8 x 8 pixels rounded to steps that grow with their fineness, as image compression does.

    Args:
        faces: (B, 3, R, R), R a multiple of 8. step: (B, 1, 1, 1), of the finest wave.
    """
    basis = _waves().to(faces)
    batch, channels, side, _ = faces.shape
    blocks = faces.view(batch, channels, side // DCT_PX, DCT_PX, side // DCT_PX, DCT_PX).transpose(3, 4)
    waves = basis @ blocks @ basis.t()
    order = torch.arange(DCT_PX, device=faces.device, dtype=faces.dtype)
    fineness = (1.0 + order[:, None] + order) / (2.0 * DCT_PX - 1.0)  # (8, 8)
    steps = step[..., None, None] * fineness * DCT_PX  # an orthonormal wave of amplitude a has the coefficient 8a/2
    rounded = torch.round(waves / steps) * steps
    return (basis.t() @ rounded @ basis).transpose(3, 4).reshape(faces.shape)


def _sigma(largest: float, draws: Draws) -> Tensor:
    """(B, 1, 1, 1) sigmas in pixels; small ones are as likely as large ones."""
    return draws.uniform(0.0, largest, 1, 1, 1)


def _on_coarser_grid(faces: Tensor, draws: Draws) -> Tensor:
    side = faces.shape[-1]
    coarse = max(8, round(side / draws.one(*COARSER)))
    small = F.interpolate(faces, size=coarse, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(small, size=side, mode="bicubic", align_corners=False)


@lru_cache(maxsize=1)
def _waves() -> Tensor:
    """(8, 8) orthonormal cosines, the constant first."""
    place = torch.arange(DCT_PX, dtype=torch.float32)
    basis = torch.cos(math.pi / DCT_PX * (place + 0.5) * place[:, None]) * math.sqrt(2.0 / DCT_PX)
    basis[0] /= math.sqrt(2.0)
    return basis
