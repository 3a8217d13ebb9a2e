from dataclasses import replace

import cv2
import numpy as np
import pytest

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.extract.corrections import mean_face
from dflcore.extract.cut import FaceCutter
from dflcore.extract.plan import PlannedFace
from dflcore.geometry import affine
from dflcore.io.plate import PlateImage, Window
from dflcore.types import Box, FaceType, Landmarks, Origin, Sighting

SPACE = "sRGB Encoded Rec.709 (sRGB)"
SETTINGS = ExtractSettings(aligned_size=64, max_gap=5)


class Plate:
    name = "/plates/a.####.png"
    size = (320, 240)

    def __init__(self):
        self.identities = {}

    def identity(self, frame):
        return self.identities.get(frame, f"file {frame}")


def texture(seed):
    coarse = np.random.default_rng(seed).random((12, 16, 3), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC), 0, 1)


def picture(frame=1, seed=0):
    window = Window(x=0, y=0, width=320, height=240)
    return PlateImage(
        frame=frame,
        pixels=texture(seed),
        channel_names=("R", "G", "B"),
        data_window=window,
        display_window=window,
        pixel_aspect=1.0,
        color_space=SPACE,
        source_path="x.png",
    )


def planned(frame=1, *, origin=Origin.DETECTED, track=3, nose=(160.0, 120.0), size=70.0):
    face = mean_face()
    points = (face - face[30]) * size + nose
    low, high = points.min(0), points.max(0)
    sighting = Sighting(
        frame=frame,
        box=Box(*low, *high),
        score=0.5,
        landmarks=Landmarks(points=points.astype(np.float32)),
        detector="d",
        landmarker="l",
        origin=origin,
        identity=np.ones(128, np.float32),
        spread=0.01,
    )
    return PlannedFace(sighting, track, 1)


def cutter(recall=lambda track, frame: None, plate=None, **settings):
    changed = SETTINGS.model_copy(update=settings)
    return FaceCutter(plate or Plate(), changed, ColorConverter(), "a", recall)


@pytest.mark.parametrize("face_type", list(FaceType))
def test_a_record_says_where_the_aligned_face_came_from(face_type):
    ((record, aligned),) = cutter(face_type=face_type).cut(picture(), [planned()])
    assert aligned.shape == (64, 64, 3)
    assert (record.name, record.plate, record.frame, record.face_index) == ("a_000001_0.png", Plate.name, 1, 0)
    assert (record.track_id, record.detector, record.spread, record.face_type) == (3, "d", 0.01, face_type)
    center = affine.apply(affine.invert(record.aligned_from_plate), [[32.0, 32.0]])[0]
    seen = texture(0)[int(center[1]), int(center[0])]
    assert np.abs(aligned[32, 32] - seen).max() < 0.1
    assert abs(record.pose.roll) < 0.05


@pytest.mark.parametrize(("kind", "suffix"), [("png", ".png"), ("png16", ".png"), ("exr", ".exr"), ("jpeg", ".jpg")])
def test_files_are_named_after_what_they_hold(kind, suffix):
    pairs = cutter(aligned_format=kind).cut(picture(), [planned(), planned(track=4, nose=(60.0, 60.0), size=30.0)])
    assert [record.name for record, _ in pairs] == [f"a_000001_{index}{suffix}" for index in (0, 1)]


def test_a_face_half_outside_the_frame_is_cut_with_its_edge_repeated():
    ((_, aligned),) = cutter().cut(picture(), [planned(nose=(2.0, 2.0))])
    assert np.isfinite(aligned).all()
    np.testing.assert_allclose(aligned[:8, :8], np.broadcast_to(aligned[0, 0], (8, 8, 3)), atol=1e-3)


def test_a_filled_in_face_must_look_like_the_one_beside_it():
    filled = planned(2, origin=Origin.INTERPOLATED)
    one = cutter()
    one.cut(picture(1), [planned(1)])
    assert len(one.cut(picture(2), [filled])) == 1
    assert one.cut(picture(2, seed=9), [filled]) == [], "something else is there"
    other_track = replace(filled, track_id=8)
    assert len(one.cut(picture(2, seed=9), [other_track])) == 1, "nothing is known of that track"


def test_a_run_that_goes_on_asks_what_was_cut_before():
    asked = []
    ((_, before),) = cutter().cut(picture(1), [planned(1)])

    def recall(track, frame):
        asked.append((track, frame))
        return (np.clip(before, 0, 1) * 255).astype(np.uint8)

    filled = planned(2, origin=Origin.INTERPOLATED)
    assert len(cutter(recall).cut(picture(2), [filled])) == 1
    assert cutter(recall).cut(picture(2, seed=9), [filled]) == []
    assert asked == [(3, 2), (3, 2)]


def test_the_key_changes_with_whatever_changes_the_picture():
    plate = Plate()
    face = planned()
    key = cutter(plate=plate).key(1, [face])
    assert cutter(plate=plate).key(1, [face]) == key
    assert cutter(plate=plate, smoothing_radius=9, min_score=0.3).key(1, [face]) == key
    moved = replace(
        face,
        sighting=replace(face.sighting, landmarks=Landmarks(points=face.sighting.landmarks.points + np.float32(0.01))),
    )
    others = [
        cutter(plate=plate).key(2, [face]),
        cutter(plate=plate).key(1, []),
        cutter(plate=plate).key(1, [face, face]),
        cutter(plate=plate).key(1, [moved]),
        cutter(plate=plate).key(1, [replace(face, track_id=4)]),
        cutter(plate=plate, aligned_format="exr").key(1, [face]),
        cutter(plate=plate, face_type=FaceType.HEAD).key(1, [face]),
    ]
    plate.identities[1] = "the file was rendered again"
    others.append(cutter(plate=plate).key(1, [face]))
    assert len({key, *others}) == len(others) + 1
