"""Many weighted colours → few that count alike, whose distribution is the same but for a hair.

The colours are walked along a curve that fills colour space and cut into stretches of equal weight; each becomes its
mean. Neighbours on the curve are neighbours in colour, so little is lost; the mean of all stays exact; and where
weights or colours change a little, so does the result, which does not flicker as a drawn sample would.

Source:
    Hilbert's curve by J. Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707, 2004.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.color.matching.tables import in_order

_BITS = 8
"""Cells of colour space along every axis, as a power of two."""
_STRAY_SHARE = 0.01
"""Of the values at either end of an axis, which share its last cell."""


def thin_out(colors: Tensor, shares: Tensor, count: int) -> Tensor:
    """(B, C, count) colours that stand for (B, C, N) with shares (B, N), which sum to one; in order along the curve."""
    order = _place_on_curve(colors).argsort(dim=1, stable=True)
    colors = colors.gather(2, order[:, None].expand_as(colors)).double()
    shares = shares.gather(1, order)
    passed = F.pad(shares.cumsum(1), (1, 0))
    passed = passed / passed[:, -1:]
    sums = F.pad((colors * shares[:, None]).cumsum(2), (1, 0))
    ends = torch.linspace(0.0, 1.0, count + 1, dtype=passed.dtype, device=passed.device).expand(len(passed), -1)
    right = torch.searchsorted(passed, ends.contiguous()).clamp(1, passed.shape[1] - 1)
    before, after = passed.gather(1, right - 1), passed.gather(1, right)
    part = torch.where(after > before, (ends - before) / (after - before), 1.0).clamp(0.0, 1.0)[:, None]
    right = right[:, None].expand(-1, colors.shape[1], -1)
    return torch.lerp(sums.gather(2, right - 1), sums.gather(2, right), part).diff(dim=2) * count


def _place_on_curve(colors: Tensor) -> Tensor:
    """(B, N) int64 places of (B, C, N) colours on Hilbert's curve through their range."""
    ordered = in_order(colors)
    stray = int(_STRAY_SHARE * colors.shape[2])
    low, high = ordered[..., stray, None], ordered[..., -1 - stray, None]
    scaled = (colors - low) * ((1 << _BITS) / (high - low).clamp_min(torch.finfo(colors.dtype).tiny))
    axes = list(scaled.clamp(0.0, (1 << _BITS) - 1.0).to(torch.int64).unbind(1))
    for bit in range(_BITS - 1, 0, -1):
        lower = (1 << bit) - 1
        for axis, values in enumerate(axes):
            is_set = (values >> bit & 1).bool()
            swapped = torch.where(is_set, 0, (axes[0] ^ axes[axis]) & lower)
            axes[axis] = axes[axis] ^ swapped if axis else axes[axis]
            axes[0] = torch.where(is_set, axes[0] ^ lower, axes[0] ^ swapped if axis else axes[0])
    for axis in range(1, len(axes)):
        axes[axis] = axes[axis] ^ axes[axis - 1]
    turn = torch.zeros_like(axes[0])
    for bit in range(_BITS - 1, 0, -1):
        turn = torch.where((axes[-1] >> bit & 1).bool(), turn ^ ((1 << bit) - 1), turn)
    place = torch.zeros_like(turn)
    for bit in range(_BITS - 1, -1, -1):
        for values in axes:
            place = place << 1 | ((values ^ turn) >> bit & 1)
    return place
