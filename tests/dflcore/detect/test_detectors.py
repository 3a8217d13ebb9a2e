import sys

import cv2
import numpy as np
import pytest
import torch

from dflcore.detect.base import DETECTORS, choose_detector, create_detector, scale_detections, shrink_image
from dflcore.detect.dlib_hog import DlibHogDetector
from dflcore.errors import NotFound, Unsupported
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore


@pytest.fixture(scope="module")
def hog():
    return create_detector("dlib_hog", WeightStore())


def test_portraits_have_one_face_each(hog, astronaut, hopper):
    (found,) = hog.detect(astronaut)
    assert found.score > 0.5
    assert abs((found.box.left + found.box.right) / 2 - 223) < 12
    assert abs((found.box.top + found.box.bottom) / 2 - 127) < 15
    (found,) = hog.detect(hopper)
    assert 180 < found.box.width < 260


def test_largest_first(hog, astronaut, hopper):
    canvas = np.zeros((600, 1024, 3), np.uint8)
    canvas[:512, :512] = astronaut
    canvas[:, 512:] = hopper
    found = hog.detect(canvas)
    assert len(found) == 2
    assert found[0].box.left > 512
    assert found[0].box.width > found[1].box.width


def test_a_small_face_is_found_by_enlarging(hog, astronaut):
    small = cv2.resize(astronaut, (160, 160), interpolation=cv2.INTER_AREA)
    (found,) = hog.detect(small)
    assert 20 < found.box.width < 40
    assert abs((found.box.left + found.box.right) / 2 - 70) < 6


def test_clutter_is_not_a_face(hog, astronaut):
    import skimage.data

    for picture in (skimage.data.coffee(), np.roll(astronaut, 3, axis=1)[200:]):
        assert hog.detect(np.ascontiguousarray(picture)) == []


def test_least_score(astronaut):
    assert DlibHogDetector(WeightStore(), min_score=5.0).detect(astronaut) == []


def test_registry_and_auto(tmp_path):
    assert {"dlib_hog", "s3fd", "retinaface", "scrfd", "blazeface"} <= set(DETECTORS.names())
    store = WeightStore([tmp_path])
    assert choose_detector("auto", store) == "dlib_hog"
    (tmp_path / store.info("s3fd").file).write_bytes(b"x")
    assert choose_detector("auto", store) == "s3fd"
    assert choose_detector("dlib_hog", store) == "dlib_hog"
    with pytest.raises(NotFound, match="no detector named"):
        create_detector("nonsense", store)


@pytest.mark.parametrize("name", ["s3fd", "retinaface", "scrfd", "blazeface", "yunet"])
def test_missing_weights_say_how_to_get_them_without_loading_the_package(name, tmp_path):
    loaded = "face_alignment" in sys.modules
    with pytest.raises(NotFound, match=f"dfl weights fetch {name}") as caught:
        create_detector(name, WeightStore([tmp_path]))
    assert caught.value.reason == "WEIGHTS_MISSING"
    assert ("face_alignment" in sys.modules) == loaded


@pytest.fixture
def no_network(monkeypatch):
    import socket

    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def store_of(folder, monkeypatch, **files):
    """A store that trusts the random weights of these tests."""
    from dataclasses import replace

    store = WeightStore([folder])
    for name, write in files.items():
        info = replace(store.info(name), sha256="", size=0)
        monkeypatch.setitem(store._index, name, info)
        write(folder / info.file)
    return store


def test_s3fd_from_the_store(tmp_path, monkeypatch, no_network, astronaut):
    from face_alignment.detection.sfd.net_s3fd import s3fd

    torch.manual_seed(0)
    network = s3fd()
    store = store_of(tmp_path, monkeypatch, s3fd=lambda path: torch.save(network.state_dict(), path))
    detector = create_detector("s3fd", store, min_score=0.45)
    found = detector.detect(astronaut[::4, ::4])
    assert all(0.45 <= one.score <= 1.0 for one in found)
    sizes = [one.box.width * one.box.height for one in found]
    assert sizes == sorted(sizes, reverse=True)


def test_blazeface_from_the_store(tmp_path, monkeypatch, no_network, astronaut):
    from face_alignment.detection.blazeface.net_blazeface import BlazeFace

    torch.manual_seed(0)
    network = BlazeFace()
    for name in ("classifier_8", "classifier_16"):  # random boxes would keep its suppression loop busy for minutes
        torch.nn.init.constant_(getattr(network, name).bias, -100.0)
    store = store_of(
        tmp_path,
        monkeypatch,
        blazeface=lambda path: torch.save(network.state_dict(), path),
        blazeface_anchors=lambda path: np.save(path, np.zeros((896, 4), dtype=np.float32)),
    )
    assert create_detector("blazeface", store).detect(astronaut) == []


def test_retinaface_needs_torchvision(tmp_path, monkeypatch):
    store = store_of(tmp_path, monkeypatch, retinaface=lambda path: path.write_bytes(b"x"))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for module in [name for name in sys.modules if name.startswith("face_alignment.detection.retinaface")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(Unsupported) as caught:
        create_detector("retinaface", store)
    assert caught.value.reason == "COMPONENT_NOT_INSTALLED"


def test_shrinking_and_scaling_back():
    image = np.zeros((100, 200, 3), np.uint8)
    assert shrink_image(image, 200, 100) is image
    assert shrink_image(image, 50, 25).shape == (25, 50, 3)
    (found,) = scale_detections([Detection(Box(1, 2, 3, 4), 0.5)], 4.0, 2.0)
    assert found == Detection(Box(4, 4, 12, 8), 0.5)
