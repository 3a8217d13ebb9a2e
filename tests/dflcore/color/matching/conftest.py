"""Two real faces in different light, and what tells how far apart their colours are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def picture(astronaut: np.ndarray) -> Tensor:
    """(1, 3, 120, 96) sRGB-encoded."""
    return torch.from_numpy(astronaut[40:160, 176:272].copy()).permute(2, 0, 1)[None].float() / 255.0


@pytest.fixture(scope="session")
def reference(hopper: np.ndarray) -> Tensor:
    """(1, 3, 140, 110) sRGB-encoded, tinted, since the portrait is nearly of one hue."""
    face = torch.from_numpy(hopper[60:200, 220:330].copy()).permute(2, 0, 1)[None].float() / 255.0
    return face**1.3 * torch.tensor([0.75, 0.9, 1.0]).view(1, 3, 1, 1) + 0.05


@pytest.fixture(scope="session")
def soft_mask(picture: Tensor) -> Tensor:
    """(1, 1, 120, 96) weights: a soft spot in the middle."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 120), torch.linspace(-1, 1, 96), indexing="ij")
    return (1.3 - 2.0 * (x.square() + y.square()).sqrt()).clamp(0, 1)[None, None]


@pytest.fixture(scope="session")
def distance() -> Callable[[Tensor, Tensor], float]:
    """Sliced Wasserstein distance of two pictures of one batch, over directions that the matches do not use."""

    def measure(one: Tensor, other: Tensor) -> float:
        directions = torch.randn(100, 3, generator=torch.Generator().manual_seed(77))
        directions = directions / directions.norm(dim=1, keepdim=True)
        levels = torch.linspace(0.005, 0.995, 500)
        quantiles = [(directions @ picture[0].flatten(1)).quantile(levels, dim=1) for picture in (one, other)]
        return float((quantiles[0] - quantiles[1]).square().mean().sqrt())

    return measure
