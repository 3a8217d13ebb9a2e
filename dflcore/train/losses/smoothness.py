"""Bright dots, and what keeps them from growing where no other loss looks."""

from __future__ import annotations

from torch import Tensor

from dflcore.train.losses.filters import widen

SMOOTHNESS_WEIGHT = 1e-6 * 3 * 224 * 224
"""The reference weighs a sum over all pixels by 1e-6; this is the same for a mean, at AMP's usual 224 px, and does not
change with the resolution."""


def smoothness(pictures: Tensor) -> Tensor:
    """Mean squared step from pixel to pixel, along rows plus along columns: 0 is flat.

    The reference, on GPUs, takes steps between channels for those along rows, and adds up instead of averaging
    (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied).

    Args:
        pictures: (B, C, H, W), at least 2 px high and wide.

    Returns:
        Scalar, not below 0.
    """
    pictures = widen(pictures)
    return pictures.diff(dim=-1).square().mean() + pictures.diff(dim=-2).square().mean()
