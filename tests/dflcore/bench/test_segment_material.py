"""The drawn performance whose masks are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from dflcore.bench.segment_material import CYCLE, cover_face, intersection_over_union, overlay, strip_picture
from dflcore.io.mask_labels import rasterize
from dflcore.types import FaceType
from small_facesets import make_record

SIZE = 256


def covered(moment: int) -> object:
    record = make_record(1, face_type=FaceType.WHOLE, size=SIZE)
    return cover_face(np.full((SIZE, SIZE, 3), 150, np.uint8), record, moment)


@pytest.mark.parametrize("moment", range(0, 2 * CYCLE, 3))
def test_truth_is_the_hull_less_the_cover_and_the_label_says_the_same(moment: int) -> None:
    face = covered(moment)
    np.testing.assert_allclose(face.truth, face.hull * (1 - face.cover), atol=1e-6)
    drawn = rasterize(face.label, SIZE, label_size=SIZE)
    assert intersection_over_union(drawn, face.truth) > 0.98
    if face.kind == "clean":
        assert face.cover.max() == 0.0
        assert not face.neighbourhood.any()


def test_every_kind_covers_the_face_at_some_moment_and_none_repeats() -> None:
    faces = [covered(moment) for moment in range(2 * CYCLE)]
    for kind in ("hand", "microphone"):
        assert max(float((face.cover * face.hull).sum() / face.hull.sum()) for face in faces if face.kind == kind) > 0.1
    covers = [face.cover for face in faces if face.kind != "clean"]
    for index, cover in enumerate(covers):
        others = covers[:index]
        assert all(intersection_over_union(cover, other) < 0.999 or not cover.any() for other in others)


def test_overlap_of_masks() -> None:
    a, b = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    assert intersection_over_union(a, b) == 1.0
    a[:2], b[1:3] = 1.0, 0.5
    assert intersection_over_union(a, b) == pytest.approx(1 / 3)
    within = np.zeros((4, 4), bool)
    within[1] = True
    assert intersection_over_union(a, b, within) == 1.0


def test_pictures_of_masks() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    mask = np.zeros((8, 8), np.float32)
    mask[2:6, 2:6] = 1.0
    shown = overlay(image, mask)
    assert shown[3, 3].tolist() == [100, 100, 100]
    assert shown[2, 2].tolist() == [255, 255, 255]
    assert shown[0, 0].tolist() == [35, 105, 35]
    assert strip_picture([[shown, shown, shown], [image, image, image]]).shape == (16, 24, 3)
