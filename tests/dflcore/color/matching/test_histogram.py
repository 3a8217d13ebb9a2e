"""Histogram match: quantiles per channel, a threshold, order, and straight lines beyond what was measured."""

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.histogram import HIST, HistogramMatch
from dflcore.color.matching.methods import MAX_GAIN, match
from dflcore.color.matching.weights import pixel_shares

LEVELS = torch.linspace(0.01, 0.99, 99)


def quantiles(picture: Tensor, mask: Tensor | None = None) -> Tensor:
    """(3, 99)."""
    shares = pixel_shares(mask)
    if shares is None:
        return picture[0].flatten(1).quantile(LEVELS, dim=1).t()
    order = picture[0].flatten(1).argsort(dim=1)
    passed = shares[0].expand(3, -1).gather(1, order).cumsum(1)
    places = torch.searchsorted(passed.contiguous(), LEVELS.expand(3, -1).contiguous()).clamp_max(passed.shape[1] - 1)
    return picture[0].flatten(1).gather(1, order.gather(1, places))


@pytest.mark.parametrize("masked", [False, True])
def test_quantiles_become_the_references(masked: bool, picture: Tensor, reference: Tensor, soft_mask: Tensor) -> None:
    reference = torch.nn.functional.interpolate(reference, size=picture.shape[2:], mode="area")
    mask = soft_mask if masked else None
    reference = reference.clamp_max(1.0)  # what is above counts as a highlight
    picture = 0.95 * picture + 0.02 * torch.rand(picture.shape, generator=torch.Generator().manual_seed(0))  # no ties
    found = quantiles(match("hist", picture, reference, mask, mask), mask)
    wanted = quantiles(reference, mask)
    assert (found - wanted).abs().max() < 0.03
    assert (found - wanted).abs().mean() < 0.005


def test_every_channel_is_a_rising_curve(picture: Tensor, reference: Tensor) -> None:
    ramp = torch.linspace(-1.0, 20.0, 90000).view(1, 1, 300, 300).expand(1, 3, -1, -1)
    for max_gain in (float("inf"), MAX_GAIN):
        out = HIST.apply(ramp, HIST.measure(picture), HIST.measure(reference), max_gain=max_gain)[0].flatten(1)
        assert (out.diff(dim=1) > -1e-6).all()
        beyond = ramp[0, 0].flatten() > 1.0
        torch.testing.assert_close(out[:, beyond].diff(), ramp[0].flatten(1)[:, beyond].diff(), atol=1e-4, rtol=1e-3)
        assert out.min() < -0.5
        assert out.max() > 18.0


def test_a_threshold_keeps_the_brightest_values_out(picture: Tensor, reference: Tensor) -> None:
    share = 0.8
    method = HistogramMatch(share)
    out = method.apply(picture, method.measure(picture), method.measure(reference))
    wanted = reference[0].flatten(1).quantile(LEVELS * share, dim=1).t()
    assert (quantiles(out) - wanted).abs().max() < 0.02
    assert (out.flatten(2).amax(2) < reference.flatten(2).amax(2)).all()


def test_a_value_that_many_pixels_share_goes_to_the_mean_of_its_quantiles() -> None:
    steps = torch.tensor([0.1, 0.1, 0.5, 0.9]).repeat(64 * 16).view(1, 1, 64, 64).expand(1, 3, -1, -1)
    even = torch.linspace(0.0, 1.0, 4096).view(1, 1, 64, 64).expand(1, 3, -1, -1)
    out = match("hist", steps, even)
    for value, goal in ((0.1, 0.25), (0.5, 0.625), (0.9, 0.875)):
        torch.testing.assert_close(out[steps == value].mean(), torch.tensor(goal), atol=2e-3, rtol=0)


def test_a_bound_holds_every_slope_and_keeps_the_mean(picture: Tensor, reference: Tensor) -> None:
    faint = 0.5 + 0.1 * (picture - 0.5)
    out = match("hist", faint, reference, max_gain=MAX_GAIN)
    before, after = faint[0].flatten(1), out[0].flatten(1)
    order = before.argsort(dim=1)
    rise, run = after.gather(1, order).diff(dim=1), before.gather(1, order).diff(dim=1)
    assert (rise <= MAX_GAIN * run + 1e-5).all()
    torch.testing.assert_close(out.mean((2, 3)), reference.mean((2, 3)), atol=0.01, rtol=0)
