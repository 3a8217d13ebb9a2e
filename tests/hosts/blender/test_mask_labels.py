"""Drawn masks as labels that the faceset's reader takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflcore.io.labelme import read_labelme

SIZE = 200


@pytest.fixture
def masks(part: Callable[[str], Any]) -> Any:
    return part("mask_labels")


def straight(masks: Any, *points: tuple[float, float]) -> Any:
    return masks.Spline(tuple((point, point, point) for point in points))


def circle(masks: Any, radius: float) -> Any:
    """Four points with the handles of the usual approximation, about the middle."""
    reach = radius * 4 / 3 * (math.sqrt(2) - 1)
    points = []
    for quarter in range(4):
        angle = quarter * math.pi / 2
        x, y = 0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle)
        dx, dy = -reach * math.sin(angle), reach * math.cos(angle)
        points.append(((x - dx, y - dy), (x, y), (x + dx, y + dy)))
    return masks.Spline(tuple(points))


def read(masks: Any, folder: Path, *layers: Any) -> Any:
    path = masks.write_label(str(folder), layers, "face_0001_0.png", SIZE)
    assert Path(path).name == "face_0001_0.json"
    return read_labelme(Path(path), SIZE)


def test_a_drawn_square_lands_where_it_was_drawn_with_y_turned_down(masks: Any, tmp_path: Path) -> None:
    corners = ((0.1, 0.25), (0.9, 0.25), (0.9, 0.75), (0.1, 0.75))
    (polygon,) = read(masks, tmp_path, masks.Layer("face", False, (straight(masks, *corners),))).label.polygons
    assert polygon.include
    assert [tuple(point) for point in polygon.points] == [(20, 150), (180, 150), (180, 50), (20, 50)]


def test_curves_keep_their_shape(masks: Any, tmp_path: Path) -> None:
    (polygon,) = read(masks, tmp_path, masks.Layer("face", False, (circle(masks, 0.3),))).label.polygons
    distances = [math.dist(point, (SIZE / 2, SIZE / 2)) for point in polygon.points]
    assert min(distances) > 0.3 * SIZE - 0.1
    assert max(distances) < 0.3 * SIZE + 0.1


def test_layers_exclude_by_name_or_by_subtracting(masks: Any, tmp_path: Path) -> None:
    shape = (straight(masks, (0.1, 0.1), (0.5, 0.1), (0.3, 0.5)),)
    layers = [masks.Layer("face", False, shape), masks.Layer("hand", False, shape), masks.Layer("Layer", True, shape)]
    label = read(masks, tmp_path, *layers).label
    assert [polygon.include for polygon in label.polygons] == [True, False, False]


def test_an_empty_mask_is_refused_in_a_sentence(masks: Any, tmp_path: Path) -> None:
    line = masks.Layer("face", False, (straight(masks, (0.1, 0.1), (0.9, 0.9)),))
    with pytest.raises(Exception, match="no closed shape") as caught:
        masks.write_label(str(tmp_path), [line], "a.png", SIZE)
    assert caught.value.reason == "MASK_EMPTY"


def test_a_folder_that_cannot_be_written_is_named(masks: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    layer = masks.Layer("face", False, (circle(masks, 0.3),))
    with pytest.raises(Exception, match="cannot be written") as caught:
        masks.write_label(str(tmp_path / "file" / "labels"), [layer], "a.png", SIZE)
    assert caught.value.reason == "NOT_WRITABLE"
