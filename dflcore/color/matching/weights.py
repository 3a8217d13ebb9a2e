"""What the colours of a picture are, as numbers: shares of its pixels, moments, and a fair choice of them.

Convention:
    Pixels are (B, 3, N) RGB in any encoding, unbounded. Shares are (B, 1, N) and sum to one per picture; None means
    that all pixels count alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_WEIGHT = 16.0
"""Least sum of mask weights, in pixels, that statistics are made from; a mask that holds less is passed over."""


def pixel_shares(mask: Tensor | None) -> Tensor | None:
    """Mask weights as shares.

    Args:
        mask: (B, 1, H, W) in [0, 1], or None. An empty one counts the whole picture.
    """
    if mask is None:
        return None
    weights = mask.flatten(2)
    total = weights.sum(2, keepdim=True)
    weights = torch.where(total < MIN_WEIGHT, torch.ones_like(weights), weights)
    return weights / weights.sum(2, keepdim=True)


def moments(pixels: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean (B, 3, 1), in the pixels' type, and covariance (B, 3, 3) float64."""
    if shares is None:
        mean = pixels.mean(2, keepdim=True)
        centred = pixels - mean
        weighted = centred / pixels.shape[2]
    else:
        mean = (pixels * shares).sum(2, keepdim=True)
        centred = pixels - mean
        weighted = centred * shares
    return mean, (weighted @ centred.transpose(1, 2)).double()


def fair_sample(pixels: Tensor, shares: Tensor | None, count: int) -> Tensor:
    """(B, 3, count) pixels spread evenly over the picture, as many from everywhere as the shares say; no chance in it.

    Two pictures of one size and the same shares give the same places.
    """
    twice = 2 * torch.arange(count, device=pixels.device) + 1
    if shares is None:
        places = (twice * pixels.shape[2] // (2 * count)).expand(len(pixels), -1)
    else:
        levels = twice.double() / (2 * count)
        cumulated = shares[:, 0].double().cumsum(1)
        cumulated = cumulated / cumulated[:, -1:]
        places = torch.searchsorted(cumulated, levels.expand(len(pixels), -1).contiguous())
        places = places.clamp_max(pixels.shape[2] - 1)
    return pixels.gather(2, places[:, None].expand(-1, 3, -1))
