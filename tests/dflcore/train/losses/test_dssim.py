"""Structural dissimilarity: its gradient, its precision, and that cutting it into parts changes nothing."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from dflcore.train.losses import dssim as module
from dflcore.train.losses.dssim import Dssim
from dflcore.train.losses.filters import BandedFilter, gaussian_taps, multiply_in_parts, valid_filter_matrix


def pictures(side: int, count: int = 2, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    a = torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)
    b = (a + 0.2 * torch.randn(a.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return a.to(dtype), b.to(dtype)


def by_hand(a: np.ndarray, b: np.ndarray, window: int) -> float:
    line = np.exp(-((np.arange(window) - (window - 1) / 2) ** 2) / 4.5)
    kernel = np.outer(line, line) / line.sum() ** 2
    values = []
    for x, y in zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True):
        mx, my, xx, yy, xy = (convolve2d(one, kernel, "valid") for one in (x, y, x * x, y * y, x * y))
        luminance = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        contrast = (2 * (xy - mx * my) + 9e-4) / (xx - mx**2 + yy - my**2 + 9e-4)
        values.append((1 - (luminance * contrast).mean()) / 2)
    return float(np.mean(values))


@pytest.mark.parametrize(("side", "window"), [(32, 2), (40, 11), (64, 22), (70, 44)])
def test_value_is_the_formula(side: int, window: int) -> None:
    a, b = pictures(side, dtype=torch.float64)
    expected = by_hand(a.numpy(), b.numpy(), window)
    assert float(Dssim(side, window).double()(a, b)) == pytest.approx(expected, rel=1e-6)
    assert float(Dssim(side, window)(a.float(), b.float())) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("side", "window"), [(14, 4), (30, 11)])
def test_gradient_of_both_pictures(side: int, window: int) -> None:
    a, b = (one[:1, :1].requires_grad_() for one in pictures(side, 1, torch.float64))
    assert torch.autograd.gradcheck(Dssim(side, window).double(), (a, b), fast_mode=True)


def test_the_adjoint_is_the_adjoint_at_every_size() -> None:
    generator = torch.Generator().manual_seed(1)
    for length, taps in ((20, 3), (24, 1), (25, 25), (49, 8), (300, 22), (300, 120)):
        matrix = valid_filter_matrix(length, gaussian_taps(taps, 1.5)).double()
        band = BandedFilter(matrix)
        x = torch.rand(5, length, generator=generator, dtype=torch.float64)
        y = torch.rand(len(matrix), 5, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(band.apply(x), matrix @ x.t(), rtol=0, atol=1e-7)
        torch.testing.assert_close(band.adjoint(y), y.t() @ matrix, rtol=0, atol=1e-7)


def test_parts_of_a_batch_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for pixels in (2**30, 3000):
        monkeypatch.setattr(module, "CPU_PIXELS", pixels)
        a, b = pictures(48, 3)
        a.requires_grad_()
        value = Dssim(48, 7)(a, b)
        value.backward()
        results.append((value.detach(), a.grad))
    torch.testing.assert_close(results[0], results[1])


def test_gradient_comes_in_the_layout_of_the_picture_and_scales() -> None:
    a, b = pictures(32)
    plain = a.clone().requires_grad_()
    Dssim(32, 5)(plain, b).backward()
    pixelwise = a.to(memory_format=torch.channels_last).requires_grad_()
    (3 * Dssim(32, 5)(pixelwise, b)).backward()
    assert pixelwise.grad.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pixelwise.grad.contiguous(), 3 * plain.grad)


def test_autocast_and_half_pictures_do_not_cost_precision() -> None:
    a, b = pictures(48)
    dssim = Dssim(48, 11)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = dssim(a, b)
    assert inside.dtype == torch.float32
    assert float(inside) == float(dssim(a, b))
    half = a.bfloat16().requires_grad_()
    dssim(half, b).backward()
    assert half.grad.dtype == torch.bfloat16


def test_without_gradient_nothing_is_kept() -> None:
    a, b = pictures(32)
    a.requires_grad_()
    with torch.no_grad():
        assert not Dssim(32, 5)(a, b).requires_grad


def test_it_follows_its_module_to_another_type() -> None:
    a, b = pictures(32)
    dssim = Dssim(32, 5)
    single = float(dssim(a, b))
    assert float(dssim.double()(a.double(), b.double())) == pytest.approx(single, rel=1e-5)


def test_products_in_parts_survive_ten_bits_of_mantissa() -> None:
    """What TF32 does to each factor, done by hand, costs the split product next to nothing."""
    generator = torch.Generator().manual_seed(2)
    left, right = (torch.rand(40, 40, generator=generator) for _ in range(2))

    def keep_ten_bits(tensor: torch.Tensor) -> torch.Tensor:
        return ((tensor.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    exact = left.double() @ right.double()
    plain = (keep_ten_bits(left) @ keep_ten_bits(right) - exact).abs().max()
    small_left, small_right = (keep_ten_bits(one - one.bfloat16().float()) for one in (left, right))
    coarse_left, coarse_right = (one.bfloat16().float() for one in (left, right))
    assert torch.equal(coarse_left, keep_ten_bits(coarse_left))
    parts = small_left @ coarse_right + coarse_left @ small_right + coarse_left @ coarse_right
    assert float((parts - exact).abs().max()) < 0.05 * float(plain)
    torch.testing.assert_close(multiply_in_parts(left, right), left @ right, rtol=2e-5, atol=0)
