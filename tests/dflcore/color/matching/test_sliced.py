"""IDT and SOT: distributions come ever nearer, and the change is a function of colour."""

import pytest
import torch
from torch import Tensor

from dflcore.color.matching import sliced
from dflcore.color.matching.sliced import match_idt, match_sot


def distance(one: Tensor, other: Tensor) -> float:
    """Sliced Wasserstein distance over 100 directions that the matches do not use, from 500 quantiles each."""
    directions = torch.randn(100, 3, generator=torch.Generator().manual_seed(77))
    directions = directions / directions.norm(dim=1, keepdim=True)
    levels = torch.linspace(0.005, 0.995, 500)
    quantiles = [(directions @ picture[0].flatten(1)).quantile(levels, dim=1) for picture in (one, other)]
    return float((quantiles[0] - quantiles[1]).square().mean().sqrt())


@pytest.mark.parametrize(("match", "rounds"), [(match_idt, sliced.IDT_ROUNDS), (match_sot, sliced.SOT_ROUNDS)])
def test_every_round_brings_the_colours_nearer(match: object, rounds: int, picture: Tensor, reference: Tensor) -> None:
    assert match in (match_idt, match_sot)
    distances = [distance(picture, reference)]
    for count in (1, 2, 3, 5, rounds):
        distances.append(distance(match(picture, reference, rounds=count), reference))  # type: ignore[operator]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.06 * distances[0]


def test_equal_colours_stay_equal_and_near_ones_near(picture: Tensor, reference: Tensor) -> None:
    levels = (picture * 15).round() / 15
    matched = match_idt(levels, reference)[0].flatten(1).t()
    _, group = levels[0].flatten(1).t().unique(dim=0, return_inverse=True)
    sums = torch.zeros(int(group.max()) + 1, 3).index_add_(0, group, matched)
    means = sums / group.bincount()[:, None]
    torch.testing.assert_close(means[group], matched, atol=1e-5, rtol=0)


def test_a_grey_ramp_stays_in_order() -> None:
    ramp = torch.linspace(0, 1, 4096).view(1, 1, 64, 64).expand(1, 3, -1, -1)
    matched = match_sot(ramp, ramp.square() * 0.5)[0, 1].flatten()
    assert (matched.diff() > -1e-4).all()
    torch.testing.assert_close(matched, ramp[0, 0].flatten().square() * 0.5, atol=0.02, rtol=0)


def test_one_stray_pixel_does_not_coarsen_the_rest(picture: Tensor, reference: Tensor) -> None:
    stray = picture.clone()
    stray[..., 0, 1] = 60.0  # not in the sample
    before, after = match_sot(picture, reference), match_sot(stray, reference)
    torch.testing.assert_close(after[..., 1:, :], before[..., 1:, :], atol=1e-5, rtol=0)
    assert after[..., 0, 1].min() > 50
