"""LCT and MKL: one 3x3 matrix per picture makes mean and covariance of the colours those of the reference.

Source:
    MKL: Pitié, Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", CVMP
    2007: of all matrices that do it, the one that moves colours least. LCT: the whitening-colouring matrix of symmetric
    roots (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: masks weigh the statistics, the
    small matrices are computed in float64, spreads below a threshold count as that threshold, nothing is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dflcore.color.matching.weights import moments, pixel_shares

LEAST_STD = 1e-3
"""Standard deviations below this, a quarter of an 8-bit step, count as this: no noise is blown up to colour."""


def match_lct(
    picture: Tensor, reference: Tensor, mask: Tensor | None = None, reference_mask: Tensor | None = None
) -> Tensor:
    """Whiten the picture's colours, then give them the reference's covariance and mean.

    Args:
        picture: (B, 3, H, W) RGB, any encoding, unbounded.
        reference: (B, 3, h, w), same encoding.
        mask, reference_mask: (B, 1, H, W) and (B, 1, h, w) weights in [0, 1]; None counts all pixels.

    Returns:
        (B, 3, H, W), not clipped.
    """
    mean, covariance = moments(picture.flatten(2), pixel_shares(mask))
    wanted_mean, wanted = moments(reference.flatten(2), pixel_shares(reference_mask))
    return _apply(picture, _power(wanted, 0.5) @ _power(covariance, -0.5), mean, wanted_mean)


def match_mkl(
    picture: Tensor, reference: Tensor, mask: Tensor | None = None, reference_mask: Tensor | None = None
) -> Tensor:
    """The linear map of least displacement to the reference's covariance and mean. Arguments as :func:`match_lct`."""
    mean, covariance = moments(picture.flatten(2), pixel_shares(mask))
    wanted_mean, wanted = moments(reference.flatten(2), pixel_shares(reference_mask))
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    middle = _power(root @ _power(wanted, 1.0) @ root, 0.5, floor=LEAST_STD**4)
    return _apply(picture, inverse @ middle @ inverse, mean, wanted_mean)


def _power(covariance: Tensor, exponent: float, *, floor: float = LEAST_STD**2) -> Tensor:
    """A power of symmetric (B, 3, 3) float64 matrices, their eigenvalues no less than ``floor``."""
    values, vectors = torch.linalg.eigh(covariance)
    powers = values.clamp_min(floor) ** exponent
    power: Tensor = (vectors * powers[:, None, :]) @ vectors.transpose(1, 2)
    return power


def _apply(picture: Tensor, matrix: Tensor, mean: Tensor, wanted_mean: Tensor) -> Tensor:
    offset = wanted_mean.double() - matrix @ mean.double()
    return torch.baddbmm(offset.to(picture), matrix.to(picture), picture.flatten(2)).view_as(picture)
