"""Masks stored in the target's faceset: what is in front of the face stays in front, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest

from dflcore.config.merge import MergeSettings
from dflcore.errors import DataCorrupt
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.merge.segmentation import Segmentation
from dflcore.types import FaceType

SIZE = 64
"""Of the aligned faces and of the fake model."""
HOLE = (slice(26, 42), slice(22, 46))
"""Aligned rows and columns of a hand in the middle of the face."""


def hand(size=SIZE):
    mask = np.ones((size, size), np.float32)
    rows, columns = (slice(part.start * size // SIZE, part.stop * size // SIZE) for part in HOLE)
    mask[rows, columns] = 0.0
    return mask


def mask_face(shot, frame=1002, index=0, mask=None, source="xseg"):
    with MaskStore.open(shot.faceset, create=True) as store:
        return store.add_mask(f"f_{frame}_{index}.png", source, hand() if mask is None else mask, made_by="test")


def merged(shot, name, frame=1002):
    return read_exr_layers(shot.folder / name / f"swap.{frame}.exr")


def aligned_positions(shot, frame=1002, index=0):
    """(240, 320, 2): for every plate pixel centre, where it lies in the aligned face."""
    with Faceset.open(shot.faceset) as faceset:
        record = faceset.record(f"f_{frame}_{index}.png")
    y, x = np.mgrid[:240, :320]
    points = np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2)
    return affine.apply(model_from_plate(record, record.face_type, SIZE), points).reshape(240, 320, 2)


def in_hole(shot, margin, **face):
    """Plate pixels at least ``margin`` aligned pixels inside the hand; outside it by as much for a negative one."""
    position = aligned_positions(shot, **face)
    (top, bottom), (left, right) = ((part.start, part.stop) for part in HOLE)
    x, y = position[..., 0], position[..., 1]
    return (x > left + margin) & (x < right - margin) & (y > top + margin) & (y < bottom - margin)


def same_bits(a, b):
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize("size", [SIZE, 4 * SIZE])
def test_the_plates_own_bits_are_inside_the_hole(make_shot, size):
    shot = make_shot(frames=(1002,))
    shot.merge("without/swap.####.exr")
    mask_face(shot, mask=hand(size))
    shot.merge("with/swap.####.exr")
    plate, before, after = (
        read_exr_layers(shot.folder / "plate/shot.1002.exr"), merged(shot, "without"), merged(shot, "with")
    )  # fmt: skip
    hole = in_hole(shot, 1.5)
    assert hole.sum() > 300
    assert before["matte.A"][hole].min() > 0.9
    assert (after["matte.A"][hole] == 0).all()
    assert (after["matte_segmentation.A"][hole] == 0).all()
    for channel in "RGB":
        assert after[channel][hole].tobytes() == plate[channel][hole].tobytes()
        assert (before[channel][hole] != plate[channel][hole]).mean() > 0.9
    away = ~in_hole(shot, -1.5)
    np.testing.assert_allclose(after["matte.A"][away], before["matte.A"][away], atol=6e-4)  # one step of half
    inside = before["matte_segmentation.A"] == 1
    assert (after["matte_segmentation.A"][inside & away] == 1).all()
    assert (after["matte_segmentation.A"][~inside] == 0).all()


def test_the_matte_is_multiplied_and_the_parts_are_not(make_shot):
    shot = make_shot(frames=(1002,), dtype=np.float32)
    options = {"bit_depth": "float", "color_transfer": "none", "opacity": 0.7}
    shot.merge("without/swap.####.exr", **options)
    mask_face(shot, mask=np.full((SIZE, SIZE), 0.6, np.float32))
    shot.merge("with/swap.####.exr", **options)
    before, after = merged(shot, "without"), merged(shot, "with")
    np.testing.assert_allclose(after["matte.A"], before["matte.A"] * after["matte_segmentation.A"], atol=1e-7)
    assert after["matte_segmentation.A"][before["matte.A"] > 0] == pytest.approx(0.6, abs=1e-5)
    for name in before:
        if name.split(".")[0] not in ("R", "G", "B", "matte", "matte_segmentation"):
            assert after[name].tobytes() == before[name].tobytes(), name


@pytest.mark.parametrize("scale", [-20.0, 25.0])
def test_the_hand_stays_where_it_is_when_the_swapped_face_is_scaled(make_shot, scale):
    shot = make_shot(frames=(1002,))
    shot.merge("without/swap.####.exr", face_scale=scale)
    mask_face(shot)
    shot.merge("with/swap.####.exr", face_scale=scale)
    before, after = merged(shot, "without"), merged(shot, "with")
    assert (after["matte.A"][in_hole(shot, 1.5)] == 0).all()
    away = ~in_hole(shot, -2.5)
    np.testing.assert_allclose(after["matte.A"][away], before["matte.A"][away], atol=1e-3)
    np.testing.assert_array_equal(after["matte_segmentation.A"][away], before["matte_segmentation.A"][away])


def test_a_face_grown_over_its_square_keeps_behind_what_reaches_the_squares_edge(make_shot, fake_swapper):
    shot = make_shot(frames=(1002,))
    arm = np.ones((SIZE, SIZE), np.float32)
    arm[:, 40:] = 0.0
    mask_face(shot, mask=arm)
    shot.merge("grown/swap.####.exr", face_scale=50.0, matte_mode="full")
    matte, x = merged(shot, "grown")["matte.A"], aligned_positions(shot)[..., 0]
    assert (matte[x > 41.5] == 0).all()
    assert (matte[(x > SIZE)] == 0).all()
    assert (matte[x < 0] > 0).any()


def test_a_drawn_label_comes_before_the_network(make_shot):
    shot = make_shot(frames=(1002,))
    mask_face(shot, mask=np.ones((SIZE, SIZE), np.float32))
    (top, bottom), (left, right) = ((float(part.start), float(part.stop)) for part in HOLE)
    cut = Polygon(False, ((left, top), (right, top), (right, bottom), (left, bottom)))
    with MaskStore.open(shot.faceset) as store:
        store.set_label("f_1002_0.png", Label((cut,)), made_by="test")
    shot.merge("drawn/swap.####.exr")
    assert (merged(shot, "drawn")["matte.A"][in_hole(shot, 1.5)] == 0).all()
    shot.merge("network/swap.####.exr", segmentation="xseg > label")
    assert merged(shot, "network")["matte.A"][in_hole(shot, 1.5)].min() > 0.9


@pytest.mark.parametrize("masks", ["none", "another source", "another frame", "removed", "not asked for"])
@pytest.mark.parametrize("profile", ["layered", "flat"])
def test_without_stored_masks_every_bit_is_as_before(make_shot, profile, masks):
    shot = make_shot(frames=(1002,), faces=((0.0, 0.0), (40.0, 10.0)))
    shot.merge("before/swap.####.exr", segmentation="", profile=profile)
    if masks == "another source":
        mask_face(shot, source="painted")
    elif masks != "none":
        mask_face(shot, frame=1003 if masks == "another frame" else 1002)
    if masks == "removed":
        with MaskStore.open(shot.faceset) as store:
            store.remove_masks("xseg")
    recipe = "" if masks == "not asked for" else MergeSettings().segmentation
    shot.merge("after/swap.####.exr", segmentation=recipe, profile=profile)
    files = sorted(path.name for path in (shot.folder / "before").glob("*.exr"))
    assert files
    for name in files:
        assert same_bits(*(read_exr_layers(shot.folder / folder / name) for folder in ("before", "after")))


def test_only_frames_whose_masks_changed_are_done_again(make_shot):
    shot = make_shot()
    shot.merge()
    mask_face(shot)
    first, _ = shot.merge(overwrite=True)
    assert (first.frames_written, first.frames_kept) == (1, 2)
    assert shot.merge()[0].frames_kept == 3
    assert json.loads(Path(first.manifest).read_text())["frames"]["1002"]["masks"] == {"f_1002_0.png": {"xseg": 1}}
    mask_face(shot, mask=np.ones((SIZE, SIZE), np.float32))
    mask_face(shot, frame=1003)
    mask_face(shot, frame=1001, source="painted")  # no part of the recipe
    second, _ = shot.merge(overwrite=True)
    assert (second.frames_written, second.frames_kept) == (2, 1)
    with MaskStore.open(shot.faceset) as store:
        store.remove_masks("xseg", ["f_1002_0.png"])
    third, _ = shot.merge(overwrite=True)
    assert (third.frames_written, third.frames_kept) == (1, 2)
    with MaskStore.open(shot.faceset) as store:
        store.set_label("f_1001_0.png", Label((Polygon(True, ((0, 0), (9, 0), (9, 9))),)), made_by="test")
    fourth, _ = shot.merge(overwrite=True)
    assert (fourth.frames_written, fourth.frames_kept) == (1, 2)


def test_a_store_made_anew_is_not_taken_for_the_old_one(make_shot):
    shot = make_shot(frames=(1002,))
    mask_face(shot)
    shot.merge()
    (shot.faceset / "masks.sqlite").unlink()
    with MaskStore.open(shot.faceset, create=True) as store:
        store.add_mask("f_1002_0.png", "xseg", np.ones((SIZE, SIZE), np.float32), made_by="another")
    assert shot.merge(overwrite=True)[0].frames_written == 1


def test_what_is_under_the_hand_of_the_upper_face_is_the_lower_one(make_shot):
    shot = make_shot(frames=(1002,), faces=((0.0, 0.0), (16.0, 4.0)))
    mask_face(shot)
    shot.merge("two/swap.####.exr")
    layers = merged(shot, "two")
    plate = read_exr_layers(shot.folder / "plate/shot.1002.exr")
    rgb, swap, under = (
        np.stack([source[f"{prefix}{c}"] for c in "RGB"], axis=2).astype(np.float64)
        for source, prefix in ((layers, ""), (layers, "swap."), (plate, ""))
    )
    matte = layers["matte.A"].astype(np.float64)[..., None]
    np.testing.assert_allclose(rgb, under + matte * (swap - under), rtol=2e-3, atol=2e-6)
    assert (matte[in_hole(shot, 1.5)] > 0.9).any()


def test_the_hand_does_not_colour_the_face(make_shot, portrait_linear):
    """A green hand in front: with a mask, the colours of the swapped face are matched to the face beside it."""
    shot = make_shot(frames=(1002,))
    green = portrait_linear.copy()
    green[in_hole(shot, 0.0)] = (0.0, 1.0, 0.0)
    clean = shot.merge("clean/swap.####.exr", color_transfer="rct") and merged(shot, "clean")
    shot = make_shot(frames=(1002,), pixels=green)
    shot.merge("spoilt/swap.####.exr", color_transfer="rct")
    mask_face(shot)
    shot.merge("masked/swap.####.exr", color_transfer="rct")
    around = (clean["matte.A"] == 1) & ~in_hole(shot, -3.0)

    def shift(name):
        both = (np.stack([layers[f"swap.{c}"][around] for c in "RGB"]).astype(np.float64).mean(axis=1)
                for layers in (merged(shot, name), clean))  # fmt: skip
        ours, theirs = both
        return np.abs(ours - theirs).max()

    assert shift("masked") < 0.5 * shift("spoilt")


def test_a_damaged_mask_stops_the_merge_and_is_named(make_shot):
    shot = make_shot(frames=(1002,))
    mask_face(shot)
    with MaskStore.open(shot.faceset) as store:
        store._rows("UPDATE content SET data = x'00'", ())
    with pytest.raises(DataCorrupt, match=r"mask 'xseg' of f_1002_0\.png") as caught:
        shot.merge(missing_frames="skip")
    assert caught.value.reason == "MASK_DAMAGED"


def test_a_set_without_masks_is_not_even_opened(make_shot, monkeypatch):
    shot = make_shot()
    monkeypatch.setattr(MaskStore, "open", None)
    result, _ = shot.merge()
    assert result.frames_written == 3
    assert not (shot.faceset / "masks.sqlite").exists()
    assert Segmentation.open(shot.faceset, "xseg", {}).read([], FaceType.FULL, 64) == {}
