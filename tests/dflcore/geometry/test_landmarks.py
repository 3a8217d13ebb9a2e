import math

import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.geometry import affine, landmarks
from dflcore.geometry.template import (
    ALIGNMENT_INDEXES,
    ALIGNMENT_TEMPLATE,
    FACE_TYPE_CROPS,
    HEAD_MODEL,
)
from dflcore.types import FaceType


def face_points():
    """68 plausible points: the head model seen from the front, in a 700 px wide image."""
    return HEAD_MODEL[:, :2] * 2.0 + [350.0, 400.0]


def template_points():
    points = np.zeros((68, 2))
    points[list(ALIGNMENT_INDEXES)] = ALIGNMENT_TEMPLATE
    return points


def test_template_is_the_published_one():
    assert ALIGNMENT_TEMPLATE.shape == (33, 2)
    np.testing.assert_allclose(ALIGNMENT_TEMPLATE.mean(0), [0.4901267, 0.2776237], atol=1e-7)
    assert ALIGNMENT_TEMPLATE.var(0).sum() == pytest.approx(0.1164147, abs=1e-7)


@pytest.mark.parametrize(
    ("face_type", "side", "eyes", "mouth"),
    [
        (FaceType.HALF, 1.0, 0.216, 0.780),
        (FaceType.MIDFULL, 1.19092, 0.262, 0.735),
        (FaceType.FULL, 1.59662, 0.322, 0.676),
        (FaceType.WHOLE, 2.13137, 0.400, 0.664),
        (FaceType.HEAD, 2.97990, 0.573, 0.762),
    ],
)
def test_face_types_show_the_published_square(face_type, side, eyes, mouth):
    assert FACE_TYPE_CROPS[face_type].side == pytest.approx(side, abs=1e-5)
    size = 200
    aligned = affine.apply(landmarks.aligned_from_landmarks(template_points(), face_type, size), template_points())
    assert aligned[[36, 45], 1].mean() / size == pytest.approx(eyes, abs=6e-4)
    assert aligned[[48, 54], 1].mean() / size == pytest.approx(mouth, abs=6e-4)


def reference_matrix(points, size, padding):
    """The corner construction of the fact sheet §3.5 (types centred on the template), written independently."""
    template_from_image = affine.estimate_similarity(points[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
    image_from_template = affine.invert(template_from_image)
    corners = affine.apply(image_from_template, np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0.5, 0.5]], dtype=float))
    down = (corners[2] - corners[0]) / np.linalg.norm(corners[2] - corners[0])
    up = (corners[3] - corners[1]) / np.linalg.norm(corners[3] - corners[1])
    half = np.linalg.norm(corners[0] - corners[2]) * (math.sqrt(2.0) * padding + 0.5)
    three = np.stack([corners[4] - down * half, corners[4] + up * half, corners[4] + down * half])
    to = np.array([[0, 0], [size, 0], [size, size]], dtype=float)
    return np.linalg.solve(np.column_stack([three, np.ones(3)]), to).T


@pytest.mark.parametrize("face_type", [FaceType.HALF, FaceType.MIDFULL, FaceType.FULL])
def test_closed_form_equals_the_corner_construction(face_type):
    points = face_points() + np.random.default_rng(5).normal(size=(68, 2)) * 4
    expected = reference_matrix(points, 512, FACE_TYPE_CROPS[face_type].padding)
    found = landmarks.aligned_from_landmarks(points, face_type, 512)
    np.testing.assert_allclose(affine.apply(found, points), affine.apply(expected, points), atol=1e-3)


def test_alignment_ignores_how_the_plate_is_turned_and_scaled():
    points = face_points()
    turned = affine.apply(np.array([[0.0, -3.0, 900.0], [3.0, 0.0, -200.0]]), points)
    for face_type in FaceType:
        a = affine.apply(landmarks.aligned_from_landmarks(points, face_type, 256), points)
        b = affine.apply(landmarks.aligned_from_landmarks(turned, face_type, 256), turned)
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_head_square_moves_with_yaw():
    front, turned = face_points(), face_points()
    turned[:17, 0] += 40.0
    shift = [affine.apply(landmarks.aligned_from_landmarks(p, FaceType.HEAD, 256), p[30]) for p in (front, turned)]
    assert abs(shift[1][0] - shift[0][0]) > 2.0
    assert shift[1][1] == pytest.approx(shift[0][1])


