"""The plate's frame as scene light: what faces are cut from and composited over.

A scene-linear float plate *is* scene light: its own bits are handed on, in its own primaries. Everything else (8- and
16-bit stills, movies, logarithmic EXR) is converted once, whole, to the linear space that belongs to it (linear
Rec.709 by the converter's rule); the same code value always gives the same light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import BitDepth
from dflcore.io.plate import PlateImage, Window
from dflcore.merge.composite import cast, inside, to_float
from dflcore.types import FloatArray

_PROBE_COLORS = 512
"""Random colours that must agree before a conversion is taken to treat the three channels alike and apart."""
_PROBE_TOLERANCE = 1e-6
_RGB_THEN_ALPHA = [0, 0, 1, 1, 2, 2, 3, 3]
"""Pairs for ``cv2.mixChannels``: channels of a colour and a gray picture, and where they go in one with alpha."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlateLight:
    """One frame as scene light.

    Attributes:
        beauty: (H, W, 4) float16 or float32 over the data window, RGBA, scene-linear, premultiplied as EXR is; what
            is delivered where there is no matte. Scene-linear float plates: the plate's own bits.
        rgb: (H, W, 3) view or array of the same light in the plate's own precision; faces are cut from it.
        color_space: OCIO name of the scene-linear space of both.
    """

    image: PlateImage
    beauty: NDArray[Any]
    rgb: NDArray[Any]
    color_space: str

    @property
    def data_window(self) -> Window:
        return self.image.data_window

    def crop(self, window: Window) -> FloatArray:
        """(h, w, 3) float32 copy of the light in a window that lies inside the data window; not sanitised."""
        rows, columns = inside(window, self.data_window)
        return to_float(np.ascontiguousarray(self.rgb[rows, columns]))

    def coverage(self, window: Window) -> FloatArray | None:
        """(h, w) float32 alpha as delivered, in [0, 1]; None where the plate is solid all over the window.

        An alpha that is NaN counts as solid.
        """
        rows, columns = inside(window, self.data_window)
        alpha = to_float(np.ascontiguousarray(self.beauty[rows, columns, 3]))
        if not (alpha < 1.0).any():
            return None
        return np.asarray(np.clip(np.nan_to_num(alpha, nan=1.0), 0.0, 1.0), np.float32)


class PlateDeveloper:
    """Turns frames of one plate into light; keeps the tables of what it has converted. One thread at a time."""

    def __init__(self, converter: ColorConverter) -> None:
        self._converter = converter
        self._tables: dict[tuple[str, str], FloatArray | None] = {}

    def develop(self, image: PlateImage, bit_depth: BitDepth) -> PlateLight:
        """See :class:`PlateLight`.

        Raises:
            InvalidInput: the frame has no colour, or its colour space cannot be converted.
        """
        space = self._converter.scene_linear_for(image.color_space)
        dtype = _beauty_dtype(image, bit_depth)
        if image.is_float and self._converter.is_scene_linear(image.color_space):
            rgb = _select(image.pixels, image.color_indices())
        else:
            rgb = self._to_linear(image, space)
            alpha = image.alpha()
            if alpha is not None and not image.premultiplied:
                rgb = rgb * alpha[..., None]
            rgb = cast(rgb, dtype)
        return PlateLight(image=image, beauty=_with_alpha(image, rgb, dtype), rgb=rgb, color_space=space)

    def _to_linear(self, image: PlateImage, space: str) -> FloatArray:
        if image.is_float:
            return self._converter.convert(image.rgb(), image.color_space, space)
        table = self._table(image.pixels.dtype, image.color_space, space)
        if table is None:
            return self._converter.convert(image.rgb(), image.color_space, space)
        return np.take(table, image.pixels[..., list(image.color_indices())])

    def _table(self, dtype: np.dtype[Any], source: str, target: str) -> FloatArray | None:
        """Code value → light, (256,) or (65536,), if the conversion treats channels alike and apart; else None."""
        key = (dtype.str, source)
        if key not in self._tables:
            self._tables[key] = self._build_table(int(np.iinfo(dtype).max), source, target)
        return self._tables[key]

    def _build_table(self, top: int, source: str, target: str) -> FloatArray | None:
        codes = np.arange(top + 1, dtype=np.float32) / np.float32(top)
        gray = self._converter.convert(np.repeat(codes[None, :, None], 3, axis=2), source, target)[0]
        table = np.ascontiguousarray(gray[:, 0])
        probes = np.random.default_rng(0).integers(0, top + 1, (1, _PROBE_COLORS, 3))
        converted = self._converter.convert(codes[probes], source, target)
        agrees = np.abs(converted - table[probes]).max() <= _PROBE_TOLERANCE * max(1.0, float(np.abs(table).max()))
        return table if agrees else None


def _beauty_dtype(image: PlateImage, bit_depth: BitDepth) -> np.dtype[Any]:
    if bit_depth != "auto":
        return np.dtype(np.float16 if bit_depth == "half" else np.float32)
    if not image.is_float:
        return np.dtype(np.float16)
    kinds = {image.channel_types[index] for index in image.color_indices()} if image.channel_types else set()
    if kinds == {"half"}:
        return np.dtype(np.float16)
    return image.pixels.dtype


def _select(pixels: NDArray[Any], indices: tuple[int, int, int]) -> NDArray[Any]:
    """RGB out of (H, W, C), as a view where the three lie side by side."""
    red, green, blue = indices
    if green == red + 1 and blue == red + 2:
        return pixels[..., red : red + 3]
    return pixels[..., list(indices)]


def _with_alpha(image: PlateImage, rgb: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """(H, W, 4) of the wanted type; alpha 1 where the plate has none."""
    is_rgba = image.channel_names[:4] == ("R", "G", "B", "A") and image.is_float and rgb.base is not None
    if is_rgba and image.pixels.shape[2] == 4 and image.pixels.dtype == dtype and rgb.dtype == dtype:
        return image.pixels
    opacity = _opacity(image, dtype)
    beauty = np.empty((*rgb.shape[:2], 4), dtype)
    bits = np.uint16 if dtype == np.float16 else np.int32  # moved as they are, NaN too
    parts: list[NDArray[Any]] = [np.ascontiguousarray(cast(rgb, dtype)).view(bits), opacity.view(bits)]
    cv2.mixChannels(parts, [beauty.view(bits)], _RGB_THEN_ALPHA)
    return beauty


def _opacity(image: PlateImage, dtype: np.dtype[Any]) -> NDArray[Any]:
    """(H, W): the plate's alpha, a float plate's bit for bit; 1 where it has none."""
    index = image.alpha_index()
    if index is None:
        return np.ones(image.pixels.shape[:2], dtype)
    alpha = np.ascontiguousarray(image.pixels[..., index]) if image.is_float else image.alpha()
    assert alpha is not None
    return cast(alpha, dtype)
