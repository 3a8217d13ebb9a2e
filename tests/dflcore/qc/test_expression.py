"""Errors of landmarks and pose: zero for the same face, known for known moves."""

import math

import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.geometry.pose import estimate_pose
from dflcore.qc.expression import landmark_error, landmark_offset, pose_error
from dflcore.types import Pose
from small_facesets import plate_landmarks


@pytest.fixture
def points():
    return plate_landmarks()


def test_the_same_face_has_no_error(points):
    assert landmark_error(points, points) == 0.0
    pose = estimate_pose(points, 640)
    assert pose_error(pose, pose) == 0.0


def test_a_shift_counts_in_percent_of_the_eyes(points):
    eyes = float(np.linalg.norm(points[36] - points[45]))
    moved = points + np.array([0.03 * eyes, 0.04 * eyes], np.float32)
    assert landmark_error(moved, points) == pytest.approx(5.0, rel=1e-4)


def test_a_shifted_face_lies_elsewhere_and_one_that_speaks_does_not(points):
    eyes = float(np.linalg.norm(points[36] - points[45]))
    moved = points + np.array([0.03 * eyes, 0.04 * eyes], np.float32)
    assert landmark_offset(moved, points) == pytest.approx(5.0, rel=1e-4)
    assert landmark_offset(points, points) == 0.0
    larger = points.copy()
    larger[17:] = points[17:].mean(axis=0) + 1.1 * (points[17:] - points[17:].mean(axis=0))
    assert landmark_offset(larger, points) == pytest.approx(0.0, abs=1e-3)
    assert landmark_error(larger, points) > 2.0
    jaw = points.copy()
    jaw[:17] += np.float32(0.2 * eyes)
    assert landmark_offset(jaw, points) == 0.0


def test_the_size_of_the_picture_does_not_matter(points):
    moved = points + np.float32(2.0)
    assert landmark_error(moved * 3.0, points * 3.0) == pytest.approx(landmark_error(moved, points), rel=1e-4)


def test_one_point_counts_a_sixty_eighth(points):
    eyes = float(np.linalg.norm(points[36] - points[45]))
    moved = points.copy()
    moved[62, 1] += 0.68 * eyes
    assert landmark_error(moved, points) == pytest.approx(1.0, rel=1e-4)


def test_angles_add_as_lengths_do():
    target = Pose(pitch=0.1, yaw=-0.2, roll=0.3)
    result = Pose(pitch=0.1 + math.radians(3.0), yaw=-0.2, roll=0.3 - math.radians(4.0))
    assert pose_error(result, target) == pytest.approx(5.0)
    assert pose_error(target, result) == pytest.approx(5.0)


def test_what_is_no_face_is_refused(points):
    with pytest.raises(InvalidInput):
        landmark_error(points[:5], points)
    with pytest.raises(InvalidInput):
        landmark_error(points, np.zeros_like(points))
    with pytest.raises(InvalidInput):
        landmark_error(np.full_like(points, np.nan), points)
