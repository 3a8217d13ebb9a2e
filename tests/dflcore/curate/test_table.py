"""A table says what the records say, only sooner."""

from pathlib import Path

import numpy as np
import pytest

from dflcore.curate.expression import MEASURES, measure_expressions, template_points
from dflcore.curate.table import FaceTable
from dflcore.errors import InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.io.faceset import Faceset


def test_columns_are_those_of_the_records(sixty_faces: Path) -> None:
    table = FaceTable.open(sixty_faces)
    with Faceset.open(sixty_faces) as faceset:
        records = list(faceset.records())
    assert table.names == [record.name for record in records]
    assert table.text("plate").tolist() == [record.plate for record in records]
    assert table.text("origin").tolist() == ["detected"] * 60
    for field in ("frame", "face_index", "score", "sharpness"):
        assert table.column(field).tolist() == [getattr(record, field) for record in records]
    for field in ("yaw", "pitch", "roll"):
        assert table.column(field).tolist() == [getattr(record.pose, field) for record in records]
    tracks = [np.nan if record.track_id is None else record.track_id for record in records]
    np.testing.assert_array_equal(table.column("track_id"), tracks)
    assert np.isnan(table.column("spread")).all()
    assert table.rect_size.tolist() == [record.box.width * record.box.height for record in records]
    for row, record in enumerate(records):
        np.testing.assert_array_equal(table.landmarks[row], record.landmarks.points)
        wanted = affine.apply(record.aligned_from_plate, record.landmarks.points)
        np.testing.assert_allclose(table.aligned_landmarks[row], wanted, atol=1e-4)
        if record.identity is None:
            assert np.isnan(table.identities[row]).all()
        else:
            np.testing.assert_array_equal(table.identities[row], record.identity)


def test_template_points_are_the_least_squares_similarity(sixty_faces: Path) -> None:
    table = FaceTable.open(sixty_faces)
    points = template_points(table.landmarks)
    for row in (0, 31):
        face = table.landmarks[row]
        to_template = affine.estimate_similarity(face[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
        np.testing.assert_allclose(points[row], affine.apply(to_template, face), atol=1e-5)


def test_expression_does_not_depend_on_place_size_or_tilt(sixty_faces: Path) -> None:
    table = FaceTable.open(sixty_faces)
    moved = table.landmarks @ np.array([[0.0, 2.5], [-2.5, 0.0]], np.float32) + 300.0
    again = measure_expressions(template_points(moved), table.column("yaw"), table.column("pitch"))
    np.testing.assert_allclose(again, table.expressions, atol=1e-4)


def test_an_open_mouth_is_seen() -> None:
    from dflcore.geometry.template import HEAD_MODEL

    shut, opened = HEAD_MODEL[:, :2].copy(), HEAD_MODEL[:, :2].copy()
    opened[[65, 66, 67], 1] += 15.0
    zero = np.zeros(2)
    lengths = measure_expressions(template_points(np.stack([shut, opened]).astype(np.float32)), zero, zero)
    names = [measure.name for measure in MEASURES]
    assert lengths[1, names.index("mouth_open")] > lengths[0, names.index("mouth_open")] + 0.1
    np.testing.assert_allclose(lengths[0, 1:], lengths[1, 1:], atol=1e-6)


def test_taken_rows_keep_every_column(sixty_faces: Path) -> None:
    table = FaceTable.open(sixty_faces)
    rows = np.array([7, 3, 40])
    for part in (table.take(rows), FaceTable.open(sixty_faces).take(rows)):
        assert part.names == [table.names[row] for row in rows]
        assert len(part) == 3
        np.testing.assert_array_equal(part.column("yaw"), table.column("yaw")[rows])
        np.testing.assert_array_equal(part.rect_size, table.rect_size[rows])
        np.testing.assert_array_equal(part.expressions, table.expressions[rows])
        np.testing.assert_array_equal(part.identities, table.identities[rows])
        np.testing.assert_array_equal(part.aligned_landmarks, table.aligned_landmarks[rows])
        np.testing.assert_array_equal(part.metric("blur"), table.metric("blur")[rows])
    is_left = table.column("yaw") > 0
    assert len(table.take(is_left)) == is_left.sum()


def test_a_face_deleted_by_hand_has_no_row(few_faces: Path) -> None:
    names = FaceTable.open(few_faces).names
    (few_faces / names[4]).unlink()
    table = FaceTable.open(few_faces)
    assert table.names == names[:4] + names[5:]
    assert table.landmarks.shape == (11, 68, 2)


def test_a_set_without_faces_is_a_table_without_rows(few_faces: Path) -> None:
    for name in FaceTable.open(few_faces).names:
        (few_faces / name).unlink()
    table = FaceTable.open(few_faces)
    assert len(table) == 0
    assert table.column("yaw").shape == (0,)
    assert table.rect_size.shape == (0,)
    assert table.expressions.shape == (0, 6)
    assert table.metric("blur").shape == (0,)


def test_measures_are_asked_for_by_name(few_faces: Path) -> None:
    table = FaceTable.open(few_faces)
    with pytest.raises(InvalidInput, match=r"'blur' needs .* 12 of 12 .*run `measure`"):
        table.metric("blur")


def test_no_faceset_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        FaceTable.open(tmp_path / "nothing")
