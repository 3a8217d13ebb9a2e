import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from dflcore.detect.base import DETECTORS, choose_detector, create_detector, scale_detections, shrink_image
from dflcore.detect.batch import detect_batch
from dflcore.detect.dlib_hog import DlibHogDetector
from dflcore.errors import DataCorrupt, NotFound, Unsupported
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
    assert {"dlib_hog", "dlib_cnn", "s3fd", "retinaface", "scrfd", "blazeface", "yunet"} <= set(DETECTORS.names())
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


def test_one_hog_detector_serves_several_threads(hog, astronaut, hopper):
    pictures = [astronaut, hopper] * 3
    alone = [hog.detect(picture) for picture in pictures]
    meeting = threading.Barrier(3)
    with ThreadPoolExecutor(3, initializer=meeting.wait) as pool:
        assert list(pool.map(hog.detect, pictures)) == alone
    for _ in range(2):
        assert detect_batch(hog, pictures) == alone


@pytest.mark.slow
def test_dlib_cnn_sees_the_portrait_and_no_face_in_a_cup(astronaut):
    import skimage.data

    detector = create_detector("dlib_cnn", WeightStore())
    (found,) = detector.detect(astronaut[:256, 100:356])
    assert found.score > 0.8
    assert abs((found.box.left + found.box.right) / 2 - 119) < 12
    assert abs((found.box.top + found.box.bottom) / 2 - 120) < 12
    assert 75 < found.box.width < 120
    cup = skimage.data.coffee()[:256, :256]
    assert detect_batch(detector, [cup, astronaut[:256, 100:356]]) == [[], [found]]
    assert create_detector("dlib_cnn", WeightStore(), min_score=2.0).detect(astronaut[:256, 100:356]) == []


def test_dlib_cnn_names_damaged_weights(tmp_path, store_of):
    store = store_of(dlib_cnn=lambda path: path.write_bytes(b"no network"))
    with pytest.raises(DataCorrupt, match=r"mmod_human_face_detector\.dat"):
        create_detector("dlib_cnn", store)


def test_a_package_adds_a_detector(tmp_path, monkeypatch, astronaut):
    (tmp_path / "corner_detector.py").write_text(
        "from dflcore.types import Box, Detection\n"
        "class Corner:\n"
        "    def __init__(self, store, *, device, min_score): self.score = min_score\n"
        "    def detect(self, image): return [Detection(Box(0, 0, image.shape[1] / 2, 9), self.score)]\n"
    )
    (tmp_path / "corner-1.0.dist-info").mkdir()
    (tmp_path / "corner-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: corner\nVersion: 1.0\n")
    (tmp_path / "corner-1.0.dist-info" / "entry_points.txt").write_text(
        "[dflcore.detectors]\ncorner = corner_detector:Corner\nbroken = not_there_at_all:Nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"corner", "broken"} <= set(DETECTORS.names())
    (found,) = create_detector("corner", WeightStore(), min_score=0.25).detect(astronaut)
    assert found == Detection(Box(0, 0, 256, 9), 0.25)
    with pytest.raises(Unsupported, match="not_there_at_all"):
        create_detector("broken", WeightStore())


def test_shrinking_and_scaling_back():
    image = np.zeros((100, 200, 3), np.uint8)
    assert shrink_image(image, 200, 100) is image
    assert shrink_image(image, 50, 25).shape == (25, 50, 3)
    (found,) = scale_detections([Detection(Box(1, 2, 3, 4), 0.5)], 4.0, 2.0)
    assert found == Detection(Box(4, 4, 12, 8), 0.5)
    (found,) = scale_detections([Detection(Box(1, 2, 3, 4), 0.5, 90)], 1.0, 1.0)
    assert found.turn == 90
