"""Face detectors: what one is, which there are, and how a large picture is handed to one.

Convention:
    Images are (H, W, 3) uint8 RGB, sRGB-encoded. Boxes are in pixels of the image given, origin top-left corner,
    right and bottom exclusive. Scores grow with certainty; their scale is the detector's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.registry import Registry
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore


class Detector(Protocol):
    """Finds faces. One thread at a time may use one, unless its class says otherwise."""

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """All faces of an image (H, W, 3) uint8 sRGB-encoded RGB, the largest first."""


@runtime_checkable
class BatchDetector(Detector, Protocol):
    """A detector that looks at several images in one go; see :func:`dflcore.detect.batch.detect_batch`."""

    def detect_batch(self, images: NDArray[np.uint8]) -> list[list[Detection]]:
        """What :meth:`detect` finds in each of (N, H, W, 3) images, N of 1 or more."""


class DetectorFactory(Protocol):
    """Makes a detector from the weights in the store."""

    def __call__(self, store: WeightStore, *, device: str, min_score: float) -> Detector:
        """``device`` is a torch device; ``min_score`` the least score returned, 0 for the detector's own.

        Raises:
            NotFound: weights are missing.
            Unsupported: a package is missing.
        """


DETECTORS: Registry[DetectorFactory] = Registry(
    "detector",
    "dflcore.detectors",
    {
        "dlib_hog": "dflcore.detect.dlib_hog:DlibHogDetector",
        "dlib_cnn": "dflcore.detect.dlib_cnn:DlibCnnDetector",
        "s3fd": "dflcore.detect.s3fd:S3fdDetector",
        "retinaface": "dflcore.detect.retinaface:RetinaFaceDetector",
        "scrfd": "dflcore.detect.face_alignment_detectors:create_scrfd",
        "blazeface": "dflcore.detect.face_alignment_detectors:create_blazeface",
        "yunet": "dflcore.detect.face_alignment_detectors:create_yunet",
    },
)
_AUTO = "auto"


def choose_detector(name: str, store: WeightStore) -> str:
    """The detector meant by ``name``; ``auto`` is S3FD where its weights are, else the embedded one."""
    if name != _AUTO:
        return name
    return "s3fd" if store.has("s3fd") else "dlib_hog"


def create_detector(name: str, store: WeightStore, *, device: str = "cpu", min_score: float = 0.0) -> Detector:
    """A detector by registry name or ``auto``.

    Raises:
        NotFound: no such detector, or its weights are missing.
        Unsupported: it cannot be loaded here.
    """
    return DETECTORS.load(choose_detector(name, store))(store, device=device, min_score=min_score)


def sort_detections(detections: list[Detection]) -> list[Detection]:
    """Largest first."""
    return sorted(detections, key=lambda found: found.box.width * found.box.height, reverse=True)


def shrink_image(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Area-averaged (H, W, C) → (height, width, C), same dtype; the same array where nothing changes."""
    if pixels.shape[:2] == (height, width):
        return pixels
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=pixels.dtype)


def scale_detections(detections: list[Detection], scale_x: float, scale_y: float) -> list[Detection]:
    """Boxes multiplied by the factors, the rest unchanged."""
    return [
        replace(
            found,
            box=Box(
                found.box.left * scale_x,
                found.box.top * scale_y,
                found.box.right * scale_x,
                found.box.bottom * scale_y,
            ),
        )
        for found in detections
    ]
