"""Components are timed as an extraction uses them; where weights are missing, untrained ones stand in and are said."""

from pathlib import Path

import numpy as np
import pytest

from dflcore.bench.detectors import REFERENCE_FRAMES_PER_S, bench_detectors
from dflcore.bench.untrained import fill_store
from dflcore.bench.watched import (
    MeanHeadLandmarker,
    Stopwatch,
    WatchedConverter,
    WatchedDetector,
    WatchedEncoder,
    WatchedLocator,
)
from dflcore.detect.base import create_detector
from dflcore.detect.batch import detect_batch
from dflcore.identity.base import create_identity_encoder
from dflcore.landmark.base import FaceCrop, create_landmarker, upright_face
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightState, WeightStore


def test_the_embedded_path_is_timed_as_a_whole_and_in_parts(tmp_path: Path) -> None:
    names = ("dlib_hog", "dlib68", "dlib_resnet")
    figures = bench_detectors(tmp_path, frame_count=2, names=names, devices=["cpu"])
    values = {(figure.name, figure.unit): figure.value for figure in figures}
    assert [figure.name for figure in figures][:3] == list(names)
    assert all(value > 0.0 for value in values.values())
    rate = values["dlib_hog + dlib68", "frames/s"]
    assert rate < values["dlib_hog + dlib68, landmarks and identity", "faces/s"]
    assert not any("untrained" in figure.note for figure in figures)
    assert "2 passes, the last of 5 looks, CPU" in figures[1].note


def test_untrained_weights_are_said(tmp_path: Path) -> None:
    (figure,) = bench_detectors(tmp_path, frame_count=1, names=["blazeface"], devices=["cpu"])
    assert figure.note.endswith("untrained weights, speed only")
    assert "640x360" in figure.note


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert bench_detectors(tmp_path, frame_count=1, names=["yunet"], devices=["cpu"], say=said.append) == []
    assert len(said) == 1
    assert "yunet is left out" in said[0]


@pytest.mark.slow
def test_the_references_path_is_compared_with_it(tmp_path: Path) -> None:
    figures = bench_detectors(tmp_path, frame_count=1, names=["s3fd", "fan2d"], devices=["cpu"])
    values = {(figure.name, figure.unit): figure.value for figure in figures}
    rate = values["s3fd + fan2d", "frames/s"]
    assert values["s3fd + fan2d, over the reference", "x"] == pytest.approx(rate / REFERENCE_FRAMES_PER_S["cpu"])
    assert all("untrained" in figure.note for figure in figures if figure.name in ("s3fd", "fan2d", "s3fd + fan2d"))


def test_a_filled_store_keeps_what_is_there(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    given = WeightStore([mine])
    (mine / given.info("blazeface").file).write_bytes(b"trained")
    store, untrained = fill_store(tmp_path / "made", given, components=["blazeface", "retinaface"])
    assert untrained == {"blazeface_anchors", "retinaface"}
    assert store.find("blazeface").read_bytes() == b"trained"
    assert store.verify("retinaface").state is WeightState.VERIFIED
    assert not store.has("s3fd")
    assert store.find("dlib_landmarks_68") == given.find("dlib_landmarks_68")
    assert store.info("scrfd") == given.info("scrfd")


@pytest.mark.parametrize("name", ["blazeface", "retinaface", pytest.param("s3fd", marks=pytest.mark.slow)])
def test_untrained_detectors_see_nothing_so_that_decoding_is_as_on_a_frame_with_few_faces(
    name: str, tmp_path: Path, astronaut: np.ndarray
) -> None:
    store, untrained = fill_store(tmp_path, WeightStore(), components=[name])
    assert name in untrained
    assert create_detector(name, store).detect(astronaut) == []


def test_a_part_inside_another_counts_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 9.0, 20.0, 21.0])
    monkeypatch.setattr("dflcore.bench.watched.time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch.part("outer"), watch.part("inner"):
        pass
    with watch.part("inner"):
        pass
    assert watch.seconds == {"outer": 1.0 + 5.0, "inner": 3.0 + 1.0}


def test_watched_components_answer_as_they_do_alone(astronaut: np.ndarray) -> None:
    watch, store = Stopwatch(), WeightStore()
    hog, dlib68, resnet = (
        create_detector("dlib_hog", store),
        create_landmarker("dlib68", store),
        create_identity_encoder("dlib_resnet", store),
    )
    detections = detect_batch(WatchedDetector(hog, watch), [astronaut])[0]
    assert detections == hog.detect(astronaut)
    located = WatchedLocator(dlib68, "dlib68", watch, looks=1).locate(astronaut, detections[0].box)
    np.testing.assert_array_equal(located.landmarks.points, dlib68.locate(astronaut, detections[0].box).points)
    described = WatchedEncoder(resnet, watch).describe(astronaut, located.landmarks)
    np.testing.assert_array_equal(described, resnet.describe(astronaut, located.landmarks))
    WatchedConverter(watch).to_network(np.zeros((2, 2, 3), np.float32), "sRGB - Texture")
    assert set(watch.seconds) == {"detect", "locate", "identity", "convert"}


def test_stand_ins_answer_what_is_known(astronaut: np.ndarray) -> None:
    class Blind:
        asked = 0

        def detect(self, image: np.ndarray) -> list[Detection]:
            Blind.asked += 1
            return []

    known = [[Detection(Box(150.0, 40.0, 300.0, 190.0), 1.0)], []]
    detector = WatchedDetector(Blind(), Stopwatch(), iter(known))
    assert detect_batch(detector, [astronaut, astronaut]) == known
    assert Blind.asked == 2
    landmarker = MeanHeadLandmarker(create_landmarker("dlib68", WeightStore()))
    crop = FaceCrop(220.0, 120.0, 90.0, 0.3)
    (look,) = landmarker.look(astronaut, [crop])
    (x, y), side, roll = upright_face(look.points)
    np.testing.assert_allclose([x, y, side, roll], [crop.x, crop.y, crop.side, crop.roll], rtol=1e-4)
