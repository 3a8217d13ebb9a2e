"""Mix: lightness by mean and spread alone, chroma by transport of its whole distribution.

The lightness keeps its gradations, which transport can bend, while skin, lips and beard take over the reference's
tints.

Source:
    What DeepFaceLab's ``mix-m`` combines (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different:
    in float, nowhere clipped; chroma is carried over in the plane of a and b, where the reference builds RGB pictures
    of one lightness in 8 bits and moves these; its directions are drawn anew for every frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dflcore.color.lab import color_matrix, in_pieces, roots_from_srgb, srgb_from_roots
from dflcore.color.matching.palette import Palette, measure_moments
from dflcore.color.matching.reinhard import bounded_gain, lab_statistics
from dflcore.color.matching.sliced import SAMPLE, SOT_ROUNDS, SOT_STEP, SlicedMatch
from dflcore.color.matching.weights import fair_sample, pixel_shares

CHROMA_UNIT = 100.0
"""a and b are divided by this, so that thresholds made for RGB in [0, 1] mean about the same."""
_BASES = 5
_LIMITS = (-1.0, 1.0)
"""Ordinary chroma, in that unit."""


@dataclass(frozen=True, slots=True)
class MixedMatch:
    """Lightness and chroma in CIE Lab, whose curves go on below 0 and above 1.

    Attributes:
        chroma: how a and b are carried over.
    """

    chroma: SlicedMatch

    def measure(self, picture: Tensor, mask: Tensor | None = None) -> Palette:
        """Moments of the roots, sample of chroma. See :class:`dflcore.color.matching.methods.ColorMethod`."""
        measured = measure_moments(picture, mask, space="lab", transform=roots_from_srgb)
        to_lab = color_matrix("lab_from_roots", picture.device, picture.dtype)
        sample = to_lab[1:] @ roots_from_srgb(fair_sample(picture, pixel_shares(mask), SAMPLE)) / CHROMA_UNIT
        return Palette(
            space="lab",
            weight=measured.weight,
            mean=measured.mean,
            covariance=measured.covariance,
            sample=sample,
        )

    def apply(self, picture: Tensor, own: Palette, wanted: Palette, *, max_gain: float = math.inf) -> Tensor:
        """Change (B, 3, H, W). See :class:`dflcore.color.matching.methods.ColorMethod`."""
        to_lab = color_matrix("lab_from_roots", picture.device, picture.dtype)
        from_lab = color_matrix("roots_from_lab", picture.device, picture.dtype)
        lab = in_pieces(lambda srgb: to_lab @ roots_from_srgb(srgb), picture.flatten(2))
        (mean, std), (wanted_mean, wanted_std) = lab_statistics(own, "lab"), lab_statistics(wanted, "lab")
        gain = bounded_gain(std, wanted_std, max_gain)
        offset = wanted_mean - gain * mean
        lightness = torch.addcmul(offset[:, :1].to(lab), gain[:, :1].to(lab), lab[:, :1])
        clouds = own.cloud("lab"), wanted.cloud("lab")
        chroma = CHROMA_UNIT * self.chroma.move(lab[:, 1:] / CHROMA_UNIT, *clouds, _LIMITS, max_gain)
        changed = torch.cat([lightness, chroma], dim=1)
        return in_pieces(lambda piece: srgb_from_roots(from_lab @ piece), changed).view_as(picture)


MIX = MixedMatch(SlicedMatch(SOT_ROUNDS, _BASES, SOT_STEP))
