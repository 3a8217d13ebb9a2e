"""What a face goes through once it lies in the plate: the shutter, then the seam, grain and opacity.

Convention:
    As :class:`~dflcore.merge.composite.FaceLayers`: scene-linear, over a window in data-window coordinates.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from dflcore.config.merge import SEAMLESS_MODES, MergeSettings
from dflcore.merge.composite import FaceLayers, crop_to, intersect, uncover
from dflcore.merge.grain import add_grain, measure_grain
from dflcore.merge.light import PlateLight
from dflcore.merge.motion import Motion, blur_by_motion, blur_reach
from dflcore.merge.seamless import blend_seamlessly
from dflcore.types import FaceRecord, FloatArray

SEAM_FLOOR = 0.1
"""The seamless modes bend the face's light where the matte is at least this (measured facts of DeepFaceLab 46fc239)."""
GRAIN_RING_SHARE = 0.15
"""Width of the ring around the matte that grain is measured in besides the matte, as a share of the window's side."""
_LEAST_MATTE = 1e-4


def blend(light: PlateLight, layers: FaceLayers, settings: MergeSettings, record: FaceRecord) -> FaceLayers:
    """One face's layers, bent, grained and thinned as the settings say.

    Args:
        settings: as they hold on this frame.
    """
    if settings.mode in SEAMLESS_MODES:
        plate = uncover(light.crop(layers.window), light.coverage(layers.window))
        layers = replace(
            layers, swap=blend_seamlessly(layers.swap, plate, layers.matte >= SEAM_FLOOR, light=settings.seamless_light)
        )
    if settings.grain > 0.0:
        layers = replace(layers, swap=_grained(light, layers, settings.grain, record))
    if settings.opacity < 1.0:
        layers = replace(layers, matte=layers.matte * np.float32(settings.opacity))
    return layers


def shutter_reach(light: PlateLight, square: tuple[int, int, int, int], motion: Motion, power: float) -> int:
    """By how many plate pixels :func:`open_shutter` carries a face beyond its square.

    Args:
        square: (x, y, width, height), as :func:`dflcore.geometry.warp.plate_bounds` gives it.
        power: percent of the frame interval the shutter is open.
    """
    display = light.image.display_window
    x, y, width, height = square
    return blur_reach(motion, power, (x - display.x, y - display.y, width, height))


def open_shutter(light: PlateLight, layers: FaceLayers, motion: Motion, power: float) -> FaceLayers:
    """The face and its matte smeared along the face's own motion, cut to the data window.

    Masks it was made from and ``st`` stay sharp.

    Args:
        layers: with as much black around the square as :func:`shutter_reach` says, so that light that leaves the
            square, or comes in from beyond the frame, is not lost.
    """
    display = light.image.display_window
    has_raw = layers.raw is not layers.swap
    matte = layers.matte[..., None]
    stack = np.concatenate([layers.swap * matte, *([layers.raw * matte] if has_raw else []), matte], axis=2)
    origin = (float(layers.window.x - display.x), float(layers.window.y - display.y))
    blurred = blur_by_motion(stack, motion, power, origin=origin)
    if blurred is not stack:
        spread = np.clip(blurred[..., -1], 0.0, 1.0)
        spread[spread < _LEAST_MATTE] = 0.0
        swap = _unspread(blurred[..., :3], layers.swap, spread)
        raw = _unspread(blurred[..., 3:6], layers.raw, spread) if has_raw else swap
        layers = replace(layers, swap=swap, raw=raw, matte=spread)
    window = intersect(layers.window, light.data_window)
    return layers if window is None else crop_to(layers, window)


def _unspread(light: FloatArray, sharp: FloatArray, matte: FloatArray) -> FloatArray:
    """Colours of a smeared face without its smeared matte; where there is no matte, the sharp ones."""
    weight = matte[..., None]
    return np.asarray(np.where(weight > 0.0, light / np.maximum(weight, _LEAST_MATTE), sharp), np.float32)


def _grained(light: PlateLight, layers: FaceLayers, amount: float, record: FaceRecord) -> FloatArray:
    plate = uncover(light.crop(layers.window), light.coverage(layers.window))
    is_face = (layers.matte > 0.0).astype(np.uint8)
    reach = max(1, round(GRAIN_RING_SHARE * min(is_face.shape)))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    around = cv2.dilate(is_face, disk) > 0
    seed = (record.frame % 2**32, record.face_index if record.track_id is None else record.track_id)
    return add_grain(
        layers.swap,
        measure_grain(plate, around),
        amount,
        seed,
        own=measure_grain(layers.swap, layers.matte > 0.9),
        matte=layers.matte,
    )
