"""Grids of proxies: where squares lie, and what lies in one."""

import numpy as np
import pytest

from dflcore.io.exr import ExrLayer
from dflcore.io.plate import Window
from dflcore.merge.proxy import crop_layers, reduce_layers, reduced_display, reduced_window, snap, whole_reduction

DISPLAY = Window(x=10, y=-4, width=20, height=9)


def layer(pixels: np.ndarray, name: str = "", kind: str = "float") -> ExrLayer:
    channels = ("R", "G", "B", "A")[: pixels.shape[2]] if pixels.shape[2] > 1 else ("A",)
    return ExrLayer(name=name, channels=channels, pixels=pixels, pixel_type=kind)


@pytest.mark.parametrize("reduction", [1, 2, 3, 7, 16])
@pytest.mark.parametrize(
    "data", [DISPLAY, Window(x=3, y=-9, width=40, height=30), Window(x=13, y=-1, width=1, height=1)]
)
def test_reduced_windows_cover_every_pixel(data: Window, reduction: int) -> None:
    reduced = reduced_window(data, DISPLAY, reduction)
    shift_x, shift_y = DISPLAY.x // reduction, DISPLAY.y // reduction
    columns = {(x - DISPLAY.x) // reduction + shift_x for x in range(data.x, data.x + data.width)}
    rows = {(y - DISPLAY.y) // reduction + shift_y for y in range(data.y, data.y + data.height)}
    assert columns == set(range(reduced.x, reduced.x + reduced.width))
    assert rows == set(range(reduced.y, reduced.y + reduced.height))
    assert reduced_window(DISPLAY, DISPLAY, reduction) == reduced_display(DISPLAY, reduction)
    pixels = np.ones((data.height, data.width, 2), np.float32)
    made = reduce_layers([layer(pixels)], None, data, DISPLAY, reduction)[0].pixels
    assert made.shape == (reduced.height, reduced.width, 2)
    assert np.array_equal(made, np.ones_like(made)), "a flat picture stays flat up to its edge"


def test_a_part_grows_to_whole_squares_inside_the_plate() -> None:
    part = Window(x=14, y=-3, width=3, height=2)
    assert snap(part, DISPLAY, DISPLAY, 4) == Window(x=14, y=-4, width=4, height=4)
    assert snap(part, DISPLAY, DISPLAY, 16) == Window(x=10, y=-4, width=16, height=9)
    assert snap(part, DISPLAY, Window(x=15, y=-4, width=5, height=5), 4) == Window(x=15, y=-4, width=3, height=4)


@pytest.mark.parametrize("longest", [1, 2, 3, 5, 19, 20, 100])
def test_no_side_is_longer(longest: int) -> None:
    found = whole_reduction(DISPLAY, DISPLAY, 1, longest)
    reduced = reduced_window(DISPLAY, DISPLAY, found)
    assert max(reduced.width, reduced.height) <= max(longest, 2)
    if found > 1:
        larger = reduced_window(DISPLAY, DISPLAY, found - 1)
        assert max(larger.width, larger.height) > max(longest, 2), "and it is no smaller than needed"


def test_types_stay_and_half_does_not_overflow() -> None:
    pixels = np.full((4, 4, 4), 60000.0, np.float16)
    reduced = reduce_layers([layer(pixels, kind="half")], None, Window(x=0, y=0, width=4, height=4), DISPLAY, 2)[0]
    assert reduced.pixels.dtype == np.float16
    assert np.array_equal(reduced.pixels, np.full((2, 2, 4), 60000.0, np.float16))


def test_a_broken_pixel_breaks_its_square_alone() -> None:
    window = Window(x=0, y=0, width=4, height=4)
    pixels = np.ones((4, 4, 3), np.float32)
    pixels[0, 0] = np.nan
    pixels[3, 3] = np.inf
    made = reduce_layers([layer(pixels)], None, window, window, 2)[0].pixels
    assert np.isnan(made[0, 0]).all()
    assert np.isinf(made[1, 1]).all()
    assert np.array_equal(made[[0, 1], [1, 0]], np.ones((2, 3)))


def test_ids_have_no_mean() -> None:
    window = Window(x=0, y=0, width=4, height=4)
    ids = np.arange(32, dtype=np.float32).reshape(4, 4, 2)
    made = reduce_layers([layer(ids, "crypto_face00")], None, window, window, 2)[0].pixels
    assert np.array_equal(made, ids[1::2, 1::2])


def test_a_crop_is_a_view() -> None:
    window = Window(x=0, y=0, width=4, height=3)
    whole = [layer(np.arange(12, dtype=np.float32).reshape(3, 4, 1))]
    assert crop_layers(whole, window, window)[0] is whole[0]
    part = crop_layers(whole, window, Window(x=1, y=1, width=2, height=1))[0]
    assert np.array_equal(part.pixels[..., 0], [[5.0, 6.0]])
    assert np.shares_memory(part.pixels, whole[0].pixels)
