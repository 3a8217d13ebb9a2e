"""How far two colours are apart as people see them."""

from __future__ import annotations

import numpy as np
import torch

from dflcore.color.lab import LAB_FROM_ROOTS, roots_from_srgb
from dflcore.types import FloatArray


def color_distance(a: FloatArray, b: FloatArray) -> float:
    """Distance in CIELAB (CIE 1976, white D65): about 2 can just be seen side by side.

    Args:
        a, b: (3,) RGB, sRGB-encoded.
    """
    pair = torch.from_numpy(np.stack([a, b], axis=1).astype(np.float64))
    lab = LAB_FROM_ROOTS @ roots_from_srgb(pair)
    return float(torch.linalg.vector_norm(lab[:, 0] - lab[:, 1]))
