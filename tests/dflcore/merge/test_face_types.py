"""A model of one face type merges with facesets of every other, as if they had been extracted for it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.config.network import QuickSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import Conflict, DataCorrupt
from dflcore.geometry import affine
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import Faceset
from dflcore.io.masks import MaskStore
from dflcore.merge.swapper import open_swapper
from dflcore.models import presets, registry
from dflcore.progress import Notice
from dflcore.train.trainer import train
from dflcore.types import FaceType
from recorder import Recorder as TrainRecorder

SIZE = (320, 240)
"""Of the plate in conftest."""
EXACT = {"bit_depth": "float", "color_transfer": "none"}
PAIRS = [
    (FaceType.WHOLE, FaceType.FULL),
    (FaceType.HEAD, FaceType.HALF),
    (FaceType.MIDFULL, FaceType.WHOLE),
    (FaceType.FULL, FaceType.HEAD),
]
"""Of the faceset, of the model."""


def merged(shot, folder, frame=1001):
    return read_exr_layers(shot.folder / folder / f"swap.{frame}.exr")


def notices_of(control):
    return {event.reason: event for event in control.events if isinstance(event, Notice)}


def hull_in_plate(shot, frame=1001):
    with Faceset.open(shot.faceset) as faceset:
        return hull_mask(faceset.record(f"f_{frame}_0.png").landmarks.points, *SIZE)


def assert_as_if_extracted_for_it(one, other):
    """Light, mattes and ST map agree but for resampling noise; mattes end at the same pixels."""
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=2e-4, err_msg=name)
    assert ((one["matte.A"] > 0) == (other["matte.A"] > 0)).mean() > 0.9999


@pytest.mark.parametrize(("has", "paints"), PAIRS)
def test_every_faceset_is_as_good_as_one_of_the_models_type(make_shot, fake_swapper, has, paints):
    options = {"frames": (1001,), "dtype": np.float32, "faces": ((0.0, 0.0), (30.0, 12.0))}
    swapper = fake_swapper(face_type=paints, tint=(1.0, 0.6, 0.6))
    make_shot(**options, face_type=paints).merge("own/swap.####.exr", swapper=swapper, **EXACT)
    shot = make_shot(**options, face_type=has)
    _, control = shot.merge("other/swap.####.exr", swapper=swapper, **EXACT)
    assert_as_if_extracted_for_it(merged(shot, "own"), merged(shot, "other"))
    own, other = swapper.seen
    assert (own - other).abs().max() < 1e-3
    notice = notices_of(control)["FACE_TYPE_CONVERTED"]
    assert notice.severity == "info"
    assert (notice.details["face_type"], notice.details["model_face_type"]) == (has.value, paints.value)


def test_windows_and_pixels_that_are_not_square_make_no_difference(make_shot, portrait_linear, fake_swapper):
    squeezed = cv2.resize(portrait_linear, (SIZE[0] // 2, SIZE[1]), interpolation=cv2.INTER_AREA)
    options = {"frames": (1001,), "pixels": squeezed, "dtype": np.float32, "squeeze": 2, "pixel_aspect": 2.0,
               "overscan": 12, "display_origin": (7, 3)}  # fmt: skip
    swapper = fake_swapper(tint=(1.0, 0.6, 0.6))
    make_shot(**options).merge("own/swap.####.exr", swapper=swapper, **EXACT)
    shot = make_shot(**options, face_type=FaceType.WHOLE)
    shot.merge("other/swap.####.exr", swapper=swapper, **EXACT)
    assert_as_if_extracted_for_it(merged(shot, "own"), merged(shot, "other"))
    assert merged(shot, "other")["matte.A"].max() == 1


def test_a_corrected_square_of_another_type_is_where_the_face_is_put(make_shot, fake_swapper):
    corrected = {"frames": (1001,), "dtype": np.float32, "corrected": (12.0, 5.0)}
    make_shot(**corrected).merge("own/swap.####.exr", matte_mode="full", **EXACT)
    shot = make_shot(**corrected, face_type=FaceType.WHOLE)
    shot.merge("other/swap.####.exr", swapper=fake_swapper(tint=(1.0, 0.6, 0.6)), matte_mode="full", **EXACT)
    assert_as_if_extracted_for_it(merged(shot, "own"), merged(shot, "other"))


@pytest.mark.parametrize(("has", "paints"), PAIRS)
def test_the_matte_lies_on_the_face(make_shot, fake_swapper, has, paints):
    shot = make_shot(frames=(1001,), face_type=has)
    swapper = fake_swapper(resolution=128, face_type=paints, mask=1.0)
    shot.merge("out/swap.####.exr", swapper=swapper, matte_feather=0.0)
    matte, hull = merged(shot, "out")["matte.A"].astype(np.float32), hull_in_plate(shot)
    assert (matte[cv2.dilate(hull, np.ones((15, 15))) == 0] == 0).all()
    if paints is not FaceType.HALF:  # whose square ends on the face
        assert np.minimum(matte, hull).sum() / np.maximum(matte, hull).sum() > 0.95


def test_frames_of_another_type_with_the_same_weights_are_not_taken_for_current(make_shot, fake_swapper):
    shot = make_shot(face_type=FaceType.WHOLE)
    shot.merge(swapper=fake_swapper(face_type=FaceType.WHOLE))
    with pytest.raises(Conflict):
        shot.merge(swapper=fake_swapper(face_type=FaceType.FULL))
    result, _ = shot.merge(swapper=fake_swapper(face_type=FaceType.FULL), overwrite=True)
    assert result.frames_written == 3
    again, _ = shot.merge(swapper=fake_swapper(face_type=FaceType.FULL))
    assert again.frames_kept == 3


def test_landmarks_that_are_no_face_are_named(make_shot, fake_swapper):
    shot = make_shot(face_type=FaceType.WHOLE)
    with closing(sqlite3.connect(shot.faceset / "index.sqlite")) as index, index:
        index.execute("UPDATE face SET landmarks = zeroblob(length(landmarks)) WHERE frame = 1002")
    with pytest.raises(DataCorrupt, match=r"f_1002_0\.png \(frame 1002\)"):
        shot.merge(swapper=fake_swapper())


HOLE = (slice(26, 42), slice(22, 46))
"""Rows and columns of a hand in the middle of the faceset's square of 64 pixels."""


