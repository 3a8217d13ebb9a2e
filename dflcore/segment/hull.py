"""The face as the hull of its landmarks, brows pushed up: needs no weights, knows nothing of what covers the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dflcore.geometry.landmarks import hull_mask
from dflcore.types import FloatArray
from dflcore.weights.store import WeightStore


class HullSegmenter:
    """The landmark hull as a segmenter."""

    digest = "hull 1"

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        del store, device

    def segment_landmarks(self, points: NDArray[np.float64], size: int) -> FloatArray:
        """Args: points: (68, 2) in pixels of a square of ``size``. Returns (size, size) in [0, 1]."""
        return hull_mask(points, size, size)
