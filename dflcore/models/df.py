"""The paper's DF network: shared encoder and inter, one decoder per identity; letters ``u`` and ``d``.

Source: architecture facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); paper arXiv:2005.05535, §3.2.
Shapes, with R the resolution, e, ae, d, m the widths, k = R / 32 with ``subpixel`` else R / 16:

    face (B, 3, R, R) → encoder → (B, 8e (R/16)²) → inter → code (B, ae, 2k, 2k) → decoder → face and mask
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.blocks import Downscale, Residual, SubpixelHead, Upscale, initialize_glorot, pixel_norm
from dflcore.models.face_model import SOURCE, TARGET, FaceModel, Painted, Swap, performer_of


class Encoder(nn.Module):
    """Four halvings, then flat: (B, 3, R, R) in [0, 1] → (B, 8 e (R / 16)²)."""

    def __init__(self, width: int, *, likeness: bool) -> None:
        super().__init__()
        self.likeness = likeness
        channels = (3, width, width * 2, width * 4, width * 8)
        self.downs = nn.ModuleList(Downscale(channels[i], channels[i + 1]) for i in range(4))

    def forward(self, face: Tensor) -> Tensor:
        x = face
        for down in self.downs:
            x = down(x)
        code = x.flatten(1)
        return pixel_norm(code) if self.likeness else code


class Inter(nn.Module):
    """The bottleneck both identities pass: (B, flat) → (B, ae, 2 k, 2 k)."""

    def __init__(self, flat_size: int, width: int, side: int) -> None:
        super().__init__()
        self.width, self.side = width, side
        self.dense1 = nn.Linear(flat_size, width)
        self.dense2 = nn.Linear(width, width * side * side)
        self.upscale = Upscale(width, width)

    def forward(self, flat: Tensor) -> Tensor:
        grid = self.dense2(self.dense1(flat)).view(-1, self.width, self.side, self.side)
        return self.upscale(grid)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """One identity: code (B, ae, 2 k, 2 k) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    def __init__(self, code_width: int, width: int, mask_width: int, *, subpixel: bool) -> None:
        super().__init__()
        face = (code_width, width * 8, width * 4, width * 2)
        mask = [code_width, mask_width * 8, mask_width * 4, mask_width * 2]
        if subpixel:
            mask.append(mask_width)
        self.upscales = nn.ModuleList(Upscale(face[i], face[i + 1]) for i in range(3))
        self.residuals = nn.ModuleList(Residual(channels) for channels in face[1:])
        self.mask_upscales = nn.ModuleList(Upscale(mask[i], mask[i + 1]) for i in range(len(mask) - 1))
        self.face_head: nn.Module = SubpixelHead(face[-1], 3) if subpixel else nn.Conv2d(face[-1], 3, 1)
        self.mask_head = nn.Conv2d(mask[-1], 1, 1)

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        x = code
        for upscale, residual in zip(self.upscales, self.residuals, strict=True):
            x = residual(upscale(x))
        m = code
        for upscale in self.mask_upscales:
            m = upscale(m)
        return torch.sigmoid(self.face_head(x)), torch.sigmoid(self.mask_head(m))


class DfModel(FaceModel):
    """The DF face model.

    Args:
        resolution: side of the face in pixels; a multiple of 16, of 32 with ``subpixel``.
        ae_dims: width of the bottleneck.
        e_dims, d_dims, d_mask_dims: width of the encoder, the face branch and the mask branch of the decoders.
        likeness: letter ``u``: the encoder's code is normalised.
        subpixel: letter ``d``: half the work per painted pixel, the last doubling is four phases.

    Raises:
        InvalidInput: the resolution does not fit the network.
    """

    def __init__(
        self,
        *,
        resolution: int,
        ae_dims: int,
        e_dims: int,
        d_dims: int,
        d_mask_dims: int,
        likeness: bool,
        subpixel: bool,
    ) -> None:
        super().__init__()
        step = 32 if subpixel else 16
        if resolution % step or resolution < step:
            raise InvalidInput(
                f"A resolution of {resolution} px does not fit this network; use a multiple of {step}.",
                reason="BAD_RESOLUTION",
                field="resolution",
            )
        self.resolution = resolution
        flat_size = e_dims * 8 * (resolution // 16) ** 2
        self.encoder = Encoder(e_dims, likeness=likeness)
        self.inter = Inter(flat_size, ae_dims, resolution // step)
        self.decoder_source = Decoder(ae_dims, d_dims, d_mask_dims, subpixel=subpixel)
        self.decoder_target = Decoder(ae_dims, d_dims, d_mask_dims, subpixel=subpixel)
        initialize_glorot(self)

    def encode(self, face: Tensor) -> Tensor:
        """(B, 3, R, R) in [0, 1] → shared code (B, ae, 2 k, 2 k)."""
        return self.inter(self.encoder(face))  # type: ignore[no-any-return]

    def reconstruct(self, faces: Mapping[str, Tensor]) -> dict[str, Painted]:
        for batch in faces.values():
            self.require_faces(batch)
        codes = self.encode(torch.cat(list(faces.values())))  # one pass through the shared part
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
        code = self.encode(faces)
        face, mask = self.decoder_of(identity)(code)
        _, performer_mask = self.decoder_of(performer_of(identity))(code)
        return Swap(face, mask, performer_mask)

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.inter,)

    def decoder_of(self, identity: str) -> nn.Module:
        """Raises InvalidInput for somebody the model does not know."""
        self.require_identity(identity)
        return self.decoder_target if identity == TARGET else self.decoder_source
