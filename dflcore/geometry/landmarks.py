"""Landmarks to alignment, masks and mirror images.

Convention:
    Points are (x, y) in pixels of the image named, origin at the top-left corner, centre of pixel column i at i + 0.5.
    Masks are (H, W) float32 in [0, 1], the covered share of each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE, FACE_TYPE_CROPS
from dflcore.types import Affine, FaceType, FloatArray

LEFT_EYE: Final = tuple(range(36, 42))
RIGHT_EYE: Final = tuple(range(42, 48))
INNER_LIPS: Final = tuple(range(60, 68))
OUTER_LIPS: Final = tuple(range(48, 60))

MIRRORED_INDEXES: Final[tuple[int, ...]] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *(67, 66, 65),
)
"""Point i of the mirrored face is point ``MIRRORED_INDEXES[i]`` of the face."""

_HULLS: Final[tuple[tuple[int, ...], ...]] = (
    (*range(0, 9), 17),
    (*range(8, 17), 26),
    (*range(17, 20), 8),
    (*range(24, 27), 8),
    (*range(19, 25), 8),
    (*range(17, 22), 27, *range(31, 36), 8),
    (*range(22, 27), 27, *range(31, 36), 8),
    (*range(27, 31), *range(31, 36)),
)
_BROW_REACH: Final = 0.5
"""Share of the eye-to-brow distance by which the brows are pushed up for the hull."""
_SUPERSAMPLING: Final = 4
_FIXED_POINT_BITS: Final = 8


def aligned_from_landmarks(points: ArrayLike, face_type: FaceType, size: int) -> Affine:
    """The transform from the image the points lie in to a ``size`` x ``size`` aligned face.

    Source: deepfacelab fact sheet §3.5, closed form: ``aligned = size * ((T(p) - center) / side + 0.5)`` with T the
    similarity from image to template.

    Args:
        points: (68, 2) plate pixels.
        size: side of the aligned face in pixels.

    Returns:
        ``aligned_from_plate``, (2, 3) float64.

    Raises:
        InvalidInput: not 68 finite points, or they lie in one place.
    """
    plate_points = _points68(points)
    template_from_plate = affine.estimate_similarity(plate_points[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
    crop = FACE_TYPE_CROPS[face_type]
    center_x, center_y = crop.center
    if crop.follows_yaw:
        center_x += _yaw_offset(affine.apply(template_from_plate, plate_points)) / 2.0
    unit = size / crop.side
    aligned_from_template = np.array(
        [[unit, 0.0, size * 0.5 - center_x * unit], [0.0, unit, size * 0.5 - center_y * unit]]
    )
    return affine.compose(aligned_from_template, template_from_plate)


def _yaw_offset(template_points: NDArray[np.float64]) -> float:
    """Sideways shift in template units for turned heads (fact sheet §3.5): how much more cheek one side shows."""
    x = template_points[:, 0]
    left = float(np.mean(x[[27, 28, 29]] - x[[0, 1, 2]]))
    right = float(np.mean(x[[16, 15, 14]] - x[[27, 28, 29]]))
    difference = right - left
    return difference * abs(math.tanh(2.0 * difference))


def flip_landmarks(points: ArrayLike, width: float) -> FloatArray:
    """The (68, 2) points of the image mirrored left to right; names swap sides, so point 36 stays an image-left eye."""
    mirrored = _points68(points)[list(MIRRORED_INDEXES)]
    mirrored[:, 0] = width - mirrored[:, 0]
    return mirrored.astype(np.float32)


def expand_brows(points: ArrayLike, reach: float = 1.0) -> NDArray[np.float64]:
    """(68, 2) with the brows pushed away from the eyes, so that a hull covers some forehead.

    Source: deepfacelab fact sheet §3.8, without its rounding to whole pixels (a cause of jitter).

    Args:
        points: (68, 2) in any pixel space.
        reach: 0 leaves the brows, 1 moves them by half their distance from the eyes.
    """
    p = _points68(points)
    left_side = (p[36] + (p[36] + p[0]) / 2.0) / 2.0
    right_side = (p[45] + (p[45] + p[16]) / 2.0) / 2.0
    below = np.stack([left_side, *p[36:40], *p[42:46], right_side])
    p[17:27] += reach * _BROW_REACH * (p[17:27] - below)
    return p


def hull_mask(points: ArrayLike, width: int, height: int, *, brow_reach: float = 1.0) -> FloatArray:
    """The face as the union of the convex hulls of its parts, brows pushed up.

    Args:
        points: (68, 2) in the pixel space of the mask.
        width, height: size of the mask.
        brow_reach: see :func:`expand_brows`.

    Returns:
        (height, width) float32 in [0, 1], edges antialiased.
    """
    expanded = expand_brows(points, brow_reach)
    return fill_polygons([_convex_hull(expanded[list(hull)]) for hull in _HULLS], width, height)


def eyes_mask(points: ArrayLike, width: int, height: int) -> FloatArray:
    """(height, width) float32 in [0, 1]: both eyes, hulls grown by 1/32 of the height and softened."""
    p = _points68(points)
    return _soften(fill_polygons([_convex_hull(p[list(eye)]) for eye in (LEFT_EYE, RIGHT_EYE)], width, height))


def mouth_mask(points: ArrayLike, width: int, height: int) -> FloatArray:
    """(height, width) float32 in [0, 1]: the inner lips, hull grown by 1/32 of the height and softened."""
    p = _points68(points)
    return _soften(fill_polygons([_convex_hull(p[list(INNER_LIPS)])], width, height))


def fill_polygons(polygons: Sequence[NDArray[np.float64]], width: int, height: int) -> FloatArray:
    """The union of convex polygons as (height, width) float32 coverage in [0, 1].

    Args:
        polygons: each (N, 2) corners in mask pixels, in order around the polygon; parts outside are cut off.

    Edges are antialiased in steps of 1/16 and reach 1/8 px too far out, as OpenCV counts the pixels it touches.
    """
    canvas = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), np.uint8)
    limit = 8.0 * max(width, height)  # OpenCV's fixed point overflows far outside
    for polygon in polygons:
        inside = np.clip(polygon, -limit, limit)
        fixed = np.rint((inside * _SUPERSAMPLING - 0.5) * (1 << _FIXED_POINT_BITS)).astype(np.int32)
        cv2.fillConvexPoly(canvas, fixed, 255, cv2.LINE_8, _FIXED_POINT_BITS)
    coverage = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(coverage, dtype=np.float32) / np.float32(255.0)


def _convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    hull = cv2.convexHull(points.astype(np.float32))
    return np.asarray(hull, dtype=np.float64).reshape(-1, 2)


def _soften(mask: FloatArray) -> FloatArray:
    """Grown and blurred in proportion to the height, as §3.8 does for eyes and mouth."""
    height = mask.shape[0]
    grow = max(height // 32, 1)
    blur = height // 16 + (1 - height // 16 % 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grow, grow))
    return np.asarray(cv2.GaussianBlur(cv2.dilate(mask, kernel), (blur, blur), 0), dtype=np.float32)


def _points68(points: ArrayLike) -> NDArray[np.float64]:
    """A float64 copy that is certain to be 68 finite points."""
    p = np.array(points, dtype=np.float64)
    if p.shape != (68, 2) or not np.isfinite(p).all():
        raise InvalidInput(f"Expected 68 finite landmark points, got an array of shape {p.shape}.", reason="BAD_POINTS")
    return p
