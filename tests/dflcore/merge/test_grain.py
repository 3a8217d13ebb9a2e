"""Grain of known strength, size and colour is found, and given to a face that has none."""

import cv2
import numpy as np
import pytest
import skimage.data

from dflcore.merge.grain import Grain, add_grain, measure_grain

SIDE = 320
WHITE = np.eye(3)


def grain_field(rng, shape, size=0.0, correlation=None):
    """(h, w, 3) Gaussian grain of deviation 1."""
    padded = (shape[0] + 40, shape[1] + 40)
    white = rng.standard_normal((*padded, 3))
    if correlation is not None:
        white = white @ np.linalg.cholesky(np.asarray(correlation)).T
    if size:
        white = cv2.GaussianBlur(white, (0, 0), size)
        white /= white.std((0, 1))
    return white[20:-20, 20:-20]


def gradient(low, high, shape=(SIDE, SIDE)):
    """A clean plate, brighter to the right, its channels apart."""
    ramp = np.linspace(low, high, shape[1])[None, :, None] * np.array([1.0, 0.8, 0.6])
    return np.broadcast_to(ramp, (*shape, 3)).astype(np.float64)


def grainy(plate, rng, sigma, **kinds):
    return (plate + sigma(plate) * grain_field(rng, plate.shape[:2], **kinds)).astype(np.float32)


def ring(shape=(SIDE, SIDE)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2)
    return (distance > 90) & (distance < 155)


def everywhere(picture):
    return np.ones(picture.shape[:2], bool)


LAWS = {
    "the same in all light": lambda light: np.full_like(light, 0.01),
    "photons": lambda light: 0.03 * np.sqrt(light),
    "in proportion": lambda light: 0.04 * light,
    "photons and a sensor": lambda light: np.sqrt(0.004**2 + 0.02**2 * light),
}


@pytest.mark.parametrize("size", [0.0, 0.6, 1.0, 1.6])
@pytest.mark.parametrize("law", LAWS)
def test_known_grain_is_found(law, size):
    """Deviation within 15 % at every level the plate has, size within 20 %."""
    plate = gradient(0.05, 0.9)
    picture = grainy(plate, np.random.default_rng(5), LAWS[law], size=size)
    found = measure_grain(picture, everywhere(picture))
    inner = plate[:, 40:-40]
    ratio = found.sigma_at(inner.astype(np.float32)) / LAWS[law](inner)
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)
    np.testing.assert_allclose(found.sizes_px, size, rtol=0.2, atol=0.4 if size == 0.0 else 0.0)


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_a_ring_is_enough(size):
    plate = gradient(0.1, 0.7)
    picture = grainy(plate, np.random.default_rng(6), LAWS["photons"], size=size)
    found = measure_grain(picture, ring())
    wanted = LAWS["photons"](plate)[:, 40:-40]
    np.testing.assert_allclose(found.sigma_at(plate[:, 40:-40].astype(np.float32)) / wanted, 1.0, atol=0.15)


def test_every_channel_has_its_own_strength_and_size():
    plate = gradient(0.2, 0.5)
    rng = np.random.default_rng(7)
    fields = [grain_field(rng, (SIDE, SIDE), size=size)[..., 0] for size in (0.7, 0.9, 1.4)]
    picture = (plate + np.stack(fields, axis=2) * [0.01, 0.008, 0.02]).astype(np.float32)
    found = measure_grain(picture, everywhere(picture))
    np.testing.assert_allclose(found.sigmas.mean(1), [0.01, 0.008, 0.02], rtol=0.15)
    np.testing.assert_allclose(found.sizes_px, [0.7, 0.9, 1.4], rtol=0.2)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_color_of_grain_is_found_and_given(shared):
    correlation = np.full((3, 3), shared) + (1 - shared) * np.eye(3)
    plate = gradient(0.2, 0.5)
    picture = grainy(plate, np.random.default_rng(8), LAWS["photons"], size=0.8, correlation=correlation)
    found = measure_grain(picture, everywhere(picture))
    np.testing.assert_allclose(found.correlation, correlation, atol=0.06)
    clean = plate.astype(np.float32)
    added = (add_grain(clean, found, 100.0, (1, 2)) - clean).reshape(-1, 3)
    np.testing.assert_allclose(np.corrcoef(added.T), correlation, atol=0.07)


