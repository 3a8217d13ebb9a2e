"""Landmarkers: what one is, which there are, and the square crop each of them looks at.

Convention:
    Images are (H, W, 3) uint8 RGB, sRGB-encoded. Points and boxes are in pixels of the image given, origin top-left
    corner, centre of pixel column i at i + 0.5.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.geometry import affine
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.geometry.warp import plate_bounds
from dflcore.registry import Registry
from dflcore.types import Affine, Box, FloatArray, Landmarks
from dflcore.weights.store import WeightStore


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """The square a detector would draw around a face, turned with the head. Networks see more or less as they need.

    Attributes:
        x, y: centre in image pixels.
        side: in image pixels.
        roll: radians by which the head leans, clockwise in the image positive.
    """

    x: float
    y: float
    side: float
    roll: float = 0.0

    @classmethod
    def of_box(cls, box: Box, turn: int = 0) -> FaceCrop:
        """Around a detection made in the image turned clockwise by ``turn`` degrees."""
        x, y = (box.left + box.right) / 2.0, (box.top + box.bottom) / 2.0
        return cls(x, y, (box.width + box.height) / 2.0, -math.radians(turn))

    def moved(self, right: float, down: float, scale: float = 1.0, roll: float = 0.0) -> FaceCrop:
        """Shifted by shares of its side along the head's own axes, scaled and turned about its centre."""
        c, s = math.cos(self.roll) * self.side, math.sin(self.roll) * self.side
        x, y = self.x + c * right - s * down, self.y + s * right + c * down
        return FaceCrop(x, y, self.side * scale, self.roll + roll)


class Landmarker(Protocol):
    """Finds the 68 points of a face whose place is roughly known. Derive from :class:`UprightLandmarker`."""

    def look(self, image: NDArray[np.uint8], crops: Sequence[FaceCrop]) -> list[Landmarks]:
        """One look into each crop, all in one go where the network can; points in pixels of the image."""

    def frame(self, points: FloatArray) -> FaceCrop:
        """Where to look for a face that was seen at these points, (68, 2) image pixels."""

    def locate(self, image: NDArray[np.uint8], box: Box) -> Landmarks:
        """The points of the face in ``box``, layout ``ibug68``, in pixels of the image. See also
        :func:`dflcore.landmark.locate.locate_face`."""


class UprightLandmarker(ABC):
    """What all landmarkers have in common: a second look, upright and independent of the detector's box."""

    @abstractmethod
    def look(self, image: NDArray[np.uint8], crops: Sequence[FaceCrop]) -> list[Landmarks]:
        """See :class:`Landmarker`."""

    def frame(self, points: FloatArray) -> FaceCrop:
        """See :class:`Landmarker`."""
        (x, y), side, roll = upright_face(points)
        return FaceCrop(x, y, side, roll)

    def locate(self, image: NDArray[np.uint8], box: Box) -> Landmarks:
        """See :class:`Landmarker`."""
        first = self.look(image, [FaceCrop.of_box(box)])[0]
        return self.look(image, [self.frame(first.points)])[0]


class LandmarkerFactory(Protocol):
    """Makes a landmarker from the weights in the store."""

    def __call__(self, store: WeightStore, *, device: str) -> Landmarker:
        """``device`` is a torch device.

        Raises:
            NotFound: weights are missing.
            Unsupported: a package is missing.
        """


LANDMARKERS: Registry[LandmarkerFactory] = Registry(
    "landmarker",
    "dflcore.landmarkers",
    {
        "dlib68": "dflcore.landmark.dlib68:Dlib68Landmarker",
        "fan2d": "dflcore.landmark.fan:Fan2dLandmarker",
        "mesh468": "dflcore.landmark.mesh468:Mesh468Landmarker",
    },
)
_AUTO = "auto"
_CUT_MARGIN = 4
"""Pixels kept around what a crop needs."""
TEMPLATE_BOX_CENTER: Final = (0.4957, 0.4768)
TEMPLATE_BOX_SIDE: Final = 1.2765
"""The box dlib's HOG detector puts around a face, in template units: mean of 81 frames of four people."""