def mask_face(shot, mask):
    with MaskStore.open(shot.faceset, create=True) as store:
        store.add_mask("f_1001_0.png", "xseg", mask, made_by="test")


def hand(size=64):
    mask = np.ones((size, size), np.float32)
    rows, columns = (slice(part.start * size // 64, part.stop * size // 64) for part in HOLE)
    mask[rows, columns] = 0.0
    return mask


def square_positions(shot):
    """x and y, (240, 320) each: where a plate pixel's centre lies in the faceset's own square of 64 pixels."""
    with Faceset.open(shot.faceset) as faceset:
        record = faceset.record("f_1001_0.png")
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    points = affine.apply(record.aligned_from_plate, np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2))
    return points[:, 0].reshape(SIZE[::-1]), points[:, 1].reshape(SIZE[::-1])


def in_hole(shot, margin):
    x, y = square_positions(shot)
    (top, bottom), (left, right) = ((part.start, part.stop) for part in HOLE)
    return (x > left + margin) & (x < right - margin) & (y > top + margin) & (y < bottom - margin)


@pytest.mark.parametrize("stored", [64, 200])
@pytest.mark.parametrize(("has", "paints"), PAIRS)
def test_stored_masks_stay_where_they_are_in_the_plate(make_shot, fake_swapper, has, paints, stored):
    shot = make_shot(frames=(1001,), face_type=has, corrected=(2.0, -1.0))
    swapper = fake_swapper(resolution=128, face_type=paints, tint=(1.0, 0.6, 0.6))
    shot.merge("without/swap.####.exr", swapper=swapper, color_transfer="none")
    mask_face(shot, hand(stored))
    shot.merge("with/swap.####.exr", swapper=swapper, color_transfer="none")
    before, after = merged(shot, "without"), merged(shot, "with")
    plate = read_exr_layers(shot.folder / "plate/shot.1001.exr")
    hole = in_hole(shot, 2.5)
    assert before["matte.A"][hole].max() > 0.9
    assert hole.sum() > 100
    assert (after["matte.A"][hole] == 0).all()
    for channel in "RGB":
        assert after[channel][hole].tobytes() == plate[channel][hole].tobytes()
    away = ~in_hole(shot, -2.5)
    np.testing.assert_allclose(after["matte.A"][away], before["matte.A"][away], atol=6e-4)


def test_masks_that_end_before_the_models_square_go_on_and_it_is_said(make_shot, fake_swapper):
    """Cut off at the faceset's square they would end the matte in a straight line across the forehead."""
    shot = make_shot(frames=(1001,), face_type=FaceType.HALF)
    arm = np.ones((64, 64), np.float32)
    arm[:, 40:] = 0.0
    mask_face(shot, arm)
    swapper = fake_swapper(resolution=192, face_type=FaceType.HEAD, mask=1.0)
    _, control = shot.merge("out/swap.####.exr", swapper=swapper, matte_mode="full", matte_feather=0.0)
    matte, (x, y) = merged(shot, "out")["matte.A"], square_positions(shot)
    above = (y < -4) & (y > -20)
    assert matte[above & (x > 0) & (x < 37)].min() > 0.99
    assert matte[above & (x > 43) & (x < 64)].max() == 0
    assert matte[(x > 68)].max() == 0
    found = notices_of(control)
    assert found["MASKS_EXTENDED"].severity == "warning"
    assert "face_type head" in found["MASKS_EXTENDED"].message
    _, control = shot.merge("half/swap.####.exr", swapper=fake_swapper(face_type=FaceType.HALF))
    assert notices_of(control) == {}


def test_masks_that_reach_beyond_the_models_square_need_no_warning(make_shot, fake_swapper):
    shot = make_shot(frames=(1001,), face_type=FaceType.WHOLE)
    mask_face(shot, hand())
    _, control = shot.merge(swapper=fake_swapper())
    assert set(notices_of(control)) == {"FACE_TYPE_CONVERTED"}


def test_a_full_model_trains_and_merges_with_a_whole_faceset(
    make_shot, astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = QuickSettings(
        resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16
    )

    def preset() -> registry.Preset:
        return registry.Preset(help="Tiny.", network=tiny, build=presets.quick().build, recipe=presets.QUICK_RECIPE)

    monkeypatch.setattr(presets, "tiny", preset, raising=False)
    monkeypatch.setitem(registry._PRESETS._builtin, "tiny", "dflcore.models.presets:tiny")
    pictures = astronaut[20:260, 60:380]
    shot = make_shot(face_type=FaceType.WHOLE, pictures=pictures)
    settings = TrainSettings.from_values(
        {"preset": "tiny", "face_type": "full", "iterations": 40, "batch_size": 2, "seed": 1, "device": "cpu"}
    )
    recorder = TrainRecorder()
    with Faceset.open(shot.faceset) as source, Faceset.open(shot.faceset) as target:
        result = train(settings, source, target, tmp_path / "model", recorder)
    assert result.iteration == 40
    assert "FACE_TYPE_EXTENDED" not in [notice.reason for notice in recorder.of(Notice)]
    swapper, _ = open_swapper(tmp_path / "model")
    assert swapper.face_type is FaceType.FULL
    merge, control = shot.merge("out/swap.####.exr", swapper=swapper)
    assert (merge.frames_written, merge.frames_without_face) == (3, 0)
    assert "FACE_TYPE_CONVERTED" in notices_of(control)
    matte, hull = merged(shot, "out")["matte.A"], hull_in_plate(shot)
    assert matte.max() > 0.3
    assert (matte[cv2.dilate(hull, np.ones((21, 21))) == 0] == 0).all()
