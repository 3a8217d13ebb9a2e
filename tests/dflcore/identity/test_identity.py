import cv2
import numpy as np
import pytest

from dflcore.detect.base import create_detector
from dflcore.errors import InvalidInput, NotFound
from dflcore.identity.base import IDENTITY_ENCODERS, create_identity_encoder, identity_distance
from dflcore.landmark.base import create_landmarker
from dflcore.types import Landmarks
from dflcore.weights.store import WeightStore


@pytest.fixture(scope="module")
def describe():
    store = WeightStore()
    detector, landmarker = create_detector("dlib_hog", store), create_landmarker("dlib68", store)
    encoder = create_identity_encoder(store=store)

    def run(image):
        image = np.ascontiguousarray(image)
        return encoder.describe(image, landmarker.locate(image, detector.detect(image)[0].box))

    return run


def test_two_people_are_two_people(describe, astronaut, hopper):
    a, b = describe(astronaut), describe(hopper)
    assert a.shape == (128,)
    assert a.dtype == np.float32
    assert identity_distance(a, b) == pytest.approx(0.69, abs=0.03)


def test_one_person_stays_one_person(describe, astronaut):
    a = describe(astronaut)
    brighter = np.clip(astronaut * 1.15, 0, 255).astype(np.uint8)
    assert identity_distance(a, describe(brighter)) < 0.35
    assert identity_distance(a, describe(astronaut[:, ::-1])) < 0.4
    half = cv2.resize(astronaut, (300, 300), interpolation=cv2.INTER_AREA)
    assert identity_distance(a, describe(half)) < 0.45


def test_same_person_threshold_is_dlibs():
    assert create_identity_encoder().same_person_distance == 0.6


def test_registry():
    assert IDENTITY_ENCODERS.names()[0] == "dlib_resnet"
    with pytest.raises(NotFound):
        create_identity_encoder("nonsense")


def test_landmarks_outside_the_picture(astronaut):
    points = np.random.default_rng(0).random((68, 2), dtype=np.float32) * 50 + 5000
    with pytest.raises(InvalidInput):
        create_identity_encoder().describe(astronaut, Landmarks(points=points))
