import math

import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.geometry import pose
from dflcore.geometry.template import HEAD_MODEL
from dflcore.types import Pose


def project(p, size=256, distance=400.0, shift=(0.0, 0.0)):
    """Pinhole picture of the head model, focal length and centre from the size."""
    points = HEAD_MODEL @ pose.rotation_from_pose(p).T + [*shift, distance]
    return points[:, :2] / points[:, 2:] * size + size / 2.0


@pytest.mark.parametrize("pitch", [-0.5, 0.0, 0.4])
@pytest.mark.parametrize("yaw", [-1.0, -0.2, 0.0, 0.9])
@pytest.mark.parametrize("roll", [-0.6, 0.0, 0.3])
def test_recovers_a_synthetic_pose(pitch, yaw, roll):
    found = pose.estimate_pose(project(Pose(pitch, yaw, roll), shift=(10.0, -8.0)), 256)
    assert (found.pitch, found.yaw, found.roll) == pytest.approx((pitch, yaw, roll), abs=1e-3)


def test_yaw_positive_turns_the_nose_to_image_left():
    front, turned = project(Pose(0, 0, 0)), project(Pose(0, 0.4, 0))
    assert turned[30, 0] - turned[[0, 16], 0].mean() < front[30, 0] - front[[0, 16], 0].mean() - 5


def test_pitch_positive_looks_up():
    front, up = project(Pose(0, 0, 0)), project(Pose(0.4, 0, 0))
    assert up[30, 1] - up[[0, 16], 1].mean() < front[30, 1] - front[[0, 16], 1].mean() - 5


def test_roll_positive_is_clockwise():
    tilted = project(Pose(0, 0, 0.4))
    assert tilted[45, 1] > tilted[36, 1] + 5  # the eye on image-right sinks


def test_roll_comes_back_in_the_plate():
    from dflcore.geometry.affine import apply
    from dflcore.geometry.landmarks import aligned_from_landmarks
    from dflcore.types import FaceType

    plate_points = project(Pose(0, 0, 0.5), size=600)
    aligned_from_plate = aligned_from_landmarks(plate_points, FaceType.FULL, 256)
    in_aligned = pose.estimate_pose(apply(aligned_from_plate, plate_points), 256)
    assert abs(in_aligned.roll) < 0.03
    assert pose.pose_in_plate(in_aligned, aligned_from_plate).roll == pytest.approx(0.5, abs=0.03)


def test_angles_of_a_gimbal_locked_head_are_finite():
    found = pose.pose_from_rotation(pose.rotation_from_pose(Pose(0.2, math.pi / 2, 0.0)))
    assert found.yaw == pytest.approx(math.pi / 2)
    assert math.isfinite(found.pitch)


def test_wrong_points_are_refused():
    with pytest.raises(InvalidInput):
        pose.estimate_pose(np.zeros((10, 2)), 256)
