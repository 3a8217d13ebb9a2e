"""Exactness finds every changed bit outside the matte, and none inside it."""

import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.qc.exactness import changed_pixels, measure_exactness


@pytest.fixture
def plate():
    pixels = np.random.default_rng(1).gamma(1.0, 1.0, (20, 30, 4)).astype(np.float16)
    pixels[0, 0] = (8.5, -0.25, np.nan, 1.0)
    pixels[0, 1] = (np.inf, 0.0, 0.0, 1.0)
    return pixels


@pytest.fixture
def matte(plate):
    matte = np.zeros(plate.shape[:2], np.float16)
    matte[8:12, 10:20] = 0.5
    return matte


def test_identical_plates_do_not_differ(plate, matte):
    found = measure_exactness(plate, plate.copy(), matte)
    assert found.is_exact
    assert (found.compared_px, found.differing_px, found.max_difference) == (560, 0, 0.0)
    assert found.max_value == found.plate_max_value == 8.5


@pytest.mark.parametrize("channel", range(4))
def test_one_flipped_bit_outside_is_found(plate, matte, channel):
    result = plate.copy()
    result.view(np.uint16)[5, 6, channel] ^= 1
    found = measure_exactness(plate, result, matte)
    assert found.differing_px == 1
    assert 0 < found.max_difference < 0.01


def test_changes_inside_the_matte_are_free(plate, matte):
    result = plate.copy()
    result[matte > 0] = 0
    assert measure_exactness(plate, result, matte).is_exact


def test_the_smallest_matte_is_inside(plate, matte):
    matte[3, 3] = np.finfo(np.float16).smallest_subnormal
    result = plate.copy()
    result[3, 3] += 1
    assert measure_exactness(plate, result, matte).is_exact


def test_signed_zero_and_lost_infinities_are_differences(plate, matte):
    result = plate.copy()
    result[0, 1, 1] = -0.0
    assert measure_exactness(plate, result, matte).differing_px == 1
    assert measure_exactness(plate, result, matte).max_difference == 0.0
    result[0, 1, 0] = 65504
    assert measure_exactness(plate, result, matte).max_difference == np.inf


def test_clipped_highlights_show(plate, matte):
    result = np.minimum(plate, np.float16(1.0))
    found = measure_exactness(plate, result, matte)
    assert (found.max_value, found.plate_max_value) == (1.0, 8.5)
    assert not found.is_exact


def test_float_plates_are_compared_too(plate, matte):
    wide = plate.astype(np.float32)
    other = wide.copy()
    other[1, 1, 2] = np.nextafter(other[1, 1, 2], np.float32(9))
    assert measure_exactness(wide, other, matte).differing_px == 1


def test_a_full_matte_compares_nothing(plate):
    found = measure_exactness(plate, plate, np.ones(plate.shape[:2]))
    assert (found.compared_px, found.max_value) == (0, 0.0)


def test_what_does_not_fit_is_refused(plate, matte):
    with pytest.raises(InvalidInput):
        measure_exactness(plate, plate.astype(np.float32), matte)
    with pytest.raises(InvalidInput):
        measure_exactness(plate, plate, matte[1:])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_quick_way_finds_the_same_pixels(dtype, channels):
    rng = np.random.default_rng(7)
    plate = rng.standard_normal((40, 50, channels)).astype(dtype)
    plate[3, 4, 0], plate[5, 6, 0] = np.nan, 0.0
    matte = (rng.random((40, 50)) < 0.3).astype(dtype)
    result = plate.copy()
    result[rng.random((40, 50)) < 0.1] *= dtype(1.01)
    result[5, 6, 0], matte[5, 6] = -0.0, 0.0
    changed = changed_pixels(plate, result) & (matte == 0)
    assert changed[5, 6]
    assert not changed[3, 4] or (result[3, 4] != plate[3, 4])[1:].any()
    assert changed.sum() == measure_exactness(plate, result, matte).differing_px > 50
    with pytest.raises(InvalidInput):
        changed_pixels(plate, result[:-1])
