"""Lanczos resizing that widens its kernel when shrinking, so nothing aliases; OpenCV's does not."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from dflcore.types import FloatArray

LOBES: Final = 3


def resize_lanczos(image: FloatArray, size: int) -> FloatArray:
    """Resize a square.

    Convention: the centre of pixel i lies at i + 0.5; both squares cover the same area. Beyond the edge nothing is
    made up: weights of pixels that exist are scaled to sum to one. Values may overshoot at hard edges.

    Args:
        image: (..., S, S, C) float32, any range.

    Returns:
        (..., size, size, C) float32.
    """
    if image.shape[-2] == size:
        return image
    weights = _weights(image.shape[-2], size)
    rows = np.einsum("os,...swc->...owc", weights, image, optimize=True)
    return np.asarray(np.einsum("os,...hsc->...hoc", weights, rows, optimize=True), dtype=np.float32)


@lru_cache(maxsize=8)
def _weights(source: int, target: int) -> FloatArray:
    """(target, source): how much each source pixel adds to each target pixel."""
    stretch = max(source / target, 1.0)
    centers = (np.arange(target) + 0.5) * source / target
    distance = (np.arange(source) + 0.5 - centers[:, None]) / stretch
    kernel = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), dtype=np.float32)
