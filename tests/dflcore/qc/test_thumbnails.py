"""Pictures of a report: upright, square, filled by the face, and the same place in plate, result and matte."""

import contextlib

import cv2
import numpy as np
import pytest

from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.merge.pipeline import select_records
from dflcore.qc.delivery import Delivery
from dflcore.qc.shot import ShotMaterial
from dflcore.qc.thumbnails import SIDE_PX, Photographer, spread_evenly, take_pictures


@contextlib.contextmanager
def material(shot):
    with (
        Faceset.open(shot.faceset) as faceset,
        contextlib.closing(open_plate(shot.plate, resolve_space=shot.converter.find)) as plate,
    ):
        yield ShotMaterial(
            plate=plate,
            delivery=Delivery.open(shot.result),
            faceset=faceset,
            records=select_records(plate, faceset)[0],
            frames=plate.frames,
            converter=shot.converter,
        )


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB).astype(np.float32) / 255.0


def test_the_face_fills_its_square_in_the_same_place(make_shot):
    shot = make_shot(frames=(1001, 1002), change=lambda frame, light, matte: light * 0.5)
    with material(shot) as made:
        found = dict(take_pictures(Photographer(made), (1001, 1002)))
    plate, result, matte = (decoded(one) for one in (found[1002].plate, found[1002].result, found[1002].matte))
    assert plate.shape == result.shape == matte.shape
    assert max(plate.shape[:2]) == SIDE_PX
    rows = np.flatnonzero(matte[..., 0].max(axis=1) > 0.5)
    assert 0.4 < len(rows) / SIDE_PX < 0.75
    inside, outside = matte[..., 0] > 0.98, matte[..., 0] < 0.01
    assert np.abs(plate - result)[outside].mean() < 0.005
    assert result[inside].mean() < 0.8 * plate[inside].mean()


def test_a_frame_without_a_face_is_shown_whole_and_a_missing_result_not_at_all(make_shot):
    shot = make_shot(frames=(1001, 1002), face_frames=(1001,))
    with material(shot) as made:
        (shot.folder / "out" / "swap.1001.exr").unlink()
        found = dict(take_pictures(Photographer(made), (1001, 1002)))
    assert found[1001].plate is not None
    assert found[1001].result is found[1001].matte is None
    assert decoded(found[1002].plate).shape[:2] == (SIDE_PX * 240 // 320, SIDE_PX)


@pytest.mark.parametrize(
    ("frames", "count", "expected"),
    [((), 3, []), ((5,), 3, [5]), (range(1, 11), 2, [1, 10]), (range(1, 4), 9, [1, 2, 3]), (range(1, 9), 0, [])],
)
def test_frames_spread_over_the_shot(frames, count, expected):
    assert spread_evenly(list(frames), count) == expected
