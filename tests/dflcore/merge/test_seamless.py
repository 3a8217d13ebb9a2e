"""What a face looks like that was made to meet its plate: laws of light, highlights on the rim, rest over time."""

import math

import numpy as np
import pytest
import torch

from dflcore.merge.poisson import TOLERANCE, solve_membrane
from dflcore.merge.seamless import REACH, blend_seamlessly

HEIGHT, WIDTH = 130, 120
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


def oval(center=(64.0, 60.0), radii=(50.0, 40.0)):
    return ((Y - center[0]) / radii[0]) ** 2 + ((X - center[1]) / radii[1]) ** 2 < 1.0


REGION = oval()
BOTH = pytest.mark.parametrize("light", ["scaled", "added"])
MIDDLE = oval(radii=(25.0, 20.0))


def rim_of(region):
    grown = np.zeros_like(region)
    grown[1:] |= region[:-1]
    grown[:-1] |= region[1:]
    grown[:, 1:] |= region[:, :-1]
    grown[:, :-1] |= region[:, 1:]
    return grown & ~region


def skin(seed=0, level=0.4):
    """Something like skin: a level, soft light from one side, texture; all channels differ."""
    random = np.random.default_rng(seed)
    light = level * (1.0 + 0.3 * np.sin(X / 37.0) * np.cos(Y / 41.0))
    texture = 1.0 + 0.05 * random.standard_normal((HEIGHT, WIDTH))
    return (light * texture)[..., None].astype(np.float32) * np.array([1.0, 0.75, 0.6], np.float32)


def lit_from_the_left(picture, brightest=3.0, darkest=0.2):
    gain = brightest * (darkest / brightest) ** (X / WIDTH)
    return (picture * gain[..., None]).astype(np.float32)


def step_at_rim(picture, plate, region):
    """Largest step between a pixel in the region and the plate's next to it, beyond the plate's own: median of all."""
    mixed = np.where(region[..., None], picture, plate)
    steps = []
    for axis in (0, 1):
        crosses = np.diff(region.astype(np.int8), axis=axis) != 0
        steps.append(np.abs(np.diff(mixed, axis=axis))[crosses].mean(axis=1))
    return float(np.median(np.concatenate(steps)))


def gain_of(blended, face):
    return blended[REGION] / face[REGION]


@BOTH
def test_a_face_that_equals_the_plate_is_left_alone_to_the_bit(light):
    plate = lit_from_the_left(skin())
    plate[40:60, 50:70] *= 1000.0
    plate[80, 60] = -0.1
    np.testing.assert_array_equal(blend_seamlessly(plate, plate, REGION, light=light), plate)


@pytest.mark.parametrize("factor", [1e-3, 0.1, 8.0, 1000.0])
def test_a_face_that_is_the_plate_in_another_exposure_becomes_the_plate(factor):
    plate = lit_from_the_left(skin())
    plate[70, 60] = 50.0
    tint = np.float32(factor) * np.array([1.0, 0.3, 2.0], np.float32)
    blended = blend_seamlessly(plate * tint, plate, REGION)
    np.testing.assert_allclose(blended[REGION], plate[REGION], rtol=1e-5)


@pytest.mark.parametrize("constant", [0.3, -0.3, 8.0, -8.0, 1000.0])
def test_a_face_that_is_the_plate_and_a_constant_becomes_the_plate_where_light_is_added(constant):
    plate = lit_from_the_left(skin())
    offset = np.float32(constant) * np.array([1.0, -0.5, 0.1], np.float32)
    blended = blend_seamlessly(plate + offset, plate, REGION, light="added")
    np.testing.assert_allclose(blended[REGION], plate[REGION], rtol=0, atol=3e-7 * abs(constant) + 1e-6)


