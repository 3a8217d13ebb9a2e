"""The network made for CPUs: the most likeness per minute. DF wiring, shaped for the fast corner of convolutions.

Convolutions run fastest with many channels on small grids, so no layer works above a quarter of the resolution: the
encoder starts from 4x4 pixel blocks, and each decoder ends by painting 4x4 blocks, face and mask in one layer.
With R the resolution and k = R / 16:

    face (B, 3, R, R) → blocks (B, 48, 4k, 4k) → (B, 4e, k, k) → dense → code (B, coarse, k, k)
    code → (B, middle, 2k, 2k) → (B, fine, 4k, 4k) → blocks (B, 64, 4k, 4k) → face (B, 3, R, R), mask (B, 1, R, R)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.blocks import Downscale, Residual, Upscale, initialize_glorot, pixel_norm
from dflcore.models.face_model import FaceModel, Reconstruction, Swap

BLOCK_PX = 4
"""Side of the pixel block that one position of the finest grid reads or paints."""
GRID_STEP_PX = 16
"""Pixels per position of the code."""


class QuickEncoder(nn.Module):
    """Shared by both identities: face (B, 3, R, R) in [0, 1] → code (B, coarse, k, k)."""

    def __init__(self, resolution: int, width: int, code_width: int, coarse_width: int) -> None:
        super().__init__()
        self.side = resolution // GRID_STEP_PX
        self.coarse_width = coarse_width
        self.stem = nn.Conv2d(3 * BLOCK_PX**2, width, 3, padding=1)
        self.downs = nn.ModuleList([Downscale(width, width * 2, 3), Downscale(width * 2, width * 4, 3)])
        self.dense1 = nn.Linear(width * 4 * self.side**2, code_width)
        self.dense2 = nn.Linear(code_width, coarse_width * self.side**2)

    def forward(self, face: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(face - 0.5, BLOCK_PX)
        x = F.leaky_relu(self.stem(_channels_last(blocks)), 0.1)
        for down in self.downs:
            x = down(x)
        code = self.dense2(self.dense1(pixel_norm(x.flatten(1))))
        return _channels_last(code.view(-1, self.coarse_width, self.side, self.side))


class QuickDecoder(nn.Module):
    """One identity: code (B, coarse, k, k) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    def __init__(self, coarse_width: int, middle_width: int, fine_width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Upscale(coarse_width, middle_width),
            Residual(middle_width),
            Upscale(middle_width, fine_width),
            Residual(fine_width),
        )
        self.head = nn.Conv2d(fine_width, 4 * BLOCK_PX**2, 3, padding=1)

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        painted = torch.sigmoid(F.pixel_shuffle(self.head(self.body(code)), BLOCK_PX))
        return painted[:, :3], painted[:, 3:]


class QuickModel(FaceModel):
    """The quick face model.

    Args:
        resolution: side of the face in pixels; a multiple of 16.
        code_dims: width of the bottleneck.
        e_dims: width of the encoder's first layer.
        coarse_dims, middle_dims, fine_dims: widths of the decoders at 1/16, 1/8 and 1/4 of the resolution.

    Raises:
        InvalidInput: the resolution does not fit the network.
    """

    def __init__(
        self,
        *,
        resolution: int,
        code_dims: int,
        e_dims: int,
        coarse_dims: int,
        middle_dims: int,
        fine_dims: int,
    ) -> None:
        super().__init__()
        if resolution % GRID_STEP_PX or resolution < GRID_STEP_PX:
            raise InvalidInput(
                f"A resolution of {resolution} px does not fit this network; use a multiple of {GRID_STEP_PX}.",
                reason="BAD_RESOLUTION",
                field="resolution",
            )
        self.resolution = resolution
        self.encoder = QuickEncoder(resolution, e_dims, code_dims, coarse_dims)
        self.decoder_source = QuickDecoder(coarse_dims, middle_dims, fine_dims)
        self.decoder_target = QuickDecoder(coarse_dims, middle_dims, fine_dims)
        initialize_glorot(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def reconstruct(self, source: Tensor, target: Tensor) -> Reconstruction:
        code = self.encoder(torch.cat([source, target]))  # one pass through the shared part
        source_face, source_mask = self.decoder_source(code[: len(source)])
        target_face, target_mask = self.decoder_target(code[len(source) :])
        return Reconstruction(source_face, source_mask, target_face, target_mask)

    def swap(self, target: Tensor) -> Swap:
        code = self.encoder(target)
        face, source_mask = self.decoder_source(code)
        _, target_mask = self.decoder_target(code)
        return Swap(face, source_mask, target_mask)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
