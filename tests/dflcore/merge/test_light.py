"""The plate as light: a scene-linear plate's own bits, whatever they mean, and an alpha beside them."""

import numpy as np
import pytest

from dflcore.io.plate import PlateImage, Window
from dflcore.merge.light import PlateDeveloper

SIDE = 256
EVERY_HALF = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(SIDE, SIDE)


def _image(pixels, names, color_space="ACEScg"):
    window = Window(x=0, y=0, width=pixels.shape[1], height=pixels.shape[0])
    kinds = {"float16": "half", "float32": "float"}
    return PlateImage(
        frame=1,
        pixels=pixels,
        channel_names=tuple(names),
        channel_types=(kinds.get(pixels.dtype.name, pixels.dtype.name),) * len(names),
        data_window=window,
        display_window=window,
        pixel_aspect=1.0,
        color_space=color_space,
        source_path=None,
    )


def _bits(values):
    return np.ascontiguousarray(values).view(np.uint16 if values.dtype == np.float16 else np.uint32)


@pytest.fixture
def develop(converter):
    return PlateDeveloper(converter).develop


@pytest.mark.parametrize("names", ["R G B", "B G R", "A B G R", "Z R G B", "R G B A Z"])
def test_every_half_is_handed_on_bit_for_bit(develop, names):
    names = names.split()
    pixels = np.stack([np.roll(EVERY_HALF, 7 * index) for index in range(len(names))], axis=2)
    light = develop(_image(pixels, names), "auto")
    assert light.beauty.dtype == np.float16
    for index, name in enumerate("RGB"):
        np.testing.assert_array_equal(_bits(light.beauty[..., index]), _bits(pixels[..., names.index(name)]))
    alpha = pixels[..., names.index("A")] if "A" in names else np.ones_like(EVERY_HALF)
    np.testing.assert_array_equal(_bits(light.beauty[..., 3]), _bits(alpha))


def test_every_kind_of_float_is_handed_on_bit_for_bit(develop):
    bits = np.random.default_rng(1).integers(0, 2**32, (64, 64, 3), dtype=np.uint32)
    pixels = bits.view(np.float32)
    light = develop(_image(pixels, "RGB"), "auto")
    np.testing.assert_array_equal(_bits(light.beauty[..., :3]), bits)
    assert (light.beauty[..., 3] == 1.0).all()


def test_an_rgba_plate_of_the_wanted_type_is_not_copied(develop):
    pixels = np.zeros((8, 8, 4), np.float16)
    assert develop(_image(pixels, "RGBA"), "auto").beauty is pixels
    assert develop(_image(pixels, "RGBA"), "float").beauty.dtype == np.float32


def test_straight_alpha_is_multiplied_in(develop):
    pixels = np.full((4, 4, 4), 65535, np.uint16)
    pixels[..., 3] = 65535 // 4
    image = _image(pixels, "RGBA", "lin_rec709")
    straight = PlateImage(**{name: getattr(image, name) for name in image.__slots__} | {"premultiplied": False})
    np.testing.assert_allclose(develop(straight, "float").beauty, 0.25, atol=1e-4)
    np.testing.assert_allclose(develop(image, "float").beauty[..., :3], 1.0, atol=1e-6)