def test_clean_plates_add_nothing(astronaut):
    smooth = cv2.GaussianBlur(gradient(0.0, 8.0).astype(np.float32), (0, 0), 3.0).astype(np.float16).astype(np.float32)
    bent = np.sin(np.linspace(0, 6, SIDE))[:, None, None] * smooth * np.float32(0.3) + smooth
    flat = np.full((SIDE, SIDE, 3), 0.18, np.float32)
    for plate in (smooth, bent, flat, np.zeros_like(flat)):
        found = measure_grain(plate, everywhere(plate))
        assert add_grain(plate, found, 200.0, (1, 0)) is plate


def with_structure(plate):
    """Edges in every direction over two fifths of the picture, of all strengths up to an HDR lamp."""
    rng = np.random.default_rng(9)
    canvas = plate.astype(np.float32).copy()
    for _ in range(60):
        a, b = rng.integers(0, SIDE, (2, 2)) * [1, 0.4]
        color = (rng.uniform(0.0, 1.2, 3)).tolist()
        cv2.line(canvas, tuple(map(int, a)), tuple(map(int, b)), color, int(rng.integers(1, 8)), cv2.LINE_AA)
    canvas[20:40, 300:316] = 12.0
    return canvas.astype(np.float64)


def test_edges_are_no_grain():
    plate = with_structure(gradient(0.2, 0.6))
    found = measure_grain(plate.astype(np.float32), everywhere(plate))
    skin = np.full((8, 8, 3), 0.35, np.float32)
    assert found.sigma_at(skin).max() < 1e-3
    picture = grainy(plate, np.random.default_rng(10), LAWS["photons"], size=0.8)
    found = measure_grain(picture, everywhere(picture))
    np.testing.assert_allclose(found.sigma_at(skin) / LAWS["photons"](skin), 1.0, atol=0.2)
    np.testing.assert_allclose(found.sizes_px, 0.8, rtol=0.25)


@pytest.mark.parametrize("size", [0.0, 0.7, 1.5])
def test_what_was_added_is_what_was_measured(size):
    plate = gradient(0.05, 0.9)
    picture = grainy(plate, np.random.default_rng(11), LAWS["photons"], size=size)
    grain = measure_grain(picture, everywhere(picture))
    again = add_grain(plate.astype(np.float32), grain, 100.0, (1001, 3))
    twin = measure_grain(again, everywhere(again))
    light = plate[:, 24:-24].astype(np.float32)
    np.testing.assert_allclose(twin.sigma_at(light) / grain.sigma_at(light), 1.0, atol=0.12)
    np.testing.assert_allclose(twin.sizes_px, grain.sizes_px, rtol=0.15, atol=0.4 if size == 0.0 else 0.1)


def test_a_face_is_given_only_what_it_lacks():
    plate = gradient(0.2, 0.6)
    rng = np.random.default_rng(12)
    wanted = measure_grain(grainy(plate, rng, lambda light: 0.05 * np.sqrt(light), size=0.7), everywhere(plate))
    face = grainy(plate, rng, lambda light: 0.03 * np.sqrt(light), size=0.7)
    own = measure_grain(face, everywhere(face))
    result = measure_grain(add_grain(face, wanted, 100.0, (1, 1), own=own), everywhere(face))
    light = plate[:, 24:-24].astype(np.float32)
    np.testing.assert_allclose(result.sigma_at(light) / wanted.sigma_at(light), 1.0, atol=0.15)
    grainier = grainy(plate, rng, lambda light: 0.08 * np.sqrt(light), size=0.7)
    own = measure_grain(grainier, everywhere(face))
    np.testing.assert_array_equal(add_grain(grainier, wanted, 100.0, (1, 1), own=own), grainier)


def test_coarse_mottle_does_not_stand_in_for_fine_grain():
    plate = gradient(0.2, 0.6)
    rng = np.random.default_rng(15)
    fine = measure_grain(grainy(plate, rng, lambda light: 0.04 * np.sqrt(light), size=0.6), everywhere(plate))
    face = grainy(plate, rng, lambda light: 0.04 * np.sqrt(light), size=2.0)
    added = add_grain(face, fine, 100.0, (1, 1), own=measure_grain(face, everywhere(face))) - face
    assert (added / np.sqrt(plate)).std() > 0.03


