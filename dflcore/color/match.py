"""Fit the swapped face's colour to the plate's inside a mask.

Convention:
    Faces are (3, H, W) float32 RGB, display-referred sRGB-encoded (the networks' encoding), unpremultiplied, aligned
    space. [0, 1] is the usual range, but values outside it are legal light and go through: the sRGB curve and
    CIE Lab are used without clip, with their straight parts continued below zero, and are monotone on all reals.

Source:
    Reinhard, Ashikhmin, Gooch, Shirley, "Color Transfer between Images", IEEE CG&A 2001: equate mean and standard
    deviation per channel of a decorrelated space. As in DeepFaceLab's ``rct`` the space is CIE Lab (D65) instead of
    the article's l-alpha-beta. Different from both: the statistics are taken inside the mask and nowhere else, the
    gain is bounded, and nothing is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dflcore.color.lab import LAB_FROM_ROOTS, ROOTS_FROM_LAB, in_pieces, roots_from_srgb, srgb_from_roots

MAX_GAIN = 3.0
"""Largest ratio of standard deviations, and its inverse the smallest; keeps a flat face from becoming noise."""
STD_EPSILON = 1e-3
"""Added to both standard deviations, in Lab units (L runs 0 to 100), so that flat against flat gives a gain of 1."""
MIN_WEIGHT = 16.0
"""Least sum of mask weights, in pixels, that statistics are made from; below it the face is returned as it is."""


def match_reinhard(face: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Give ``face`` the colour mean and spread that ``reference`` has inside ``mask``.

    Args:
        face: as the module's convention says; changed everywhere, judged inside the mask.
        reference: same shape and encoding, the plate's own face.
        mask: (H, W) float32 weights in [0, 1].

    Returns:
        Same shape and encoding as ``face``, not clipped.
    """
    weights = mask.reshape(-1)
    total = weights.sum()
    if float(total) < MIN_WEIGHT:
        return face
    weights = weights / total
    roots = in_pieces(roots_from_srgb, face.reshape(3, -1))  # (3, N)
    wanted_roots = in_pieces(roots_from_srgb, reference.reshape(3, -1))
    mean, std = _mean_and_std(roots, weights)
    wanted_mean, wanted_std = _mean_and_std(wanted_roots, weights)
    gain = ((wanted_std + STD_EPSILON) / (std + STD_EPSILON)).clamp(1.0 / MAX_GAIN, MAX_GAIN)
    # Gain and offset per Lab channel, and the way to Lab and back, are one affine map of the cube roots.
    to_lab, from_lab = LAB_FROM_ROOTS.to(face), ROOTS_FROM_LAB.to(face)
    offset = from_lab @ (wanted_mean - gain * mean)
    transfer = from_lab @ (gain * to_lab)
    matched = in_pieces(lambda piece: srgb_from_roots(torch.addmm(offset, transfer, piece)), roots)
    return matched.reshape(face.shape)


def _mean_and_std(roots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of L, a, b, each (3, 1), from cube roots (3, N); weights sum to one."""
    to_lab = LAB_FROM_ROOTS.to(roots)
    mean = roots @ weights[:, None]
    centred = roots - mean
    covariance = (centred * weights) @ centred.t()
    variance = (to_lab @ covariance @ to_lab.t()).diagonal()[:, None]
    return to_lab @ mean, variance.clamp_min(0.0).sqrt()
