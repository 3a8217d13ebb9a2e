"""Limits hold on real pictures of two people: the plate as its own result has no fault, spoilt ones have theirs."""

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.config.extract import ExtractSettings
from dflcore.config.qc import QcSettings
from dflcore.extract.pipeline import extract_faces
from dflcore.frames import FrameRange
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.merge.light import PlateDeveloper
from dflcore.qc.review import Shot, measure_shot
from dflcore.weights.store import WeightStore
from small_facesets import Watcher

pytestmark = [pytest.mark.slow, pytest.mark.footage]
FRAMES = FrameRange.parse("60-70")
FEATHER_PX = 12


@pytest.fixture(scope="module", params=["target_talk.mp4", "source_talk.mp4"])
def clip(request, material, tmp_path_factory, converter):
    """A clip and its faceset."""
    plate = material / "footage" / request.param
    faces = tmp_path_factory.mktemp("faces") / "set"
    with contextlib.closing(open_plate(str(plate), frames=FRAMES, resolve_space=converter.find)) as opened:
        extract_faces(opened, faces, ExtractSettings(), Watcher(), store=WeightStore(), converter=converter)
    return plate, faces


@pytest.fixture
def review(clip, tmp_path, converter, examiner):
    """Measures a result whose face is the plate's, changed by a function of frame, light and matte."""
    plate, faces = clip

    def measure(change, feather_px=FEATHER_PX):
        pattern = tmp_path / "swap.####.exr"
        developer = PlateDeveloper(converter)
        with (
            Faceset.open(faces) as faceset,
            contextlib.closing(open_plate(str(plate), frames=FRAMES, resolve_space=converter.find)) as opened,
        ):
            points = {record.frame: record.landmarks.points for record in faceset.records()}
            assert set(points) == {*FRAMES}
            for frame in FRAMES:
                light = developer.develop(opened.read(frame), "half")
                matte = _matte(points[frame], light.beauty.shape, feather_px)
                _deliver(Path(str(pattern).replace("####", f"{frame:04d}")), frame, light, matte, change)
        shot = Shot(result=str(pattern), plate=str(plate), target=faces)
        report = measure_shot(shot, QcSettings(), Watcher(), converter=converter, examiner=examiner)
        found: dict[str, set[int]] = {}
        for one in report.figures:
            for flag in one.flags:
                found.setdefault(flag.measure, set()).add(one.frame)
        return found

    return measure


def _matte(points, shape, feather_px):
    hull = (hull_mask(points, shape[1], shape[0]) > 0.5).astype(np.uint8)
    if not feather_px:
        return hull.astype(np.float16)
    return np.clip(cv2.distanceTransform(hull, cv2.DIST_L2, 5) / feather_px, 0.0, 1.0).astype(np.float16)


def _deliver(path, frame, light, matte, change):
    plate = light.beauty[..., :3]
    weight = matte[..., None].astype(np.float32)
    face = change(frame, plate.astype(np.float32), matte)
    mixed = (plate.astype(np.float32) * (1.0 - weight) + face * weight).astype(np.float16)
    merged = light.beauty.copy()
    merged[..., :3] = np.where(weight > 0.0, mixed, plate) if change is not untouched else plate
    layers = [
        ExrLayer(name="", channels=tuple("RGBA"), pixels=merged),
        ExrLayer(name="matte", channels=("A",), pixels=matte[..., None]),
    ]
    window = light.data_window
    write_exr(path, layers=layers, data_window=window, display_window=window, color_space=light.color_space)


def untouched(frame, light, matte):
    return light


def test_an_untouched_plate_has_no_fault(review):
    assert review(untouched) == {}
    assert review(untouched, feather_px=0) == {}


def test_a_gain_in_every_other_frame_is_flicker(review):
    found = review(lambda frame, light, matte: light * np.float32(1.04 if frame % 2 else 1.0))
    assert set(found) == {"flicker"}
    assert len(found["flicker"]) >= len(FRAMES) - 2


@pytest.mark.parametrize("gains", [(0.75, 1.1, 0.75), (1.25, 1.0, 0.8)])
def test_a_wrong_colour_is_colour(review, gains):
    found = review(lambda frame, light, matte: light * np.array(gains, np.float32))
    assert found.pop("color") == {*FRAMES}
    assert not {"flicker", "offset", "jitter", "sharpness", "outside_px"} & set(found)


def test_a_pasted_hard_edge_is_a_seam(review):
    found = review(lambda frame, light, matte: np.ascontiguousarray(light * np.float32(1.5)), feather_px=0)
    assert found["seam"] == {*FRAMES}


def test_a_shifted_face_lies_elsewhere(review):
    """By a tenth of the face's width and more."""

    def shifted(frame, light, matte):
        columns = np.flatnonzero(matte.any(axis=0))
        return np.roll(light, round(0.12 * len(columns)), axis=1)

    assert review(shifted)["offset"] == {*FRAMES}


def test_one_frame_merged_with_its_neighbours_landmarks_stands_out(review):
    def slipped(frame, light, matte):
        columns = np.flatnonzero(matte.any(axis=0))
        return np.roll(light, round(0.1 * len(columns)), axis=1) if frame == 65 else light

    found = review(slipped)
    assert found["offset"] == {65}
    assert 65 in found["jitter"]
