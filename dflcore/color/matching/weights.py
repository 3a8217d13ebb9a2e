"""What the colours of a picture are, as numbers: shares of its pixels, moments, and a fair choice of them.

Convention:
    Pixels are (B, C, N) in any encoding, unbounded. Shares are (B, 1, N) and sum to one per picture; None means
    that all pixels count alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from dflcore.color.lab import piece_length
from dflcore.color.matching.tables import in_order

MIN_WEIGHT = 16.0
"""Least sum of mask weights, in pixels, that statistics are made from; a mask that holds less is passed over."""
_PREVIEW = 256
"""Pixels or more that a first guess of the mean is made from, about which no digits are lost."""
STRAY_SHARE = 0.02
"""Of a picture's pixels, at either end of the values of a channel."""
SRGB_LIMITS = (0.0, 1.0)
"""Ordinary values of encoded colours."""
_GOLDEN = 0.6180339887498949
"""Its multiples fall most evenly into [0, 1) without ever repeating."""


def mask_weight(mask: Tensor | None, pixels: Tensor) -> Tensor:
    """(B,) float64 pixels that a mask holds; zero for one that is passed over, all of (B, C, N) without a mask."""
    if mask is None:
        return torch.full((len(pixels),), float(pixels.shape[2]), device=pixels.device, dtype=torch.float64)
    total = mask.flatten(1).sum(1, dtype=torch.float64)
    return torch.where(total < MIN_WEIGHT, torch.zeros_like(total), total)


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


def moments(
    pixels: Tensor, shares: Tensor | None, transform: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Mean (B, C, 1), in the pixels' type, and covariance (B, C, C) float64.

    Args:
        transform: pixelwise, applied to (B, C, n) before; without it pixels count as they are.
    """
    transform = transform or (lambda piece: piece)
    total = pixels.shape[2]
    count = piece_length(pixels)
    shares = torch.full_like(pixels[:, :1], 1.0 / total) if shares is None else shares
    step = max(1, total // _PREVIEW)
    preview = transform(pixels[..., ::step]) @ shares[..., ::step].transpose(1, 2)
    center = preview / shares[..., ::step].sum(2, keepdim=True).clamp_min(_PREVIEW * torch.finfo(pixels.dtype).tiny)
    first = torch.zeros(*center.shape, dtype=torch.float64, device=pixels.device)
    second = torch.zeros(*center.shape[:2], center.shape[1], dtype=torch.float64, device=pixels.device)
    for start in range(0, total, count):
        centred = transform(pixels[..., start : start + count]) - center
        weighted = (centred * shares[..., start : start + count]).double()
        first += weighted.sum(2, keepdim=True)
        second += weighted @ centred.double().transpose(1, 2)
    return (center + first).to(pixels), second - first @ first.transpose(1, 2)


def fair_sample(picture: Tensor, shares: Tensor | None, count: int) -> Tensor:
    """Pixels from all over the picture, as many from everywhere as the shares say; no chance in it.

    The picture is walked along a curve that fills the plane and cut into as many stretches of equal share as pixels are
    wanted; each gives one. Two pictures of one size and the same shares give the same places. Any first so many of the
    sample are a fair, smaller sample.

    Args:
        picture: (B, C, H, W).
        shares: (B, 1, H * W).

    Returns:
        (B, C, count).
    """
    height, width = picture.shape[2:]
    walk = _walk(height, width, picture.device)
    order = coarse_to_fine(count, picture.device)
    levels = (order + (0.5 + _GOLDEN * order.double()) % 1.0) / count
    if shares is None:
        steps = (levels * len(walk)).long().expand(len(picture), -1)
    else:
        passed = shares[:, 0].index_select(1, walk).double().cumsum(1)
        passed = passed / passed[:, -1:]
        steps = torch.searchsorted(passed, levels.expand(len(picture), -1).contiguous(), right=True)
    places = walk[steps.clamp_max(len(walk) - 1)]
    return picture.flatten(2).gather(2, places[:, None].expand(-1, picture.shape[1], -1))


def bulk_range(sample: Tensor, limits: tuple[float, float], *, is_ordered: bool = False) -> tuple[Tensor, Tensor]:
    """Least and largest value per channel, (B, C, 1), that distributions are carried over for.

    Ordinary values lie within the limits. Where more than :data:`STRAY_SHARE` of a sample lies beyond, its bulk does.
    What is beyond that is a highlight or a stray: it has no counterpart in another picture, so it is only moved along.

    Args:
        sample: (B, C, M).
        is_ordered: every channel's values are in rising order already.
    """
    ordered = sample if is_ordered else in_order(sample)
    stray = int(STRAY_SHARE * sample.shape[2])
    return ordered[..., stray, None].clamp_max(limits[0]), ordered[..., -1 - stray, None].clamp_min(limits[1])


@functools.lru_cache(maxsize=16)
def _walk(height: int, width: int, device: torch.device) -> Tensor:
    """(H * W,) int64: pixels along a Z-order curve, so that neighbours on it are neighbours in the picture."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    code = torch.zeros(height, width, dtype=torch.int64)
    for bit in range(max(height, width).bit_length()):
        code |= ((columns >> bit & 1) << 2 * bit) | ((rows >> bit & 1) << (2 * bit + 1))
    return code.flatten().argsort().to(device)


@functools.lru_cache(maxsize=16)
def coarse_to_fine(count: int, device: torch.device) -> Tensor:
    """(count,) int64: 0 to count - 1 in van der Corput's order, every beginning of which is spread evenly."""
    numbers = torch.arange(count)
    bits = max(1, (count - 1).bit_length())
    mirrored = torch.zeros_like(numbers)
    for bit in range(bits):
        mirrored |= (numbers >> bit & 1) << (bits - 1 - bit)
    return mirrored.argsort().to(device)
