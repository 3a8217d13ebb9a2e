"""Histogram match: every channel's values take over the quantiles of the reference's.

Source:
    Measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied): per channel, with a threshold that keeps the
    reference's brightest values out. Different: in float without bins, masks weigh instead of painting pixels white,
    values beyond those that were measured are moved along instead of clipped, the gain may be bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.color.matching.palette import Palette, measure_sample
from dflcore.color.matching.tables import between, in_order
from dflcore.color.matching.weights import SRGB_LIMITS, bulk_range

SAMPLE = 4096
"""Pixels the quantiles are taken from."""
KNOTS = 256
"""Points of a channel's curve, each of as many pixels."""
MARKS = 1025
"""Places at which a curve is tabulated for the pixels."""
_STEEPEST = 1e3
"""Slope that stands for a jump where the gain is not bounded: float32 can still tell values apart on it."""
_LEAST_RANGE = 1e-3
"""Of values, a quarter of an 8-bit step."""


@dataclass(frozen=True, slots=True)
class HistogramMatch:
    """A rising curve per channel of encoded colours, straight with slope 1 beyond the ends: HDR values keep order.

    Attributes:
        threshold: share of the reference's values, from the darkest, that are taken over, 0 to 1. 1 takes all;
            a compositor's 238 of 255 is 238 / 255.
    """

    threshold: float = 1.0

    def measure(self, picture: Tensor, mask: Tensor | None = None) -> Palette:
        """A sample of colours. See :class:`dflcore.color.matching.methods.ColorMethod`."""
        return measure_sample(picture, mask, SAMPLE, space="srgb")

    def apply(self, picture: Tensor, own: Palette, wanted: Palette, *, max_gain: float = math.inf) -> Tensor:
        """Bend (B, 3, H, W). See :class:`dflcore.color.matching.methods.ColorMethod`."""
        ordered = [in_order(side.cloud("srgb")).double() for side in (own, wanted)]
        cloud, goals = (side.clamp(*bulk_range(side, SRGB_LIMITS, is_ordered=True)) for side in ordered)
        low, high, change = _tabulate(cloud, self._goals(goals), max_gain)
        pixels = picture.flatten(2)
        steps = (change.shape[2] - 1) / (high - low)
        return (pixels + between(change.to(pixels), (pixels - low.to(pixels)) * steps.to(pixels))).view_as(picture)

    def _goals(self, ordered: Tensor) -> Tensor:
        """Values at the quantiles of (B, 3, M), each times the threshold."""
        count = ordered.shape[2]
        places = (torch.arange(count, device=ordered.device, dtype=ordered.dtype) + 0.5) * self.threshold - 0.5
        places = places.clamp(0.0, count - 1.0)
        left = places.long().clamp_max(count - 2)
        return torch.lerp(ordered[..., left], ordered[..., left + 1], places - left)


def _tabulate(ordered: Tensor, goals: Tensor, max_gain: float) -> tuple[Tensor, Tensor, Tensor]:
    """By how much values change that are evenly spaced, (B, 3, MARKS), from low to high, (B, 3, 1).

    A value that many pixels share, which has many quantiles, goes to their mean.

    Args:
        ordered, goals: (B, 3, M) float64 values in rising order, and where each of them shall go.
    """
    first, last = _cells(ordered)
    knots, heights = _cell_means(ordered, first, last), _cell_means(goals, first, last)
    runs = knots.diff(dim=2)
    slopes = heights.diff(dim=2) / runs.clamp_min(torch.finfo(torch.float64).tiny)
    slopes = torch.where(runs > 0.0, slopes, 0.0).clamp_max(min(max_gain, _STEEPEST))
    changes = F.pad(((slopes - 1.0) * runs).cumsum(2), (1, 0))
    low, high = knots[..., :1], knots[..., -1:].clamp_min(knots[..., :1] + _LEAST_RANGE)
    marks = low + (high - low) * torch.linspace(0.0, 1.0, MARKS, device=ordered.device, dtype=ordered.dtype)
    right = torch.searchsorted(knots, marks).clamp(1, KNOTS - 1)
    start, run = knots.gather(2, right - 1), runs.gather(2, right - 1)
    share = torch.where(run > 0.0, (marks - start) / run, 1.0).clamp(0.0, 1.0)
    table = torch.lerp(changes.gather(2, right - 1), changes.gather(2, right), share)
    # Where the curve lies is settled by the mean, which is right however much of a slope has been taken away.
    found = ordered + between(table, (ordered - low) * ((MARKS - 1) / (high - low)))
    return low, high, table + (goals - found).mean(2, keepdim=True)


def _cells(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """First and past-last index (B, 3, KNOTS) of the neighbourhoods of as many knots in (B, 3, M) ordered values.

    All that hold the same value are the same.
    """
    count = ordered.shape[2]
    groups = ordered.reshape(*ordered.shape[:2], KNOTS, -1).mean(3)
    middles = (groups[..., :-1] + groups[..., 1:]) / 2.0
    first = F.pad(torch.searchsorted(ordered, middles), (1, 0))
    last = F.pad(torch.searchsorted(ordered, middles, right=True), (0, 1), value=count)
    empty = (first >= last).long()  # between two clusters: both neighbours
    return (first - empty).clamp_min(0), (last + empty).clamp_max(count)


def _cell_means(ordered: Tensor, first: Tensor, last: Tensor) -> Tensor:
    sums = F.pad(ordered.cumsum(2), (1, 0))
    return (sums.gather(2, last) - sums.gather(2, first)) / (last - first)


HIST = HistogramMatch()
