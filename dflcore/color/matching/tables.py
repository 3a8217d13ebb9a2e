"""Evenly spaced tables, looked up with straight lines between two places."""

from __future__ import annotations

import torch
from torch import Tensor


def between(table: Tensor, place: Tensor) -> Tensor:
    """(B, K, P) values of tables (B, K, BINS) at places counted in bins, straight between two; ``place`` is used up."""
    last = table.shape[2] - 1
    place = place.clamp_(0.0, float(last))
    index = place.to(torch.int64).clamp_max_(last - 1)
    left = table.gather(2, index)
    return torch.lerp(left, table.gather(2, index + 1), place.sub_(index))
