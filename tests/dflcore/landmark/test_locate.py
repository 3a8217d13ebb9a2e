import math

import numpy as np
import pytest

from dflcore.detect.base import create_detector
from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.pose import rotation_from_pose
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE, HEAD_MODEL
from dflcore.landmark.base import FaceCrop, UprightLandmarker, create_landmarker
from dflcore.landmark.locate import MESH_BAND, FaceLocator, estimate_yaw, locate_face
from dflcore.types import Box, Landmarks, Pose
from dflcore.weights.store import WeightStore

IMAGE = np.zeros((400, 400, 3), np.uint8)


def head(yaw_degrees=0.0, roll_degrees=0.0, scale=1.0, center=(200.0, 200.0)):
    """(68, 2) points of the head model seen from far away."""
    rotation = rotation_from_pose(Pose(pitch=0.0, yaw=math.radians(yaw_degrees), roll=math.radians(roll_degrees)))
    return ((HEAD_MODEL @ rotation.T)[:, :2] * scale + center).astype(np.float32)


def template_scale(points):
    return affine.scale_of(affine.estimate_similarity(points[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE))


class PulledLandmarker(UprightLandmarker):
    """Knows the truth, but is pulled off it by a share of how far the crop is from where it should be."""

    def __init__(self, truth, pull=0.2, depth=None):
        self.truth, self.pull, self.depth = truth, pull, depth
        self.calls = []

    def look(self, image, crops):
        self.calls.append(len(crops))
        right = self.frame(self.truth)
        errors = [np.float32([self.pull * (crop.x - right.x), self.pull * (crop.y - right.y)]) for crop in crops]
        return [Landmarks(points=self.truth + error, depth=self.depth) for error in errors]


def box_around(points, reach=0.6):
    (x, y), half = points.mean(0), np.ptp(points[:, 0]) * reach
    return Box(x - half, y - half, x + half, y + half)


@pytest.mark.parametrize("looks", [2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("seed", [0, 3])
def test_errors_that_follow_the_crop_cancel(looks, seed):
    truth = head(roll_degrees=20.0)
    start = PulledLandmarker(truth, pull=0.0).frame(truth)
    landmarker = PulledLandmarker(truth)
    found = locate_face(landmarker, IMAGE, box_around(truth), passes=8, looks=looks, seed=seed)
    np.testing.assert_allclose(found.landmarks.points, truth, atol=2e-3)
    assert landmarker.calls == [1] * 7 + [looks]
    off = 0.07 * start.side * 0.2 * template_scale(truth)  # how far each look on the ring is pulled
    on_ring = looks if looks == 2 else looks - 1
    assert found.spread == pytest.approx(off * math.sqrt(on_ring / looks), rel=1e-3)


def test_spread_is_in_units_of_the_face():
    small, large = (
        locate_face(PulledLandmarker(truth), IMAGE, box_around(truth)).spread for truth in (head(), head(scale=2.5))
    )
    assert small == pytest.approx(large, rel=1e-3)


def test_a_single_look_has_no_spread_and_more_passes_forget_the_box():
    truth = head()
    box = box_around(truth)
    away = Box(box.left + 20, box.top, box.right + 20, box.bottom)
    errors = []
    for passes in (1, 2, 3):
        found = locate_face(PulledLandmarker(truth), IMAGE, away, passes=passes, looks=1)
        assert found.spread is None
        errors.append(np.abs(found.landmarks.points - truth).max())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    for passes, looks in ((0, 1), (2, 0)):
        with pytest.raises(InvalidInput, match="at least"):
            locate_face(PulledLandmarker(truth), IMAGE, box, passes=passes, looks=looks)


def test_depth_is_averaged():
    depth = np.arange(68, dtype=np.float32)
    found = locate_face(PulledLandmarker(head(), depth=depth), IMAGE, box_around(head()))
    np.testing.assert_allclose(found.landmarks.depth, depth)
    assert found.landmarks.depth.dtype == found.landmarks.points.dtype == np.float32


@pytest.mark.parametrize("yaw", [-60.0, -25.0, 0.0, 40.0])
@pytest.mark.parametrize("roll", [0.0, 90.0, -150.0])
def test_yaw_of_a_leaning_head(yaw, roll):
    assert math.degrees(estimate_yaw(head(yaw, roll))) == pytest.approx(
        yaw, abs=8.0
    )  # the solver takes a wide lens for granted


def test_points_in_one_place_are_no_face():
    with pytest.raises(InvalidInput):
        locate_face(PulledLandmarker(np.zeros((68, 2), np.float32), pull=0.0), IMAGE, Box(0, 0, 9, 9), passes=1)


class Mesh(PulledLandmarker):
    """A landmarker of another school: the same face, but a little larger."""

    def __init__(self, truth):
        middle = truth.mean(0)
        super().__init__((middle + (truth - middle) * np.float32(1.03)), 0.0, np.ones(68, np.float32))


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_mesh_takes_over_without_a_jump(side):
    limit = 30.0
    before, last_share, names = None, 0.0, []
    for degrees in np.arange(0.0, 60.0, 0.5) * side:
        truth = head(degrees)
        first, mesh = PulledLandmarker(truth, 0.0), Mesh(truth)
        locator = FaceLocator(first, "dlib68", mesh=mesh, mesh_above_yaw=limit, looks=1)
        found = locator.locate(IMAGE, box_around(truth))
        share = float(np.linalg.norm(found.landmarks.points - truth) / np.linalg.norm(mesh.truth - truth))
        names.append(found.landmarker)
        assert share >= last_share - 1e-4
        assert share - last_share < 0.1
        assert (found.landmarks.depth is None) == (found.landmarker == "dlib68")
        assert (found.landmarker == "mesh468") == (share == pytest.approx(1.0, abs=1e-3))
        before, last_share = found, share
    assert before.landmarker == "mesh468"
    assert [*dict.fromkeys(names)] == ["dlib68", "dlib68+mesh468", "mesh468"]
    assert 0.5 * MESH_BAND < names.count("dlib68+mesh468") * 0.5 < 4.0 * MESH_BAND


def test_a_limit_of_zero_means_the_mesh_always():
    truth = head()
    locator = FaceLocator(PulledLandmarker(truth, 0.0), "dlib68", mesh=Mesh(truth), mesh_above_yaw=0.0)
    assert locator.locate(IMAGE, box_around(truth)).landmarker == "mesh468"


def test_without_the_mesh_the_first_points_stay(tmp_path):
    truth = head(60.0)
    found = FaceLocator(PulledLandmarker(truth, 0.0), "mine", mesh_above_yaw=20.0).locate(IMAGE, box_around(truth))
    np.testing.assert_allclose(found.landmarks.points, truth, atol=1e-3)
    assert found.landmarker == "mine"
    assert abs(math.degrees(found.yaw)) > 50
    assert not FaceLocator.create("auto", WeightStore([tmp_path]), mesh_above_yaw=40.0).has_mesh
    (tmp_path / "face_mesh_468.onnx").write_bytes(b"damaged")
    with pytest.raises(DataCorrupt):
        FaceLocator.create("auto", WeightStore([tmp_path]), mesh_above_yaw=40.0)
    assert not FaceLocator.create("auto", WeightStore([tmp_path])).has_mesh
    assert not FaceLocator.create("auto", WeightStore([tmp_path]), mesh_above_yaw=90.0).has_mesh


def test_the_mesh_is_loaded_where_its_weights_are(mesh468, material):
    assert FaceLocator.create("auto", WeightStore([material / "models"]), mesh_above_yaw=40.0).has_mesh
    assert not FaceLocator.create("mesh468", WeightStore([material / "models"]), mesh_above_yaw=40.0).has_mesh


def test_crops_move_along_the_head():
    crop = FaceCrop(10.0, 20.0, 100.0, math.pi / 2)  # leaning onto its own left side: its down is image left
    moved = crop.moved(0.1, 0.2, 1.5, 0.3)
    assert (moved.x, moved.y) == pytest.approx((10.0 - 20.0, 20.0 + 10.0))
    assert (moved.side, moved.roll) == pytest.approx((150.0, math.pi / 2 + 0.3))


@pytest.fixture(scope="module")
def dlib68():
    return create_landmarker("dlib68", WeightStore())


@pytest.fixture(scope="module")
def mesh468(material):
    if not (material / "models" / "face_mesh_468.onnx").is_file():
        pytest.skip("face_mesh_468.onnx is not in the folder of test material")
    return create_landmarker("mesh468", WeightStore([material / "models"]))


@pytest.fixture(scope="module")
def box(astronaut):
    return create_detector("dlib_hog", WeightStore()).detect(astronaut)[0].box


@pytest.mark.parametrize("name", ["dlib68", "mesh468"])
def test_a_portrait_looked_at_once_and_often(name, request, astronaut, box):
    landmarker = request.getfixturevalue(name)
    once = locate_face(landmarker, astronaut, box, looks=1)
    np.testing.assert_array_equal(once.landmarks.points, landmarker.locate(astronaut, box).points)
    often = locate_face(landmarker, astronaut, box)
    again = locate_face(landmarker, astronaut, box)
    other = locate_face(landmarker, astronaut, box, seed=1)
    np.testing.assert_array_equal(often.landmarks.points, again.landmarks.points)
    assert not np.array_equal(often.landmarks.points, other.landmarks.points)
    unit = 1.0 / template_scale(often.landmarks.points)
    for one in (once, other):
        away = np.linalg.norm(one.landmarks.points - often.landmarks.points, axis=1)
        assert away.mean() < 0.02 * unit
    assert 0.001 < often.spread < 0.03
    assert abs(math.degrees(often.yaw)) < 15


@pytest.mark.parametrize("name", ["dlib68", "mesh468"])
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_lying_portrait(name, turn, request, astronaut, box):
    """Points of the picture lying on its side are those of the upright one, turned."""
    landmarker = request.getfixturevalue(name)
    upright = locate_face(landmarker, astronaut, box).landmarks.points
    quarters = turn // 90
    lying = np.ascontiguousarray(np.rot90(astronaut, quarters))
    corners = np.array([[box.left, box.top], [box.right, box.bottom]])
    expected = upright
    for _ in range(quarters):  # a quarter counter-clockwise in a square picture of 512
        corners = np.stack([corners[:, 1], 512 - corners[:, 0]], 1)
        expected = np.stack([expected[:, 1], 512 - expected[:, 0]], 1)
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    found = locate_face(landmarker, lying, Box(left, top, right, bottom), turn=turn)
    away = np.linalg.norm(found.landmarks.points - expected, axis=1)
    assert away.mean() < 0.01 / template_scale(upright)
    assert math.degrees(found.yaw) == pytest.approx(math.degrees(estimate_yaw(upright)), abs=3.0)


@pytest.mark.slow
@pytest.mark.footage
@pytest.mark.parametrize("name", ["dlib68", "mesh468"])
def test_several_looks_shake_less_than_one(name, request, material):
    """What changes from frame to frame beyond the mean of both neighbours, in template units."""
    from dflcore.io.video import MoviePlate

    landmarker = request.getfixturevalue(name)
    hog = create_detector("dlib_hog", WeightStore())
    plate = MoviePlate(str(material / "footage" / "target_talk.mp4"))
    images = [np.rint(np.clip(plate.read(frame).rgb(), 0, 1) * 255).astype(np.uint8) for frame in range(1, 31)]
    boxes = [hog.detect(image)[0].box for image in images]
    shake = {}
    for looks in (1, 5):
        points = np.stack(
            [
                locate_face(landmarker, image, box, looks=looks).landmarks.points
                for image, box in zip(images, boxes, strict=True)
            ]
        )
        away = points[1:-1] - (points[:-2] + points[2:]) / 2.0
        shake[looks] = np.sqrt(np.square(away).sum(-1).mean()) * template_scale(points[0])
    assert shake[5] < 0.9 * shake[1]
