"""The network made for CPUs: the most likeness per minute. DF wiring, shaped for the fast corner of convolutions.

Convolutions run fastest with many channels on small grids, so no layer works on pixels: the encoder starts from
blocks of b x b pixels, and each decoder ends by painting such blocks, face and mask in one layer. The number of blocks
a side, g, is fixed, so that resolution costs next to nothing. With R the resolution, b = R / g and k = g / 4:

    face (B, 3, R, R) → blocks (B, 3b², g, g) → (B, 4e, k, k) → dense → code (B, coarse, k, k)
    code → (B, middle, g / 2, g / 2) → (B, fine, g, g) → blocks (B, 4b², g, g) → face (B, 3, R, R), mask (B, 1, R, R)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.autoencoder import FaceDecoder
from dflcore.models.blocks import (
    Downscale,
    Residual,
    Upscale,
    activate_,
    initialize_glorot,
    paint_level,
    pixel_norm,
    require_resolution,
    to_unit,
)
from dflcore.models.recompute import Recomputable
from dflcore.models.wirings import OneCode

CODE_STEP_BLOCKS = 4
"""Blocks per position of the code: two halvings."""


class QuickEncoder(Recomputable):
    """Shared by both identities: face (B, 3, R, R) in [0, 1] → code (B, coarse, k, k)."""

    def __init__(self, side: int, block_px: int, width: int, code_width: int, coarse_width: int) -> None:
        super().__init__()
        self.side, self.block_px = side, block_px
        self.coarse_width = coarse_width
        self.stem = nn.Conv2d(3 * block_px**2, width, 3, padding=1)
        self.downs = nn.ModuleList([Downscale(width, width * 2, 3), Downscale(width * 2, width * 4, 3)])
        self.dense1 = nn.Linear(width * 4 * self.side**2, code_width)
        self.dense2 = nn.Linear(code_width, coarse_width * self.side**2)

    def forward(self, face: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(face - 0.5, self.block_px)
        flat = self.part(self._levels, _channels_last(blocks)).flatten(1)
        code = self.dense2(self.dense1(pixel_norm(flat)))
        return _channels_last(code.view(-1, self.coarse_width, self.side, self.side))

    def _levels(self, blocks: Tensor) -> Tensor:
        x = activate_(self.stem(blocks), 0.1)
        for down in self.downs:
            x = down(x)
        return x


class QuickDecoder(FaceDecoder):
    """One identity: code (B, coarse, k, k) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    def __init__(self, coarse_width: int, middle_width: int, fine_width: int, block_px: int) -> None:
        super().__init__()
        self.block_px = block_px
        self.body = nn.Sequential(
            Upscale(coarse_width, middle_width),
            Residual(middle_width),
            Upscale(middle_width, fine_width),
            Residual(fine_width),
        )
        self.head = nn.Conv2d(fine_width, 4 * block_px**2, 3, padding=1)

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        x = code
        layers = list(self.body)
        for upscale, residual in zip(layers[0::2], layers[1::2], strict=True):
            x = self.part(paint_level, upscale, residual, x)
        painted = to_unit(F.pixel_shuffle(self.head(x), self.block_px))
        return painted[:, :3], painted[:, 3:]


class QuickModel(OneCode):
    """The quick face model.

    Args:
        resolution: side of the face in pixels; a multiple of ``grid_blocks``.
        grid_blocks: blocks along each side, positions of the finest grid; a multiple of 4.
        code_dims: width of the bottleneck.
        e_dims: width of the encoder's first layer.
        coarse_dims, middle_dims, fine_dims: widths of the decoders at a quarter, half and all of the grid.

    Raises:
        InvalidInput: the resolution does not fit the network.
    """

    def __init__(
        self,
        *,
        resolution: int,
        grid_blocks: int,
        code_dims: int,
        e_dims: int,
        coarse_dims: int,
        middle_dims: int,
        fine_dims: int,
    ) -> None:
        super().__init__()
        if grid_blocks % CODE_STEP_BLOCKS or grid_blocks < CODE_STEP_BLOCKS:
            raise InvalidInput(
                f"A grid of {grid_blocks} blocks does not fit this network; use a multiple of {CODE_STEP_BLOCKS}.",
                reason="BAD_GRID",
                field="grid_blocks",
            )
        require_resolution(resolution, grid_blocks)
        side, block_px = grid_blocks // CODE_STEP_BLOCKS, resolution // grid_blocks
        self.resolution = resolution
        self.encoder = QuickEncoder(side, block_px, e_dims, code_dims, coarse_dims)
        self.add_decoders(1, lambda: QuickDecoder(coarse_dims, middle_dims, fine_dims, block_px))
        initialize_glorot(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, faces: Tensor) -> Tensor:
        return self.encoder(faces)  # type: ignore[no-any-return]

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder.dense1, self.encoder.dense2)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
