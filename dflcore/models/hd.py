"""The paper's DFHD and LIAEHD: DF and LIAE with four encoders side by side and a decoder full of shortcuts.

The encoder halves by sub-pixels and looks at each picture with four kernels: 3x3, 5x5, and sparser 5x5 and 7x7 ones.
In the decoder every level is painted, painted once more at the double size, and led back.

Source: architecture facts of DeepFaceLab, commits 967fbdd to 0c2e1c3 of 2020 (GPL-3.0, nothing copied); paper
arXiv:2005.05535, §4.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from dflcore.models.autoencoder import BranchedDecoder, Inter, Letters
from dflcore.models.blocks import (
    Residual,
    SubpixelDownscale,
    Upscale,
    activate_,
    initialize_glorot,
    require_resolution,
    require_width,
    to_unit,
)
from dflcore.models.recompute import Recomputable
from dflcore.models.wirings import OneCode, TwoCodes

_STEP = 16
_LETTERS = Letters()


class HdEncoder(Recomputable):
    """Four halvings by four stacks, then flat: (B, 3, R, R) in [0, 1] → (B, 40 e (R / 16)²)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        kinds = ((3, 1, width * 2), (5, 1, width * 2), (5, 2, width // 2), (7, 2, width // 2))
        self.stacks = nn.ModuleList(_stack(kernel, dilation, first) for kernel, dilation, first in kinds)

    def flat_size(self, resolution: int) -> int:
        """Numbers per face that come out."""
        return self.width * 40 * (resolution // _STEP) ** 2

    def forward(self, face: Tensor) -> Tensor:
        return torch.cat([self.part(stack, face).flatten(1) for stack in self.stacks], dim=1)


class Detour(nn.Module):
    """Double the size, refine, and lead back: (B, C, H, W) → (B, C, H, W) and what it refined, (B, inner, 2 H, 2 W)."""

    def __init__(self, channels: int, inner_channels: int) -> None:
        super().__init__()
        self.upscale = Upscale(channels, inner_channels)
        self.residual = Residual(inner_channels)
        self.downscale = SubpixelDownscale(inner_channels, channels, activate=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        refined = self.residual(self.upscale(x))
        return activate_(x + self.downscale(refined), 0.2), refined


class HdDecoder(BranchedDecoder):
    """Code (B, C, R / 8, R / 8) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    def __init__(self, code_width: int, width: int, mask_width: int) -> None:
        levels = (8, 4, 2)
        super().__init__([code_width, *(mask_width * level for level in levels)])
        widths = [code_width, *(width * level for level in levels)]
        self.detours = nn.ModuleList(Detour(i, o) for i, o in pairwise([*widths, width]))
        self.upscales = nn.ModuleList(Upscale(i, o) for i, o in pairwise(widths))
        self.face_head = nn.Conv2d(widths[-1], 3, 1)

    def paint_face(self, code: Tensor) -> Tensor:
        x = code
        for detour, upscale in zip(list(self.detours)[:-1], self.upscales, strict=True):
            x = self.part(_level, detour, upscale, x)
        x = self.part(_last_level, self.detours[-1], x)
        return to_unit(self.face_head(x))


class DfHdModel(OneCode):
    """The DFHD face model.

    Args:
        resolution: side of the face in pixels, a multiple of 16.
        ae_dims: width of the bottleneck, a multiple of 4.
        e_dims: width of the encoder, a multiple of 8.
        d_dims: width of the face branch of the decoders, a multiple of 2. d_mask_dims: of their mask branch.

    Raises:
        InvalidInput: the resolution or a width does not fit the network.
    """

    def __init__(self, *, resolution: int, ae_dims: int, e_dims: int, d_dims: int, d_mask_dims: int) -> None:
        super().__init__()
        _require_numbers(resolution, ae_dims, e_dims, d_dims)
        self.resolution = resolution
        self.encoder = HdEncoder(e_dims)
        self.inter = Inter(self.encoder.flat_size(resolution), ae_dims, ae_dims, resolution, _LETTERS)
        self.add_decoders(1, lambda: HdDecoder(ae_dims, d_dims, d_mask_dims))
        initialize_glorot(self)

    def encode(self, faces: Tensor) -> Tensor:
        return self.inter(self.encoder(faces))  # type: ignore[no-any-return]

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.inter,)


class LiaeHdModel(TwoCodes):
    """The LIAEHD face model; arguments and faults as :class:`DfHdModel`."""

    def __init__(self, *, resolution: int, ae_dims: int, e_dims: int, d_dims: int, d_mask_dims: int) -> None:
        _require_numbers(resolution, ae_dims, e_dims, d_dims)
        encoder = HdEncoder(e_dims)
        inter_ab, inter_b = (
            Inter(encoder.flat_size(resolution), ae_dims, ae_dims * 2, resolution, _LETTERS) for _ in range(2)
        )
        super().__init__(resolution, encoder, inter_ab, inter_b, HdDecoder(ae_dims * 4, d_dims, d_mask_dims))
        initialize_glorot(self)


def _stack(kernel: int, dilation: int, width: int) -> nn.Sequential:
    widths = (3, width, width * 2, width * 4, width * 8)
    return nn.Sequential(*(SubpixelDownscale(i, o, kernel, dilation=dilation) for i, o in pairwise(widths)))


def _level(detour: nn.Module, upscale: nn.Module, x: Tensor) -> Tensor:
    x, refined = detour(x)
    return activate_(upscale(x) + refined, 0.2)


def _last_level(detour: nn.Module, x: Tensor) -> Tensor:
    return detour(x)[0]  # type: ignore[no-any-return]


def _require_numbers(resolution: int, ae_dims: int, e_dims: int, d_dims: int) -> None:
    """Every halving by sub-pixels turns one channel into four."""
    require_resolution(resolution, _STEP)
    require_width("ae_dims", ae_dims, 4)
    require_width("e_dims", e_dims, 8)
    require_width("d_dims", d_dims, 2)
