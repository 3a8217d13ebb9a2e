"""How much of an enhancer's answer a face gets, whatever its light.

Enhancers may know only [0, 1]; faces of a bright plate reach beyond. What is added to a face is the difference between
the enhancer's answer and the plain enlargement of what the enhancer was shown, so light above 1.0 stays.
"""

from __future__ import annotations

import numpy as np
import torch

from dflcore.enhance.base import Enhancer, check_faces
from dflcore.errors import InvalidInput
from dflcore.models.detail import enlarge
from dflcore.types import FloatArray


def enlarge_faces(faces: FloatArray, scale: int) -> FloatArray:
    """Faces ``scale`` times as large, by the Catmull-Rom cubic; nothing is clipped, and flat stays flat.

    Convention: the centre of pixel i lies at i + 0.5; both squares cover the same area.

    Args:
        faces: (N, S, S, C) float, any range.

    Returns:
        (N, S * scale, S * scale, C) float32.
    """
    planes = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.float32)).permute(0, 3, 1, 2)
    return np.ascontiguousarray(enlarge(planes.contiguous(), scale).permute(0, 2, 3, 1).numpy())


def enhance_faces(faces: FloatArray, enhancer: Enhancer, power: float) -> FloatArray:
    """Faces ``enhancer.scale`` times as large: enlarged, and ``power`` of what the enhancer adds to that.

    Args:
        faces: (N, S, S, 3) float32 RGB, sRGB-encoded; values outside [0, 1] pass.
        power: 0 is the plain enlargement exactly, 1 all that the enhancer adds.

    Returns:
        (N, S * scale, S * scale, 3) float32, unbounded.

    Raises:
        InvalidInput: ``power`` is out of range, or these are no faces.
        Unsupported: the enhancer fails on faces of this size.
    """
    check_faces(faces)
    if not 0.0 <= power <= 1.0:
        raise InvalidInput(f"The power of an enhancer is 0 to 1, not {power:g}.", reason="BAD_POWER", field="power")
    enlarged = enlarge_faces(faces, enhancer.scale)
    if power == 0.0:
        return enlarged
    seen = np.clip(faces, 0.0, 1.0).astype(np.float32, copy=False)
    base = enlarged if np.array_equal(seen, faces) else enlarge_faces(seen, enhancer.scale)
    added = enhancer.enhance(seen) - base
    return np.asarray(enlarged + np.float32(power) * added, dtype=np.float32)
