"""What effects do to flat faces, edges, light, size and strength."""

import cv2
import numpy as np
import pytest

from dflcore.merge.effects import (
    UNIT_SIDE,
    lower_resolution,
    reduce_colors,
    remove_noise,
    sharpen,
    soften,
)

RNG = np.random.default_rng(0)
NOISY = (0.5 + 0.1 * RNG.standard_normal((UNIT_SIDE, UNIT_SIDE, 3))).astype(np.float32)
EFFECTS = {
    "box": (sharpen, 100.0),
    "gaussian": (lambda face, amount: sharpen(face, amount, "gaussian"), 100.0),
    "negative": (lambda face, amount: sharpen(face, -amount, "gaussian"), 100.0),
    "soften": (soften, 100.0),
    "remove_noise": (remove_noise, 500.0),
    "lower_resolution": (lower_resolution, 100.0),
    "lower_resolution in the plate": (lambda face, power: lower_resolution(face, power, plate_px=1.7), 100.0),
    "reduce_colors": (reduce_colors, 100.0),
}
SOFTENING = [name for name in EFFECTS if name not in ("box", "gaussian", "reduce_colors")]
LINEAR = [name for name in EFFECTS if name != "reduce_colors"]


@pytest.fixture(scope="module")
def portrait(astronaut):
    """(512, 512, 3) float32 sRGB-encoded."""
    x, y = 120, 20
    face = astronaut[y : y + 220, x : x + 220].astype(np.float32) / 255
    return cv2.resize(face, (512, 512), interpolation=cv2.INTER_CUBIC)


def at(face, side):
    return face if face.shape[0] == side else cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)


def detail(face):
    return float(np.abs(np.diff(face, axis=0)).mean() + np.abs(np.diff(face, axis=1)).mean())


@pytest.mark.parametrize("name", EFFECTS)
def test_nothing_of_it_is_the_face_itself(name):
    effect, _ = EFFECTS[name]
    assert effect(NOISY, 0.0) is NOISY


