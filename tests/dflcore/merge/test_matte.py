"""Masks: what they are made from, and that shaping keeps them inside."""

import numpy as np
import pytest

from dflcore.merge.matte import LEARNED_FLOOR, MaskParts, combine_masks, cut_haze, shape_mask

SIDE = 128


def disk(radius, side=SIDE):
    axis = np.arange(side) - (side - 1) / 2
    return (np.hypot(axis[None], axis[:, None]) <= radius).astype(np.float32)


def radius_of(mask, level=0.5):
    return np.sqrt((mask >= level).sum() / np.pi)


@pytest.fixture
def parts():
    return MaskParts(learned_source=disk(40), learned_target=disk(30), hull=disk(35))


@pytest.mark.parametrize(
    ("mode", "radius"),
    [("learned_source", 40), ("learned_target", 30), ("learned_both", 30), ("hull", 35), ("learned_and_hull", 30)],
)
def test_modes(parts, mode, radius):
    np.testing.assert_array_equal(combine_masks(parts, mode), disk(radius))


def test_full_is_everything(parts):
    assert (combine_masks(parts, "full") == 1).all()


def test_haze_is_cut_without_a_step():
    ramp = np.linspace(0, 1, 1001, dtype=np.float32)[None]
    cut = cut_haze(ramp)
    assert (cut[ramp <= LEARNED_FLOOR] == 0).all()
    assert cut[0, -1] == 1
    assert np.diff(cut).max() < 0.0012
    assert cut_haze(np.array([[np.nan, np.inf]], np.float32)).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("percent", [-10.0, -3.3, 0.7, 5.0, 12.5])
def test_erode_is_in_percent_of_the_side(percent):
    shaped = shape_mask(disk(30), erode_percent=percent, feather_percent=0.0)
    assert radius_of(shaped) == pytest.approx(30 - percent * 0.01 * SIDE, abs=0.8)


@pytest.mark.parametrize("feather", [0.0, 1.0, 5.0, 25.0])
@pytest.mark.parametrize("erode", [-25.0, 0.0, 5.0])
def test_a_mask_never_leaves_what_it_was_made_from(feather, erode):
    mask = disk(40)
    outline = shape_mask(mask, erode_percent=erode, feather_percent=0.0)
    shaped = shape_mask(mask, erode_percent=erode, feather_percent=feather)
    assert (shaped <= outline + 1e-6).all()
    border = np.concatenate([shaped[0], shaped[-1], shaped[:, 0], shaped[:, -1]])
    assert (border == 0).all()
    assert shaped.dtype == np.float32


def test_feather_is_as_wide_as_asked_and_monotone():
    profile = shape_mask(disk(50), erode_percent=0.0, feather_percent=12.5)[SIDE // 2, SIDE // 2 :]
    assert (np.diff(profile) <= 1e-6).all()
    rising = (profile > 0.001) & (profile < 0.999)
    assert rising.sum() == pytest.approx(16, abs=2)


def test_a_full_square_fades_at_its_border():
    shaped = shape_mask(np.ones((SIDE, SIDE), np.float32), erode_percent=0.0, feather_percent=0.0)
    assert shaped[SIDE // 2, SIDE // 2] == 1
    assert np.abs(np.diff(shaped[SIDE // 2])).max() < 0.3


def test_the_knob_moves_without_jumps():
    radii = [
        radius_of(shape_mask(disk(30), erode_percent=e, feather_percent=4.0)) for e in np.arange(0, 3, 0.2)
    ]  # fmt: skip
    areas = [shape_mask(disk(30), erode_percent=e, feather_percent=4.0).sum() for e in np.arange(0, 3, 0.2)]
    assert np.diff(areas).max() < 0
    assert np.abs(np.diff(radii)).max() < 1.0
