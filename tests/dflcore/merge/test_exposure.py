"""Exposure: identity for ordinary faces, invertible, ordered and continuous for the others."""

import numpy as np
import pytest

from dflcore.merge.exposure import DARK_LEVEL, Exposure, measure_exposure

EXPOSURES = [Exposure(), Exposure(gain=0.25), Exposure(gain=8.0, peak=1.5), Exposure(gain=0.01, peak=64.0)]


@pytest.mark.parametrize("exposure", EXPOSURES)
def test_there_and_back(exposure):
    light = np.linspace(-0.2, exposure.peak / exposure.gain, 500, dtype=np.float32)
    np.testing.assert_allclose(exposure.expand(exposure.compress(light)), light, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("exposure", EXPOSURES)
def test_the_peak_lands_on_one_and_order_is_kept(exposure):
    light = np.linspace(-0.2, 2 * exposure.peak / exposure.gain, 1000, dtype=np.float32)
    compressed = exposure.compress(light)
    assert (np.diff(compressed) > 0).all()
    assert exposure.compress(np.float32([exposure.peak / exposure.gain])) == pytest.approx(1.0, abs=1e-5)
    painted = np.linspace(0, 1.3, 200, dtype=np.float32)
    assert (np.diff(exposure.expand(painted)) > 0).all()
    assert np.isfinite(exposure.expand(painted)).all()


def encoded(linear):
    linear = np.asarray(linear, np.float32)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def face(level, size=32):
    spread = np.random.default_rng(0).uniform(0.5, 1.0, (size, size, 1)) * np.ones(3)
    return encoded(spread * level).astype(np.float32)


MASK = np.ones((32, 32), np.float32)


@pytest.mark.parametrize("level", [0.15, 0.5, 0.95])
def test_an_ordinary_face_is_not_touched(level):
    exposure = measure_exposure(face(level), MASK)
    assert exposure.is_identity
    picture = face(level)
    assert exposure.fit(picture) is picture


def test_a_bright_face_is_brought_below_one_and_a_dark_one_up():
    bright = measure_exposure(face(20.0), MASK)
    assert 0.04 < bright.gain < 0.06
    assert bright.fit(face(20.0)).max() < 1.05
    dark = measure_exposure(face(0.001), MASK)
    assert dark.gain == 64.0
    assert measure_exposure(face(0.05), MASK).gain == pytest.approx(DARK_LEVEL / 0.049, rel=0.05)


def test_the_measure_has_no_jumps():
    levels = np.geomspace(0.002, 50, 400)
    gains = np.array([measure_exposure(face(level), MASK).gain for level in levels])
    assert np.abs(np.diff(np.log(gains))).max() < 0.04


def test_black_and_negative_faces_do_not_divide_by_zero():
    for level in (0.0, -0.3):
        exposure = measure_exposure(np.full((8, 8, 3), level, np.float32), np.zeros((8, 8), np.float32))
        assert exposure.gain == 1.0
