"""Sharpness falls with blur, ignores what is outside the mask, and does not depend on where the face lies."""

import cv2
import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.qc.sharpness import aligned_inside, aligned_luma, contrast_ratio, laplacian_variance, sharpness_ratio


@pytest.fixture
def face():
    noise = np.random.default_rng(3).random((96, 96)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.fixture
def mask():
    mask = np.zeros((96, 96), bool)
    mask[20:70, 20:70] = True
    return mask


def test_itself_is_one(face, mask):
    assert sharpness_ratio(face, face, mask) == 1.0


def test_blur_lowers_sharpness(face, mask):
    ratios = [sharpness_ratio(cv2.GaussianBlur(face, (0, 0), sigma), face, mask) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] < 1.0
    assert ratios[-1] < 0.05


def test_brightness_does_not_matter_and_contrast_counts_squared(face, mask):
    assert sharpness_ratio(face + 0.2, face, mask) == pytest.approx(1.0, rel=1e-4)
    assert sharpness_ratio(face * 0.5, face, mask) == pytest.approx(0.25, rel=1e-4)
    assert contrast_ratio(face * 0.5, face, mask) == pytest.approx(0.5, rel=1e-4)


def test_outside_the_mask_nothing_counts(face, mask):
    other = face.copy()
    other[:18] = 0
    assert laplacian_variance(other, mask) == laplacian_variance(face, mask)


def test_a_flat_face_has_none_and_cannot_be_the_reference(face, mask):
    flat = np.full_like(face, 0.4)
    assert laplacian_variance(flat, mask) < 1e-10
    with pytest.raises(InvalidInput):
        sharpness_ratio(face, np.zeros_like(face), mask)


def test_small_and_unfitting_masks_are_refused(face, mask):
    with pytest.raises(InvalidInput, match="100 pixels"):
        laplacian_variance(face, mask & (np.arange(96) < 21))
    with pytest.raises(InvalidInput):
        laplacian_variance(face[1:], mask)


def test_a_shifted_face_aligns_to_the_same_luma(face):
    rgb = np.repeat(np.pad(face, 10)[..., None], 3, axis=2)
    aligned = aligned_luma(rgb, np.array([[1.0, 0.0, -10.0], [0.0, 1.0, -10.0]]), 96)
    np.testing.assert_allclose(aligned, np.clip(face, 0, 1), atol=1e-5)


def test_inside_keeps_its_distance_from_the_mattes_edge():
    matte = np.zeros((60, 60), np.float32)
    matte[10:50, 10:50] = 1.0
    inside = aligned_inside(matte, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 60, margin_px=3)
    assert inside.sum() == 34 * 34
    assert inside[13, 13]
    assert not inside[12, 13]
    whole = aligned_inside(np.ones((60, 60), np.float32), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 60)
    assert not whole[0, 30]
