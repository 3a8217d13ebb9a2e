"""Colour conversion: exact there and back, nothing clipped, unknown names answered with near ones."""

import numpy as np
import pytest

from dflcore.color.ocio import DEFAULT_CONFIG, ColorConverter
from dflcore.errors import InvalidInput, NotFound


@pytest.fixture(scope="module")
def converter():
    return ColorConverter()


def _halves(low, high):
    """Every half between two values as gray pixels, (N, 1, 3)."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    halves = halves[(halves >= np.float16(low)) & (halves <= np.float16(high))]
    return np.repeat(halves[:, None, None], 3, axis=2)


@pytest.mark.parametrize("space", ["ACEScg", "lin_rec709", "ACES2065-1"])
def test_every_half_comes_back_bit_exactly(converter, space):
    plate = _halves(1e-4, 100)
    back = converter.from_network(converter.to_network(plate, space), space)
    np.testing.assert_array_equal(back.astype(np.float16).view(np.uint16), plate.view(np.uint16))


def test_highlights_and_negatives_survive(converter):
    plate = np.array([[[40.0, 12.5, 0.2], [-0.05, 0.3, 2.0], [-0.01, -0.02, -0.03]]], np.float32)
    encoded = converter.to_network(plate, "ACEScg")
    assert encoded.max() > 1
    assert encoded.min() < 0
    np.testing.assert_allclose(converter.from_network(encoded, "ACEScg"), plate, rtol=1e-4, atol=2e-5)


def test_saturated_light_there_and_back(converter):
    plate = np.random.default_rng(5).uniform(-0.05, 40, (64, 64, 3)).astype(np.float32)
    back = converter.from_network(converter.to_network(plate, "ACEScg"), "ACEScg")
    assert np.abs(back - plate).max() < 1e-4  # the default optimisation has 1.5e-3


def test_input_is_left_alone_and_same_space_is_identity(converter):
    plate = np.random.default_rng(6).random((5, 7, 3)).astype(np.float32)
    before = plate.copy()
    converter.to_network(plate, "ACEScg")
    np.testing.assert_array_equal(plate, before)
    same = converter.convert(plate, "ACEScg", "lin_ap1_scene")
    np.testing.assert_array_equal(same, plate)
    assert same is not plate
    strided = converter.convert(plate[::2, ::-1], "ACEScg", "srgb_tx")
    np.testing.assert_array_equal(strided, converter.convert(plate, "ACEScg", "srgb_tx")[::2, ::-1])


def test_known_value(converter):
    gray = converter.to_network(np.full((1, 1, 3), 0.18, np.float32), "lin_rec709")
    np.testing.assert_allclose(gray, 0.4613561, atol=1e-4)


def test_names(converter):
    assert converter.resolve("lin_ap1_scene") == "ACEScg"
    assert converter.resolve("acescg") == "ACEScg"
    assert converter.resolve("srgb_tx") == converter.resolve("sRGB - Texture")
    assert converter.find("nonsense") is None
    with pytest.raises(InvalidInput, match="ACEScg") as caught:
        converter.resolve("ACESgc")
    assert caught.value.reason == "UNKNOWN_COLOR_SPACE"
    with pytest.raises(InvalidInput, match="data space"):
        converter.to_network(np.zeros((1, 1, 3), np.float32), "Raw")


def test_where_light_is_mixed(converter):
    assert converter.is_scene_linear("ACEScg")
    assert not converter.is_scene_linear("ARRI LogC4")
    assert converter.scene_linear_for("lin_ap1") == "ACEScg"
    assert converter.scene_linear_for("srgb_tx") == converter.resolve("lin_rec709")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (12,)])
def test_wrong_shape_is_refused(converter, shape):
    with pytest.raises(InvalidInput, match=r"\(H, W, 3\)"):
        converter.to_network(np.zeros(shape, np.float32), "ACEScg")


def test_empty_crop(converter):
    assert converter.to_network(np.zeros((0, 5, 3), np.float16), "ACEScg").shape == (0, 5, 3)


@pytest.mark.parametrize(
    "config",
    [
        "ocio://" + DEFAULT_CONFIG,
        "cg-config-v1.0.0_aces-v1.3_ocio-v2.1",
        "studio-config-v2.1.0_aces-v1.3_ocio-v2.3",
        "studio-config-v4.0.0_aces-v2.0_ocio-v2.5",
    ],
)
def test_built_in_configs(config):
    converter = ColorConverter(config)
    plate = np.full((1, 2, 3), 3.5, np.float32)
    np.testing.assert_allclose(
        converter.from_network(converter.to_network(plate, "ACEScg"), "ACEScg"), plate, rtol=1e-5
    )


def test_configs_that_are_not(tmp_path):
    with pytest.raises(NotFound, match="built-in"):
        ColorConverter(str(tmp_path / "none.ocio"))
    with pytest.raises(NotFound, match="built-in"):
        ColorConverter("ocio://no-such-config")
    broken = tmp_path / "broken.ocio"
    broken.write_text("not a config")
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        ColorConverter(str(broken))


def test_config_without_the_networks_space(tmp_path):
    path = tmp_path / "small.ocio"
    path.write_text(
        "ocio_profile_version: 2\nroles: {default: raw, scene_linear: raw}\n"
        "file_rules:\n  - !<Rule> {name: Default, colorspace: raw}\n"
        "displays:\n  d:\n    - !<View> {name: v, colorspace: raw}\n"
        "colorspaces:\n  - !<ColorSpace> {name: raw, isdata: true}\n"
    )
    with pytest.raises(InvalidInput, match="srgb_tx"):
        ColorConverter(str(path))
