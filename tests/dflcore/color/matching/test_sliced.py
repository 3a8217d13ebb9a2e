"""IDT and SOT: distributions come ever nearer, and the change is a function of colour."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.methods import MAX_GAIN, METHODS, match
from dflcore.color.matching.sliced import IDT, SOT, SlicedMatch, match_sot

Distance = Callable[[Tensor, Tensor], float]


@pytest.mark.parametrize("method", [IDT, SOT])
def test_every_round_brings_the_colours_nearer(
    method: SlicedMatch, picture: Tensor, reference: Tensor, distance: Distance
) -> None:
    own, wanted = method.measure(picture), method.measure(reference)
    distances = [distance(picture, reference)]
    for rounds in (1, 2, 3, 5, method.rounds):
        shorter = replace(method, rounds=rounds)
        distances.append(distance(shorter.apply(picture, own, wanted), reference))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.06 * distances[0]  # DeepFaceLab's IDT stops at a third


def test_fewer_directions_are_what_training_asks_for(picture: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(match_sot(picture, reference), match("sot", picture, reference), atol=0, rtol=0)
    few = match_sot(picture, reference, triples=2)
    assert 0.0 < (few - match_sot(picture, reference)).abs().mean() < 0.02


def test_equal_colours_stay_equal_and_near_ones_near(picture: Tensor, reference: Tensor) -> None:
    levels = (picture * 15).round() / 15
    matched = match("idt", levels, reference)[0].flatten(1).t()
    _, group = levels[0].flatten(1).t().unique(dim=0, return_inverse=True)
    sums = torch.zeros(int(group.max()) + 1, 3).index_add_(0, group, matched)
    means = sums / group.bincount()[:, None]
    torch.testing.assert_close(means[group], matched, atol=1e-5, rtol=0)


def test_a_grey_ramp_stays_in_order() -> None:
    ramp = torch.linspace(0, 1, 4096).view(1, 1, 64, 64).expand(1, 3, -1, -1)
    matched = match("sot", ramp, ramp.square() * 0.5)[0, 1].flatten()
    assert (matched.diff() > -1e-4).all()
    torch.testing.assert_close(matched, ramp[0, 0].flatten().square() * 0.5, atol=0.02, rtol=0)


def test_one_stray_pixel_does_not_coarsen_the_rest(picture: Tensor, reference: Tensor) -> None:
    stray = picture.clone()
    own = SOT.measure(picture)
    places = ((picture[..., :8, :8].flatten(2)[0, :, :, None] - own.cloud("srgb")[0][:, None]).abs().sum(0) > 0).all(1)
    row, column = divmod(int(places.nonzero()[0]), 8)  # not in the sample
    stray[..., row, column] = 60.0
    before, after = match("sot", picture, reference), match("sot", stray, reference)
    elsewhere = (stray == picture).all(1)[0]
    torch.testing.assert_close(after[..., elsewhere], before[..., elsewhere], atol=1e-5, rtol=0)
    assert after[..., row, column].min() > 50


@pytest.mark.parametrize("name", ["idt", "sot"])
def test_a_bound_holds_spreads_and_leaves_what_is_within(
    name: str, picture: Tensor, reference: Tensor, distance: Distance
) -> None:
    faint = 0.5 + 0.1 * (picture - 0.5)
    free, bounded = match(name, faint, reference), match(name, faint, reference, max_gain=MAX_GAIN)
    assert free.flatten(2).std() > 5.0 * faint.flatten(2).std()
    spreads = [torch.linalg.eigvalsh(side[0].flatten(1).cov())[-1].sqrt() for side in (bounded, faint)]
    assert spreads[0] < 1.05 * MAX_GAIN * spreads[1]
    torch.testing.assert_close(bounded.mean((2, 3)), reference.mean((2, 3)), atol=0.01, rtol=0)
    near = 0.8 * picture + 0.1
    torch.testing.assert_close(match(name, picture, near, max_gain=MAX_GAIN), near, atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", ["idt", "sot"])
def test_white_teeth_make_no_specks_of_the_brightest_skin_when_merging(
    name: str, picture: Tensor, reference: Tensor, distance: Distance
) -> None:
    reference = 0.6 * reference
    reference[..., 100:110, 40:80] = 0.95  # 2.6 % of the picture
    grain = 2e-3 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    method = METHODS[name]
    own, wanted = method.measure(picture), method.measure(reference)

    def strongest(max_gain: float) -> float:
        """How often the grain is multiplied, where all but one in a thousand pixels see less."""
        plain, grainy = (method.apply(face, own, wanted, max_gain=max_gain) for face in (picture, picture + grain))
        return float(((grainy - plain).norm(dim=1) / grain.norm(dim=1)).quantile(0.999))

    assert strongest(MAX_GAIN) < 1.2 * MAX_GAIN
    assert strongest(math.inf) > 1.5 * strongest(MAX_GAIN)
    out = method.apply(picture, own, wanted, max_gain=MAX_GAIN)
    assert distance(out, reference) < 0.15 * distance(picture, reference)
    assert distance(out, reference) < 0.6 * distance(match("mkl", picture, reference), reference)
