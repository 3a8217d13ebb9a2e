"""Layers of the face networks: laws, and gradients against plain out-of-place arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.errors import InvalidInput
from dflcore.models.blocks import (
    Downscale,
    Residual,
    SubpixelDownscale,
    SubpixelHead,
    Upscale,
    pixel_norm,
    require_width,
    to_unit,
)
from dflcore.models.hd import Detour


def act(x: Tensor, slope: float, *, cosine: bool) -> Tensor:
    return x * torch.cos(x) if cosine else F.leaky_relu(x, slope)


def plain_downscale(layer: Downscale, x: Tensor) -> Tensor:
    return act(layer.conv(x), 0.1, cosine=layer.cosine)


def plain_upscale(layer: Upscale, x: Tensor) -> Tensor:
    return F.pixel_shuffle(act(layer.conv(x), 0.1, cosine=layer.cosine), 2)


def plain_residual(layer: Residual, x: Tensor) -> Tensor:
    inner = layer.conv2(act(layer.conv1(x), 0.2, cosine=layer.cosine))
    return act(x + inner, 0.2, cosine=layer.cosine)


def plain_subpixel_downscale(layer: SubpixelDownscale, x: Tensor) -> Tensor:
    return F.pixel_unshuffle(F.leaky_relu(layer.conv(x), 0.1), 2)


def plain_subpixel_head(layer: SubpixelHead, x: Tensor) -> Tensor:
    planes = torch.stack([phase(x) for phase in layer.phases], dim=2)
    return F.pixel_shuffle(planes.flatten(1, 2), 2)


def plain_detour(layer: Detour, x: Tensor) -> Tensor:
    refined = plain_residual(layer.residual, plain_upscale(layer.upscale, x))
    back = F.pixel_unshuffle(layer.downscale.conv(refined), 2)
    return torch.cat([F.leaky_relu(x + back, 0.2).flatten(), refined.flatten()])


CASES = {
    "down": (lambda: Downscale(4, 8), plain_downscale),
    "down c": (lambda: Downscale(4, 8, cosine=True), plain_downscale),
    "up": (lambda: Upscale(4, 8), plain_upscale),
    "up c": (lambda: Upscale(4, 8, cosine=True), plain_upscale),
    "residual": (lambda: Residual(4), plain_residual),
    "residual c": (lambda: Residual(4, cosine=True), plain_residual),
    "sub-pixel down": (lambda: SubpixelDownscale(4, 8, 5, dilation=2), plain_subpixel_downscale),
    "sub-pixel head": (lambda: SubpixelHead(4, 3), plain_subpixel_head),
    "detour": (lambda: Detour(4, 8), plain_detour),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_those_of_out_of_place_arithmetic(name: str) -> None:
    torch.manual_seed(0)
    build, plain = CASES[name]
    layer = build().double()
    results = []
    for compute in (layer, lambda x: plain(layer, x)):
        layer.zero_grad(set_to_none=True)
        x = torch.linspace(-2, 2, 2 * 4 * 6 * 6, dtype=torch.float64).view(2, 4, 6, 6).requires_grad_()
        y = compute(x)
        y = torch.cat([part.flatten() for part in y]) if isinstance(y, tuple) else y
        (y.flatten() * torch.linspace(-1, 1, y.numel(), dtype=torch.float64)).sum().backward()
        results.append([y.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-10, rtol=1e-9)


def test_pixel_norm() -> None:
    x = torch.randn(2, 50) * 7
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(2), atol=1e-4, rtol=0)
    assert bool(pixel_norm(torch.zeros(1, 5)).isfinite().all())


def test_subpixel_head_places_its_phases() -> None:
    head = SubpixelHead(4, 3)
    with torch.no_grad():
        for number, phase in enumerate(head.phases):
            phase.weight.zero_()
            phase.bias.fill_(float(number))
        picture = head(torch.zeros(1, 4, 2, 2))
    expected = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(2, 2)
    torch.testing.assert_close(picture, expected.expand(1, 3, 4, 4))


def test_upscale_doubles() -> None:
    assert Upscale(4, 6)(torch.zeros(1, 4, 5, 5)).shape == (1, 6, 10, 10)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (5, 2), (7, 2)])
def test_subpixel_downscale_halves(kernel: int, dilation: int) -> None:
    layer = SubpixelDownscale(4, 8, kernel, dilation=dilation)
    assert layer(torch.zeros(1, 4, 10, 10)).shape == (1, 8, 5, 5)


def test_half_precision_logits_become_full_precision_pictures() -> None:
    assert to_unit(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert to_unit(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("width", [2, 6])
def test_a_width_that_does_not_fit_is_refused(width: int) -> None:
    with pytest.raises(InvalidInput, match="multiple of 4"):
        require_width("ae_dims", width, 4)
