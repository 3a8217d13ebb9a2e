"""How good an aligned face is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LUMA_WEIGHTS = (0.2126, 0.7152, 0.0722)
"""Rec.709."""


def measure_sharpness(image: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the luma; higher is sharper. Compares faces of one aligned size only.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".

    Args:
        image: (S, S, 3) uint8 RGB, sRGB-encoded.
    """
    luma = image.astype(np.float32) @ np.array(LUMA_WEIGHTS, dtype=np.float32) / np.float32(255.0)
    return float(cv2.Laplacian(luma, cv2.CV_32F).var())
