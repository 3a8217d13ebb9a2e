"""Parts and reduced sizes of a merged frame.

A proxy is made from the full result, by means over squares of whole pixels, not from a reduced plate: a network that
is shown a reduced plate paints another, softer face, and an artist would judge what the range will not show. Measured
on a face of 150 px and a network of 192: half size lost 15 to 18 % of the sharpness, quarter size 33 to 40 %, pixels
differed by up to 21 of 255. As only the faces' rectangle is computed at full size, little is lost: a turned knob took 8
ms of processor time at half size rather than 6, and with a face of 350 px in 1280x720 41 rather than 12.

Convention:
    A reduction by n puts the grid of n x n squares on the display window's top-left corner. Reduced coordinates count
    those squares, the display window's own corner being floor(corner / n).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.io.exr import ExrLayer
from dflcore.io.plate import Window
from dflcore.merge.composite import FaceLayers, cast, inside, intersect, quantise, to_float
from dflcore.merge.light import PlateLight
from dflcore.types import FloatArray

INSIDE_ONLY = frozenset({"swap", "raw", "st"})
"""Layers that are 0 outside the aligned square without meaning 0: their means count pixels inside only."""
_IDS = "crypto_"
"""Layers of that name hold ids, which have no mean: one pixel of each square is taken."""


def crop_light(light: PlateLight, window: Window) -> PlateLight:
    """The same light over a part of its data window, as views."""
    if window == light.data_window:
        return light
    rows, columns = inside(window, light.data_window)
    image = replace(light.image, pixels=light.image.pixels[rows, columns], data_window=window)
    return replace(light, image=image, beauty=light.beauty[rows, columns], rgb=light.rgb[rows, columns])


def crop_layers(layers: Sequence[ExrLayer], data_window: Window, window: Window) -> list[ExrLayer]:
    """The part of layers over ``data_window`` that lies in ``window``, as views."""
    if window == data_window:
        return list(layers)
    rows, columns = inside(window, data_window)
    return [replace(layer, pixels=layer.pixels[rows, columns]) for layer in layers]


def whole_reduction(window: Window, display: Window, reduction: int, max_side: int) -> int:
    """The reduction asked for, times the least whole number that makes neither side longer than ``max_side``.

    Args:
        max_side: pixels; 0 sets no limit.
    """
    factor = 1
    while max_side:
        reduced = reduced_window(window, display, reduction * factor)
        if max(reduced.width, reduced.height) <= max(max_side, 2):  # two squares may share a window of any size
            break
        factor += 1
    return reduction * factor


def snap(window: Window, display: Window, data: Window, reduction: int) -> Window:
    """The window grown to whole squares of the reduced grid, as far as there are pixels."""
    left, top, right, bottom = _squares(window, display, reduction)
    grown = Window(
        x=display.x + left * reduction,
        y=display.y + top * reduction,
        width=(right - left) * reduction,
        height=(bottom - top) * reduction,
    )
    return intersect(grown, data) or window


def reduced_display(display: Window, reduction: int) -> Window:
    """The display window in reduced coordinates; a last square may be cut by its edge."""
    return Window(
        x=display.x // reduction,
        y=display.y // reduction,
        width=-(-display.width // reduction),
        height=-(-display.height // reduction),
    )


def reduced_window(window: Window, display: Window, reduction: int) -> Window:
    """What a window covers in reduced coordinates."""
    left, top, right, bottom = _squares(window, display, reduction)
    return Window(
        x=display.x // reduction + left, y=display.y // reduction + top, width=right - left, height=bottom - top
    )


def reduce_layers(
    layers: Sequence[ExrLayer], faces: FaceLayers | None, window: Window, display: Window, reduction: int
) -> list[ExrLayer]:
    """Means of every layer over the squares of the reduced grid, in the layer's own type.

    Args:
        layers: over ``window``.
        faces: those the layers show.
    """
    share: FloatArray | None = None
    if faces is not None and any(layer.name in INSIDE_ONLY for layer in layers):
        share = _means(_inside_squares(faces, window), window, display, reduction)
    return [_reduce(layer, share, window, display, reduction) for layer in layers]


def _reduce(layer: ExrLayer, share: FloatArray | None, window: Window, display: Window, reduction: int) -> ExrLayer:
    if layer.name.startswith(_IDS):
        left, top, right, bottom = _squares(window, display, reduction)
        columns = _middles(left, right, display.x - window.x, window.width, reduction)
        rows = _middles(top, bottom, display.y - window.y, window.height, reduction)
        return replace(layer, pixels=layer.pixels[rows[:, None], columns[None, :]])
    values = _means(to_float(np.ascontiguousarray(layer.pixels)), window, display, reduction)
    if layer.name in INSIDE_ONLY and share is not None:
        values = np.divide(values, share, out=np.zeros_like(values), where=share > 0)
    return replace(layer, pixels=cast(quantise(values, layer.pixel_type), layer.pixels.dtype))


def _inside_squares(faces: FaceLayers, window: Window) -> FloatArray:
    """(H, W, 1) over the window: 1 inside the aligned squares."""
    found = np.zeros((window.height, window.width, 1), np.float32)
    common = intersect(faces.window, window)
    if common is not None:
        rows, columns = inside(common, faces.window)
        found[(*inside(common, window), 0)] = faces.st[:, rows, columns].any(axis=0)
    return found


def _middles(first: int, last: int, offset: int, length: int, reduction: int) -> NDArray[np.int64]:
    """Positions of the squares' middle pixels along one axis, inside the window."""
    middles = np.arange(first, last) * reduction + offset + reduction // 2
    return np.asarray(np.clip(middles, 0, length - 1), np.int64)


def _means(values: FloatArray, window: Window, display: Window, reduction: int) -> FloatArray:
    """(H, W, C) → (h, w, C). A square that is cut off by the window's edge counts the edge's pixels again."""
    left, top, right, bottom = _squares(window, display, reduction)
    before_x = window.x - (display.x + left * reduction)
    before_y = window.y - (display.y + top * reduction)
    after_x = (right - left) * reduction - before_x - window.width
    after_y = (bottom - top) * reduction - before_y - window.height
    if before_x or before_y or after_x or after_y:
        values = np.pad(values, ((before_y, after_y), (before_x, after_x), (0, 0)), mode="edge")
    size = (right - left, bottom - top)
    with np.errstate(invalid="ignore"):  # infinite light stays infinite
        means = [
            cv2.resize(values[..., first : first + 4], size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
            for first in range(0, values.shape[2], 4)
        ]
    return np.asarray(means[0] if len(means) == 1 else np.concatenate(means, axis=2), np.float32)


def _squares(window: Window, display: Window, reduction: int) -> tuple[int, int, int, int]:
    """First column and row of squares that the window touches, and those after the last."""
    left, top = (window.x - display.x) // reduction, (window.y - display.y) // reduction
    right = -(-(window.x + window.width - display.x) // reduction)
    bottom = -(-(window.y + window.height - display.y) // reduction)
    return left, top, right, bottom
