"""Colour matches by name. All take batches, weigh by masks, run on any device and clip nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from dflcore.color.matching.linear import match_lct, match_mkl
from dflcore.color.matching.reinhard import match_rct
from dflcore.color.matching.sliced import match_idt, match_sot


class ColorMatch(Protocol):
    """Gives pictures (B, 3, H, W), sRGB-encoded, the colours of references (B, 3, h, w), weighed by masks or not."""

    def __call__(
        self, picture: Tensor, reference: Tensor, mask: Tensor | None = None, reference_mask: Tensor | None = None
    ) -> Tensor: ...


COLOR_MATCHES: Mapping[str, ColorMatch] = {
    "rct": match_rct,
    "lct": match_lct,
    "mkl": match_mkl,
    "idt": match_idt,
    "sot": match_sot,
}
"""From the cheapest to the most thorough."""
