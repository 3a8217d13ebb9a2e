import json
import math

import numpy as np
import pytest

from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.extract.corrections import (
    Correction,
    Placement,
    corrected_by,
    mean_face,
    overlap,
    parse_corrections,
    read_corrections,
)
from dflcore.geometry import affine
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.types import Box, Landmarks, Sighting

BOX = {"frame": 1001, "box": [10, 20, 110, 140]}


def seen(box: Box) -> Sighting:
    points = np.column_stack([np.linspace(box.left, box.right, 68), np.linspace(box.top, box.bottom, 68)]).astype(
        np.float32
    )
    return Sighting(
        frame=1001, box=box, score=1.0, landmarks=Landmarks(points=points), detector="dlib_hog", landmarker="dlib68"
    )


def test_what_is_read_is_what_was_written() -> None:
    points = [[float(i), float(i) / 3] for i in range(68)]
    entries = [
        BOX,
        {"frame": 1002, "landmarks": points},
        {"frame": 1003, "placement": {"nose": [300.5, 200.0], "size": 180.0, "roll": -4.0}},
        {**BOX, "remove": True},
    ]
    parsed = parse_corrections({"corrections": entries}, where="test")
    assert parse_corrections([one.values() for one in parsed], where="again") == parsed
    assert [one.frame for one in parsed] == [1001, 1002, 1003, 1001]
    assert parsed[3].remove


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("x", "not an object"),
        ({"frame": 1.5, "box": [0, 0, 1, 1]}, "whole frame number"),
        ({"frame": True, "box": [0, 0, 1, 1]}, "whole frame number"),
        ({"frame": 1}, "exactly one"),
        ({**BOX, "placement": {"nose": [0, 0], "size": 3}}, "exactly one"),
        ({**BOX, "boxes": 1}, "unknown fields boxes"),
        ({"frame": 1, "box": [0, 0, 1]}, "4 finite numbers"),
        ({"frame": 1, "box": [0, 0, float("nan"), 1]}, "4 finite numbers"),
        ({"frame": 1, "box": [5, 0, 5, 1]}, "beyond"),
        ({"frame": 1, "landmarks": [[0, 0]] * 67}, "68 landmarks"),
        ({"frame": 1, "landmarks": [[0, 0]] * 67 + [[0, "x"]]}, "2 finite numbers"),
        ({"frame": 1, "placement": {"nose": [1, 2], "size": -3}}, "no size"),
        ({**BOX, "remove": "yes"}, "remove"),
    ],
)
def test_nonsense_is_named_with_its_place(entry: object, word: str) -> None:
    with pytest.raises(InvalidInput, match=word) as caught:
        parse_corrections([BOX, entry], where="faces.json")
    assert "Correction 2 of faces.json" in caught.value.message


def test_files(tmp_path) -> None:
    file = tmp_path / "Zoë.json"
    file.write_text(json.dumps({"corrections": [BOX]}))
    assert read_corrections(file)[0].box == Box(10, 20, 110, 140)
    with pytest.raises(NotFound):
        read_corrections(tmp_path / "none.json")
    for text in ("{", "[" * 100_000, '{"corrections": 3}'):
        file.write_text(text)
        with pytest.raises(DflError):
            read_corrections(file)


def test_the_mean_face_aligns_like_the_template() -> None:
    face = mean_face()
    np.testing.assert_allclose(face[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
    assert face[8, 1] > face[57, 1] > face[33, 1] > face[27, 1]  # chin below lip below nose below its root
    assert face[0, 0] < face[36, 0] < face[45, 0] < face[16, 0]


def test_a_placement_puts_nose_size_and_roll_where_they_are_asked() -> None:
    points = Placement((300.0, 200.0), 150.0, math.radians(30)).points()
    np.testing.assert_allclose(points[30], [300, 200], atol=1e-3)
    image_from_template = affine.estimate_similarity(ALIGNMENT_TEMPLATE, points[list(ALIGNMENT_INDEXES)])
    assert affine.scale_of(image_from_template) == pytest.approx(150.0, rel=1e-5)
    assert affine.rotation_of(image_from_template) == pytest.approx(math.radians(30), abs=1e-6)


def test_overlap_is_symmetric_and_one_for_equal_boxes() -> None:
    a, b = Box(0, 0, 10, 10), Box(5, 0, 15, 10)
    assert overlap(a, a) == 1.0
    assert overlap(a, b) == overlap(b, a) == pytest.approx(1 / 3)
    assert overlap(a, Box(20, 20, 30, 30)) == 0.0


def test_a_correction_is_about_the_face_at_its_place() -> None:
    left, right = seen(Box(0, 0, 100, 100)), seen(Box(200, 0, 300, 100))
    assert corrected_by(Correction(frame=1001, box=Box(190, 5, 310, 110)), [left, right]) is right
    assert corrected_by(Correction(frame=1001, box=Box(400, 400, 500, 500)), [left, right]) is None
    moved = tuple((float(x) + 4, float(y) - 3) for x, y in left.landmarks.points)
    assert corrected_by(Correction(frame=1001, points=moved), [left, right]) is left


def test_a_face_laid_on_wide_pixels_is_not_stretched():
    placed = Placement((100.0, 50.0), 40.0, 0.5)
    square, wide = placed.points(), placed.points(2.0)
    np.testing.assert_allclose((wide - [100.0, 50.0]) * [2.0, 1.0], square - [100.0, 50.0], atol=1e-4)
    correction = Correction(frame=1, placement=placed)
    np.testing.assert_array_equal(correction.landmarks_in(2.0), wide)
    np.testing.assert_array_equal(correction.landmarks, square)
