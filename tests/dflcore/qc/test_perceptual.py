"""Perceptual distance: nothing for the same face, more for more change, and it sees what people see."""

import cv2
import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.qc.perceptual import PerceptualMeter


@pytest.fixture(scope="module")
def meter():
    return PerceptualMeter()


@pytest.fixture
def face(astronaut):
    return (astronaut[40:200, 150:310] / 255.0).astype(np.float32)


def test_a_face_has_no_distance_to_itself(meter, face):
    assert meter.distance(face, face) == 0.0


def test_it_is_the_same_both_ways_and_bounded(meter, face):
    negative = 1.0 - face
    assert meter.distance(face, negative) == pytest.approx(meter.distance(negative, face), rel=1e-5)
    assert 0.0 < meter.distance(face, negative) < 2.0


def test_it_grows_with_blur(meter, face):
    distances = [meter.distance(cv2.GaussianBlur(face, (0, 0), sigma), face) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert distances == sorted(distances)
    assert distances[-1] > 3.0 * distances[0]


def test_structure_counts_more_than_brightness(meter, face):
    """The same squared error, spread over all or heaped on the detail."""
    brighter = np.clip(face * 0.9 + 0.05, 0.0, 1.0)
    error = float(np.square(brighter - face).mean())
    noise = np.random.default_rng(2).normal(0.0, 1.0, face.shape)
    noisy = (face + noise * np.sqrt(error / np.square(noise).mean())).astype(np.float32)
    assert meter.distance(noisy, face) > 2.0 * meter.distance(brighter, face)


def test_the_picture_may_be_of_any_size(meter, face):
    large = cv2.resize(face, (320, 320), interpolation=cv2.INTER_CUBIC)
    other = np.ascontiguousarray(large[:, ::-1])
    small = meter.distance(face, np.ascontiguousarray(face[:, ::-1]))
    assert meter.distance(large, other) == pytest.approx(small, rel=0.2)


def test_what_cannot_be_compared_is_refused(meter, face):
    with pytest.raises(InvalidInput):
        meter.distance(face, face[:100, :100])
    with pytest.raises(InvalidInput):
        meter.distance(face[:100], face[:100])
