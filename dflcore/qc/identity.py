"""Whom a face looks like: distances of identity descriptors, over frames.

The paper's measure: the Euclidean distance of dlib's 128-d descriptors, 0.60 being the library's own limit for the same
person. It forgives blur; see :mod:`dflcore.qc.sharpness`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.identity.base import IdentityEncoder, identity_distance
from dflcore.landmark.base import Landmarker
from dflcore.types import Box, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityDistances:
    """Distances of the faces of a result to two people, over its frames.

    Attributes:
        to_source, to_target: median distance to the identity put on, and to the performer of the plate.
        to_source_max: the worst frame.
        source_to_target: of the two people to each other, without which the others say little.
    """

    to_source: float
    to_source_max: float
    to_target: float
    source_to_target: float

    @property
    def is_nearer_to_source(self) -> bool:
        """In the median, the result is the source rather than the target."""
        return self.to_source < self.to_target


def describe_face(image: NDArray[np.uint8], box: Box, landmarker: Landmarker, encoder: IdentityEncoder) -> FloatArray:
    """(128,) descriptor of the face in a box; its landmarks are looked for anew, as the image shows them now.

    Args:
        image: (H, W, 3) uint8 sRGB-encoded RGB.

    Raises:
        InvalidInput: the landmarks do not lie in the image.
    """
    return encoder.describe(image, landmarker.locate(image, box))


def measure_identity(results: Sequence[FloatArray], source: FloatArray, target: FloatArray) -> IdentityDistances:
    """Distances of the descriptors of a result's frames to those of the two people.

    Raises:
        InvalidInput: no frames.
    """
    if not results:
        raise InvalidInput("There is no face to measure the identity of.", reason="NO_FACE_FOUND")
    to_source = [identity_distance(descriptor, source) for descriptor in results]
    to_target = [identity_distance(descriptor, target) for descriptor in results]
    return IdentityDistances(
        to_source=float(np.median(to_source)),
        to_source_max=max(to_source),
        to_target=float(np.median(to_target)),
        source_to_target=identity_distance(source, target),
    )
