"""What every segmenter offers: faces in, masks out.

A package adds one with ``[project.entry-points."dflcore.segmenters"] mine = "pkg.module:factory"``; the factory gets
the weight store and a torch device. A trained model's folder is a segmenter too, see
:func:`dflcore.segment.network.open_segmenter`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dflcore.registry import Registry
from dflcore.types import FaceType, FloatArray
from dflcore.weights.store import WeightStore


class Segmenter(Protocol):
    """Finds the face in pictures of faces.

    Attributes:
        size: side of the pictures it reads and of the masks it returns, in pixels.
        face_type: how much of the head they show.
        digest: identifies it with its weights: equal digests make equal masks. At most 60 characters.
    """

    size: int
    face_type: FaceType
    digest: str

    def segment(self, faces: NDArray[np.uint8]) -> FloatArray:
        """Args: faces: (N, S, S, 3) uint8 sRGB RGB, aligned space. Returns (N, S, S) in [0, 1], 1 is face."""


class LandmarkSegmenter(Protocol):
    """Makes masks of landmarks alone, for any face type.

    Attributes:
        digest: as :class:`Segmenter`'s.
    """

    digest: str

    def segment_landmarks(self, points: NDArray[np.float64], size: int) -> FloatArray:
        """Args: points: (68, 2) in pixels of a square of ``size``. Returns (size, size) in [0, 1]."""


AnySegmenter = Segmenter | LandmarkSegmenter


class SegmenterFactory(Protocol):
    """Makes a segmenter from the weights in the store."""

    def __call__(self, store: WeightStore, *, device: str) -> AnySegmenter:
        """``device`` is a torch device.

        Raises:
            NotFound: weights are missing.
            Unsupported: a package is missing.
        """


SEGMENTERS: Registry[SegmenterFactory] = Registry(
    "segmenter",
    "dflcore.segmenters",
    {"hull": "dflcore.segment.hull:HullSegmenter"},
)


def create_segmenter(name: str, store: WeightStore, *, device: str = "cpu") -> AnySegmenter:
    """A segmenter by registry name.

    Raises:
        NotFound: no such segmenter, or its weights are missing.
        Unsupported: it cannot be loaded here.
    """
    return SEGMENTERS.load(name)(store, device=device)
