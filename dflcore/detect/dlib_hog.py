"""dlib's frontal face detector: a HOG sliding window whose weights are part of the dlib package."""

from __future__ import annotations

import dlib
import numpy as np
from numpy.typing import NDArray

from dflcore.detect.base import sort_detections
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore

_MAX_UPSAMPLED_SIDE = 2000
"""Enlarging beyond this longer side, in pixels, costs seconds and finds little."""
_MAX_UPSAMPLINGS = 2


class DlibHogDetector:
    """The embedded default: frontal faces up to about 40 degrees of yaw.

    Its window is 80 pixels; an image in which nothing is found is doubled up to twice, so faces down to about
    20 pixels are seen where they are the only ones.

    Args:
        store: not used; the weights are compiled in.
        device: not used; runs on the CPU.
        min_score: least SVM margin returned. 0 is dlib's own; -0.5 finds more and errs more.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu", min_score: float = 0.0) -> None:
        self._min_score = min_score
        self._detector = dlib.get_frontal_face_detector()

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See :class:`dflcore.detect.base.Detector`."""
        pixels = np.ascontiguousarray(image)
        for upsamplings in range(_MAX_UPSAMPLINGS + 1):
            if upsamplings and max(pixels.shape[:2]) << upsamplings > _MAX_UPSAMPLED_SIDE:
                break
            boxes, scores, _ = self._detector.run(pixels, upsamplings, self._min_score)
            if boxes:
                return sort_detections(
                    [Detection(_box(box), float(score)) for box, score in zip(boxes, scores, strict=True)]
                )
        return []


def _box(box: dlib.rectangle) -> Box:
    """dlib counts pixels inclusively; our right and bottom edges lie after the last pixel."""
    return Box(float(box.left()), float(box.top()), float(box.right() + 1), float(box.bottom() + 1))
