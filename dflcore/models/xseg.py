"""XSeg: the few-shot segmentation network, a U-Net with a dense bottleneck, without batch statistics.

Source: layer definitions as measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); filter response
normalisation: Singh and Krishnan, arXiv:1911.09737; anti-aliased pooling: Zhang, arXiv:1904.11486.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.blocks import initialize_glorot

_INITIAL_EPSILON = 1e-6
_BINOMIALS = {2: (1.0, 1.0), 3: (1.0, 2.0, 1.0), 4: (1.0, 3.0, 3.0, 1.0)}
_DEPTH = 6
"""Levels of halving; the resolution is a multiple of two to this power."""


class FilterResponseNorm(nn.Module):
    """x / sqrt(mean over the picture of x² + |epsilon|) * weight + bias, each channel of each sample on its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = nn.Parameter(torch.tensor([_INITIAL_EPSILON]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → same. The power is summed in float32 or better."""
        power = x.square().mean(dim=(2, 3), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        gain = torch.rsqrt(power + self.epsilon.abs()) * self.weight.view(1, -1, 1, 1)
        return x * gain.to(x.dtype) + self.bias.view(1, -1, 1, 1).to(x.dtype)


class ThresholdedUnit(nn.Module):
    """max(x, tau) with a learned tau per channel (TLU of the same paper)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → same."""
        tau = self.tau.view(1, -1, 1, 1).to(x.dtype)
        return F.relu(x - tau) + tau  # the gradient of torch.maximum costs several times as much


class BlurPool(nn.Module):
    """Halve a picture through a binomial filter of 2, 3 or 4 taps, zeros beyond the border."""

    kernel: Tensor

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        row = torch.tensor(_BINOMIALS[taps])
        kernel = torch.outer(row, row)
        self.register_buffer(
            "kernel", (kernel / kernel.sum()).expand(channels, 1, taps, taps).clone(), persistent=False
        )
        self.channels = channels
        before, after = (taps - 1) // 2, taps // 2
        self.pads = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H / 2, W / 2)."""
        return F.conv2d(F.pad(x, self.pads), self.kernel.to(x.dtype), stride=2, groups=self.channels)


class ConvBlock(nn.Sequential):
    """3x3 convolution, filter response normalisation, thresholded unit."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            FilterResponseNorm(out_channels),
            ThresholdedUnit(out_channels),
        )


class UpBlock(nn.Module):
    """Transposed 3x3 convolution with stride 2, normalised: (B, in, H, W) → (B, out, 2 H, 2 W).

    Convention:
        The row and column too many lie at the bottom and the right, where the reference cuts them.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2)
        self.norm = FilterResponseNorm(out_channels)
        self.act = ThresholdedUnit(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return self.act(self.norm(self.conv(x)[..., : 2 * height, : 2 * width]))  # type: ignore[no-any-return]


class XSeg(nn.Module):
    """Face picture → logits of its mask.

    Args:
        resolution: side of the pictures in pixels, a multiple of 64.
        base: width of the first level; 32 at 256 px is the reference's network of 17 569 317 parameters.
        bottleneck: width of the dense layer in the middle.

    Raises:
        InvalidInput: the resolution does not fit the six halvings.
    """

    def __init__(self, resolution: int = 256, base: int = 32, bottleneck: int = 512) -> None:
        super().__init__()
        if resolution < 1 or resolution % 2**_DEPTH:
            raise InvalidInput(
                f"The resolution of XSeg is a multiple of {2**_DEPTH}, not {resolution}.",
                reason="BAD_RESOLUTION",
                field="resolution",
            )
        self.resolution = resolution
        b = base
        widths = (b, 2 * b, 4 * b, 8 * b, 8 * b, 8 * b)
        counts = (2, 2, 2, 3, 3, 3)
        taps = (4, 3, 2, 2, 2, 2)
        inputs = (3, *widths[:-1])
        self.encoders = nn.ModuleList(_blocks(i, *[w] * n) for i, w, n in zip(inputs, widths, counts, strict=True))
        self.pools = nn.ModuleList(BlurPool(w, t) for w, t in zip(widths, taps, strict=True))
        self.grid = resolution // 2**_DEPTH
        flat = widths[-1] * self.grid**2
        self.dense_in = nn.Linear(flat, bottleneck)
        self.dense_out = nn.Linear(bottleneck, flat)
        # deepest first: what comes from below, what the transposed convolution makes of it, the skip, the blocks
        steps: tuple[tuple[int, int, int, tuple[int, ...]], ...] = (
            (8 * b, 4 * b, 8 * b, (8 * b, 8 * b, 8 * b)),
            (8 * b, 4 * b, 8 * b, (8 * b, 8 * b, 8 * b)),
            (8 * b, 4 * b, 8 * b, (8 * b, 8 * b, 8 * b)),
            (8 * b, 4 * b, 4 * b, (4 * b, 4 * b)),
            (4 * b, 2 * b, 2 * b, (2 * b, 2 * b)),
            (2 * b, b, b, (b, b)),
        )
        self.ups = nn.ModuleList(UpBlock(below, up) for below, up, _, _ in steps)
        self.decoders = nn.ModuleList(_blocks(up + skip, *widths) for _, up, skip, widths in steps)
        self.head = nn.Conv2d(b, 1, 3, padding=1)
        initialize_glorot(self)
        initialize_transposed(self)

    def forward(self, faces: Tensor, *, use_skips: bool = True) -> Tensor:
        """Logits of the mask.

        Args:
            faces: (B, 3, R, R) display-referred sRGB, RGB, in [0, 1], aligned space.
            use_skips: False feeds zeros in place of the skips, so that all must pass the bottleneck (pretraining).

        Returns:
            (B, 1, R, R); the sigmoid of it is the mask.
        """
        x = faces
        skips: list[Tensor] = []
        for encoder, pool in zip(self.encoders, self.pools, strict=True):
            x = encoder(x)
            skips.append(x)
            x = pool(x)
        x = self.dense_out(self.dense_in(x.flatten(1))).view_as(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = decoder(torch.cat([up(x), skip if use_skips else torch.zeros_like(skip)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


def initialize_transposed(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases for every transposed convolution inside ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _blocks(*widths: int) -> nn.Sequential:
    """Convolution blocks from the first width through all others."""
    return nn.Sequential(*(ConvBlock(i, o) for i, o in pairwise(widths)))
