"""SSIM: what its formula promises, and the same number as another implementation of it."""

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity as peer

from dflcore.errors import InvalidInput
from dflcore.qc.sharpness import LUMA_WEIGHTS
from dflcore.qc.ssim import C1, structural_similarity


@pytest.fixture
def face(astronaut):
    return (astronaut[40:168, 160:288] / 255.0).astype(np.float32)


@pytest.fixture
def blurred(face):
    return cv2.GaussianBlur(face, (0, 0), 2.0)


def test_a_picture_is_like_itself(face):
    assert structural_similarity(face, face) == pytest.approx(1.0, abs=1e-12)


def test_it_is_the_number_of_another_implementation(face, blurred):
    a, b = (np.asarray(picture @ LUMA_WEIGHTS, np.float64) for picture in (face, blurred))
    expected = peer(a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert structural_similarity(face, blurred) == pytest.approx(expected, abs=1e-6)
    assert structural_similarity(blurred, face) == pytest.approx(expected, abs=1e-6)


def test_flat_pictures_leave_the_term_of_brightness_alone():
    a, b = np.full((32, 32), 0.2, np.float32), np.full((32, 32), 0.6, np.float32)
    expected = (2 * 0.2 * 0.6 + C1) / (0.2**2 + 0.6**2 + C1)
    assert structural_similarity(a, b) == pytest.approx(expected, abs=1e-6)


def test_more_blur_and_a_shift_cost_more(face):
    blurs = [structural_similarity(cv2.GaussianBlur(face, (0, 0), sigma), face) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert blurs == sorted(blurs, reverse=True)
    shifts = [structural_similarity(np.roll(face, shift, axis=1), face) for shift in (0, 1, 2, 4)]
    assert shifts == sorted(shifts, reverse=True)


def test_a_negative_is_below_zero():
    noise = np.random.default_rng(1).random((64, 64)).astype(np.float32)
    assert structural_similarity(noise, 1.0 - noise) < -0.5


def test_a_mask_leaves_out_what_differs_elsewhere(face):
    other = face.copy()
    other[:40] = 0.5
    mask = np.zeros(face.shape[:2], bool)
    mask[46:] = True  # windows reach 5 px up
    assert structural_similarity(other, face, mask) == pytest.approx(1.0, abs=1e-9)
    assert structural_similarity(other, face) < 0.95


def test_what_cannot_be_compared_is_refused(face):
    with pytest.raises(InvalidInput):
        structural_similarity(face, face[:-1])
    with pytest.raises(InvalidInput):
        structural_similarity(face[:10, :10], face[:10, :10])
    with pytest.raises(InvalidInput):
        structural_similarity(face, face, np.zeros(face.shape[:2], bool))
    with pytest.raises(InvalidInput):
        structural_similarity(face, face, np.ones((3, 3), bool))
