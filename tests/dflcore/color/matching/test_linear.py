"""LCT and MKL make the first two moments equal; MKL moves colours less."""

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.linear import match_lct, match_mkl
from dflcore.color.matching.methods import ColorMatch
from dflcore.color.matching.weights import moments, pixel_shares


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("match", [match_lct, match_mkl])
def test_mean_and_covariance_become_the_references(
    match: ColorMatch, masked: bool, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    mask = soft_mask.double() if masked else None
    matched = match(picture.double(), reference.double(), mask)
    mean, covariance = moments(matched.flatten(2), pixel_shares(mask))
    wanted_mean, wanted = moments(reference.double().flatten(2), None)
    torch.testing.assert_close(mean, wanted_mean, atol=1e-9, rtol=0)
    torch.testing.assert_close(covariance, wanted, atol=1e-9, rtol=0)


def test_mkl_moves_colours_the_least(picture: Tensor, reference: Tensor) -> None:
    cost = {match: float((match(picture, reference) - picture).square().mean()) for match in (match_lct, match_mkl)}
    assert cost[match_mkl] < cost[match_lct]


def test_noise_of_a_flat_picture_stays_noise(reference: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    flat = 0.5 + 1e-4 * torch.randn(1, 3, 40, 40, generator=generator)
    for match in (match_lct, match_mkl):
        assert match(flat, reference).std() < 0.25 * reference.std()
