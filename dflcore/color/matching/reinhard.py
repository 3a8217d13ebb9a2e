"""RCT: mean and spread of every Lab channel are made equal.

Source:
    Reinhard, Ashikhmin, Gooch, Shirley, "Color Transfer between Images", IEEE CG&A 2001, in CIE Lab as DeepFaceLab's
    ``rct`` (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: masks weigh the statistics
    instead of painting pixels black, flat colours divide by no zero, the gain may be bounded, nothing is clipped.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dflcore.color.lab import color_matrix, in_pieces, roots_from_srgb, srgb_from_roots
from dflcore.color.matching.palette import Palette, measure_moments

STD_EPSILON = 1e-2
"""Added to both standard deviations, in Lab units (L runs 0 to 100): flat against flat gives a gain of 1."""


class ReinhardMatch:
    """An affine map of CIE's cube-root signals, which go on below 0 and above 1."""

    def measure(self, picture: Tensor, mask: Tensor | None = None) -> Palette:
        """Mean and covariance of the roots. See :class:`dflcore.color.matching.methods.ColorMethod`."""
        return measure_moments(picture, mask, space="roots", transform=roots_from_srgb)

    def apply(self, picture: Tensor, own: Palette, wanted: Palette, *, max_gain: float = math.inf) -> Tensor:
        """Map (B, 3, H, W). See :class:`dflcore.color.matching.methods.ColorMethod`."""
        to_lab = color_matrix("lab_from_roots", picture.device, own.weight.dtype)
        from_lab = color_matrix("roots_from_lab", picture.device, own.weight.dtype)
        (mean, std), (wanted_mean, wanted_std) = lab_statistics(own, "roots"), lab_statistics(wanted, "roots")
        gain = bounded_gain(std, wanted_std, max_gain)
        # Gain per Lab channel, and the way to Lab and back, are one matrix for the cube roots.
        transfer, offset = (
            (from_lab @ (gain * to_lab)).to(picture),
            (from_lab @ (wanted_mean - gain * mean)).to(picture),
        )

        def map_piece(srgb: Tensor) -> Tensor:
            return srgb_from_roots(torch.baddbmm(offset, transfer, roots_from_srgb(srgb)))

        return in_pieces(map_piece, picture.flatten(2)).view_as(picture)


RCT = ReinhardMatch()


def lab_statistics(palette: Palette, space: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of L (without its constant), a, b, each (B, 3, 1) float64, from moments of roots."""
    mean, covariance = palette.moments(space)
    to_lab = color_matrix("lab_from_roots", mean.device, mean.dtype)
    variance = (to_lab @ covariance @ to_lab.t()).diagonal(dim1=1, dim2=2)
    return to_lab @ mean, variance.clamp_min(0.0).sqrt()[:, :, None]


def bounded_gain(std: Tensor, wanted_std: Tensor, max_gain: float) -> Tensor:
    """Ratio of standard deviations in Lab units, no more than ``max_gain``."""
    return ((wanted_std + STD_EPSILON) / (std + STD_EPSILON)).clamp_max(max_gain)
