"""Head pose from landmarks.

Convention:
    Points in pixels of a square aligned image, origin top-left corner. Angles in radians: yaw > 0 nose toward
    image-left, pitch > 0 looking up, roll > 0 clockwise in the image.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dflcore.errors import InvalidInput
from dflcore.geometry.affine import rotation_of
from dflcore.geometry.template import HEAD_MODEL, POSE_INDEXES
from dflcore.types import Affine, Pose

_START_DISTANCE = 300.0
"""Where the solver first places the head, in units of the head model, so that it never starts behind the camera."""


def estimate_pose(points: ArrayLike, size: int) -> Pose:
    """The head's rotation that explains the landmarks of an aligned face.

    Source: deepfacelab fact sheet §3.6: perspective-n-point with focal length and centre taken from the image's side.
    Differs: the solver starts from a head that faces the camera, because its own start sometimes ends behind it.

    Args:
        points: (68, 2) aligned pixels.
        size: side of the aligned image in pixels.

    Raises:
        InvalidInput: not 68 finite points, or no pose explains them.
    """
    image_points = np.asarray(points, dtype=np.float64)
    if image_points.shape != (68, 2) or not np.isfinite(image_points).all():
        raise InvalidInput("Pose needs 68 finite landmark points.", reason="BAD_POINTS")
    chosen = list(POSE_INDEXES)
    camera = np.array([[size, 0.0, size / 2.0], [0.0, size, size / 2.0], [0.0, 0.0, 1.0]])
    found, rotation_vector, _ = cv2.solvePnP(
        HEAD_MODEL[chosen],
        image_points[chosen],
        camera,
        np.zeros((4, 1)),
        np.zeros((3, 1)),
        np.array([[0.0], [0.0], [_START_DISTANCE]]),
        useExtrinsicGuess=True,
        flags=cv2.SOLVEPNP_ITERATIVE,
    )
    if not found:
        raise InvalidInput("No head pose explains these landmarks.", reason="NO_POSE")
    rotation, _ = cv2.Rodrigues(np.asarray(rotation_vector, dtype=np.float64))
    return pose_from_rotation(np.asarray(rotation, dtype=np.float64))


def pose_from_rotation(rotation: NDArray[np.float64]) -> Pose:
    """Angles of a (3, 3) rotation that takes the head model to the camera, each within ± a quarter turn."""
    r = rotation
    flat = math.hypot(r[0, 0], r[1, 0])
    if flat > 1e-6:
        x, z = math.atan2(r[2, 1], r[2, 2]), math.atan2(r[1, 0], r[0, 0])
    else:
        x, z = math.atan2(-r[1, 2], r[1, 1]), 0.0
    y = math.atan2(-r[2, 0], flat)
    return Pose(pitch=_clip(-x), yaw=_clip(y), roll=_clip(z))


def rotation_from_pose(pose: Pose) -> NDArray[np.float64]:
    """(3, 3) float64 rotation of the head model, the inverse of :func:`pose_from_rotation`."""
    cx, sx = math.cos(-pose.pitch), math.sin(-pose.pitch)
    cy, sy = math.cos(pose.yaw), math.sin(pose.yaw)
    cz, sz = math.cos(pose.roll), math.sin(pose.roll)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], dtype=np.float64)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], dtype=np.float64)
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]], dtype=np.float64)
    return about_z @ about_y @ about_x


def pose_in_plate(pose: Pose, aligned_from_plate: Affine) -> Pose:
    """The pose of an aligned face as seen in the plate: alignment takes the head's tilt out, this puts it back."""
    roll = pose.roll - rotation_of(aligned_from_plate)
    return Pose(pitch=pose.pitch, yaw=pose.yaw, roll=math.remainder(roll, 2.0 * math.pi))


def _clip(angle: float) -> float:
    return min(max(angle, -math.pi / 2), math.pi / 2)