@pytest.fixture(scope="module")
def some_grain():
    plate = gradient(0.1, 0.8)
    picture = grainy(plate, np.random.default_rng(13), LAWS["photons"], size=0.8)
    return measure_grain(picture, everywhere(picture))


def test_frames_differ_and_repeat_bit_for_bit(some_grain):
    face = gradient(0.1, 0.8, (100, 120)).astype(np.float32)
    first = add_grain(face, some_grain, 100.0, (1001, 0))
    np.testing.assert_array_equal(add_grain(face, some_grain, 100.0, (1001, 0)), first)
    for seed in ((1002, 0), (1001, 1), (-1001, 0)):
        other = add_grain(face, some_grain, 100.0, seed) - face
        assert abs(np.corrcoef((first - face).ravel(), other.ravel())[0, 1]) < 0.03


def test_amount_is_the_deviation_added(some_grain):
    face = gradient(0.1, 0.8, (100, 120)).astype(np.float32)
    assert add_grain(face, some_grain, 0.0, (1, 0)) is face
    assert add_grain(face, None, 100.0, (1, 0)) is face
    full = add_grain(face, some_grain, 100.0, (1, 0)) - face
    np.testing.assert_allclose(add_grain(face, some_grain, 200.0, (1, 0)) - face, 2 * full, atol=1e-6)
    np.testing.assert_allclose(add_grain(face, some_grain, 1.0, (1, 0)) - face, 0.01 * full, atol=1e-6)


def test_light_beyond_what_was_seen_has_grain_as_photons_have(some_grain):
    light = np.array([0.0, 1e-3, 0.4, 4.0, 40.0], np.float32)[:, None, None].repeat(3, 2)
    sigma = some_grain.sigma_at(light)[:, 0, 0]
    assert sigma[0] == 0.0
    np.testing.assert_allclose(sigma[1:], 0.03 * np.sqrt(light[1:, 0, 0]), rtol=0.15)
    assert (some_grain.sigma_at(-light) == 0.0).all()
    added = add_grain(np.full((200, 200, 3), 40.0, np.float32), some_grain, 100.0, (4, 4))
    assert added.mean() == pytest.approx(40.0, rel=1e-3)
    assert added.max() > 40.3


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.5, 0.8, 1.0])
def test_grain_is_even_where_the_face_fades_into_the_plate(some_grain, weight):
    shape = (300, 300)
    clean = np.full((*shape, 3), 0.4, np.float32)
    plate = add_grain(clean, some_grain, 100.0, (99,))
    matte = np.full(shape, weight, np.float32)
    face = add_grain(clean, some_grain, 100.0, (1, 0), matte=matte)
    result = plate * (1 - matte[..., None]) + face * matte[..., None]
    assert (result - clean).std() == pytest.approx(float((plate - clean).std()), rel=0.03)


def test_a_matte_of_nothing_makes_no_glitter(some_grain):
    clean = np.full((100, 100, 3), 0.4, np.float32)
    plain = add_grain(clean, some_grain, 100.0, (1, 0))
    np.testing.assert_allclose(
        add_grain(clean, some_grain, 100.0, (1, 0), matte=np.zeros((100, 100), np.float32)), plain
    )


def test_small_and_broken_regions():
    picture = grainy(gradient(0.2, 0.5), np.random.default_rng(14), LAWS["photons"])
    nothing = np.zeros((SIDE, SIDE), bool)
    assert measure_grain(picture, nothing) is None
    nothing[:10, :10] = True
    assert measure_grain(picture, nothing) is None
    small = np.zeros((SIDE, SIDE), bool)
    small[100:140, 100:140] = True
    found = measure_grain(picture, small)
    light = np.full((4, 4, 3), picture[small].mean(0), np.float32)
    np.testing.assert_allclose(found.sigma_at(light) / LAWS["photons"](light), 1.0, atol=0.25)
    picture[::40, ::40] = np.nan
    picture[20::40, ::40, 1] = np.inf
    found = measure_grain(picture, everywhere(picture))
    np.testing.assert_allclose(found.sigma_at(light) / LAWS["photons"](light), 1.0, atol=0.15)
    assert measure_grain(picture[:6, :6], np.ones((6, 6), bool)) is None


