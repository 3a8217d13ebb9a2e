import math

import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.geometry import affine


def similarity(scale, angle, x, y):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def test_estimate_recovers_a_known_similarity():
    points = np.random.default_rng(1).normal(size=(33, 2)) * 50
    true = similarity(2.5, 0.7, -30.0, 400.0)
    found = affine.estimate_similarity(points, affine.apply(true, points))
    np.testing.assert_allclose(found, true, atol=1e-10)


def test_estimate_is_the_least_squares_optimum():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    best = affine.estimate_similarity(a, b)
    error = ((affine.apply(best, a) - b) ** 2).sum()
    for _ in range(50):
        step = similarity(1 + rng.normal() * 0.01, rng.normal() * 0.01, *(rng.normal(size=2) * 0.01))
        assert ((affine.apply(affine.compose(step, best), a) - b) ** 2).sum() >= error - 1e-12


def test_estimate_never_mirrors():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    mirrored = points * [-1.0, 1.0]
    assert np.linalg.det(affine.estimate_similarity(points, mirrored)[:, :2]) > 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 2)), np.zeros((1, 2))),
        (np.zeros((3, 2)), np.zeros((4, 2))),
        (np.ones((5, 2)), np.zeros((5, 2))),
        (np.full((5, 2), np.nan), np.zeros((5, 2))),
    ],
)
def test_estimate_refuses_what_has_no_answer(a, b):
    with pytest.raises(InvalidInput):
        affine.estimate_similarity(a, b)


def test_compose_and_invert():
    b_from_a, c_from_b = similarity(2.0, 0.3, 5, 6), similarity(0.1, -2.0, 100, -3)
    points = np.random.default_rng(3).normal(size=(4, 5, 2))
    chained = affine.apply(c_from_b, affine.apply(b_from_a, points))
    np.testing.assert_allclose(affine.apply(affine.compose(c_from_b, b_from_a), points), chained, atol=1e-12)
    back = affine.compose(affine.invert(b_from_a), b_from_a)
    np.testing.assert_allclose(back, affine.IDENTITY, atol=1e-12)
    assert affine.scale_of(b_from_a) == pytest.approx(2.0)
    assert affine.rotation_of(b_from_a) == pytest.approx(0.3)


def test_invert_refuses_a_collapsed_plane():
    with pytest.raises(InvalidInput):
        affine.invert(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]))
