"""dlib's 68-point predictor (an ensemble of regression trees), the embedded default."""

from __future__ import annotations

from collections.abc import Sequence

import dlib
import numpy as np
from numpy.typing import NDArray

from dflcore.geometry import affine
from dflcore.landmark.base import FaceCrop, UprightLandmarker, cut_crop, square_crop
from dflcore.types import FloatArray, Landmarks
from dflcore.weights.store import WeightStore

_FACE_PX = 240
"""Side of the face box in the crop. dlib returns whole pixels: the larger, the finer the points."""
_CROP_PX = 400
_BOX_SHIFTS = ((0, 0), (-6, -6), (6, -6), (-6, 6), (6, 6))
"""The predictor is asked with the box moved by these crop pixels and the answers are averaged."""


class Dlib68Landmarker(UprightLandmarker):
    """See :class:`dflcore.landmark.base.Landmarker`.

    Args:
        store: has ``dlib_landmarks_68``.
        device: not used; runs on the CPU.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        self._predictor = dlib.shape_predictor(str(store.find("dlib_landmarks_68")))

    def look(self, image: NDArray[np.uint8], crops: Sequence[FaceCrop]) -> list[Landmarks]:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        return [self._look(image, crop) for crop in crops]

    def _look(self, image: NDArray[np.uint8], face: FaceCrop) -> Landmarks:
        crop_from_image = square_crop((face.x, face.y), face.side * _CROP_PX / _FACE_PX, _CROP_PX, face.roll)
        crop = np.rint(cut_crop(image, crop_from_image, _CROP_PX) * 255.0).astype(np.uint8)
        edge = (_CROP_PX - _FACE_PX) // 2
        answers = [self._predict(crop, edge + x, edge + y) for x, y in _BOX_SHIFTS]
        points = affine.apply(affine.invert(crop_from_image), np.mean(answers, axis=0))
        return Landmarks(points=points.astype(np.float32))

    def _predict(self, crop: NDArray[np.uint8], left: int, top: int) -> FloatArray:
        box = dlib.rectangle(left, top, left + _FACE_PX - 1, top + _FACE_PX - 1)
        parts = self._predictor(crop, box).parts()
        return np.array([(part.x + 0.5, part.y + 0.5) for part in parts], dtype=np.float32)
