"""The network made for CPUs: the most likeness per minute. DF wiring, shaped for the fast corner of convolutions.

Convolutions run fastest with many channels on small grids, so no layer works on pixels: the encoder starts from
blocks of b x b pixels, and each decoder ends by painting such blocks, face and mask in one layer. The number of blocks
a side, g, is fixed, so that resolution costs next to nothing. With R the resolution, b = R / g and k = g / 4:

    face (B, 3, R, R) → blocks (B, 3b², g, g) → (B, 4e, k, k) → dense → code (B, coarse, k, k)
    code → (B, middle, g / 2, g / 2) → (B, fine, g, g) → blocks (B, 4b², g, g) → face (B, 3, R, R), mask (B, 1, R, R)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.blocks import Downscale, Residual, Upscale, initialize_glorot, pixel_norm
from dflcore.models.face_model import SOURCE, TARGET, FaceModel, Painted, Swap, performer_of

CODE_STEP_BLOCKS = 4
"""Blocks per position of the code: two halvings."""


class QuickEncoder(nn.Module):
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
        x = F.leaky_relu(self.stem(_channels_last(blocks)), 0.1)
        for down in self.downs:
            x = down(x)
        code = self.dense2(self.dense1(pixel_norm(x.flatten(1))))
        return _channels_last(code.view(-1, self.coarse_width, self.side, self.side))


class QuickDecoder(nn.Module):
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
        painted = torch.sigmoid(F.pixel_shuffle(self.head(self.body(code)), self.block_px))
        return painted[:, :3], painted[:, 3:]


class QuickModel(FaceModel):
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
        if resolution % grid_blocks or resolution < grid_blocks:
            raise InvalidInput(
                f"A resolution of {resolution} px does not fit this network; use a multiple of {grid_blocks}.",
                reason="BAD_RESOLUTION",
                field="resolution",
            )
        side, block_px = grid_blocks // CODE_STEP_BLOCKS, resolution // grid_blocks
        self.resolution = resolution
        self.encoder = QuickEncoder(side, block_px, e_dims, code_dims, coarse_dims)
        self.decoder_source = QuickDecoder(coarse_dims, middle_dims, fine_dims, block_px)
        self.decoder_target = QuickDecoder(coarse_dims, middle_dims, fine_dims, block_px)
        initialize_glorot(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def reconstruct(self, faces: Mapping[str, Tensor]) -> dict[str, Painted]:
        for batch in faces.values():
            self.require_faces(batch)
        codes: Tensor = self.encoder(torch.cat(list(faces.values())))  # one pass through the shared part
        parts = torch.split(codes, [len(batch) for batch in faces.values()])
        painted = {}
        for name, code in zip(faces, parts, strict=True):
            face, mask = self.decoder_of(name)(code)
            painted[name] = Painted(face, mask, code)
        return painted

    def paint_swap(self, target_code: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder_source(target_code)  # type: ignore[no-any-return]

    def swap(self, faces: Tensor, *, identity: str = SOURCE, morph: float = 1.0) -> Swap:
        self.require_faces(faces)
        code = self.encoder(faces)
        face, mask = self.decoder_of(identity)(code)
        _, performer_mask = self.decoder_of(performer_of(identity))(code)
        return Swap(face, mask, performer_mask)

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder.dense1, self.encoder.dense2)

    def decoder_of(self, identity: str) -> nn.Module:
        """Raises InvalidInput for somebody the model does not know."""
        self.require_identity(identity)
        return self.decoder_target if identity == TARGET else self.decoder_source


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