@BOTH
def test_black_pictures_are_light_too(light):
    black, grey = np.zeros((HEIGHT, WIDTH, 3), np.float32), np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    lit = 0.5 if light == "added" else 0.0  # no factor makes light of nothing
    np.testing.assert_allclose(blend_seamlessly(black, grey, REGION, light=light)[REGION], lit, rtol=1e-6)
    np.testing.assert_allclose(blend_seamlessly(grey, black, REGION, light=light)[REGION], 0.0, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(blend_seamlessly(black, black, REGION, light=light), black)


@BOTH
def test_outside_the_region_not_a_bit_changes_and_nothing_is_written_to(light):
    face, plate = skin(1), lit_from_the_left(skin())
    face_before, plate_before = face.copy(), plate.copy()
    blended = blend_seamlessly(face, plate, REGION, light=light)
    assert blended.dtype == np.float32
    np.testing.assert_array_equal(blended[~REGION], face[~REGION])
    np.testing.assert_array_equal(face, face_before)
    np.testing.assert_array_equal(plate, plate_before)


@BOTH
def test_the_seam_is_no_larger_than_the_pictures_own_texture(light):
    face, plate = skin(1), lit_from_the_left(skin())
    before = step_at_rim(face, plate, REGION)
    after = step_at_rim(blend_seamlessly(face, plate, REGION, light=light), plate, REGION)
    own = step_at_rim(plate, plate, REGION)
    assert before > 10 * own
    assert after < 1.5 * own


@BOTH
def test_detail_inside_stays_the_face_s(light):
    """Differences of neighbours where light is added, their ratios where it is scaled."""
    face = skin(1)
    blended = blend_seamlessly(face, lit_from_the_left(skin(0)), REGION, light=light)
    if light == "scaled":
        face, blended = np.log(face), np.log(np.where(REGION[..., None], blended, 1.0))
    for axis in (0, 1):
        changed = np.diff(blended - face, n=2, axis=axis)
        inside = MIDDLE[tuple(slice(1, -1) if a == axis else slice(None) for a in range(2))]
        assert np.abs(changed[inside]).max() < 0.02 * np.abs(np.diff(face, n=2, axis=axis)[inside]).mean()


@BOTH
@pytest.mark.parametrize("factor", [2.0**-10, 16.0, 3000.0])
def test_k_times_the_light_gives_k_times_the_result(factor, light):
    face, plate = skin(1), lit_from_the_left(skin(0))
    plate[:, 98:] *= 40.0  # beyond belief in part
    once = blend_seamlessly(face, plate, REGION, light=light)
    scaled = blend_seamlessly(np.float32(factor) * face, np.float32(factor) * plate, REGION, light=light)
    np.testing.assert_allclose(scaled / factor, once, rtol=1e-4, atol=1e-4)


@BOTH
def test_values_above_one_and_below_zero_pass(light):
    face, plate = skin(1), skin(0)
    face[60, 60], face[70, 60] = 50.0, -0.5
    plate[:, :60] += 8.0
    blended = blend_seamlessly(face, plate, REGION, light=light)
    assert blended[60, 60].min() > 50.0
    if light == "scaled":
        gain = (blended[71, 60] / face[71, 60]).mean()
        assert blended[70, 60].mean() == pytest.approx(-0.5 * gain, rel=0.05)
    else:
        assert blended[70, 60].mean() == pytest.approx((blended - face)[71, 60].mean() - 0.5, rel=0.05)


def test_scaled_light_keeps_dark_detail_dark_and_positive():
    face, plate = skin(1), 0.1 * skin(0)
    face[60:70, 55:65] = 0.01
    scaled, added = (blend_seamlessly(face, plate, REGION, light=light) for light in ("scaled", "added"))
    np.testing.assert_allclose(scaled[60:70, 55:65], 0.001, rtol=0.3)
    assert scaled[REGION].min() > 0.0
    assert added[60:70, 55:65].max() < 0.0  # what the docstring warns of


def test_no_pixel_is_scaled_beyond_reach_of_all_the_others():
    face, plate = skin(1), skin(0)
    plate[:, :40] *= 1000.0
    plate[:, 80:] *= 0.001
    gain = gain_of(blend_seamlessly(face, plate, REGION), face)
    overall = [((np.sqrt(one[REGION]).mean(axis=0)) ** 2) for one in (face, plate)]
    relative = gain / (overall[1] / overall[0])
    assert 0.9 / REACH < relative.min() < relative.max() < 1.1 * REACH


@BOTH
def test_ordinary_light_s_channels_have_nothing_to_do_with_each_other(light):
    face, plate = skin(1), lit_from_the_left(skin(0), brightest=1.5)
    changed = plate.copy()
    changed[..., 0] *= 1.5
    first, second = (blend_seamlessly(face, one, REGION, light=light) for one in (plate, changed))
    np.testing.assert_allclose(second[..., 1:], first[..., 1:], rtol=0, atol=5 * TOLERANCE)
    assert np.abs(second[..., 0] - first[..., 0])[REGION].mean() > 0.05


@BOTH
@pytest.mark.parametrize("highlight", [8.0, 1000.0, 65504.0, math.inf, math.nan])
def test_a_highlight_on_the_rim_stays_in_the_plate(highlight, light):
    face, plate = skin(1), skin(0)
    reference = blend_seamlessly(face, plate, REGION, light=light)
    y, x = np.argwhere(rim_of(REGION) & (X > 90))[20]
    plate[y, x] = highlight
    blended = blend_seamlessly(face, plate, REGION, light=light)
    assert np.isfinite(blended).all()
    change = np.abs(blended - reference)
    assert change[MIDDLE].max() < 0.0005
    assert change.max() < 0.05


@BOTH
def test_a_bright_window_behind_the_cheek_does_not_light_the_face(light):
    """A fifth of the rim at 50: a plain membrane would light the middle twentyfold."""
    face, plate = skin(1), skin(0)
    reference = blend_seamlessly(face, plate, REGION, light=light)
    plate[:, 92:] = 50.0
    assert 0.12 < (rim_of(REGION) & (X >= 92)).sum() / rim_of(REGION).sum() < 0.4
    change = np.abs(blend_seamlessly(face, plate, REGION, light=light) - reference)
    assert change[MIDDLE].max() < 0.02
    assert change.max() < 0.1


@BOTH
def test_light_that_a_face_can_have_is_taken_over_in_full(light):
    """Ten times brighter on one side than on the other is a lit face, not a highlight: the plain membrane."""
    face, plate = skin(1, level=0.3), lit_from_the_left(skin(0, level=0.3), brightest=4.0, darkest=0.4)
    asked = np.log(plate / face) if light == "scaled" else plate - face
    plain = solve_membrane(torch.from_numpy(REGION), torch.from_numpy(asked).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    expected = face * np.exp(plain) if light == "scaled" else face + plain
    np.testing.assert_allclose(blend_seamlessly(face, plate, REGION, light=light), expected, rtol=0, atol=1e-4)


@BOTH
def test_broken_pixels_of_the_plate_do_not_spread(light):
    face, plate = skin(1), skin(0)
    reference = blend_seamlessly(face, plate, REGION, light=light)
    plate[REGION] = np.nan
    plate[30:50] = np.inf
    plate[:, :30, 1] = -np.inf
    blended = blend_seamlessly(face, plate, REGION, light=light)
    assert np.isfinite(blended).all()
    np.testing.assert_allclose(blended[MIDDLE], reference[MIDDLE], rtol=0, atol=0.05)


@pytest.mark.parametrize("what", ["empty", "everything", "one pixel", "at the edge", "two faces"])
def test_regions_of_every_kind(what):
    face, plate = skin(1), skin(0) + np.float32(0.2)
    region = {
        "empty": np.zeros_like(REGION),
        "everything": np.ones_like(REGION),
        "one pixel": (X == 30) & (Y == 40),
        "at the edge": oval(center=(0.0, 119.0)),
        "two faces": oval((30, 30), (20, 20)) | oval((90, 80), (30, 30)),
    }[what]
    blended = blend_seamlessly(face, plate, region)
    if what in ("empty", "everything"):  # no rim, nothing to meet
        np.testing.assert_array_equal(blended, face)
    else:
        assert np.abs((blended - face)[region].mean() - 0.2) < 0.03
        np.testing.assert_array_equal(blended[~region], face[~region])


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (5, 9)])
def test_a_face_that_moves_is_the_same_face_to_the_bit(shift):
    face, plate = skin(1), lit_from_the_left(skin(0))
    region = oval(radii=(40.0, 30.0))

    def moved(picture):
        return np.roll(picture, shift, axis=(0, 1))

    blended = blend_seamlessly(moved(face), moved(plate), moved(region))
    np.testing.assert_array_equal(blended, moved(blend_seamlessly(face, plate, region)))


