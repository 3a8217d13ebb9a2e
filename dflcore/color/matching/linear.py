"""LCT and MKL: one 3x3 matrix per picture makes mean and covariance of the colours those of the reference.

Source:
    MKL: Pitié, Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", CVMP
    2007: of all matrices that do it, the one that moves colours least. LCT: the whitening-colouring matrix of symmetric
    roots (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: masks weigh the statistics, the
    small matrices are computed in float64, spreads below a threshold count as that threshold, the gain may be bounded,
    nothing is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dflcore.color.matching.palette import Palette, measure_moments

LEAST_STD = 1e-3
"""Standard deviations below this, a quarter of an 8-bit step, count as this: no noise is blown up to colour."""


@dataclass(frozen=True, slots=True)
class LinearMatch:
    """An affine map of encoded colours; one matrix is for all values, those above 1 and below 0 included.

    Attributes:
        find_matrix: from own and wanted covariance, (B, C, C) float64, and the largest gain, to a matrix.
    """

    find_matrix: Callable[[Tensor, Tensor, float], Tensor]

    def measure(self, picture: Tensor, mask: Tensor | None = None) -> Palette:
        """Mean and covariance. See :class:`dflcore.color.matching.methods.ColorMethod`."""
        return measure_moments(picture, mask, space="srgb")

    def apply(self, picture: Tensor, own: Palette, wanted: Palette, *, max_gain: float = math.inf) -> Tensor:
        """Map (B, 3, H, W). See :class:`dflcore.color.matching.methods.ColorMethod`."""
        (mean, covariance), (wanted_mean, wanted_covariance) = own.moments("srgb"), wanted.moments("srgb")
        matrix = self.find_matrix(covariance, wanted_covariance, max_gain)
        offset = wanted_mean - matrix @ mean
        return torch.baddbmm(offset.to(picture), matrix.to(picture), picture.flatten(2)).view_as(picture)


def whiten_and_color(covariance: Tensor, wanted: Tensor, max_gain: float = math.inf) -> Tensor:
    """LCT's matrix: whiten, then colour. No direction is stretched by more than ``max_gain``."""
    matrix = _power(wanted, 0.5) @ _power(covariance, -0.5)
    if math.isinf(max_gain):
        return matrix
    left, stretch, right = torch.linalg.svd(matrix)
    bounded: Tensor = (left * stretch.clamp_max(max_gain)[:, None, :]) @ right
    return bounded


def move_least(covariance: Tensor, wanted: Tensor, max_gain: float = math.inf) -> Tensor:
    """MKL's matrix, of all that reach ``wanted`` the one of least displacement; symmetric, bounded likewise."""
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    middle = _power(root @ _power(wanted, 1.0) @ root, 0.5, floor=LEAST_STD**4)
    matrix = inverse @ middle @ inverse
    if math.isinf(max_gain):
        return matrix
    stretch, axes = torch.linalg.eigh(matrix)
    bounded: Tensor = (axes * stretch.clamp_max(max_gain)[:, None, :]) @ axes.transpose(1, 2)
    return bounded


LCT = LinearMatch(whiten_and_color)
MKL = LinearMatch(move_least)


def _power(covariance: Tensor, exponent: float, *, floor: float = LEAST_STD**2) -> Tensor:
    """A power of symmetric (B, C, C) float64 matrices, their eigenvalues no less than ``floor``."""
    values, vectors = torch.linalg.eigh(covariance)
    powers = values.clamp_min(floor) ** exponent
    power: Tensor = (vectors * powers[:, None, :]) @ vectors.transpose(1, 2)
    return power
