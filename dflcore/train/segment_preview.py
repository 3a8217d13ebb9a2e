"""The picture a person watches while a segmentation network trains."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COLUMNS = ("face", "mask", "overlay")
_OUTSIDE_LIGHT = 0.35
_OUTSIDE_TINT = (0.0, 0.3, 0.0)


def compose_mask_preview(faces: Tensor, masks: Tensor) -> NDArray[np.uint8]:
    """One row per face: the face, its mask, and the face with everything outside the mask dimmed and green.

    Args:
        faces: (N, 3, R, R) display-referred sRGB in [0, 1], N of 1 or more.
        masks: (N, 1, R, R) in [0, 1].

    Returns:
        (N * R, 3 * R, 3) uint8 RGB, sRGB-encoded.
    """
    tint = faces.new_tensor(_OUTSIDE_TINT).view(1, 3, 1, 1)
    overlay = faces * masks + (faces * _OUTSIDE_LIGHT + tint) * (1.0 - masks)
    grid = torch.stack([faces, masks.expand_as(faces), overlay], dim=1)  # (N, 3 pictures, 3, R, R)
    count, width, channels, side, _ = grid.shape
    picture = grid.permute(0, 3, 1, 4, 2).reshape(count * side, width * side, channels)
    return np.asarray((picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())
