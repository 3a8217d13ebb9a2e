"""Layers shared by the face networks.

Source: layer definitions as measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); paper arXiv:2005.05535.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXEL_NORM_EPSILON = 1e-6
"""Keeps the division finite for an all-black code; unit: squared activation."""


def pixel_norm(x: Tensor) -> Tensor:
    """Scale each flattened code to unit mean square.

    Args:
        x: (B, N), any range.
    """
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPSILON)


def initialize_glorot(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases for every convolution and dense layer inside ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Downscale(nn.Module):
    """Strided convolution: (B, in, H, W) → (B, out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=2, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x), 0.1)


class Upscale(nn.Module):
    """Convolution to four sub-pixel phases: (B, in, H, W) → (B, out, 2 H, 2 W).

    Convention:
        Phases are ordered as ``pixel_shuffle`` does (channel slow, phase fast). The reference orders them the other
        way round; importers permute the weights.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels * 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.leaky_relu(self.conv(x), 0.1), 2)


class Residual(nn.Module):
    """Two convolutions around a shortcut, (B, C, H, W) → same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(F.leaky_relu(self.conv1(x), 0.2))
        return F.leaky_relu(x + inner, 0.2)


class SubpixelHead(nn.Module):
    """Four parallel convolutions, one per sub-pixel of a doubled picture: (B, in, H, W) → (B, out, 2 H, 2 W).

    The first phase (even row, even column) comes from a 1x1 convolution, the other three from 3x3 ones.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        kernels = (1, 3, 3, 3)
        self.phases = nn.ModuleList(nn.Conv2d(in_channels, out_channels, k, padding=k // 2) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        planes = torch.stack([phase(x) for phase in self.phases], dim=2)  # (B, out, 4, H, W)
        return F.pixel_shuffle(planes.flatten(1, 2), 2)
