import math

import cv2
import numpy as np
import pytest
import torch

from dflcore.detect.base import create_detector
from dflcore.errors import DataCorrupt, NotFound
from dflcore.geometry import affine
from dflcore.geometry.template import HEAD_MODEL
from dflcore.landmark.base import (
    LANDMARKERS,
    FaceCrop,
    choose_landmarker,
    create_landmarker,
    cut_crop,
    square_crop,
    upright_face,
)
from dflcore.landmark.fan import decode_heatmaps
from dflcore.types import Box
from dflcore.weights.store import WeightStore


@pytest.fixture(scope="module")
def dlib68():
    return create_landmarker("dlib68", WeightStore())


@pytest.fixture(scope="module")
def mesh468(material):
    folder = material / "models"
    if not (folder / "face_mesh_468.onnx").is_file():
        pytest.skip("face_mesh_468.onnx is not in the folder of test material")
    return create_landmarker("mesh468", WeightStore([folder]))


@pytest.fixture(scope="module")
def boxes(astronaut, hopper):
    detector = create_detector("dlib_hog", WeightStore())
    return [detector.detect(image)[0].box for image in (astronaut, hopper)]


def eye_distance(points):
    return float(np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))


def turned(image, angle):
    """The image turned clockwise about its centre, and the transform of its points."""
    height, width = image.shape[:2]
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0]])
    middle = np.array([width / 2, height / 2])
    turn[:, 2] = middle - turn[:, :2] @ middle
    centers = affine.compose(affine.shift(-0.5, -0.5), affine.compose(turn, affine.shift(0.5, 0.5)))
    return cv2.warpAffine(image, centers, (width, height), flags=cv2.INTER_CUBIC), turn


def test_points_sit_on_the_astronaut(dlib68, astronaut, boxes):
    points = dlib68.locate(astronaut, boxes[0]).points
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[36:42].mean(0), [204, 102], atol=4)  # read off the picture
    np.testing.assert_allclose(points[42:48].mean(0), [247, 104], atol=4)
    assert points[57, 1] > points[33, 1] > points[27, 1]


def test_two_independent_landmarkers_agree(dlib68, mesh468, astronaut, hopper, boxes):
    for image, box in zip((astronaut, hopper), boxes, strict=True):
        a, b = dlib68.locate(image, box), mesh468.locate(image, box)
        away = np.linalg.norm(a.points - b.points, axis=1) / eye_distance(a.points)
        assert np.median(away) < 0.07
        assert away[17:].mean() < 0.08
        assert np.linalg.norm(a.points[36:48].mean(0) - b.points[36:48].mean(0)) < 0.06 * eye_distance(a.points)


def test_mesh_depth_has_the_nose_in_front(mesh468, astronaut, boxes):
    found = mesh468.locate(astronaut, boxes[0])
    assert found.depth.shape == (68,)
    assert found.depth[30] < found.depth[[0, 16, 36, 45]].min()
    assert np.ptp(found.depth) < 3 * eye_distance(found.points)


