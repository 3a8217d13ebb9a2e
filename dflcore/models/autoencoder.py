"""The parts that DF, LIAE and AMP are wired from, with the option letters u, d, t and c.

Shapes, with R the resolution, e, ae, d, m the widths::

    encoder   face (B, 3, R, R) → (B, 8e (R/16)²), with t (B, 8e (R/32)²)
    inter     → code (B, out, s, s); s = R/8, with t R/16, with d half of it
    decoder   code → face (B, 3, R, R) and mask (B, 1, R, R)

Source: architecture facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); paper arXiv:2005.05535, §3.2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from dflcore.models.blocks import (
    Downscale,
    Residual,
    SubpixelHead,
    Upscale,
    paint_level,
    pixel_norm,
    require_resolution,
    to_unit,
)
from dflcore.models.recompute import Recomputable


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """The option letters of a network.

    Attributes:
        likeness: u, the encoder's code is normalised.
        subpixel: d, half the work per painted pixel: the last doubling is four phases.
        deep: t, one more level, and shortcuts in the encoder.
        cosine: c, x cos(x) in place of every leaky ReLU.
    """

    likeness: bool = False
    subpixel: bool = False
    deep: bool = False
    cosine: bool = False

    @property
    def step(self) -> int:
        """The resolution is a multiple of it. The reference forgets that t asks for 32 as well as d."""
        return 32 if self.subpixel or self.deep else 16

    @property
    def encoder_step(self) -> int:
        """Pixels per position of the encoder's last level."""
        return 32 if self.deep else 16

    @property
    def inter_step(self) -> int:
        """Pixels per position of the inter's dense grid."""
        return 32 if self.subpixel else 16

    def require_resolution(self, resolution: int) -> None:
        """Raises InvalidInput for a resolution that does not fit."""
        require_resolution(resolution, self.step)


class Encoder(Recomputable):
    """Four halvings, five with t, then flat: (B, 3, R, R) in [0, 1] → (B, 8 e (R / 16)²), with t (B, 8 e (R / 32)²)."""

    def __init__(self, width: int, letters: Letters) -> None:
        super().__init__()
        self.width, self.step, self.likeness = width, letters.encoder_step, letters.likeness
        widths = (3, width, width * 2, width * 4, width * 8, *([width * 8] if letters.deep else []))
        self.downs = nn.ModuleList(Downscale(i, o, cosine=letters.cosine) for i, o in pairwise(widths))
        shortcuts = {0: width, len(widths) - 2: width * 8} if letters.deep else {}
        self.residuals = nn.ModuleDict({str(n): Residual(w, cosine=letters.cosine) for n, w in shortcuts.items()})

    def flat_size(self, resolution: int) -> int:
        """Numbers per face that come out."""
        return self.width * 8 * (resolution // self.step) ** 2

    def forward(self, face: Tensor) -> Tensor:
        code = self.part(self._levels, face).flatten(1)
        return pixel_norm(code) if self.likeness else code

    def _levels(self, x: Tensor) -> Tensor:
        for number, down in enumerate(self.downs):
            x = down(x)
            if str(number) in self.residuals:
                x = self.residuals[str(number)](x)
        return x


class Inter(nn.Module):
    """A bottleneck: (B, flat) → code (B, out, s, s). There is no activation between its dense layers.

    Args:
        flat_size: numbers per face that the encoder gives.
        width: of the bottleneck.
        out_width: of the code.
        resolution: side of the faces in pixels; the code's side follows from it and the letters.
    """

    def __init__(self, flat_size: int, width: int, out_width: int, resolution: int, letters: Letters) -> None:
        super().__init__()
        self.out_width, self.side = out_width, resolution // letters.inter_step
        self.dense1 = nn.Linear(flat_size, width)
        self.dense2 = nn.Linear(width, out_width * self.side**2)
        self.upscale = None if letters.deep else Upscale(out_width, out_width, cosine=letters.cosine)

    def forward(self, flat: Tensor) -> Tensor:
        grid: Tensor = self.dense2(self.dense1(flat)).view(-1, self.out_width, self.side, self.side)
        return grid if self.upscale is None else self.upscale(grid)


class FaceDecoder(Recomputable, ABC):
    """Code (B, C, h, w) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    @abstractmethod
    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]: ...

    def paint_mask(self, code: Tensor) -> Tensor:
        """The mask alone; cheaper where the network allows it."""
        return self(code)[1]  # type: ignore[no-any-return]


class BranchedDecoder(FaceDecoder):
    """A decoder that paints the mask in a branch of its own, from the same code as the face.

    Args:
        mask_widths: of the code, then of every doubling of the mask branch.
        mask_kernel: side of the kernel that ends the mask branch.
        cosine: letter c.
    """

    def __init__(self, mask_widths: Sequence[int], *, mask_kernel: int = 1, cosine: bool = False) -> None:
        super().__init__()
        self.mask_upscales = nn.ModuleList(Upscale(i, o, cosine=cosine) for i, o in pairwise(mask_widths))
        self.mask_head = nn.Conv2d(mask_widths[-1], 1, mask_kernel, padding=mask_kernel // 2)

    @abstractmethod
    def paint_face(self, code: Tensor) -> Tensor:
        """(B, C, h, w) → (B, 3, R, R) in [0, 1]."""

    def paint_mask(self, code: Tensor) -> Tensor:
        """(B, C, h, w) → (B, 1, R, R) in [0, 1], at the cost of the mask branch only."""
        return to_unit(self.mask_head(self.part(self._mask_levels, code)))

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.paint_face(code), self.paint_mask(code)

    def _mask_levels(self, m: Tensor) -> Tensor:
        for upscale in self.mask_upscales:
            m = upscale(m)
        return m


class Decoder(BranchedDecoder):
    """Code (B, C, s, s) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    def __init__(self, code_width: int, width: int, mask_width: int, letters: Letters) -> None:
        levels = (8, 8, 4, 2) if letters.deep else (8, 4, 2)
        face = [code_width, *(width * level for level in levels)]
        mask = [code_width, *(mask_width * level for level in levels), *([mask_width] if letters.subpixel else [])]
        super().__init__(mask, cosine=letters.cosine)
        self.upscales = nn.ModuleList(Upscale(i, o, cosine=letters.cosine) for i, o in pairwise(face))
        self.residuals = nn.ModuleList(Residual(channels, cosine=letters.cosine) for channels in face[1:])
        self.face_head: nn.Module = SubpixelHead(face[-1], 3) if letters.subpixel else nn.Conv2d(face[-1], 3, 1)

    def paint_face(self, code: Tensor) -> Tensor:
        x = code
        for upscale, residual in zip(self.upscales, self.residuals, strict=True):
            x = self.part(paint_level, upscale, residual, x)
        return to_unit(self.face_head(x))
