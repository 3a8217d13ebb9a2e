"""LCT and MKL make the first two moments equal; MKL moves colours less; the gain has a bound."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.linear import move_least, whiten_and_color
from dflcore.color.matching.methods import MAX_GAIN, match
from dflcore.color.matching.weights import moments, pixel_shares


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["lct", "mkl"])
def test_mean_and_covariance_become_the_references(
    name: str, masked: bool, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    mask = soft_mask.double() if masked else None
    matched = match(name, picture.double(), reference.double(), mask)
    mean, covariance = moments(matched.flatten(2), pixel_shares(mask))
    wanted_mean, wanted = moments(reference.double().flatten(2), None)
    torch.testing.assert_close(mean, wanted_mean, atol=1e-9, rtol=0)
    torch.testing.assert_close(covariance, wanted, atol=1e-9, rtol=0)


def test_mkl_moves_colours_the_least(picture: Tensor, reference: Tensor) -> None:
    cost = {name: float((match(name, picture, reference) - picture).square().mean()) for name in ("lct", "mkl")}
    assert cost["mkl"] < cost["lct"]


def test_noise_of_a_flat_picture_stays_noise(reference: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    flat = 0.5 + 1e-4 * torch.randn(1, 3, 40, 40, generator=generator)
    for name in ("lct", "mkl"):
        assert match(name, flat, reference).std() < 0.25 * reference.std()


@pytest.mark.parametrize("find_matrix", [whiten_and_color, move_least])
def test_a_bound_touches_only_what_is_beyond_it(find_matrix: Callable[..., Tensor], picture: Tensor) -> None:
    covariance = moments(picture.double().flatten(2), None)[1]
    axes = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    wanted = axes @ torch.diag(torch.tensor([0.04, 0.01, 0.0025], dtype=torch.float64)) @ axes.t()
    free = find_matrix(covariance, wanted[None])
    stretch = torch.linalg.svdvals(free)
    assert stretch.max() > MAX_GAIN > stretch.min()
    bounded = torch.linalg.svdvals(find_matrix(covariance, wanted[None], MAX_GAIN))
    torch.testing.assert_close(bounded, stretch.clamp_max(MAX_GAIN))
    torch.testing.assert_close(find_matrix(covariance, wanted[None], 100.0), free)
