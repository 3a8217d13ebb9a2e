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

from collections.abc import Callable

import torch
from torch import Tensor

from dflcore.color.transfer import linear_from_srgb, srgb_from_linear

MAX_GAIN = 3.0
"""Largest ratio of standard deviations, and its inverse the smallest; keeps a flat face from becoming noise."""
STD_EPSILON = 1e-3
"""Added to both standard deviations, in Lab units (L runs 0 to 100), so that flat against flat gives a gain of 1."""
MIN_WEIGHT = 16.0
"""Least sum of mask weights, in pixels, that statistics are made from; below it the face is returned as it is."""

PIECE = 16384
"""Pixels worked on at a time."""

# Linear Rec.709 → XYZ relative to the D65 white (rows divided by it), IEC 61966-2-1.
_WHITE = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)
_XYZ_FROM_RGB = (
    torch.tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        dtype=torch.float64,
    )
    / _WHITE[:, None]
)
_RGB_FROM_XYZ = torch.linalg.inv(_XYZ_FROM_RGB)
# CIE Lab from the cube-root signals f(X), f(Y), f(Z), without L's constant offset, which cancels.
_LAB_FROM_ROOTS = torch.tensor([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=torch.float64)
_ROOTS_FROM_LAB = torch.linalg.inv(_LAB_FROM_ROOTS)
_LAB_BREAK = 6.0 / 29.0
"""Where CIE's cube root hands over to a straight line, on the root side."""


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
    roots = _in_pieces(_roots_from_srgb, face.reshape(3, -1))  # (3, N)
    wanted_roots = _in_pieces(_roots_from_srgb, reference.reshape(3, -1))
    mean, std = _mean_and_std(roots, weights)
    wanted_mean, wanted_std = _mean_and_std(wanted_roots, weights)
    gain = ((wanted_std + STD_EPSILON) / (std + STD_EPSILON)).clamp(1.0 / MAX_GAIN, MAX_GAIN)
    # Gain and offset per Lab channel, and the way to Lab and back, are one affine map of the cube roots.
    to_lab, from_lab = _LAB_FROM_ROOTS.to(face), _ROOTS_FROM_LAB.to(face)
    offset = from_lab @ (wanted_mean - gain * mean)
    transfer = from_lab @ (gain * to_lab)
    matched = _in_pieces(lambda piece: _srgb_from_roots(torch.addmm(offset, transfer, piece)), roots)
    return matched.reshape(face.shape)


def _in_pieces(function: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Apply a pixelwise function to (3, N) piece by piece: temporaries stay in the cache, twice as fast on a CPU."""
    result = torch.empty_like(pixels)
    for piece, target in zip(torch.split(pixels, PIECE, dim=1), torch.split(result, PIECE, dim=1), strict=True):
        target.copy_(function(piece))
    return result


def _mean_and_std(roots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of L, a, b, each (3, 1), from cube roots (3, N); weights sum to one."""
    to_lab = _LAB_FROM_ROOTS.to(roots)
    mean = roots @ weights[:, None]
    centred = roots - mean
    covariance = (centred * weights) @ centred.t()
    variance = (to_lab @ covariance @ to_lab.t()).diagonal()[:, None]
    return to_lab @ mean, variance.clamp_min(0.0).sqrt()


def _roots_from_srgb(srgb: Tensor) -> Tensor:
    """(3, N) sRGB-encoded → CIE's f(X), f(Y), f(Z), on all reals (f without its constant, which cancels)."""
    xyz = _XYZ_FROM_RGB.to(srgb) @ linear_from_srgb(srgb)
    root = xyz.clamp_min(_LAB_BREAK**3).pow_(1.0 / 3.0)
    line = xyz.clamp_max_(_LAB_BREAK**3).sub_(_LAB_BREAK**3)
    return root.add_(line, alpha=1.0 / (3.0 * _LAB_BREAK**2))


def _srgb_from_roots(roots: Tensor) -> Tensor:
    """Inverse of :func:`_roots_from_srgb`."""
    upper = roots.clamp_min(_LAB_BREAK)
    cube = upper.square().mul_(upper)
    line = roots.clamp_max(_LAB_BREAK).sub_(_LAB_BREAK)
    return srgb_from_linear(_RGB_FROM_XYZ.to(roots) @ cube.add_(line, alpha=3.0 * _LAB_BREAK**2))
