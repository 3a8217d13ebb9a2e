"""What every colour match keeps: the same onto the same, weights, flat colours, light above white, batches."""

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.methods import COLOR_MATCHES

ALL = sorted(COLOR_MATCHES)


@pytest.mark.parametrize("name", ALL)
def test_the_same_colours_change_nothing(name: str, picture: Tensor, soft_mask: Tensor) -> None:
    match = COLOR_MATCHES[name]
    torch.testing.assert_close(match(picture, picture), picture, atol=2e-5, rtol=0)
    torch.testing.assert_close(match(picture, picture, soft_mask, soft_mask), picture, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_what_lies_outside_the_masks_does_not_count(
    name: str, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    match = COLOR_MATCHES[name]
    reference = torch.nn.functional.interpolate(reference, size=picture.shape[2:], mode="area")
    before = match(picture, reference, soft_mask, soft_mask)
    outside = soft_mask[0, 0] == 0
    picture, reference = picture.clone(), reference.clone()
    picture[..., outside], reference[..., outside] = 0.9, 0.1
    after = match(picture, reference, soft_mask, soft_mask)
    torch.testing.assert_close(after[..., ~outside], before[..., ~outside], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_flat_colours_stay_finite_and_arrive(name: str, reference: Tensor) -> None:
    match = COLOR_MATCHES[name]
    flat, other = torch.full((1, 3, 40, 40), 0.5), torch.full((1, 3, 30, 30), 0.25)
    torch.testing.assert_close(match(flat, other), torch.full((1, 3, 40, 40), 0.25), atol=2e-3, rtol=0)
    out = match(flat, reference)
    assert out.isfinite().all()
    assert out.flatten(2).std(2).max() < 0.02
    assert (out.mean((2, 3)) - reference.mean((2, 3))).abs().max() < 0.15
    flattened = match(reference, flat)
    assert (flattened - 0.5).abs().mean() < 0.02


@pytest.mark.parametrize("name", ALL)
def test_light_above_white_goes_through(name: str, picture: Tensor, reference: Tensor) -> None:
    bright = reference * 3.0
    out = COLOR_MATCHES[name](picture, bright)
    assert out.isfinite().all()
    assert out.max() > 1.5
    assert abs(float(out.mean() / bright.mean()) - 1) < 0.1


@pytest.mark.parametrize("name", ALL)
def test_pictures_of_a_batch_are_matched_each_to_its_own_reference(
    name: str, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    match = COLOR_MATCHES[name]
    pictures, references = torch.cat([picture, picture.flip(1)]), torch.cat([reference, reference.flip(1)])
    masks = torch.cat([soft_mask, torch.ones_like(soft_mask)])
    both = match(pictures, references, masks)
    for index in range(2):
        one = slice(index, index + 1)
        alone = match(pictures[one], references[one], masks[one])
        torch.testing.assert_close(both[one], alone, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_the_result_never_varies(name: str, picture: Tensor, reference: Tensor) -> None:
    match = COLOR_MATCHES[name]
    torch.testing.assert_close(match(picture, reference), match(picture, reference), atol=0, rtol=0)
