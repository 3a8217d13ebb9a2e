"""What a face looks like that was made to meet its plate: laws of light, highlights on the rim, rest over time."""

import math

import numpy as np
import pytest
import torch

from dflcore.merge.poisson import TOLERANCE, solve_membrane
from dflcore.merge.seamless import blend_seamlessly

HEIGHT, WIDTH = 130, 120
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


def oval(center=(64.0, 60.0), radii=(50.0, 40.0)):
    return ((Y - center[0]) / radii[0]) ** 2 + ((X - center[1]) / radii[1]) ** 2 < 1.0


REGION = oval()
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


@pytest.mark.parametrize("constant", [0.3, -0.3, 8.0, -8.0, 1000.0])
def test_a_face_that_is_the_plate_and_a_constant_becomes_the_plate(constant):
    plate = lit_from_the_left(skin())
    offset = np.float32(constant) * np.array([1.0, -0.5, 0.1], np.float32)
    blended = blend_seamlessly(plate + offset, plate, REGION)
    np.testing.assert_allclose(blended[REGION], plate[REGION], rtol=0, atol=3e-7 * abs(constant) + 1e-6)


def test_even_a_black_face_or_a_black_plate_is_moved_by_a_constant():
    black, grey = np.zeros((HEIGHT, WIDTH, 3), np.float32), np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    np.testing.assert_allclose(blend_seamlessly(black, grey, REGION)[REGION], 0.5, rtol=1e-6)
    np.testing.assert_allclose(blend_seamlessly(grey, black, REGION)[REGION], 0.0, rtol=0, atol=1e-6)


def test_a_face_that_equals_the_plate_is_left_alone_to_the_bit():
    plate = lit_from_the_left(skin())
    plate[40:60, 50:70] *= 1000.0
    np.testing.assert_array_equal(blend_seamlessly(plate, plate, REGION), plate)


def test_outside_the_region_not_a_bit_changes_and_nothing_is_written_to():
    face, plate = skin(1), lit_from_the_left(skin())
    face_before, plate_before = face.copy(), plate.copy()
    blended = blend_seamlessly(face, plate, REGION)
    assert blended.dtype == np.float32
    np.testing.assert_array_equal(blended[~REGION], face[~REGION])
    np.testing.assert_array_equal(face, face_before)
    np.testing.assert_array_equal(plate, plate_before)


def test_the_seam_is_no_larger_than_the_pictures_own_texture():
    face, plate = skin(1), lit_from_the_left(skin())
    before, after = step_at_rim(face, plate, REGION), step_at_rim(blend_seamlessly(face, plate, REGION), plate, REGION)
    own = step_at_rim(plate, plate, REGION)
    assert before > 10 * own
    assert after < 1.5 * own


def test_detail_inside_stays_the_face_s():
    face, plate = skin(1), lit_from_the_left(skin(0))
    blended = blend_seamlessly(face, plate, REGION)
    for axis in (0, 1):
        fine = np.diff(blended - face, n=2, axis=axis)
        inside = MIDDLE[tuple(slice(1, -1) if a == axis else slice(None) for a in range(2))]
        assert np.abs(fine[inside]).max() < 0.02 * np.abs(np.diff(face, n=2, axis=axis)[inside]).mean()


@pytest.mark.parametrize("factor", [2.0**-10, 16.0, 3000.0])
def test_k_times_the_light_gives_k_times_the_result(factor):
    face, plate = skin(1), lit_from_the_left(skin(0))
    plate[:, 98:] *= 40.0  # beyond belief in part
    once = blend_seamlessly(face, plate, REGION)
    scaled = blend_seamlessly(np.float32(factor) * face, np.float32(factor) * plate, REGION)
    np.testing.assert_allclose(scaled / factor, once, rtol=1e-5, atol=1e-5)


def test_values_above_one_and_below_zero_pass():
    face, plate = skin(1), skin(0)
    face[60, 60], face[70, 60] = 50.0, -0.5
    plate[:, :60] += 8.0
    blended = blend_seamlessly(face, plate, REGION)
    assert blended[60, 60].min() > 50.0
    assert blended[70, 60].max() == pytest.approx(float((blended - face)[70, 60].max()) - 0.5, rel=1e-5)
    assert blended[REGION].max() > 50.0


def test_dark_detail_of_a_face_too_bright_turns_negative_and_is_not_clipped():
    """What the docstring warns of: light that is taken away is the same for all detail."""
    face, plate = skin(1), 0.1 * skin(0)
    face[60:70, 55:65] = 0.01
    blended = blend_seamlessly(face, plate, REGION)
    assert blended[60:70, 55:65].max() < 0.0


