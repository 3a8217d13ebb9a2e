"""Where a model's square lies: on the square of its own type bit for bit, on another type's by the landmarks."""

from dataclasses import replace

import numpy as np
import pytest

from dflcore.errors import DataCorrupt
from dflcore.geometry import affine
from dflcore.geometry.alignment import aligned_points, model_from_plate, network_from_aligned
from dflcore.types import FaceType, Landmarks
from small_facesets import make_record, plate_landmarks

CORNERS = np.array([[0.0, 0.0], [640.0, 0.0], [640.0, 480.0], [0.0, 480.0]])


@pytest.mark.parametrize("face_type", list(FaceType))
def test_a_face_of_the_models_type_is_taken_as_it_was_extracted(face_type):
    record = make_record(1, face_type=face_type, size=96, pixel_aspect=1.5)
    expected = record.aligned_from_plate * (224 / 96)
    assert model_from_plate(record, face_type, 224).tobytes() == expected.tobytes()
    np.testing.assert_array_equal(network_from_aligned(record, face_type, 48), [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])


def test_landmarks_have_no_say_in_the_models_own_type():
    record = make_record(1, size=96)
    nowhere = replace(record, landmarks=Landmarks(points=np.zeros((68, 2), np.float32)))
    np.testing.assert_array_equal(
        model_from_plate(nowhere, FaceType.FULL, 64), model_from_plate(record, FaceType.FULL, 64)
    )


@pytest.mark.parametrize("pixel_aspect", [1.0, 2.0])
@pytest.mark.parametrize("has", list(FaceType))
@pytest.mark.parametrize("wanted", list(FaceType))
def test_another_type_is_what_extraction_would_have_cut(has, wanted, pixel_aspect):
    points = plate_landmarks(angle=0.4)
    record = make_record(1, face_type=has, size=96, landmarks=points, pixel_aspect=pixel_aspect)
    direct = make_record(1, face_type=wanted, size=160, landmarks=points, pixel_aspect=pixel_aspect)
    found = affine.apply(model_from_plate(record, wanted, 160), CORNERS)
    np.testing.assert_allclose(found, affine.apply(direct.aligned_from_plate, CORNERS), atol=1e-6)
    through_the_picture = affine.compose(network_from_aligned(record, wanted, 160), record.aligned_from_plate)
    np.testing.assert_allclose(affine.apply(through_the_picture, CORNERS), found, atol=1e-6)


@pytest.mark.parametrize("pixel_aspect", [1.0, 2.0])
def test_a_moved_square_keeps_its_move_in_every_type(pixel_aspect):
    """A person turned, grew and shifted the square in the plate: the other type's square moves along."""
    cos, sin = 1.1 * np.cos(0.2), 1.1 * np.sin(0.2)
    moved_square = np.array([[cos, -sin, 12.0], [sin, cos, -5.0]])  # in pixels of the extracted square
    record = make_record(1, size=96, pixel_aspect=pixel_aspect)
    moved = make_record(
        1,
        size=96,
        pixel_aspect=pixel_aspect,
        aligned_from_plate=affine.compose(moved_square, record.aligned_from_plate),
    )
    step = network_from_aligned(record, FaceType.WHOLE, 160)
    np.testing.assert_allclose(network_from_aligned(moved, FaceType.WHOLE, 160), step, atol=1e-6)
    expected = affine.compose(affine.compose(step, moved_square), record.aligned_from_plate)
    np.testing.assert_allclose(model_from_plate(moved, FaceType.WHOLE, 160), expected, atol=1e-6)


def test_landmarks_in_one_place_are_a_damaged_face_with_its_name():
    record = replace(make_record(7), landmarks=Landmarks(points=np.zeros((68, 2), np.float32)))
    for ask in (model_from_plate, network_from_aligned):
        with pytest.raises(DataCorrupt, match=r"shot_000007_0\.png \(frame 7\)") as caught:
            ask(record, FaceType.HEAD, 64)
        assert caught.value.reason == "FACE_DAMAGED"


def test_points_in_the_aligned_picture_are_those_of_the_plate():
    record = make_record(1, size=96)
    back = affine.apply(affine.invert(record.aligned_from_plate), aligned_points(record))
    np.testing.assert_allclose(back, record.landmarks.points, atol=1e-4)
