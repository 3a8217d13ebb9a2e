import numpy as np
import pytest

from dflcore.qc.seam import measure_seam

SIDE = 128


@pytest.fixture
def disc():
    """Hard and soft mattes of a round face."""
    rows, columns = np.indices((SIDE, SIDE), dtype=np.float32)
    distance = np.hypot(rows - SIDE / 2, columns - SIDE / 2)
    return lambda feather: np.clip((40 - distance) / feather + 0.5, 0.0, 1.0).astype(np.float32)


@pytest.fixture
def plate():
    """Texture, and a hard edge of the plate's own that runs where the matte's does."""
    rng = np.random.default_rng(1)
    rows, columns = np.indices((SIDE, SIDE))
    picture = 0.4 + 0.05 * rng.standard_normal((SIDE, SIDE, 3))
    picture[np.hypot(rows - SIDE / 2, columns - SIDE / 2) < 40] += 0.3
    return np.clip(picture, 0.0, 1.0).astype(np.float32)


def merged(plate, matte, offset):
    return (plate + matte[..., None] * offset).astype(np.float32)


def test_the_plates_own_edge_is_no_seam(plate, disc):
    seam = measure_seam(plate, plate, disc(1.0))
    assert seam is not None
    assert seam.step == 0.0


def test_a_step_is_found_and_grows_with_its_height(plate, disc):
    steps = [measure_seam(plate, merged(plate, disc(1.0), offset), disc(1.0)).step for offset in (0.02, 0.04, 0.08)]
    assert steps[1] == pytest.approx(2 * steps[0], rel=1e-3)
    assert steps[2] == pytest.approx(4 * steps[0], rel=1e-3)
    assert measure_seam(plate, merged(plate, disc(1.0), -0.04), disc(1.0)).step == pytest.approx(steps[1], rel=1e-3)


def test_feathering_makes_it_shallow(plate, disc):
    hard, soft = (measure_seam(plate, merged(plate, disc(w), 0.08), disc(w)).step for w in (1.0, 24.0))
    assert soft < 0.2 * hard
    assert soft == pytest.approx(100 * 0.08 / 24.0, rel=0.1)


@pytest.mark.parametrize(("clock", "y", "x"), [(12, -1, 0), (3, 0, 1), (6, 1, 0), (9, 0, -1)])
def test_it_says_where(plate, disc, clock, y, x):
    rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
    side = ((rows * y + columns * x) > 25).astype(np.float32)
    found = measure_seam(plate, merged(plate, disc(1.0) * side, 0.1), disc(1.0))
    assert abs(found.clock - clock) % 12 in (0, 1, 11)
    assert found.step > 1.0


def test_no_edge_no_seam(plate):
    assert measure_seam(plate, plate, np.zeros((SIDE, SIDE), np.float32)) is None
    assert measure_seam(plate, plate, np.ones((SIDE, SIDE), np.float32)) is None