@pytest.mark.parametrize("name", ["dlib68", "mesh468"])
def test_points_turn_with_the_head(name, request, astronaut, boxes):
    landmarker = request.getfixturevalue(name)
    straight = landmarker.locate(astronaut, boxes[0]).points
    image, turn = turned(astronaut, 0.3)
    middle = affine.apply(turn, [(boxes[0].left + boxes[0].right) / 2, (boxes[0].top + boxes[0].bottom) / 2])
    half = boxes[0].width / 2
    box = Box(middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    found = landmarker.locate(image, box).points
    assert np.linalg.norm(found - affine.apply(turn, straight), axis=1).mean() < 0.03 * eye_distance(straight)


@pytest.mark.parametrize("name", ["dlib68", "mesh468"])
def test_the_second_look_forgets_the_box(name, request, astronaut, boxes):
    landmarker = request.getfixturevalue(name)
    first = landmarker.locate(astronaut, boxes[0])
    box = boxes[0]
    shifted = Box(box.left - 6, box.top + 4, box.right + 8, box.bottom + 10)
    second = landmarker.locate(astronaut, shifted)
    away = np.linalg.norm(first.points - second.points, axis=1) / eye_distance(first.points)
    assert away.mean() < 0.02


def test_a_face_at_the_edge_of_the_picture(dlib68, astronaut, boxes):
    box = boxes[0]
    left = int(box.left) + 15
    cut = np.ascontiguousarray(astronaut[:, left:])
    found = dlib68.locate(cut, Box(box.left - left, box.top, box.right - left, box.bottom))
    assert np.isfinite(found.points).all()


def test_registry_and_auto(tmp_path):
    assert {"dlib68", "fan2d", "mesh468"} <= set(LANDMARKERS.names())
    store = WeightStore([tmp_path])
    assert choose_landmarker("auto", store) == "dlib68"
    (tmp_path / store.info("fan2d").file).write_bytes(b"x")
    assert choose_landmarker("auto", store) == "fan2d"
    with pytest.raises(NotFound, match=r"face_mesh_468\.onnx"):
        create_landmarker("mesh468", store)


def test_damaged_weights_are_named(tmp_path):
    store = WeightStore([tmp_path])
    (tmp_path / "face_mesh_468.onnx").write_bytes(b"not a network")
    with pytest.raises(DataCorrupt, match="not the published file"):
        create_landmarker("mesh468", store)


def fan_store(folder, monkeypatch, state):
    from dataclasses import replace

    store = WeightStore([folder])
    info = replace(store.info("fan2d"), sha256="")
    monkeypatch.setitem(store._index, "fan2d", info)
    torch.save(state, folder / info.file)
    return store


def test_fan_from_the_store_without_network(tmp_path, monkeypatch, astronaut, boxes):
    import socket

    from face_alignment.models.fan import FAN

    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    torch.manual_seed(0)
    store = fan_store(tmp_path, monkeypatch, FAN(4).state_dict())
    landmarker = create_landmarker("fan2d", store)
    (look,) = landmarker.look(astronaut, [FaceCrop(223.0, 129.0, 48.75, 0.1)])
    assert look.points.shape == (68, 2)
    assert np.abs(look.points - [223.0, 117.0]).max() < 80
    with pytest.raises(DataCorrupt, match="2DFAN"):
        create_landmarker("fan2d", fan_store(tmp_path, monkeypatch, {"a": torch.zeros(1)}))


@pytest.mark.slow
def test_one_batched_look_is_several_looks(tmp_path, monkeypatch, request, astronaut):
    from face_alignment.models.fan import FAN

    torch.manual_seed(0)
    landmarkers = [
        request.getfixturevalue("dlib68"),
        create_landmarker("fan2d", fan_store(tmp_path, monkeypatch, FAN(4).state_dict())),
    ]
    crops = [FaceCrop(223.0, 120.0, 90.0), FaceCrop(0.0, 40.0, 80.0, 0.2)]
    for landmarker in landmarkers:
        together = landmarker.look(astronaut, crops)
        for crop, found in zip(crops, together, strict=True):
            np.testing.assert_allclose(found.points, landmarker.look(astronaut, [crop])[0].points, atol=0.05)


def test_a_mesh_that_takes_batches_gets_one(mesh468, astronaut, monkeypatch):
    """The file in common use takes one crop at a time; an export with a free batch size is asked once."""
    crops = [FaceCrop(223.0, 127.0, 90.0), FaceCrop(220.0, 125.0, 80.0, 0.2)]
    expected = mesh468.look(astronaut, crops)
    single, asked = mesh468._session, []

    class Batching:
        def run(self, names, feeds):
            ((name, batch),) = feeds.items()
            asked.append(len(batch))
            return [np.concatenate([single.run(names, {name: one[None]})[0] for one in batch])]

    monkeypatch.setattr(mesh468, "_session", Batching())
    monkeypatch.setattr(mesh468, "_takes_many", True)
    for a, b in zip(mesh468.look(astronaut, crops), expected, strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.depth, b.depth)
    assert asked == [2]


def test_fan_sees_what_it_was_trained_with(tmp_path, monkeypatch):
    """Width and height of the upright points are 195/200 of the crop together, 0.12 heights below its middle."""
    from face_alignment.models.fan import FAN

    from dflcore.landmark.fan import _network_crop

    landmarker = create_landmarker("fan2d", fan_store(tmp_path, monkeypatch, FAN(4).state_dict()))
    points = (HEAD_MODEL[:, :2] * 1.3 + [200.0, 180.0]).astype(np.float32)
    for roll in (0.0, 0.7):
        turn = np.array([[math.cos(roll), -math.sin(roll), 3.0], [math.sin(roll), math.cos(roll), 5.0]])
        crop_from_image = _network_crop(landmarker.frame(affine.apply(turn, points).astype(np.float32)))
        seen = affine.apply(crop_from_image, affine.apply(turn, points))
        low, high = seen.min(0), seen.max(0)
        assert (high - low).sum() == pytest.approx(256 * 195 / 200, rel=0.01)
        np.testing.assert_allclose((low + high) / 2, [128, 128 + 0.12 * (high - low)[1]], atol=1.5)


def test_a_package_adds_a_landmarker(tmp_path, monkeypatch, astronaut, boxes):
    (tmp_path / "circle_landmarker.py").write_text(
        "import numpy as np\n"
        "from dflcore.landmark.base import UprightLandmarker\n"
        "from dflcore.types import Landmarks\n"
        "class Circle(UprightLandmarker):\n"
        "    def __init__(self, store, *, device): pass\n"
        "    def look(self, image, crops):\n"
        "        a = np.arange(68) / 68 * 2 * np.pi\n"
        "        ring = np.stack([np.cos(a), np.sin(a)], 1)\n"
        "        return [Landmarks(points=np.float32(ring * c.side / 2 + [c.x, c.y])) for c in crops]\n"
    )
    folder = tmp_path / "circle-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: circle\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[dflcore.landmarkers]\ncircle = circle_landmarker:Circle\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "circle" in LANDMARKERS.names()
    points = create_landmarker("circle", WeightStore()).locate(astronaut, boxes[0]).points
    assert points.shape == (68, 2)


def test_peaks_are_found_between_pixels():
    rng = np.random.default_rng(0)
    true = rng.uniform(3, 61, (68, 2))
    rows, columns = np.mgrid[:64, :64] + 0.5
    heat = np.exp(-((columns - true[:, :1, None]) ** 2 + (rows - true[:, 1:, None]) ** 2) / 2.0)
    found = decode_heatmaps(torch.from_numpy(heat.astype(np.float32)))
    np.testing.assert_allclose(found, true, atol=0.02)
    flat = decode_heatmaps(torch.zeros(68, 64, 64))
    assert np.isfinite(flat).all()


def test_crop_shows_the_asked_square():
    rows, columns = np.mgrid[:200, :300] + 0.5
    ramp = np.stack([columns * 0.8, rows * 1.2, rows * 0.0], -1)
    image = np.rint(ramp).astype(np.uint8)
    for roll, side in ((0.0, 60.0), (0.4, 60.0), (-0.3, 130.0)):
        crop_from_image = square_crop((150.0, 100.0), side, 50, roll)
        crop = cut_crop(image, crop_from_image, 50) * 255.0
        inner = np.mgrid[5:45, 5:45][::-1].reshape(2, -1).T + 0.5
        x, y = affine.apply(affine.invert(crop_from_image), inner).T
        got = crop[5:45, 5:45].reshape(-1, 3)
        assert np.abs(got[:, 0] - x * 0.8).mean() < 0.45
        assert np.abs(got[:, 1] - y * 1.2).mean() < 0.45
    outside = cut_crop(image, square_crop((-500.0, 0.0), 50.0, 20), 20, outside_black=True)
    assert outside.max() == 0.0


def test_upright_face_of_turned_points(dlib68, astronaut, boxes):
    points = dlib68.locate(astronaut, boxes[0]).points
    (x, y), side, roll = upright_face(points)
    turn = np.array([[math.cos(0.5), -math.sin(0.5), 10.0], [math.sin(0.5), math.cos(0.5), 20.0]])
    (x2, y2), side2, roll2 = upright_face(affine.apply(turn, points).astype(np.float32))
    assert (side2, roll2) == pytest.approx((side, roll + 0.5), abs=1e-3)
    np.testing.assert_allclose([x2, y2], affine.apply(turn, [x, y]), atol=1e-2)
    assert side == pytest.approx(boxes[0].width, rel=0.2)
