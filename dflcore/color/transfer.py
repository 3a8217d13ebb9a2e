"""Transfer curves as pure tensor functions, for colour work on the device; configs and matrices belong to ``ocio.py``.

The curves are unbounded: nothing is clipped above 1, and negative values follow the straight part of the curve, as
OCIO's sRGB texture space defines it. There and back returns the input within float32 rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA = 2.4
_OFFSET = 0.055
_ENCODED_BREAK = _OFFSET / (_GAMMA - 1.0)
"""Encoded value where the straight part ends: where it is tangent to the power part.

Source: "moncurve" as OpenColorIO's ExponentWithLinearTransform computes it. IEC 61966-2-1 rounds the slope to 12.92
and the break to 0.0031308, which leaves a small step and a bend.
"""
_LINEAR_BREAK = ((_ENCODED_BREAK + _OFFSET) / (1.0 + _OFFSET)) ** _GAMMA
_SLOPE = _ENCODED_BREAK / _LINEAR_BREAK


def srgb_from_linear(linear: Tensor) -> Tensor:
    """Encode scene-linear values with the sRGB curve.

    Args:
        linear: any shape, floating point, linear Rec.709 or any other primaries, unbounded.

    Returns:
        The same shape and type, encoded; 0 → 0, 1 → 1, differentiable everywhere.
    """
    power = (1.0 + _OFFSET) * linear.clamp_min(_LINEAR_BREAK) ** (1.0 / _GAMMA) - _OFFSET
    return torch.where(linear > _LINEAR_BREAK, power, linear * _SLOPE)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Inverse of :func:`srgb_from_linear`: any shape, floating point, unbounded."""
    power = ((encoded.clamp_min(_ENCODED_BREAK) + _OFFSET) / (1.0 + _OFFSET)) ** _GAMMA
    return torch.where(encoded > _ENCODED_BREAK, power, encoded / _SLOPE)
