"""CIE Lab without limits, as the colour matches use it.

Convention:
    Pixels are (..., 3, N), display-referred sRGB-encoded RGB. [0, 1] is the usual range, but values outside it are
    legal light: the sRGB curve and CIE's cube root are used without clip, with their straight parts continued below
    zero, and are monotone on all reals. What is returned are the cube-root signals f(X), f(Y), f(Z), white D65;
    ``LAB_FROM_ROOTS`` takes them to L, a, b, without L's constant offset, which cancels in every match.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from dflcore.color.transfer import linear_from_srgb, srgb_from_linear

PIECE = 16384
"""Pixels worked on at a time, of all pictures of a batch together."""
_LEAST_PIECE = 1024
"""Of each of them; with fewer the calls cost more than the cache saves."""

# Linear Rec.709 → XYZ relative to the D65 white (rows divided by it), IEC 61966-2-1.
_WHITE = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)
_XYZ_FROM_RGB = (
    torch.tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        dtype=torch.float64,
    )
    / _WHITE[:, None]
)
_RGB_FROM_XYZ = torch.linalg.inv(_XYZ_FROM_RGB)
LAB_FROM_ROOTS = torch.tensor([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=torch.float64)
"""L runs 0 to 100."""
ROOTS_FROM_LAB = torch.linalg.inv(LAB_FROM_ROOTS)
_LAB_BREAK = 6.0 / 29.0
"""Where CIE's cube root hands over to a straight line, on the root side."""


_MATRICES: dict[str, Tensor] = {
    "xyz_from_rgb": _XYZ_FROM_RGB,
    "rgb_from_xyz": _RGB_FROM_XYZ,
    "lab_from_roots": LAB_FROM_ROOTS,
    "roots_from_lab": ROOTS_FROM_LAB,
}


@functools.lru_cache(maxsize=64)
def color_matrix(name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One of the module's (3, 3) matrices, copied to a GPU once: every copy would make the host wait for it."""
    return _MATRICES[name].to(device, dtype)


def roots_from_srgb(srgb: Tensor) -> Tensor:
    """(..., 3, N) sRGB-encoded → CIE's f(X), f(Y), f(Z), on all reals (f without its constant, which cancels)."""
    xyz = color_matrix("xyz_from_rgb", srgb.device, srgb.dtype) @ linear_from_srgb(srgb)
    root = xyz.clamp_min(_LAB_BREAK**3).pow_(1.0 / 3.0)
    line = xyz.clamp_max_(_LAB_BREAK**3).sub_(_LAB_BREAK**3)
    return root.add_(line, alpha=1.0 / (3.0 * _LAB_BREAK**2))


def srgb_from_roots(roots: Tensor) -> Tensor:
    """Inverse of :func:`roots_from_srgb`."""
    upper = roots.clamp_min(_LAB_BREAK)
    cube = upper.square().mul_(upper)
    line = roots.clamp_max(_LAB_BREAK).sub_(_LAB_BREAK)
    xyz = cube.add_(line, alpha=3.0 * _LAB_BREAK**2)
    return srgb_from_linear(color_matrix("rgb_from_xyz", roots.device, roots.dtype) @ xyz)


def piece_length(pixels: Tensor) -> int:
    """Pixels of every picture of (..., 3, N) that are best worked on at a time: on a GPU all."""
    if pixels.device.type != "cpu":
        return max(1, pixels.shape[-1])
    return max(_LEAST_PIECE, PIECE // max(1, pixels.shape[:-2].numel()))


def in_pieces(function: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Apply a pixelwise function to (..., 3, N); on a CPU in pieces whose temporaries stay in cache: twice as fast."""
    if pixels.device.type != "cpu":
        return function(pixels)
    result = torch.empty_like(pixels)
    count = piece_length(pixels)
    for piece, target in zip(torch.split(pixels, count, dim=-1), torch.split(result, count, dim=-1), strict=True):
        target.copy_(function(piece))
    return result