def test_grain_can_be_made_by_hand():
    """A look can be asked for without any plate to measure."""
    levels = np.array([[0.18], [0.18], [0.18]])
    grain = Grain(levels=levels, sigmas=levels * 0.1, sizes_px=np.array([0.0, 0.8, 1.5]), correlation=np.eye(3))
    clean = np.full((300, 300, 3), 0.18, np.float32)
    added = add_grain(clean, grain, 100.0, (1,)) - clean
    np.testing.assert_allclose(added.std((0, 1)), 0.018, rtol=0.05)
    assert np.abs(added.mean((0, 1))).max() < 0.001


@pytest.mark.parametrize("size", [0.0, 0.6, 1.0, 1.6])
@pytest.mark.parametrize("side", [96, SIDE])
def test_the_measure_is_unbiased(side, size):
    """Over many frames of pure grain the mean is the truth within 4 %, and so is the size within 0.2 px."""
    light = np.full((1, 1, 3), 0.4, np.float32)
    sigmas, sizes = [], []
    for seed in range(8):
        field = grain_field(np.random.default_rng(seed), (side, side), size=size)
        found = measure_grain((0.4 + 0.01 * field).astype(np.float32), np.ones((side, side), bool))
        sigmas.append(found.sigma_at(light).ravel())
        sizes.append(found.sizes_px)
    assert np.mean(sigmas) == pytest.approx(0.01, rel=0.04)
    assert np.std(sigmas) < 0.001
    assert np.mean(sizes) == pytest.approx(size, abs=0.2)


def linear(picture):
    """sRGB bytes, (h, w) or (h, w, 3) → scene-linear (h, w, 3)."""
    shown = picture.astype(np.float64) / 255.0
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    return light if light.ndim == 3 else light[..., None].repeat(3, 2)


def sigma_of(picture, region):
    """Deviation at the region's usual light."""
    light = np.median(picture[region], axis=0)[None, None].astype(np.float32)
    return measure_grain(picture.astype(np.float32), region).sigma_at(light)[0, 0], light[0, 0]


def head(shape):
    """Face, hair, ear, collar and what is behind them: what a merge looks at."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - 115, columns - 225) < 130


@pytest.mark.parametrize("strength", [0.01, 0.02, 0.04])
@pytest.mark.parametrize("size", [0.0, 0.8])
@pytest.mark.parametrize("name", ["astronaut", "camera"])
def test_grain_put_on_a_photograph_is_found_over_its_own(name, size, strength):
    """A photograph has grain of its own; variances add up."""
    photograph = linear(getattr(skimage.data, name)())
    region = head(photograph.shape) if name == "astronaut" else everywhere(photograph)
    own, light = sigma_of(photograph, region)
    picture = grainy(photograph, np.random.default_rng(3), lambda level: strength * np.sqrt(level), size=size)
    both, _ = sigma_of(picture, region)
    added = np.sqrt(np.maximum(both**2 - own**2, 0.0)) / (strength * np.sqrt(light))
    assert added.mean() == pytest.approx(1.0, abs=0.2)
    assert own.mean() < 0.02 * np.sqrt(light.mean())


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_strong_texture_over_most_of_a_plate_is_no_grain(name):
    """Three quarters are masonry, lawn or stones; a quarter is plain."""
    texture = linear(getattr(skimage.data, name)()[:SIDE, :SIDE])
    plain = np.zeros((SIDE, SIDE), bool)
    plain[:, : SIDE // 4] = True
    plate = np.where(plain[..., None], np.median(texture, axis=(0, 1)), texture)
    picture = grainy(plate, np.random.default_rng(4), LAWS["photons"], size=0.8)
    found, light = sigma_of(picture, everywhere(picture))
    np.testing.assert_allclose(found / LAWS["photons"](light), 1.0, atol=0.25)


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_where_all_is_texture_grain_is_at_most_overrated(name):
    texture = linear(getattr(skimage.data, name)()[:SIDE, :SIDE])
    picture = grainy(texture, np.random.default_rng(4), LAWS["photons"], size=0.8)
    found, light = sigma_of(picture, everywhere(picture))
    own, _ = sigma_of(texture, everywhere(texture))
    truth = LAWS["photons"](light)
    assert (found > 0.85 * truth).all()
    assert (found < 1.3 * np.hypot(own, truth)).all()
    assert (found < texture.std((0, 1))).all(), "calmer than the texture itself"
