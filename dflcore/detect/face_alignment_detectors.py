"""SCRFD, BlazeFace and YuNet through the package ``face-alignment`` 1.5.0, with weights from the model store.

Each is given the path of its weights, so the package's own downloads are never reached.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.detect.base import Detector, sort_detections
from dflcore.errors import DataCorrupt, Unsupported
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore

_DEFAULT_MIN_SCORE = 0.5
"""Least probability of a face, the package's own default for all its networks."""
_LEAST_SIDE_PX = 16
"""Smaller pictures, and slivers of more than 1:_MAX_ASPECT, make the package shrink a side to nothing."""
_MAX_ASPECT = 40


class FaceAlignmentDetector:
    """Any detector of the package behind our Protocol.

    Args:
        network: its ``FaceDetector`` object.
        min_score: least probability returned.
    """

    def __init__(self, network: Any, min_score: float) -> None:
        self._network = network
        self._min_score = min_score

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See :class:`dflcore.detect.base.Detector`."""
        short, long = sorted(image.shape[:2])
        if short < _LEAST_SIDE_PX or long > _MAX_ASPECT * short:
            return []
        found = self._network.detect_from_image(np.ascontiguousarray(image))
        detections = []
        for row in found:
            if len(row) < 5 or row[4] < self._min_score:
                continue
            left, top, right, bottom, score = (float(value) for value in row[:5])
            if right > left and bottom > top:
                detections.append(Detection(Box(left, top, right, bottom), score))
        return sort_detections(detections)


def create_scrfd(store: WeightStore, *, device: str, min_score: float) -> Detector:
    """SCRFD 2.5G through onnxruntime; looks at the image shrunk or enlarged to 640 pixels."""
    return _create("scrfd", store, ("scrfd",), _onnx_device(device), min_score, "confidence_threshold")


def create_blazeface(store: WeightStore, *, device: str, min_score: float) -> Detector:
    """BlazeFace for faces near the camera; looks at the middle square of the image only."""
    return _create("blazeface", store, ("blazeface", "blazeface_anchors"), device, min_score, "min_score_thresh")


def create_yunet(store: WeightStore, *, device: str, min_score: float) -> Detector:
    """YuNet through OpenCV; always on the CPU."""
    return _create("yunet", store, ("yunet",), "cpu", min_score, "score_threshold")


def _onnx_device(device: str) -> str:
    """The package warns when it asks onnxruntime for a GPU it was not built for."""
    try:
        import onnxruntime
    except ImportError:
        return device  # the package says what it needs
    return device if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"


def _create(
    module: str, store: WeightStore, weights: tuple[str, ...], device: str, min_score: float, threshold: str
) -> Detector:
    paths = [str(store.find(name)) for name in weights]  # before the import, which takes seconds
    wanted = min_score if min_score > 0.0 else _DEFAULT_MIN_SCORE
    arguments = {"path_to_detector": paths[0], threshold: wanted}
    if len(paths) > 1:
        arguments["path_to_anchor"] = paths[1]
    try:
        detector_class = importlib.import_module(f"face_alignment.detection.{module}").FaceDetector
        network = detector_class(device, **arguments)
    except ImportError as error:
        raise Unsupported(
            f"The detector {weights[0]} of face-alignment cannot be loaded: {error}. Install the package it needs.",
            reason="COMPONENT_NOT_INSTALLED",
            name=weights[0],
        ) from error
    except Exception as error:  # torch, onnxruntime and OpenCV report damaged files with unrelated classes
        raise DataCorrupt(
            f"The weights {' and '.join(paths)} are damaged, or not those of {weights[0]}.",
            reason="WEIGHTS_DAMAGED",
            path=paths[0],
        ) from error
    return FaceAlignmentDetector(network, wanted)
