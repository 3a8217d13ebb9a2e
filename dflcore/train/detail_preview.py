"""The picture a person watches while a detail network trains."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COLUMNS = ("soft", "restored", "truth")


def compose_detail_preview(enlarged: Tensor, restored: Tensor, truth: Tensor) -> NDArray[np.uint8]:
    """One row per face: the soft face enlarged, what the network makes of it, and the truth.

    Args:
        enlarged, restored, truth: (N, 3, S, S) display-referred sRGB, N of 1 or more.

    Returns:
        (N * S, 3 * S, 3) uint8 RGB, sRGB-encoded.
    """
    grid = torch.stack([enlarged, restored, truth], dim=1)  # (N, 3 pictures, 3, S, S)
    count, width, channels, side, _ = grid.shape
    picture = grid.permute(0, 3, 1, 4, 2).reshape(count * side, width * side, channels)
    return np.asarray((picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())
