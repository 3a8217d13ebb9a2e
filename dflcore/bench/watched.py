"""Extraction's own components with a stopwatch beside them, and stand-ins for what untrained ones would answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import Detector, create_detector
from dflcore.detect.batch import detect_batch
from dflcore.extract.look import Networks
from dflcore.extract.pipeline import GPU_BATCH_FRAMES, SLOW_LANDMARKER, SMALL_FACES_UNSEEN
from dflcore.geometry import affine
from dflcore.geometry.template import HEAD_MODEL
from dflcore.identity.base import IdentityEncoder, create_identity_encoder, describe_batch
from dflcore.landmark.base import FaceCrop, Landmarker, UprightLandmarker, create_landmarker, upright_face
from dflcore.landmark.locate import DEFAULT_LOOKS, FaceLocator, LocatedFace
from dflcore.types import Box, Detection, FloatArray, Landmarks
from dflcore.weights.store import WeightStore


class Stopwatch:
    """Adds up what parts take, in one thread. A part inside another counts for itself alone.

    Attributes:
        seconds: per part.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done inside counts as ``name``."""
        self._charge()
        self._running.append(name)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            name = self._running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


class WatchedConverter(ColorConverter):
    """Counts conversions as ``convert``."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch

    def to_network(self, rgb: NDArray[Any], space: str) -> FloatArray:
        """See :class:`dflcore.color.ocio.ColorConverter`."""
        with self._watch.part("convert"):
            return super().to_network(rgb, space)


class WatchedDetector:
    """Counts as ``detect``.

    Args:
        answers: given instead of what the detector found, image by image as they come; for one that is untrained.
    """

    def __init__(self, inner: Detector, watch: Stopwatch, answers: Iterator[list[Detection]] | None = None) -> None:
        self._inner, self._watch, self._answers = inner, watch, answers

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See :class:`dflcore.detect.base.Detector`."""
        return self.detect_batch(image[None])[0]

    def detect_batch(self, images: NDArray[np.uint8]) -> list[list[Detection]]:
        """See :class:`dflcore.detect.base.BatchDetector`."""
        with self._watch.part("detect"):
            found = detect_batch(self._inner, list(images))
        return found if self._answers is None else [next(self._answers) for _ in images]


class WatchedLocator(FaceLocator):
    """Counts as ``locate``."""

    def __init__(self, landmarker: Landmarker, name: str, watch: Stopwatch, *, looks: int) -> None:
        super().__init__(landmarker, name, looks=looks)
        self._watch = watch

    def locate(self, image: NDArray[np.uint8], box: Box, *, turn: int = 0) -> LocatedFace:
        """See :class:`dflcore.landmark.locate.FaceLocator`."""
        with self._watch.part("locate"):
            return super().locate(image, box, turn=turn)


class WatchedEncoder:
    """Counts as ``identity``."""

    def __init__(self, inner: IdentityEncoder, watch: Stopwatch) -> None:
        self._inner, self._watch = inner, watch

    @property
    def same_person_distance(self) -> float:
        """See :class:`dflcore.identity.base.IdentityEncoder`."""
        return self._inner.same_person_distance

    def describe(self, image: NDArray[np.uint8], landmarks: Landmarks) -> FloatArray:
        """See :class:`dflcore.identity.base.IdentityEncoder`."""
        described: FloatArray = self.describe_batch([image], [landmarks])[0]
        return described

    def describe_batch(self, images: Sequence[NDArray[np.uint8]], landmarks: Sequence[Landmarks]) -> FloatArray:
        """See :class:`dflcore.identity.base.BatchIdentityEncoder`."""
        with self._watch.part("identity"):
            return np.stack(describe_batch(self._inner, images, landmarks))


class MeanHeadLandmarker(UprightLandmarker):
    """Looks as an untrained landmarker does and answers with a mean head upright in the crop."""

    def __init__(self, inner: Landmarker) -> None:
        self._inner = inner

    def look(self, image: NDArray[np.uint8], crops: Sequence[FaceCrop]) -> list[Landmarks]:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        self._inner.look(image, crops)
        return [Landmarks(points=_mean_head(crop)) for crop in crops]

    def frame(self, points: FloatArray) -> FaceCrop:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        return self._inner.frame(points)


def _mean_head(crop: FaceCrop) -> FloatArray:
    """(68, 2) points whose :func:`upright_face` is the crop's place and size."""
    head = np.asarray(HEAD_MODEL[:, :2], dtype=np.float32)
    (x, y), side, roll = upright_face(head)
    scale, angle = crop.side / side, crop.roll - roll
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[c, -s, crop.x - c * x + s * y], [s, c, crop.y - s * x - c * y]])
    return np.asarray(affine.apply(turn, head), dtype=np.float32)


def detect_size(detector: str) -> int:
    """Longer side an extraction shrinks a frame to before this detector sees it, in pixels."""
    return 960 if detector == SMALL_FACES_UNSEEN else 640


def frames_at_once(detector: str, device: str) -> int:
    """Frames an extraction gives to the detector in one go."""
    if device != "cpu":
        return GPU_BATCH_FRAMES
    return min(os.cpu_count() or 1, GPU_BATCH_FRAMES) if detector == SMALL_FACES_UNSEEN else 1


def looks_at_once(landmarker: str, device: str) -> int:
    """Looks of the last pass of an extraction."""
    return 1 if landmarker == SLOW_LANDMARKER and device == "cpu" else DEFAULT_LOOKS


def resolved_settings(detector: str, landmarker: str, device: str) -> ExtractSettings:
    """The default settings with these components, and what an extraction makes of ``auto`` with them."""
    return ExtractSettings(
        detector=detector,
        landmarker=landmarker,
        detect_size=detect_size(detector),
        landmark_looks=looks_at_once(landmarker, device),
    )


def watched_networks(
    settings: ExtractSettings,
    store: WeightStore,
    device: str,
    watch: Stopwatch,
    *,
    landmarker: Landmarker | None = None,
    answers: Iterator[list[Detection]] | None = None,
) -> Networks:
    """The components of an extraction, each with the stopwatch; the mesh for heads turned far is left out.

    Args:
        settings: resolved.
        landmarker: instead of the one the settings name.
        answers: see :class:`WatchedDetector`.

    Raises:
        NotFound: weights are missing.
        Unsupported: a package is missing.
    """
    landmarker = landmarker or create_landmarker(settings.landmarker, store, device=device)
    return Networks(
        WatchedDetector(create_detector(settings.detector, store, device=device), watch, answers),
        WatchedLocator(landmarker, settings.landmarker, watch, looks=settings.landmark_looks),
        WatchedEncoder(create_identity_encoder(settings.identity_encoder, store, device=device), watch),
    )
