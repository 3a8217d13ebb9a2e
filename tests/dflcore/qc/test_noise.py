import numpy as np
import pytest

from dflcore.qc.noise import measure_noise, noise_ratio


@pytest.fixture
def ramp():
    rows, columns = np.indices((120, 160), dtype=np.float32)
    return np.repeat(((rows + 2 * columns) / 900.0)[..., None], 3, axis=2).astype(np.float32)


def grainy(picture, amount, seed=3):
    noise = np.random.default_rng(seed).standard_normal(picture.shape[:2]).astype(np.float32)
    return picture + amount * noise[..., None]


ALL = np.ones((120, 160), np.bool_)


@pytest.mark.parametrize("amount", [0.003, 0.01, 0.03])
def test_noise_is_measured_on_a_slope(ramp, amount):
    assert measure_noise(grainy(ramp, amount), ALL) == pytest.approx(amount, rel=0.05)


def test_a_slope_has_no_noise(ramp):
    assert measure_noise(ramp, ALL) == pytest.approx(0.0, abs=1e-6)


def test_edges_have_no_say(ramp):
    striped = ramp.copy()
    striped[::20] += 0.4
    assert measure_noise(grainy(striped, 0.01), ALL) == pytest.approx(0.01, rel=0.4)


def test_ratio(ramp):
    assert noise_ratio(grainy(ramp, 0.02, 1), grainy(ramp, 0.01, 2), ALL) == pytest.approx(2.0, rel=0.06)
    assert noise_ratio(grainy(ramp, 0.02), ramp, ALL) is None, "the plate has none"
    few = np.zeros_like(ALL)
    few[:10, :10] = True
    assert noise_ratio(grainy(ramp, 0.02), grainy(ramp, 0.02), few) is None
