"""Curves go where their numbers are; grids hold every face."""

from __future__ import annotations

import numpy as np
import pytest

from dflcore.bench.drawing import _COLORS, _Area, label_grid, plot_curves, stack, time_label


def pixels_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) rows and columns; the legend does not count."""
    below = picture.copy()
    below[:56] = 0
    return np.argwhere((below == color).all(axis=2))


def test_time_doubles_over_even_distances() -> None:
    area = _Area(15.0, 240.0, 0.0, 1.0)
    places = [area.x(15.0 * 2.0**step) for step in range(5)]
    assert np.diff(places) == pytest.approx([places[1] - places[0]] * 4)
    assert area.y(0.0) > area.y(1.0)


def test_a_falling_curve_falls() -> None:
    picture = plot_curves("distance", {"one": [(15.0, 0.9), (60.0, 0.5), (900.0, 0.2)]})
    drawn = pixels_of(picture, _COLORS[0])
    left, right = drawn[drawn[:, 1].argmin()], drawn[drawn[:, 1].argmax()]
    assert left[0] < right[0]


def test_a_single_moment_and_equal_values_can_be_drawn() -> None:
    for curve in ([(15.0, 0.5)], [(15.0, 0.5), (30.0, 0.5)]):
        picture = plot_curves("flat", {"one": curve, "none": []} if len(curve) == 1 else {"one": curve})
        assert len(pixels_of(picture, _COLORS[0])) > 10


def test_lines_across_are_within_the_picture() -> None:
    picture = plot_curves("distance", {"one": [(15.0, 0.5)]}, {"far": 3.0, "near": 0.1})
    rows = {int(row) for row, _ in pixels_of(picture, _COLORS[-1])}
    assert len(rows) >= 2
    assert max(rows) < picture.shape[0]


def test_a_grid_holds_every_face_in_its_place() -> None:
    colors = [[(250, 0, 0), (0, 250, 0)], [(0, 0, 250)]]
    rows = [[np.full((40, 40, 3), color, np.uint8) for color in row] for row in colors]
    sheet = label_grid(rows, ["first", "second\nof two"], ["a", "b"], cell_px=20, label_width_px=100)
    assert sheet.shape == (26 + 2 * 20, 100 + 2 * 20, 3)
    for row, line in enumerate(colors):
        for column, color in enumerate(line):
            assert tuple(sheet[26 + 20 * row + 10, 100 + 20 * column + 10]) == color


def test_pictures_are_stacked_to_the_widest() -> None:
    stacked = stack([np.zeros((4, 10, 3), np.uint8), np.zeros((6, 20, 3), np.uint8)])
    assert stacked.shape == (10, 20, 3)


@pytest.mark.parametrize(("seconds", "text"), [(15.0, "15 s"), (60.0, "1 min"), (450.0, "7.5 min")])
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    assert time_label(seconds) == text
