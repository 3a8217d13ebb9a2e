import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import InvalidInput
from dflcore.io.mask_labels import MAX_LABEL_POINTS, Label, Polygon, polygon_coverage, rasterize

SIZE = 32


def star(count: int, seed: int, inner: float = 4.0, outer: float = 20.0) -> list[tuple[float, float]]:
    """A concave outline around the middle that does not cross itself; it may reach over the edges."""
    rng = np.random.default_rng(seed)
    angles = (np.arange(count) + rng.uniform(0.1, 0.9, count)) * 2.0 * math.pi / count
    radii = rng.uniform(inner, outer, count)
    return [(16 + r * math.cos(a), 15 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def area_of(points: list[tuple[float, float]]) -> float:
    x, y = np.array(points).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0


def sampled(points: list[tuple[float, float]], size: int, per_side: int = 24) -> np.ndarray:
    """Coverage by asking per_side² points of every pixel whether they are inside."""
    y, x = (np.mgrid[0 : size * per_side, 0 : size * per_side] + 0.5) / per_side
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside.reshape(size, per_side, size, per_side).mean((1, 3))


def label_of(*polygons: tuple[bool, list[tuple[float, float]]]) -> Label:
    return Label(tuple(Polygon(include, tuple(points)) for include, points in polygons))


@pytest.mark.parametrize("seed", range(8))
def test_coverage_is_what_sampling_every_pixel_finds(seed: int) -> None:
    points = star(9 + seed, seed)
    assert np.abs(polygon_coverage(points, SIZE) - sampled(points, SIZE)).max() < 0.02


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 40), st.integers(0, 1000))
def test_the_whole_area_is_exact_and_direction_does_not_matter(count: int, seed: int) -> None:
    points = star(max(count, 5), seed, inner=2.0, outer=14.0)  # all inside
    coverage = polygon_coverage(points, SIZE)
    assert coverage.sum(dtype=np.float64) == pytest.approx(area_of(points), abs=1e-3)
    np.testing.assert_allclose(polygon_coverage(points[::-1], SIZE), coverage, atol=1e-6)


def test_a_rectangle_between_pixels_covers_their_shares() -> None:
    coverage = polygon_coverage([(1.25, 2.5), (4.5, 2.5), (4.5, 4.0), (1.25, 4.0)], 6)
    wanted = np.zeros((6, 6))
    wanted[2:4, 1:5] = np.outer([0.5, 1.0], [0.75, 1.0, 1.0, 0.5])
    np.testing.assert_allclose(coverage, wanted, atol=1e-6)


@pytest.mark.parametrize("far", [40.0, 1e6])
def test_outlines_far_outside_are_cut_off(far: float) -> None:
    around = [(-far, -far), (far, -far), (far, far), (-far, far)]
    assert (polygon_coverage(around, 8) == 1.0).all()
    assert (polygon_coverage([(x + 2 * far, y) for x, y in around], 8) == 0.0).all()
    left_half = [(-far, -far), (4.0, -far), (4.0, far), (-far, far)]
    np.testing.assert_array_equal(polygon_coverage(left_half, 8)[3], [1, 1, 1, 1, 0, 0, 0, 0])


def test_an_outline_without_area_covers_nothing() -> None:
    assert polygon_coverage([(1, 1), (5, 5), (3, 3)], 8).max() < 1e-6
    assert polygon_coverage([(2, 3), (7, 3), (4, 3)], 8).max() == 0.0


def test_excludes_win_whatever_the_order() -> None:
    face, hand = [(2, 2), (30, 2), (30, 30), (2, 30)], [(10, 10), (20, 10), (20, 20), (10, 20)]
    first = rasterize(label_of((True, face), (False, hand)), SIZE, label_size=SIZE)
    last = rasterize(label_of((False, hand), (True, face)), SIZE, label_size=SIZE)
    np.testing.assert_array_equal(first, last)
    assert first[15, 15] == 0.0
    assert first[5, 5] == 1.0


def test_an_outline_drawn_twice_is_the_outline_drawn_once() -> None:
    points = star(11, 3)
    once = rasterize(label_of((True, points)), SIZE, label_size=SIZE)
    np.testing.assert_array_equal(rasterize(label_of((True, points), (True, points)), SIZE, label_size=SIZE), once)


def test_a_label_of_excludes_takes_them_from_the_base() -> None:
    hand = [(0, 0), (16, 0), (16, 32), (0, 32)]
    base = np.zeros((SIZE, SIZE), np.float32)
    base[8:24] = 0.75
    mask = rasterize(label_of((False, hand)), SIZE, label_size=SIZE, base=base)
    assert mask[10, 4] == 0.0
    assert mask[10, 20] == 0.75
    assert mask[0, 20] == 0.0
    assert rasterize(label_of((False, hand)), SIZE, label_size=SIZE)[0, 20] == 1.0
    with_include = label_of((False, hand), (True, [(0, 0), (32, 0), (32, 32), (0, 32)]))
    assert rasterize(with_include, SIZE, label_size=SIZE, base=base)[0, 20] == 1.0


def test_a_label_drawn_at_another_size_is_scaled() -> None:
    points = star(10, 5, outer=14.0)
    label = label_of((True, points))
    np.testing.assert_allclose(
        rasterize(label, 64, label_size=32), rasterize(label.scaled(2.0), 64, label_size=64), atol=1e-6
    )
    small = rasterize(label, 64, label_size=32).reshape(32, 2, 32, 2).mean((1, 3))
    np.testing.assert_allclose(small, rasterize(label, 32, label_size=32), atol=1e-5)


def test_a_label_survives_json() -> None:
    label = label_of((True, star(7, 1)), (False, [(0.1, 0.2), (1e-9, 31.123456789), (-4.0, 5.0)]))
    assert Label.from_json(label.to_json()) == label


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"polygons": 3}',
        '{"polygons": [[]]}',
        '{"polygons": [{"points": [[0,0],[1,0],[1,1]]}]}',
        '{"polygons": [{"include": 1, "points": [[0,0],[1,0],[1,1]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],[1]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],["a","b"]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],[true,false]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],[NaN,1]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],[1e999,1]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],[1e7,1]]}]}',
        '{"polygons": [{"include": true, "points": [[0,0],[1,0],[' + "9" * 400 + ",1]]}]}",
        "[" * 200_000,
        '{"polygons": ' * 100_000,
        " " * (5 << 20),
    ],
)
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Label.from_json(text)
    assert refusal.value.reason == "BAD_LABEL"
    assert len(refusal.value.message) < 500


def test_too_many_points_are_refused_and_the_most_that_pass_are_drawn_in_time() -> None:
    points = [[index % 512, (index * 7919) % 512] for index in range(MAX_LABEL_POINTS)]
    text = json.dumps({"polygons": [{"include": True, "points": [*points, [1, 1]]}]})
    with pytest.raises(InvalidInput):
        Label.from_json(text)
    halves = [{"include": True, "points": points[: MAX_LABEL_POINTS // 2 + 1]}] * 2
    with pytest.raises(InvalidInput, match="more than"):
        Label.from_json(json.dumps({"polygons": halves}))
    label = Label.from_json(json.dumps({"polygons": [{"include": True, "points": points}]}))
    start = time.monotonic()
    rasterize(label, 512, label_size=512)
    assert time.monotonic() - start < 60.0