@BOTH
def test_an_outline_that_trembles_does_not_shake_the_face(light):
    """Nothing is placed anew: a row more or less at one side changes the membrane by less than the texture there."""
    face, plate = skin(1), lit_from_the_left(skin(0))
    frames = [blend_seamlessly(face, plate, REGION & (lowest > Y), light=light) for lowest in (200, 112, 111, 110)]
    for frame in frames[1:]:
        assert np.abs(frame - frames[0])[MIDDLE].max() < 0.003
    rising = [float(frame[MIDDLE].mean()) for frame in frames]
    assert np.ptp(rising) < 0.002


@BOTH
def test_grain_on_the_rim_does_not_make_the_face_flicker(light):
    face, plate = skin(1), skin(0)
    random = np.random.default_rng(3)
    grain = 0.02
    frames = []
    for _ in range(12):
        grainy = plate + grain * random.standard_normal(plate.shape).astype(np.float32)
        frames.append(blend_seamlessly(face, grainy, REGION, light=light))
    assert np.stack(frames).std(axis=0)[MIDDLE].mean() < 0.1 * grain


@BOTH
def test_a_highlight_that_grows_along_the_rim_raises_no_flash(light):
    """From nothing to all of one side, and from ordinary light to 100: no frame differs much from the one before."""
    face, plate = skin(1), skin(0)
    means = []
    for step in range(0, 80, 2):
        lit = plate.copy()
        lit[~REGION & (119 - step < X)] += 8.0
        means.append(float(blend_seamlessly(face, lit, REGION, light=light)[MIDDLE].mean()))
    assert np.abs(np.diff(means)).max() < 0.05
    means = []
    for stops in np.arange(-3.0, 7.0, 0.25):
        lit = plate.copy()
        lit[50:60, 95:] += np.float32(2.0**stops)
        means.append(float(blend_seamlessly(face, lit, REGION, light=light)[MIDDLE].mean()))
    assert np.abs(np.diff(means)).max() < 0.02
