"""What every colour match keeps: the same onto the same, weights, flat colours, light above white, batches."""

import math

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.methods import COLOR_MATCHES, MAX_GAIN, METHODS, gain_when_merging, match

ALL = sorted(METHODS)
TRANSPORTS = ("idt", "sot", "mix")


@pytest.mark.parametrize("name", ALL)
def test_the_same_colours_change_nothing(name: str, picture: Tensor, soft_mask: Tensor) -> None:
    torch.testing.assert_close(match(name, picture, picture), picture, atol=2e-5, rtol=0)
    for max_gain in (math.inf, MAX_GAIN):
        out = match(name, picture, picture, soft_mask, soft_mask, max_gain=max_gain)
        torch.testing.assert_close(out, picture, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_what_lies_outside_the_masks_does_not_count(
    name: str, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    reference = torch.nn.functional.interpolate(reference, size=picture.shape[2:], mode="area")
    before = match(name, picture, reference, soft_mask, soft_mask)
    outside = soft_mask[0, 0] == 0
    picture, reference = picture.clone(), reference.clone()
    picture[..., outside], reference[..., outside] = 0.9, 0.1
    after = match(name, picture, reference, soft_mask, soft_mask)
    torch.testing.assert_close(after[..., ~outside], before[..., ~outside], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_flat_colours_stay_finite_and_arrive(name: str, reference: Tensor) -> None:
    flat, other = torch.full((1, 3, 40, 40), 0.5), torch.full((1, 3, 30, 30), 0.25)
    torch.testing.assert_close(match(name, flat, other), torch.full((1, 3, 40, 40), 0.25), atol=2e-3, rtol=0)
    out = match(name, flat, reference)
    assert out.isfinite().all()
    assert out.flatten(2).std(2).max() < 0.02
    assert (out.mean((2, 3)) - reference.mean((2, 3))).abs().max() < 0.15
    flattened = match(name, reference, flat)
    assert (flattened - 0.5).abs().mean() < 0.02


@pytest.mark.parametrize("level", [0.0, 0.5])
@pytest.mark.parametrize("name", ALL)
def test_noise_of_a_flat_face_stays_noise_when_merging(name: str, level: float, reference: Tensor) -> None:
    noise = 2e-3 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    out = match(name, level + noise, reference, max_gain=MAX_GAIN)
    assert out.isfinite().all()
    assert out.flatten(2).std(2).max() < 1.5 * MAX_GAIN * 2e-3 * (4.0 if level == 0.0 and name in ("rct", "mix") else 1)
    assert (out.mean((2, 3)) - reference.mean((2, 3))).abs().max() < 0.1


@pytest.mark.parametrize("name", ALL)
def test_light_above_white_goes_through(name: str, picture: Tensor, reference: Tensor) -> None:
    bright = reference * 3.0
    out = match(name, picture, bright)
    assert out.isfinite().all()
    assert out.max() > 1.5
    assert abs(float(out.mean() / bright.mean()) - 1) < 0.1


@pytest.mark.parametrize("max_gain", [math.inf, MAX_GAIN])
@pytest.mark.parametrize("name", ALL)
def test_a_highlight_stays_the_brightest_and_in_order(
    name: str, max_gain: float, picture: Tensor, reference: Tensor
) -> None:
    lit = picture.clone()
    spot = torch.linspace(0.0, 8.0, 25).view(5, 5)
    lit[..., 40:45, 40:45] = torch.maximum(lit[..., 40:45, 40:45], spot)
    out = match(name, lit, reference, max_gain=max_gain)
    levels = out.mean(1)[0, 40:45, 40:45].flatten()[4:]  # from 1.3 on: above all of the face
    assert (levels.diff() > 0).all()
    assert levels[-1] > 2.0
    assert levels[-1] == out.mean(1).max()


@pytest.mark.parametrize("name", ALL)
def test_light_below_black_and_nothing_but_light_are_finite(name: str, picture: Tensor, reference: Tensor) -> None:
    for face in (picture - 0.8, picture * 30.0, torch.zeros_like(picture), torch.full_like(picture, 60000.0)):
        for max_gain in (math.inf, MAX_GAIN):
            assert match(name, face, reference, max_gain=max_gain).isfinite().all()
            assert match(name, reference, face, max_gain=max_gain).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_an_empty_mask_looks_at_the_whole_picture(name: str, picture: Tensor, reference: Tensor) -> None:
    empty = torch.zeros(1, 1, *picture.shape[2:])
    out = match(name, picture, reference, empty)
    torch.testing.assert_close(out, match(name, picture, reference), atol=1e-4, rtol=0)
    assert METHODS[name].measure(picture, empty).weight.item() == 0.0


@pytest.mark.parametrize("name", ALL)
def test_pictures_of_a_batch_are_matched_each_to_its_own_reference(
    name: str, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    pictures, references = torch.cat([picture, picture.flip(1)]), torch.cat([reference, reference.flip(1)])
    masks = torch.cat([soft_mask, torch.ones_like(soft_mask)])
    both = match(name, pictures, references, masks, max_gain=MAX_GAIN)
    for index in range(2):
        one = slice(index, index + 1)
        alone = match(name, pictures[one], references[one], masks[one], max_gain=MAX_GAIN)
        torch.testing.assert_close(both[one], alone, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_the_result_never_varies_and_inputs_are_left_alone(name: str, picture: Tensor, reference: Tensor) -> None:
    copies = picture.clone(), reference.clone()
    out = match(name, picture, reference, max_gain=MAX_GAIN)
    assert torch.equal(out, match(name, picture, reference, max_gain=MAX_GAIN))
    assert torch.equal(picture, copies[0])
    assert torch.equal(reference, copies[1])


@pytest.mark.parametrize("name", ALL)
def test_training_and_merging_agree_where_no_bound_is_reached(
    name: str, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    training = COLOR_MATCHES[name](picture, reference, soft_mask)
    apart = (match(name, picture, reference, soft_mask, max_gain=50.0) - training).abs() * soft_mask
    if name in TRANSPORTS:  # smooth when merging
        assert apart.sum() / soft_mask.sum() / 3.0 < 0.04
    else:
        assert apart.max() < 1e-5


@pytest.mark.parametrize("name", ALL)
def test_palettes_measured_apart_give_the_same(
    name: str, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    method = METHODS[name]
    own, wanted = method.measure(picture, soft_mask), method.measure(reference)
    out = method.apply(picture, own, wanted, max_gain=MAX_GAIN)
    assert torch.equal(out, match(name, picture, reference, soft_mask, max_gain=MAX_GAIN))


@pytest.mark.parametrize("name", list(METHODS))
def test_a_dark_soft_face_on_a_light_one_gets_no_eyes_brighter_than_white(
    name: str, picture: Tensor, reference: Tensor
) -> None:
    """Highlights far from a soft face's mean were carried as far beyond the reference's."""
    soft = 0.35 + 0.15 * (picture - picture.mean((2, 3), keepdim=True))
    soft[..., 60:64, 40:48] = 0.6  # an eye's white, ten standard deviations from the skin
    light = reference.clamp(0.0, 0.95)
    out = match(name, soft, light, max_gain=gain_when_merging(name))
    assert out.amax() < 1.15
