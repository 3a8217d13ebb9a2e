"""Convolution-aware initialisation: variance, orthogonality, seed, every network."""

import math

import pytest
import torch
from torch import nn

from dflcore.models.initializers import draw_ca_kernels, draw_orthonormal, initialize_ca
from tiny_networks import TINY_NETWORKS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (8, 3, 5, 5), (64, 16, 1, 1), (4, 20, 7, 7), (5, 6, 4, 4)])
def test_variance_is_two_over_the_inputs(shape: tuple[int, int, int, int]) -> None:
    kernels = draw_ca_kernels(*shape, generator=seeded())
    assert kernels.shape == shape
    assert float(kernels.var(correction=0)) == pytest.approx(2 / math.prod(shape[1:]), rel=1e-4)


@pytest.mark.parametrize(("inputs", "size"), [(6, 6), (18, 6), (15, 15), (31, 15)])
def test_filters_start_orthogonal_in_the_fourier_domain(inputs: int, size: int) -> None:
    vectors = draw_orthonormal(3, inputs, size, generator=seeded())
    assert vectors.shape == (3, inputs, size)
    for start in range(0, inputs - size + 1, size):
        run = vectors[:, start : start + size]
        torch.testing.assert_close(run @ run.mT, torch.eye(size).expand(3, -1, -1), atol=1e-4, rtol=0)


def test_kernels_carry_those_spectra() -> None:
    """3x3 kernels of few inputs are far from parallel, more so than Gaussian ones can be by chance."""
    kernels = draw_ca_kernels(200, 4, 3, 3, generator=seeded()).flatten(2)
    units = kernels / kernels.norm(dim=2, keepdim=True)
    overlap = (units @ units.mT)[:, ~torch.eye(4, dtype=torch.bool)].square().mean()
    assert float(overlap) < 0.8 / 9


def test_the_seed_decides() -> None:
    first, again, other = (draw_ca_kernels(8, 8, 3, 3, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", TINY_NETWORKS)
def test_every_convolution_of_every_network_starts_so(name: str) -> None:
    model = TINY_NETWORKS[name]()
    dense = {key: value.clone() for key, value in model.state_dict().items() if ".dense" in key}
    initialize_ca(model, seeded())
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions
    for layer in convolutions:
        expected = 2 / (layer.in_channels * math.prod(layer.kernel_size))
        assert float(layer.weight.detach().var(correction=0)) == pytest.approx(expected, rel=1e-3)
        assert not layer.bias.any()
    assert all(torch.equal(model.state_dict()[key], value) for key, value in dense.items())
    face = torch.rand(1, 3, model.resolution, model.resolution)
    assert bool(model.swap(face).face.isfinite().all())
