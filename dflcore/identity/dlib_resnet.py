"""dlib's ResNet descriptor, the identity measure of the paper (0.60 and nearer: the same person)."""

from __future__ import annotations

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.types import FloatArray, Landmarks
from dflcore.weights.store import WeightStore

_FACE_PX = 300
"""The face is cut out at about this size: dlib takes whole-pixel landmarks and makes a chip of 150 px."""
_MARGIN = 0.6
"""Pixels kept around the landmarks, as a share of their extent; dlib's chip needs 25 % and turns it upright."""


class DlibResnetEncoder:
    """128 numbers per face.

    Args:
        store: has ``dlib_identity``.
        device: not used; the wheel of dlib runs on the CPU.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        self._network = dlib.face_recognition_model_v1(str(store.find("dlib_identity")))

    @property
    def same_person_distance(self) -> float:
        """dlib's own threshold."""
        return 0.6

    def describe(self, image: NDArray[np.uint8], landmarks: Landmarks) -> FloatArray:
        """See :class:`dflcore.identity.base.IdentityEncoder`.

        Raises:
            InvalidInput: the landmarks do not lie in the image.
        """
        face, points = _cut_face(image, landmarks.points)
        whole = [dlib.point(round(float(x) - 0.5), round(float(y) - 0.5)) for x, y in points]
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, face.shape[1] - 1, face.shape[0] - 1), whole)
        return np.array(self._network.compute_face_descriptor(face, shape), dtype=np.float32)


def _cut_face(image: NDArray[np.uint8], points: FloatArray) -> tuple[NDArray[np.uint8], FloatArray]:
    """The face at a handy size, and its landmarks there."""
    low, high = points.min(0), points.max(0)
    extent = float((high - low).max())
    height, width = image.shape[:2]
    left, top = np.maximum(np.floor(low - _MARGIN * extent), 0).astype(int)
    right = min(int(np.ceil(high[0] + _MARGIN * extent)), width)
    bottom = min(int(np.ceil(high[1] + _MARGIN * extent)), height)
    if extent < 1.0 or right - left < 2 or bottom - top < 2:
        raise InvalidInput("The landmarks do not lie in the image.", reason="BAD_POINTS")
    part = image[top:bottom, left:right]
    scale = _FACE_PX / extent
    size = (max(round(part.shape[1] * scale), 2), max(round(part.shape[0] * scale), 2))
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    face = np.ascontiguousarray(cv2.resize(part, size, interpolation=method), dtype=np.uint8)
    scales = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    return face, ((points - [left, top]) * scales).astype(np.float32)