@pytest.mark.parametrize("side", [64, 200, 256, 320, 512])
@pytest.mark.parametrize("name", LINEAR)
def test_a_flat_face_stays_flat(name, side):
    effect, most = EFFECTS[name]
    flat = np.full((side, side, 3), 0.3, np.float32)
    changed = effect(flat, 0.37 * most)
    assert changed.dtype == np.float32
    assert changed.shape == flat.shape
    np.testing.assert_allclose(changed, flat, atol=1e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_light_above_one_and_below_zero_goes_through(name):
    """Every effect keeps its look when the face is made brighter and of more contrast: nothing is cut off anywhere."""
    effect, most = EFFECTS[name]
    amount = 3.0 if name in ("box", "gaussian") else 0.3 * most
    np.testing.assert_allclose(effect(NOISY * 20 - 5, amount), effect(NOISY, amount) * 20 - 5, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", SOFTENING)
def test_detail_is_lost_the_more_the_stronger(name):
    effect, most = EFFECTS[name]
    details = [detail(effect(NOISY, share * most)) for share in (0.0, 0.05, 0.2, 0.8)]
    assert (np.diff(details) < 0).all()
    assert details[-1] < 0.4 * details[0]


@pytest.mark.parametrize("side", [128, 256, 384])
@pytest.mark.parametrize("name", EFFECTS)
def test_strength_moves_without_jumps(name, side, portrait):
    """A thousandth of the knob's way changes no pixel by more than a few thousandths of what the whole way can do."""
    effect, most = EFFECTS[name]
    face = at(portrait, side)
    reach = 60.0 if name in ("box", "gaussian") else 1.0
    for share in (0.0, 0.1, 0.199, 0.2, 0.5, 0.9):
        near = effect(face, (share + 0.001) * most)
        assert np.abs(near - effect(face, share * most)).max() < 0.02 * reach


def test_sharpening_adds_what_the_mean_has_not():
    edge = np.zeros((UNIT_SIDE, UNIT_SIDE, 3), np.float32)
    edge[:, 128:] = 1.0
    box = sharpen(edge, 1.0)
    np.testing.assert_allclose(box[4, 125:131, 0], [0, 0, -1 / 3, 4 / 3, 1, 1], atol=1e-6)
    gaussian = sharpen(edge, 2.0, "gaussian")
    np.testing.assert_allclose(gaussian[4, 125:131, 0], [0, 0, -1 / 4, 5 / 4, 1, 1], atol=1e-6)
    assert sharpen(edge, 50.0, "none") is edge


@pytest.mark.parametrize("mode", ["box", "gaussian", "none"])
def test_negative_sharpening_softens_in_every_mode(mode):
    np.testing.assert_array_equal(sharpen(NOISY, -35.0, mode), soften(NOISY, 35.0))


def test_medians_pass_as_often_as_the_strength_says():
    once = cv2.medianBlur(NOISY, 5)
    twice = cv2.medianBlur(once, 5)
    np.testing.assert_array_equal(soften(NOISY, 20.0), twice)
    np.testing.assert_allclose(soften(NOISY, 13.0), once + 0.3 * (twice - once), atol=1e-6)
    np.testing.assert_allclose(remove_noise(NOISY, 7.0), NOISY + 0.07 * (once - NOISY), atol=1e-6)
    full = NOISY
    for power in (110, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10):
        full = full + min(power / 100, 1.0) * (cv2.medianBlur(full, 5) - full)
    np.testing.assert_allclose(remove_noise(NOISY, 110.0), full, atol=1e-5)


@pytest.mark.parametrize("name", ["box", "gaussian", "soften", "remove_noise"])
def test_the_same_number_looks_the_same_on_a_finer_model(name, portrait):
    """What the effect changes, seen at one size, is the same whether it was done at that size or a finer one."""
    effect, _ = EFFECTS[name]
    amount = {"box": 4.0, "gaussian": 8.0, "soften": 40.0, "remove_noise": 120.0}[name]
    smooth = cv2.GaussianBlur(portrait, (0, 0), 4.0)  # detail that all sizes hold
    seen = [at(effect(at(smooth, side), amount) - at(smooth, side), 128) for side in (128, 256, 512)]
    for other in (seen[0], seen[2]):
        assert np.corrcoef(other.ravel(), seen[1].ravel())[0, 1] > 0.9
        assert other.std() == pytest.approx(seen[1].std(), rel=0.25)


@pytest.mark.parametrize("power", [35.0, 50.0, 80.0, 95.0])
def test_lower_resolution_leaves_as_much_detail_as_shrinking_does(power, portrait):
    share = 1 - power / 101
    small = cv2.resize(portrait, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)
    assert detail(lower_resolution(portrait, power)) == pytest.approx(detail(enlarged), rel=0.15)


def test_the_two_ways_to_blur_agree(portrait):
    """Short kernels are added up, long ones are products with matrices."""
    face = at(portrait, 256)[:, :240]
    short, long = lower_resolution(face, 98.0), lower_resolution(face, 98.05)
    assert np.abs(short - long).max() < 0.01
    outside = lower_resolution(face, 100.0)
    assert outside.min() >= face.min()
    assert outside.max() <= face.max()


def test_lower_resolution_holds_no_finer_detail():
    stripes = np.tile(np.array([0.0, 1.0], np.float32), 32)[None, :, None].repeat(64, 0).repeat(3, 2)
    assert np.abs(lower_resolution(stripes, 60.0)[:, 8:-8] - 0.5).max() < 0.05
    wide = np.sin(np.linspace(0, 2 * np.pi, 64, dtype=np.float32))[None, :, None].repeat(64, 0).repeat(3, 2)
    np.testing.assert_allclose(lower_resolution(wide, 60.0)[:, 6:-6], wide[:, 6:-6], atol=0.02)


def test_lower_resolution_is_the_plates_whatever_the_models(portrait):
    """A face painted with twice the plate's pixels, and one with as many, look alike in the plate."""
    fine = cv2.GaussianBlur(portrait, (0, 0), 1.0)
    from_fine = at(lower_resolution(fine, 60.0, plate_px=2.0), 256)
    from_equal = lower_resolution(at(fine, 256), 60.0, plate_px=1.0)
    assert np.abs(from_fine - from_equal).max() < 0.01
    coarse = at(portrait, 128)
    np.testing.assert_array_equal(lower_resolution(coarse, 60.0, plate_px=0.5), lower_resolution(coarse, 60.0))


def test_no_light_turns_dark_beside_a_highlight():
    lamp = np.full((64, 64, 3), 0.02, np.float32)
    lamp[30:34, 30:34] = 8.0
    for effect, most in (EFFECTS[name] for name in SOFTENING):
        for share in (0.05, 0.3, 0.6):
            changed = effect(lamp, share * most)
            assert changed.min() > 0.019
            assert changed.max() <= 8.0 + 1e-5


def test_few_colors_are_few_and_the_same_in_every_frame(portrait):
    face = at(portrait, 256)
    reduced = reduce_colors(face, 100.0)
    brighter = reduce_colors(face + np.float32(0.003), 100.0)
    palette = {tuple(color) for color in np.round(reduced.reshape(-1, 3) * 1e4).astype(int).tolist()}
    others = {tuple(color) for color in np.round(brighter.reshape(-1, 3) * 1e4).astype(int).tolist()}
    assert len(palette) < 1000
    assert len(palette - others) < 0.15 * len(palette)
    np.testing.assert_allclose(reduce_colors(reduced, 100.0), reduced, atol=1e-6)


def test_fewer_colors_keep_greys_grey_and_means_where_they_are(portrait):
    ramp = np.linspace(-0.5, 3.0, 500, dtype=np.float32)[None, :, None].repeat(4, 0).repeat(3, 2)
    reduced = reduce_colors(ramp, 100.0)
    assert np.ptp(reduced, axis=2).max() < 1e-6
    assert np.abs(reduced - ramp).max() < 0.5 / 32 + 1e-6
    assert np.unique(reduced[0, :, 0]).size == pytest.approx(3.5 * 32, abs=2)
    face = at(portrait, 256)
    np.testing.assert_allclose(reduce_colors(face, 100.0).mean((0, 1)), face.mean((0, 1)), atol=5e-3)
    half = reduce_colors(face, 50.0)
    np.testing.assert_allclose(half, (face + reduce_colors(face, 100.0)) / 2, atol=1e-6)
