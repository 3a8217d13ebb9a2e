"""Style losses against the formula, and what may learn from them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dflcore.train.losses.dssim import Dssim
from dflcore.train.losses.reconstruction import MaskBlur
from dflcore.train.losses.style import BackgroundStyle, FaceStyle

SIDE = 32


def scene(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(9)
    faces = [torch.rand(2, 3, SIDE, SIDE, generator=generator, dtype=torch.float64) for _ in range(2)]
    masks = [torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float64) for _ in range(2)]
    masks[0][:, :, 6:20, 8:24] = 0.9
    masks[1][:, :, 10:26, 6:22] = 0.8
    return tuple(one.to(dtype) for one in (faces[0], masks[0], faces[1] ** 2, masks[1]))


def test_face_style_is_the_formula() -> None:
    swap, swap_mask, target, target_mask = (one.numpy() for one in scene(torch.float64))
    expected = 0.0
    for index in range(2):
        for color in range(3):
            moments = []
            for picture, mask in ((swap, swap_mask), (target, target_mask)):
                masked = picture[index, color] * mask[index, 0]
                blurred = gaussian_filter(masked, SIDE // 8, mode="constant", radius=SIDE // 4)
                moments.append((blurred.mean(), np.sqrt(blurred.var() + 1e-5)))
            (mean, deviation), (other_mean, other_deviation) = moments
            expected += ((mean - other_mean) ** 2 + (deviation - other_deviation) ** 2) / 3 / 2
    loss = FaceStyle(SIDE, 5.0).double()
    assert float(loss(*scene(torch.float64))) == pytest.approx(500 * expected, rel=1e-5)


def test_background_style_is_the_formula_with_the_targets_own_mask() -> None:
    swap, swap_mask, target, target_mask = scene()
    outside = 1 - MaskBlur(SIDE)(swap_mask * target_mask)
    expected = Dssim(SIDE, 2)(swap * outside, target * outside) + (swap * outside - target * outside).square().mean()
    assert float(BackgroundStyle(SIDE, 2.0)(swap, swap_mask, target, target_mask)) == pytest.approx(
        0.2 * float(expected), rel=1e-5
    )


def test_background_style_does_not_look_at_the_face() -> None:
    swap, _, target, _ = scene()
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[:, :, 4:28, 4:28] = 1
    other = swap.clone()
    other[:, :, 8:24, 8:24] = 0
    loss = BackgroundStyle(SIDE, 2.0)
    assert float(loss(swap, mask, target, mask)) == pytest.approx(float(loss(other, mask, target, mask)), rel=1e-5)


@pytest.mark.parametrize("style", [FaceStyle, BackgroundStyle])
def test_only_the_swapped_face_learns(style: type) -> None:
    inputs = [one.requires_grad_() for one in scene()]
    style(SIDE, 10.0)(*inputs).backward()
    assert bool(inputs[0].grad.ne(0).any())
    assert all(one.grad is None for one in inputs[1:])


@pytest.mark.parametrize("style", [FaceStyle, BackgroundStyle])
def test_gradient(style: type) -> None:
    swap, swap_mask, target, target_mask = scene(torch.float64)
    loss = style(SIDE, 1.0).double()
    assert torch.autograd.gradcheck(
        lambda one: loss(one, swap_mask, target, target_mask), swap.requires_grad_(), fast_mode=True
    )


@pytest.mark.parametrize("style", [FaceStyle, BackgroundStyle])
def test_like_costs_nothing_and_halves_of_a_batch_average(style: type) -> None:
    swap, swap_mask, target, target_mask = scene()
    loss = style(SIDE, 3.0)
    assert float(loss(swap, swap_mask, swap, swap_mask)) == pytest.approx(0.0, abs=1e-6)
    halves = [loss(*(one[index : index + 1] for one in (swap, swap_mask, target, target_mask))) for index in (0, 1)]
    assert float(loss(swap, swap_mask, target, target_mask)) == pytest.approx(float(sum(halves)) / 2, rel=1e-5)