def test_ordinary_light_s_channels_have_nothing_to_do_with_each_other():
    face, plate = skin(1), lit_from_the_left(skin(0))
    changed = plate.copy()
    changed[..., 0] *= 1.5
    first, second = blend_seamlessly(face, plate, REGION), blend_seamlessly(face, changed, REGION)
    np.testing.assert_allclose(second[..., 1:], first[..., 1:], rtol=0, atol=2 * TOLERANCE)
    assert np.abs(second[..., 0] - first[..., 0])[REGION].mean() > 0.05


@pytest.mark.parametrize("highlight", [8.0, 1000.0, 65504.0, math.inf, math.nan])
def test_a_highlight_on_the_rim_stays_in_the_plate(highlight):
    face, plate = skin(1), skin(0)
    reference = blend_seamlessly(face, plate, REGION)
    y, x = np.argwhere(rim_of(REGION) & (X > 90))[20]
    plate[y, x] = highlight
    blended = blend_seamlessly(face, plate, REGION)
    assert np.isfinite(blended).all()
    change = np.abs(blended - reference)
    assert change[MIDDLE].max() < 0.002
    assert change.max() < 0.1


def test_a_bright_window_behind_the_cheek_does_not_light_the_face():
    """A fifth of the rim at 50: plain Poisson blending would more than double the light in the middle."""
    face, plate = skin(1), skin(0)
    reference = blend_seamlessly(face, plate, REGION)
    plate[:, 92:] = 50.0
    assert 0.12 < (rim_of(REGION) & (X >= 92)).sum() / rim_of(REGION).sum() < 0.4
    change = np.abs(blend_seamlessly(face, plate, REGION) - reference)
    assert change[MIDDLE].max() < 0.05
    assert change.max() < 1.0


def test_light_that_a_face_can_have_is_taken_over_in_full():
    """Ten times brighter on one side than on the other is a lit face, not a highlight: the plain membrane."""
    face, plate = skin(1, level=0.3), lit_from_the_left(skin(0, level=0.3), brightest=4.0, darkest=0.4)
    difference = torch.from_numpy(plate - face).permute(2, 0, 1)
    plain = solve_membrane(torch.from_numpy(REGION), difference).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(blend_seamlessly(face, plate, REGION), face + plain, rtol=0, atol=1e-5)


def test_broken_pixels_of_the_plate_do_not_spread():
    face, plate = skin(1), skin(0)
    reference = blend_seamlessly(face, plate, REGION)
    plate[REGION] = np.nan
    plate[30:50] = np.inf
    plate[:, :30, 1] = -np.inf
    blended = blend_seamlessly(face, plate, REGION)
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


def test_an_outline_that_trembles_does_not_shake_the_face():
    """Nothing is placed anew: a row more or less at one side changes the membrane by less than the texture there."""
    face, plate = skin(1), lit_from_the_left(skin(0))
    frames = [blend_seamlessly(face, plate, REGION & (lowest > Y)) for lowest in (200, 112, 111, 110)]
    for frame in frames[1:]:
        assert np.abs(frame - frames[0])[MIDDLE].max() < 0.01
    rising = [float(frame[MIDDLE].mean()) for frame in frames]
    assert np.ptp(rising) < 0.002


def test_grain_on_the_rim_does_not_make_the_face_flicker():
    face, plate = skin(1), skin(0)
    random = np.random.default_rng(3)
    grain = 0.02
    frames = np.stack(
        [
            blend_seamlessly(face, plate + grain * random.standard_normal(plate.shape).astype(np.float32), REGION)
            for _ in range(12)
        ]
    )
    assert frames.std(axis=0)[MIDDLE].mean() < 0.1 * grain


def test_a_highlight_that_grows_along_the_rim_raises_no_flash():
    """From nothing to all of one side, and from ordinary light to 100: no frame differs much from the one before."""
    face, plate = skin(1), skin(0)
    means = []
    for step in range(0, 80, 2):
        lit = plate.copy()
        lit[~REGION & (119 - step < X)] += 8.0
        means.append(float(blend_seamlessly(face, lit, REGION)[MIDDLE].mean()))
    assert np.abs(np.diff(means)).max() < 0.05
    means = []
    for stops in np.arange(-3.0, 7.0, 0.25):
        lit = plate.copy()
        lit[50:60, 95:] += np.float32(2.0**stops)
        means.append(float(blend_seamlessly(face, lit, REGION)[MIDDLE].mean()))
    assert np.abs(np.diff(means)).max() < 0.02
