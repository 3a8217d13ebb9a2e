"""Which numbers of an image file are the mask.

Convention:
    Coverage is taken as it stands in the file, full scale of an integer type being 1.0: no transfer curve. What lies
    outside a file's data window is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.io.masks import Bits
from dflcore.io.plate import PlateImage, find_color
from dflcore.io.stills import read_still
from dflcore.types import FloatArray

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_OVERSHOOT = 0.005
"""Values this far outside [0, 1] are a filter's ringing and clipped without a word."""
_ALPHA_NAMES = ("a", "alpha")
_LOSS_8_BIT = 1e-3
"""Masks whose values all lie this close to a step of 1/255, in steps, need no more than 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskImage:
    """A mask as an image file has it.

    Attributes:
        mask: (S, S) float32 in [0, 1].
        is_clipped: there were values outside.
    """

    mask: FloatArray
    is_clipped: bool


def read_mask_image(path: Path) -> MaskImage:
    """The mask of one face from an image: the alpha where there is one that varies, else the luma.

    Raises:
        InvalidInput: not square, values that are no numbers, a file type that is not read.
        NotFound, DataCorrupt, ResourceExhausted, Unsupported: as :func:`~dflcore.io.stills.read_still`.
    """
    image = read_still(path)
    display = image.display_window
    if display.width != display.height:
        raise InvalidInput(
            f"The mask {path} is {display.width}x{display.height}; an aligned face is square, so its mask is too.",
            reason="MASK_NOT_SQUARE",
            path=path,
        )
    alpha = _alpha_index(image)
    values = None if alpha is None else in_display_window(_floats(image, alpha), image)
    if values is None or (values.min() == values.max() and find_color(image.channel_names) is not None):
        values = in_display_window(_luma(image), image)
    is_clipped = bool(values.min() < -_OVERSHOOT or values.max() > 1.0 + _OVERSHOOT)
    return MaskImage(np.clip(values, 0.0, 1.0), is_clipped)


def matte_channel(image: PlateImage, channel: str) -> FloatArray:
    """One frame's matte over its data window, (H, W) float32, clipped to [0, 1].

    Args:
        channel: name in the file, or ``auto``: the alpha, without one the luma.

    Raises:
        InvalidInput: no such channel, or values that are no numbers.
    """
    if channel != "auto" and channel not in image.channel_names:
        raise InvalidInput(
            f"{image.source_path} has no channel {channel!r}; it has {', '.join(image.channel_names)}.",
            reason="CHANNEL_NOT_FOUND",
            field="channel",
            path=image.source_path,
        )
    index = image.channel_names.index(channel) if channel != "auto" else _alpha_index(image)
    return np.clip(_luma(image) if index is None else _floats(image, index), 0.0, 1.0)


def needed_bits(mask: FloatArray) -> Bits:
    """8 where that loses nothing to speak of, else 16."""
    steps = mask * np.float32(255.0)
    return 8 if float(np.abs(steps - np.rint(steps)).max()) <= _LOSS_8_BIT else 16


def in_display_window(values: FloatArray, image: PlateImage) -> FloatArray:
    """(H, W) of the data window → (H, W) of the display window, zeros around."""
    data, display = image.data_window, image.display_window
    if data == display:
        return values
    result = np.zeros((display.height, display.width), np.float32)
    left, top = max(data.x, display.x), max(data.y, display.y)
    right = min(data.x + data.width, display.x + display.width)
    bottom = min(data.y + data.height, display.y + display.height)
    if right > left and bottom > top:
        inside = values[top - data.y : bottom - data.y, left - data.x : right - data.x]
        result[top - display.y : bottom - display.y, left - display.x : right - display.x] = inside
    return result


def _alpha_index(image: PlateImage) -> int | None:
    """The alpha beside the colour, else a bare alpha, else the only channel there is."""
    names = image.channel_names
    color = find_color(names)
    layer = names[color[0]].rpartition(".")[0] if color is not None else ""
    for index, name in enumerate(names):
        own_layer, _, last = name.rpartition(".")
        if own_layer == layer and last.lower() in _ALPHA_NAMES:
            return index
    return 0 if color is None and len(names) == 1 else None


def _luma(image: PlateImage) -> FloatArray:
    values = _finite(image.rgb(), image)
    if (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all():
        return np.ascontiguousarray(values[..., 0])  # gray to the bit
    return np.asarray(values @ _LUMA, dtype=np.float32)


def _floats(image: PlateImage, index: int) -> FloatArray:
    pixels: NDArray[Any] = image.pixels[..., index]
    if pixels.dtype.kind == "f":
        return _finite(np.ascontiguousarray(pixels, dtype=np.float32), image)
    return np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _finite(values: FloatArray, image: PlateImage) -> FloatArray:
    if not np.isfinite(values).all():
        raise InvalidInput(
            f"{image.source_path} holds values that are no numbers (NaN or infinity); a mask must not.",
            reason="BAD_MASK",
            path=image.source_path,
            frame=image.frame,
        )
    return values
