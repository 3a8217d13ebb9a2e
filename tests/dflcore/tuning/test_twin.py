"""Twins: shapes of a network without its numbers."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn

from dflcore.tuning.twin import paint_everybody, without_numbers


class Pair(NamedTuple):
    one: torch.Tensor
    other: torch.Tensor


@dataclass
class Batch:
    seen: torch.Tensor


class Keeping(nn.Module):
    """Keeps what it made last, as losses do for critics."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("taps", torch.ones(4))
        self.made: dict[str, Pair] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x) * self.taps
        self.made = {"last": Pair(y, y + 1)}
        self.batch = Batch(x)
        return y


def test_a_twin_computes_shapes_and_leaves_the_network_alone() -> None:
    module = Keeping()
    module(torch.rand(2, 4)).sum().backward()
    gradient, made = module.layer.weight.grad, module.made["last"].one
    with without_numbers(module) as twin:
        result = twin(torch.zeros(7, 4))
        assert result.shape == (7, 4)
        result.sum().backward()
        assert twin.layer.weight.grad is not None
        assert twin.layer.weight.grad is not gradient
    assert module.layer.weight.grad is gradient
    assert module.made["last"].one is made
    assert module(torch.rand(2, 4)).shape == (2, 4)


def test_a_hundred_gigabytes_are_no_trouble() -> None:
    with torch.device("meta"):
        module = nn.Linear(160_000, 160_000)
    with without_numbers(module) as twin:
        assert twin(torch.zeros(1000, 160_000)).shape == (1000, 160_000)


def test_only_face_models_are_painted_with_unless_told_how() -> None:
    with pytest.raises(TypeError, match="say how"):
        paint_everybody(nn.Linear(2, 2), 1)