def test_flip_twice_is_nothing_and_swaps_sides():
    points = face_points()
    flipped = landmarks.flip_landmarks(points, 700)
    np.testing.assert_allclose(landmarks.flip_landmarks(flipped, 700), points, rtol=1e-6)
    assert flipped[36, 0] < flipped[45, 0]
    np.testing.assert_allclose(flipped[30], [700 - points[30, 0], points[30, 1]], rtol=1e-6)
    pairs = {(0, 16), (17, 26), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46), (31, 35), (50, 52)}
    pairs |= {(49, 53), (48, 54), (59, 55), (58, 56), (67, 65), (60, 64), (61, 63), (8, 8), (57, 57), (66, 66)}
    for a, b in pairs:
        assert landmarks.MIRRORED_INDEXES[a] == b
        assert landmarks.MIRRORED_INDEXES[b] == a


def test_fill_covers_the_area_without_a_shift():
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    disk = np.stack([21.3 + 12.0 * np.cos(angles), 17.8 + 12.0 * np.sin(angles)], -1)
    mask = landmarks.fill_polygons([disk], 40, 36)
    assert mask.shape == (36, 40)
    assert mask.dtype == np.float32
    assert mask[17, 21] == 1.0
    assert mask[2, 2] == 0.0
    assert mask.sum() == pytest.approx(np.pi * 12.1**2, rel=0.01)
    rows, columns = np.mgrid[:36, :40] + 0.5
    assert (mask * columns).sum() / mask.sum() == pytest.approx(21.3, abs=0.04)
    assert (mask * rows).sum() / mask.sum() == pytest.approx(17.8, abs=0.04)


def test_fill_is_the_same_mirrored():
    points = face_points() / 700 * 128
    mask = landmarks.hull_mask(points, 128, 128)
    mirrored = landmarks.hull_mask(landmarks.flip_landmarks(points, 128), 128, 128)[:, ::-1]
    assert np.abs(mask - mirrored).max() <= 0.26
    assert np.abs(mask - mirrored).mean() < 2e-3


def test_hull_holds_the_face_and_brows_reach_up():
    points = face_points()
    mask = landmarks.hull_mask(points, 700, 700)
    for index in (30, 36, 45, 48, 54, 57):
        assert mask[int(points[index, 1]), int(points[index, 0])] == 1.0
    assert mask[5, 5] == 0.0
    flat = landmarks.hull_mask(points, 700, 700, brow_reach=0.0)
    assert mask.sum() > flat.sum()
    assert np.flatnonzero(mask.any(1))[0] < points[17:27, 1].min() - 5


def test_hull_partly_and_wholly_outside():
    points = face_points()
    whole = landmarks.hull_mask(points, 700, 700)
    moved = landmarks.hull_mask(points - [350.0, 400.0], 700, 700)
    np.testing.assert_allclose(moved[:300, :350], whole[400:, 350:], atol=0.13)
    assert landmarks.hull_mask(points + 1e7, 64, 64).sum() == 0.0


def test_eyes_and_mouth():
    points = face_points() / 700 * 256
    eyes, mouth = landmarks.eyes_mask(points, 256, 256), landmarks.mouth_mask(points, 256, 256)
    middle = points[36:42].mean(0)
    assert eyes[int(middle[1]), int(middle[0])] > 0.5
    assert mouth[int(points[62, 1]) + 1, int(points[62, 0])] > 0.5
    assert eyes[int(points[62, 1]), int(points[62, 0])] == 0.0


def test_wrong_points_are_refused():
    with pytest.raises(InvalidInput):
        landmarks.aligned_from_landmarks(np.zeros((5, 2)), FaceType.FULL, 256)
    bad = face_points()
    bad[3, 1] = np.inf
    with pytest.raises(InvalidInput):
        landmarks.hull_mask(bad, 10, 10)
