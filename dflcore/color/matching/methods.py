"""Colour matches by name, for training and merging alike.

Convention:
    Pictures are (B, 3, H, W), display-referred sRGB-encoded RGB, unpremultiplied, on any device. [0, 1] is the usual
    range; what lies outside is legal light: it counts, goes through in order, and is clipped nowhere. Masks are
    (B, 1, H, W) weights in [0, 1]; they say which pixels are looked at, all are changed. Without a mask the whole
    square counts. The same input gives the same pixels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from dflcore.color.matching.histogram import HIST
from dflcore.color.matching.linear import LCT, MKL
from dflcore.color.matching.mixed import MIX
from dflcore.color.matching.palette import Palette
from dflcore.color.matching.reinhard import RCT
from dflcore.color.matching.sliced import IDT, SOT

MAX_GAIN = 3.0
"""How often a face's spread of colour may be multiplied when merging, so that a flat face does not become noise."""
MAX_AFFINE_GAIN = 2.0
"""The same for maps that go on straight beyond the colours they were measured on: at 3, a dark and soft face put on a
light one got eyes five times as bright as white. The others end where the reference's own colours do."""
_AFFINE = frozenset({"rct", "lct", "mkl", "mix"})


def gain_when_merging(name: str) -> float:
    """The largest gain of a method when merging."""
    return MAX_AFFINE_GAIN if name in _AFFINE else MAX_GAIN


class ColorMethod(Protocol):
    """A way to give pictures other colours."""

    def measure(self, picture: Tensor, mask: Tensor | None = None) -> Palette:
        """What the method needs to know of a picture's colours inside the mask, or of the whole where it is empty."""
        ...

    def apply(self, picture: Tensor, own: Palette, wanted: Palette, *, max_gain: float = math.inf) -> Tensor:
        """Give a picture, whose colours are ``own``, those of ``wanted``.

        Args:
            own, wanted: as this method measured them, or pooled from several pictures.
            max_gain: most by which a spread of colours is multiplied; what is beyond reach is left. Where it is finite,
                transports (idt, sot, mix) are smooth besides, so that single tones do not break out of their
                neighbourhood.

        Returns:
            (B, 3, H, W), not clipped.
        """
        ...


METHODS: Mapping[str, ColorMethod] = {
    "rct": RCT,
    "lct": LCT,
    "mkl": MKL,
    "hist": HIST,
    "idt": IDT,
    "mix": MIX,
    "sot": SOT,
}
"""From the cheapest to the most thorough."""


def match(
    name: str,
    picture: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    *,
    max_gain: float = math.inf,
) -> Tensor:
    """Give every picture the colours of its reference.

    Args:
        name: of :data:`METHODS`.
        reference: (B, 3, h, w), with its own mask (B, 1, h, w).
        max_gain: :func:`gain_when_merging` when merging; training has many faces, and bounds nothing.
    """
    method = METHODS[name]
    own, wanted = method.measure(picture, mask), method.measure(reference, reference_mask)
    return method.apply(picture, own, wanted, max_gain=max_gain)


class ColorMatch(Protocol):
    """A match with everything settled but the pictures."""

    def __call__(
        self, picture: Tensor, reference: Tensor, mask: Tensor | None = None, reference_mask: Tensor | None = None
    ) -> Tensor: ...


COLOR_MATCHES: Mapping[str, ColorMatch] = {name: functools.partial(match, name) for name in METHODS}
"""As training uses them."""
