"""dlib's frontal face detector: a HOG sliding window whose weights are part of the dlib package."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from dflcore.detect.base import sort_detections
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore

_MAX_UPSAMPLED_SIDE = 2000
"""Enlarging beyond this longer side, in pixels, costs seconds and finds little."""
_MAX_UPSAMPLINGS = 2
_SURE_SCORE = 0.6
"""Detections below are looked at again; real frontal faces score 1 to 3, clutter that passes stays near 0.1."""
_SECOND_LOOK_PX = (100, 125)
"""Sizes of the box in the second looks: chance patterns do not survive a change of scale, faces do."""
_SECOND_LOOK_REACH = 1.1
_SECOND_LOOK_MARGIN = 0.2
"""How far above the least score the second looks must be."""
_SAME_FACE_OVERLAP = 0.4


class DlibHogDetector:
    """The embedded default: frontal faces up to about 40 degrees of yaw.

    Its window is 80 pixels; an image in which nothing is found is doubled up to twice, so faces down to about
    20 pixels are seen where they are the only ones.

    Any number of threads may use one at a time, and gain by it: dlib releases the interpreter's lock while it looks.

    Args:
        store: not used; the weights are compiled in.
        device: not used; runs on the CPU.
        min_score: least SVM margin returned. 0 is dlib's own; -0.5 finds more and errs more.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu", min_score: float = 0.0) -> None:
        self._min_score = min_score
        self._threads = threading.local()
        self._pool: ThreadPoolExecutor | None = None

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See :class:`dflcore.detect.base.Detector`."""
        pixels = np.ascontiguousarray(image)
        for upsamplings in range(_MAX_UPSAMPLINGS + 1):
            if upsamplings and max(pixels.shape[:2]) << upsamplings > _MAX_UPSAMPLED_SIDE:
                break
            boxes, scores, _ = self._window().run(pixels, upsamplings, self._min_score)
            found = [Detection(_box(box), float(score)) for box, score in zip(boxes, scores, strict=True)]
            kept = [one for one in found if one.score >= _SURE_SCORE or self._is_confirmed(pixels, one)]
            if kept:
                return sort_detections(kept)
        return []

    def detect_batch(self, images: NDArray[np.uint8]) -> list[list[Detection]]:
        """See :class:`dflcore.detect.base.BatchDetector`. As many images at a time as there are processors."""
        if len(images) == 1:
            return [self.detect(images[0])]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="dfl-detect")
        return list(self._pool.map(self.detect, images))

    def _window(self) -> dlib.fhog_object_detector:
        """This thread's own: it keeps the picture it looks at."""
        if not hasattr(self._threads, "window"):
            self._threads.window = dlib.get_frontal_face_detector()
        window: dlib.fhog_object_detector = self._threads.window
        return window

    def _is_confirmed(self, pixels: NDArray[np.uint8], found: Detection) -> bool:
        """The face is seen again at each of the second looks' scales."""
        box = found.box
        reach = _SECOND_LOOK_REACH * max(box.width, box.height)
        x, y = (box.left + box.right) / 2.0, (box.top + box.bottom) / 2.0
        left, top = max(int(x - reach), 0), max(int(y - reach), 0)
        part = pixels[top : int(y + reach), left : int(x + reach)]
        for side in _SECOND_LOOK_PX:
            scale = side / max(box.width, box.height)
            size = (max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1))
            method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
            view = np.ascontiguousarray(cv2.resize(part, size, interpolation=method))
            wanted = Box(*((edge - start) * scale for edge, start in zip(_edges(box), (left, top) * 2, strict=True)))
            again = [_box(one) for one in self._window().run(view, 0, self._min_score + _SECOND_LOOK_MARGIN)[0]]
            if not any(_overlap(one, wanted) > _SAME_FACE_OVERLAP for one in again):
                return False
        return True


def _box(box: dlib.rectangle) -> Box:
    """dlib counts pixels inclusively; our right and bottom edges lie after the last pixel."""
    return Box(float(box.left()), float(box.top()), float(box.right() + 1), float(box.bottom() + 1))


def _edges(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (a.width * a.height + b.width * b.height - shared)