def choose_landmarker(name: str, store: WeightStore) -> str:
    """The landmarker meant by ``name``; ``auto`` is 2DFAN where its weights are, else the embedded one."""
    if name != _AUTO:
        return name
    return "fan2d" if store.has("fan2d") else "dlib68"


def create_landmarker(name: str, store: WeightStore, *, device: str = "cpu") -> Landmarker:
    """A landmarker by registry name or ``auto``.

    Raises:
        NotFound: no such landmarker, or its weights are missing.
        Unsupported: it cannot be loaded here.
    """
    return LANDMARKERS.load(choose_landmarker(name, store))(store, device=device)


def square_crop(center: tuple[float, float], side: float, size: int, roll: float = 0.0) -> Affine:
    """``crop_from_image``: a square of ``side`` image pixels turned by ``roll`` fills ``size`` x ``size`` pixels."""
    scale = size / side
    c, s = scale * math.cos(roll), scale * math.sin(roll)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0]])
    x, y = affine.apply(turn, center)
    turn[:, 2] = size / 2.0 - x, size / 2.0 - y
    return turn


def cut_crop(
    image: NDArray[np.uint8], crop_from_image: Affine, size: int, *, outside_black: bool = False
) -> FloatArray:
    """What a landmark network looks at: (size, size, 3) float32 in [0, 1], sRGB-encoded RGB.

    OpenCV's bilinear sampling with 1/32 pixel steps: twenty times faster than the exact warp and fine enough to find
    points with. Faces that are to be kept are cut by :mod:`dflcore.geometry.warp`.

    Args:
        crop_from_image: (2, 3), from :func:`square_crop`.
        outside_black: what lies outside the image is black instead of the image's edge.
    """
    x, y, width, height = plate_bounds(crop_from_image, size)
    rows, columns = image.shape[:2]
    left, right = min(max(x - _CUT_MARGIN, 0), columns - 1), min(x + width + _CUT_MARGIN, columns)
    top, bottom = min(max(y - _CUT_MARGIN, 0), rows - 1), min(y + height + _CUT_MARGIN, rows)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    crop_from_part = affine.compose(crop_from_image, affine.shift(left, top))
    shrinkage = int(1.0 / affine.scale_of(crop_from_image))
    if shrinkage > 1:
        small = (max(part.shape[1] // shrinkage, 1), max(part.shape[0] // shrinkage, 1))
        part_from_small = np.diag([part.shape[1] / small[0], part.shape[0] / small[1], 1.0])[:2]
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        crop_from_part = affine.compose(crop_from_part, part_from_small)
    to_centers, from_centers = affine.shift(-0.5, -0.5), affine.shift(0.5, 0.5)
    part_from_crop = affine.compose(to_centers, affine.compose(affine.invert(crop_from_part), from_centers))
    crop = cv2.warpAffine(
        part,
        part_from_crop,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if outside_black else cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, dtype=np.float32) / np.float32(255.0)


def upright_face(points: FloatArray) -> tuple[tuple[float, float], float, float]:
    """The centre and side of the box a detector would draw around these landmarks, and the roll of the head.

    Drawing every second look from the first look's points makes the result independent of the detector's box, which
    jumps between sizes from frame to frame.

    Returns:
        centre (x, y) and side in pixels, roll in radians, clockwise positive.
    """
    template_from_image = affine.estimate_similarity(points[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
    image_from_template = affine.invert(template_from_image)
    x, y = affine.apply(image_from_template, TEMPLATE_BOX_CENTER)
    side = TEMPLATE_BOX_SIDE * affine.scale_of(image_from_template)
    return (float(x), float(y)), side, affine.rotation_of(image_from_template)
