"""RCT: mean and spread of every Lab channel are made equal.

Source:
    Reinhard, Ashikhmin, Gooch, Shirley, "Color Transfer between Images", IEEE CG&A 2001, in CIE Lab as DeepFaceLab's
    ``rct`` (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: masks weigh the statistics
    instead of painting pixels black, flat colours divide by no zero, nothing is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dflcore.color.lab import color_matrix, in_pieces, roots_from_srgb, srgb_from_roots
from dflcore.color.matching.weights import moments, pixel_shares

STD_EPSILON = 1e-2
"""Added to both standard deviations, in Lab units (L runs 0 to 100): flat against flat gives a gain of 1."""


def match_rct(
    picture: Tensor, reference: Tensor, mask: Tensor | None = None, reference_mask: Tensor | None = None
) -> Tensor:
    """Give every picture the mean and the spread of its reference in CIE Lab.

    Args:
        picture: (B, 3, H, W), display-referred sRGB-encoded, unbounded.
        reference: (B, 3, h, w), same encoding.
        mask, reference_mask: (B, 1, H, W) and (B, 1, h, w) weights in [0, 1]; None counts all pixels.

    Returns:
        (B, 3, H, W), same encoding, not clipped.
    """
    roots = in_pieces(roots_from_srgb, picture.flatten(2))
    wanted_roots = in_pieces(roots_from_srgb, reference.flatten(2))
    to_lab = color_matrix("lab_from_roots", roots.device, roots.dtype)
    from_lab = color_matrix("roots_from_lab", roots.device, roots.dtype)
    mean, std = _lab_statistics(roots, pixel_shares(mask))
    wanted_mean, wanted_std = _lab_statistics(wanted_roots, pixel_shares(reference_mask))
    gain = (wanted_std + STD_EPSILON) / (std + STD_EPSILON)
    # Gain per Lab channel, and the way to Lab and back, are one matrix for the cube roots.
    transfer, offset = from_lab @ (gain * to_lab), from_lab @ (wanted_mean - gain * mean)
    matched = in_pieces(lambda piece: srgb_from_roots(torch.baddbmm(offset, transfer, piece)), roots)
    return matched.view_as(picture)


def _lab_statistics(roots: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of L, a, b, each (B, 3, 1)."""
    to_lab = color_matrix("lab_from_roots", roots.device, torch.float64)
    mean, covariance = moments(roots, shares)
    variance = (to_lab @ covariance @ to_lab.t()).diagonal(dim1=1, dim2=2)
    return to_lab.to(roots) @ mean, variance.clamp_min(0.0).sqrt().to(roots)[:, :, None]
