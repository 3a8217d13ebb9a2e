"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def build_optimizer(parameters: Iterable[nn.Parameter], learning_rate: float, beta2: float) -> torch.optim.Adam:
    """Adam in its fused one-pass form."""
    return torch.optim.Adam(list(parameters), lr=learning_rate, betas=(0.9, beta2), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Same rate for all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
