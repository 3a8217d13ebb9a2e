"""Does the result do what the performer did: errors of expression and of head pose against the target.

Source: the paper (arXiv:2005.05535, §4.2): the Euclidean distance of 2D landmarks, and of Euler angles, between the
target's frame and the result's. It found them with 2DFAN and FSA-Net and gives no unit for the first. Here landmarks
are those of whichever landmarker looked at both pictures, distances a share of the face's own size, and angles those of
:func:`dflcore.geometry.pose.estimate_pose`; figures of two landmarkers, and the paper's, are not comparable.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.types import FloatArray, Pose

EYE_CORNERS: Final = (36, 45)
"""The outer corners, whose distance is the face's size."""
JAW_POINTS: Final = 17
"""The first of the 68."""


def landmark_error(result: FloatArray, target: FloatArray) -> float:
    """Mean distance of the points, in percent of the distance of the target's outer eye corners: 0 is the same.

    Args:
        result, target: (68, 2) in pixels of the same picture.

    Raises:
        InvalidInput: not 68 finite points each, or the target's eyes lie in one place.
    """
    return 100.0 * float(np.linalg.norm(_moves(result, target), axis=1).mean())


def landmark_offset(result: FloatArray, target: FloatArray) -> float:
    """Length of the points' mean move, in percent of the distance of the target's outer eye corners.

    What is left of :func:`landmark_error` when expressions cancel out: the face as a whole lies elsewhere. The jaw is
    left out, which mattes leave to the plate.

    Args:
        result, target: (68, 2) in pixels of the same picture.

    Raises:
        InvalidInput: as :func:`landmark_error`.
    """
    return 100.0 * float(np.linalg.norm(_moves(result, target)[JAW_POINTS:].mean(axis=0)))


def _moves(result: FloatArray, target: FloatArray) -> NDArray[np.float64]:
    """(68, 2) from target to result, as shares of the distance of the target's eyes."""
    for points in (result, target):
        if points.shape != (68, 2) or not np.isfinite(points).all():
            raise InvalidInput("Expression needs 68 finite landmark points of each picture.", reason="BAD_POINTS")
    first, second = (np.asarray(target[index], dtype=np.float64) for index in EYE_CORNERS)
    size = float(np.linalg.norm(first - second))
    if size <= 0.0:
        raise InvalidInput("The eyes of the target lie in one place.", reason="BAD_POINTS")
    return (np.asarray(result, np.float64) - np.asarray(target, np.float64)) / size


def pose_error(result: Pose, target: Pose) -> float:
    """Euclidean distance of pitch, yaw and roll, in degrees."""
    differences = (result.pitch - target.pitch, result.yaw - target.yaw, result.roll - target.roll)
    return math.degrees(math.sqrt(sum(angle * angle for angle in differences)))
