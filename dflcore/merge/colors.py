"""The painted face's colours towards those of the plate's face, judged over one frame or several.

Convention:
    Faces are (3, N, N) float32 RGB, display-referred sRGB-encoded, aligned space; values outside [0, 1] are legal. All
    is judged in the exposure of the frame that is being finished, so that frames can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dflcore.color.matching.histogram import HistogramMatch
from dflcore.color.matching.methods import METHODS, ColorMethod, gain_when_merging
from dflcore.color.matching.palette import Palette, pool
from dflcore.config.merge import HISTOGRAM_MODES, MergeSettings
from dflcore.merge.exposure import Exposure
from dflcore.merge.matte import combine_masks
from dflcore.merge.painted_face import PaintedFace
from dflcore.merge.temporal import window_weight
from dflcore.types import FloatArray

_MIN_WEIGHT = 0.01
"""Least share of the square a mask must cover before colours are judged inside it; else the hull is taken."""
_HISTOGRAM = "hist"


def match_colors(
    face: PaintedFace, painted: FloatArray, around: Mapping[int, PaintedFace], settings: MergeSettings
) -> FloatArray:
    """``painted`` with the colours, then the tones, of the plate's face; ``painted`` itself where none are asked for.

    Args:
        painted: (3, N, N), the face as it will be used, of any size.
        around: the same person by frame, ``face`` among them. The plate's colours are those of all of them together,
            the painted face's those of its own frame: whichever of the two flickers, the result is as steady as the
            plate is over the window.
    """
    result = painted
    if settings.color_transfer != "none":
        method = METHODS[settings.color_transfer]
        own = _own_palette(settings.color_transfer, face, settings)
        wanted = _wanted(settings.color_transfer, face, around, settings)
        result = _applied(method, result, own, wanted, gain_when_merging(settings.color_transfer))
    if settings.mode in HISTOGRAM_MODES:
        method = HistogramMatch(threshold=0.01 * settings.histogram_threshold)
        own = method.measure(_batch(_shrunk(result, face.painted.shape[-1])), _weights(face, settings))
        wanted = _wanted(_HISTOGRAM, face, around, settings)
        result = _applied(method, result, own, wanted, gain_when_merging(_HISTOGRAM))
    return result


def _own_palette(name: str, face: PaintedFace, settings: MergeSettings) -> Palette:
    """Of the painted face as the network painted it, whatever size it is used in: measured once."""
    key = (name, "painted", settings.color_area, settings.matte_mode)
    if key not in face.colors.found:
        face.colors.found[key] = METHODS[name].measure(_batch(face.painted), _weights(face, settings))
    return face.colors.found[key]


def _wanted(name: str, face: PaintedFace, around: Mapping[int, PaintedFace], settings: MergeSettings) -> Palette:
    """Palette of the plate's face over the frames around."""
    if not settings.smooth_colors or len(around) == 1:
        return _palette(name, face, face.aligned.exposure, settings)
    weights = [window_weight(frame - face.record.frame, settings.smooth_colors) for frame in around]
    return pool([_palette(name, one, face.aligned.exposure, settings) for one in around.values()], weights)


def _palette(name: str, face: PaintedFace, exposure: Exposure, settings: MergeSettings) -> Palette:
    """Of the plate's face of one frame, in the exposure of the frame that is being finished."""
    key = (name, exposure, settings.color_area, settings.matte_mode)
    if key not in face.colors.found:
        seen = np.clip(exposure.fit(face.aligned.seen), 0.0, 1.0)
        face.colors.found[key] = METHODS[name].measure(_batch(seen.transpose(2, 0, 1)), _weights(face, settings))
    return face.colors.found[key]


def _weights(face: PaintedFace, settings: MergeSettings) -> Tensor | None:
    """(1, 1, R, R): where colours are judged; None for all of the square."""
    if settings.color_area == "square":
        return None
    hull = face.aligned.hull
    judged = np.minimum(combine_masks(face.parts(), settings.matte_mode), hull)
    if face.aligned.segmentation is not None:  # a hand's colours are not the face's
        judged = np.minimum(judged, face.aligned.segmentation)
    return torch.from_numpy(judged if judged.mean() >= _MIN_WEIGHT else hull)[None, None]


def _applied(method: ColorMethod, picture: FloatArray, own: Palette, wanted: Palette, max_gain: float) -> FloatArray:
    return np.asarray(method.apply(_batch(picture), own, wanted, max_gain=max_gain)[0].numpy())


def _batch(picture: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32))[None]


def _shrunk(picture: FloatArray, side: int) -> FloatArray:
    """(3, N, N) → (3, side, side), N a multiple of side, by means of blocks."""
    times = picture.shape[-1] // side
    if times <= 1:
        return np.ascontiguousarray(picture)
    return np.asarray(picture.reshape(3, side, times, side, times).mean(axis=(2, 4)), np.float32)
