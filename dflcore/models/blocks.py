"""Layers shared by the face networks.

Activations work in place on what a convolution has just made: its gradient does not need its output, so the memory is
used again. Layers run in the memory layout they are given, contiguous or channels last.

Source: layer definitions as measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); paper arXiv:2005.05535.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.errors import InvalidInput

PIXEL_NORM_EPSILON = 1e-6
"""Keeps the division finite for an all-black code; unit: squared activation."""


def pixel_norm(x: Tensor) -> Tensor:
    """Scale each flattened code to unit mean square. The power is summed in float32 or better.

    Args:
        x: (B, N), any range.
    """
    power = x.square().mean(dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt(power + PIXEL_NORM_EPSILON).to(x.dtype)


def activate_(x: Tensor, slope: float, *, cosine: bool = False) -> Tensor:
    """Leaky ReLU with that slope, in place; with ``cosine`` (letter c) x cos(x), whatever the slope.

    Args:
        x: what nobody else needs any more, such as the output of a convolution.
    """
    return x * torch.cos(x) if cosine else F.leaky_relu(x, slope, inplace=True)


def to_unit(logits: Tensor) -> Tensor:
    """Sigmoid in float32 or better: half precision would leave the upper half of the range 129 steps."""
    return torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))


def initialize_glorot(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases for every convolution and dense layer inside ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def require_resolution(resolution: int, step: int) -> None:
    """Refuse a resolution that a network's halvings do not fit.

    Raises:
        InvalidInput: names the step.
    """
    if resolution % step or resolution < step:
        raise InvalidInput(
            f"A resolution of {resolution} px does not fit this network; use a multiple of {step}.",
            reason="BAD_RESOLUTION",
            field="resolution",
        )


def require_width(name: str, width: int, step: int) -> None:
    """Refuse a width whose share of sub-pixels is not whole.

    Raises:
        InvalidInput: names the setting and the step.
    """
    if width % step or width < step:
        raise InvalidInput(
            f"{name} is {width}, which does not fit this network; use a multiple of {step}.",
            reason="BAD_WIDTH",
            field=name,
        )


class Downscale(nn.Module):
    """Strided convolution: (B, in, H, W) → (B, out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5, *, cosine: bool = False) -> None:
        super().__init__()
        self.cosine = cosine
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=2, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return activate_(self.conv(x), 0.1, cosine=self.cosine)


class SubpixelDownscale(nn.Module):
    """Convolution at full size, then four pixels become four channels: (B, in, H, W) → (B, out, H / 2, W / 2).

    Args:
        out_channels: a multiple of 4.
        activate: leaky ReLU at the end.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, dilation: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        self.activate = activate
        padding = kernel_size // 2 * dilation
        self.conv = nn.Conv2d(in_channels, out_channels // 4, kernel_size, padding=padding, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.pixel_unshuffle(activate_(x, 0.1) if self.activate else x, 2)


class Upscale(nn.Module):
    """Convolution to four sub-pixel phases: (B, in, H, W) → (B, out, 2 H, 2 W).

    Convention:
        Phases are ordered as ``pixel_shuffle`` does (channel slow, phase fast). The reference orders them the other
        way round; importers permute the weights.
    """

    def __init__(self, in_channels: int, out_channels: int, *, cosine: bool = False) -> None:
        super().__init__()
        self.cosine = cosine
        self.conv = nn.Conv2d(in_channels, out_channels * 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(activate_(self.conv(x), 0.1, cosine=self.cosine), 2)


class Residual(nn.Module):
    """Two convolutions around a shortcut, (B, C, H, W) → same."""

    def __init__(self, channels: int, *, cosine: bool = False) -> None:
        super().__init__()
        self.cosine = cosine
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(activate_(self.conv1(x), 0.2, cosine=self.cosine))
        return activate_(inner.add_(x), 0.2, cosine=self.cosine)


def paint_level(upscale: nn.Module, residual: nn.Module, x: Tensor) -> Tensor:
    """One level of a decoder: double the size, then refine."""
    return residual(upscale(x))  # type: ignore[no-any-return]


class SubpixelHead(nn.Module):
    """Four convolutions, one per sub-pixel of a doubled picture: (B, in, H, W) → (B, out, 2 H, 2 W).

    The first phase (even row, even column) comes from a 1x1 convolution, the other three from 3x3 ones. All are
    computed as one 3x3 convolution, which reads its input once.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        kernels = (1, 3, 3, 3)
        self.phases = nn.ModuleList(nn.Conv2d(in_channels, out_channels, k, padding=k // 2) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = (cast("nn.Conv2d", phase) for phase in self.phases)
        around = first.weight.new_zeros(*first.weight.shape[:2], 4)
        center = torch.cat([around, first.weight.flatten(2), around], dim=2).view_as(others[0].weight)
        weights = torch.stack([center, *(phase.weight for phase in others)], dim=1)
        biases = torch.stack([cast("Tensor", phase.bias) for phase in (first, *others)], dim=1)
        return F.pixel_shuffle(F.conv2d(x, weights.flatten(0, 1), biases.flatten(), padding=1), 2)
