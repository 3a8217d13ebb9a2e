"""What is done to a painted face before it is put back: sharper, softer, or as worn as the plate.

Convention:
    Faces are (H, W, 3) float32 RGB in aligned space, unpremultiplied, sRGB-encoded, of any range; nothing is clipped,
    and light above 1.0 and below 0 goes through. The picture's border is repeated. An amount of 0 returns the face
    itself, and every effect changes without a step as its amount does.

Source:
    Ranges and strengths as in DeepFaceLab 46fc239 (measured facts, GPL-3.0, nothing copied). Different from it:
    everything is float. Sizes are those of a face of :data:`UNIT_SIDE` pixels, where the reference counts pixels of
    the model, so that a finer model was treated less. Denoising, lower resolution and fewer colours act on the painted
    face, where the reference wears down the whole plate to meet it: here no pixel outside the matte may change, and
    what a compositor wants is a face as soft as the plate it goes into.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.types import FloatArray

SharpenMode = Literal["none", "box", "gaussian"]

UNIT_SIDE = 256
"""Side of the face, in pixels, that strengths are stated for; other sizes are treated so that they look the same."""
MEDIAN_PX = 5
"""Side of the median's window on a face of :data:`UNIT_SIDE`."""
PASS_POWER = 10.0
"""Strength that one pass of the median filter stands for."""
BOX_VARIANCE = 2.0 / 3.0
"""Of the mean of 3 x 3 pixels, per axis, in pixels squared."""
GAUSSIAN_VARIANCE = 0.5
"""Of the weights 1/4, 1/2, 1/4."""
GAUSSIAN_GAIN = 0.5
"""Gain per unit of ``amount`` in the mode ``gaussian``; 1 in the mode ``box``."""
RESOLUTION_SIGMA = 0.4
"""Standard deviation, in pixels of the smaller picture, of the blur that shrinking by areas and enlarging by a cubic
leaves: measured on portraits, 0.36 by what is left of the gradients, 0.44 by the least squared difference."""
LUMA_STEP = 1.0 / 32.0
CHROMA_STEP = 1.0 / 32.0
"""Steps of brightness and of the two colour differences of :func:`reduce_colors`, in sRGB-encoded units: 256 colours
picked for a frame leave the error of steps between 0.02 and 0.05 (two portraits, two clips)."""
_GAUSSIAN_REACH = 4.0
"""Standard deviations at which a Gaussian is cut off."""
_TINY_WEIGHT = 1e-7
"""Weights at a kernel's ends below this are left out."""

_LUMA_CHROMA_FROM_RGB = np.array([[0.25, 0.5, 0.25], [0.5, 0.0, -0.5], [-0.25, 0.5, -0.25]])
"""Rows: brightness, orange against blue, green against purple (YCoCg); grey has no colour difference."""


def sharpen(face: FloatArray, amount: float, mode: SharpenMode = "box") -> FloatArray:
    """Bring out fine detail by an unsharp mask, or take it away.

    Args:
        amount: -100..100. Above 0, how often the difference to the mean of 3 x 3 pixels is added (``box``), or twice
            how often the one to their Gaussian mean (``gaussian``); ``none`` changes nothing. Below 0, see
            :func:`soften`, whatever the mode.
    """
    if amount < 0.0:
        return soften(face, -amount)
    if amount == 0.0 or mode == "none":
        return face
    area = (max(face.shape[:2]) / UNIT_SIDE) ** 2
    is_box = mode == "box"
    kernel = _box_kernel(BOX_VARIANCE * area) if is_box else _binomial_kernel(GAUSSIAN_VARIANCE * area)
    gain = amount if is_box else GAUSSIAN_GAIN * amount
    return np.asarray(face + np.float32(gain) * (face - _filter(face, kernel)), np.float32)


def soften(face: FloatArray, amount: float) -> FloatArray:
    """Take fine detail away and keep edges, by repeated medians.

    Args:
        amount: 0..100; one median of 5 x 5 pixels per 10, the last one in part.
    """
    whole, rest = divmod(amount, PASS_POWER)
    return _smooth(face, [1.0] * int(whole) + [rest / PASS_POWER])


def remove_noise(face: FloatArray, power: float) -> FloatArray:
    """Smooth as a strong denoiser does, up to a painting's flat patches and clean edges.

    Args:
        power: 0..500. Medians of 5 x 5 pixels; each takes 10 from the power and is mixed in by what was left over
            100, at most wholly.
    """
    count = math.ceil(max(power, 0.0) / PASS_POWER)
    return _smooth(face, [min((power - PASS_POWER * index) / 100.0, 1.0) for index in range(count)])


def lower_resolution(face: FloatArray, power: float, *, plate_px: float = 1.0) -> FloatArray:
    """As if it had been photographed, or painted, with fewer pixels.

    A picture shrunk and enlarged by a cubic is soft in a pattern that beats with the pixels and crawls when the face
    moves; this is the mean of all its phases, a blur, which has no pattern, no rings around lights and no jumps.

    Args:
        power: 0..100; ``1 - power / 101`` of the resolution is left.
        plate_px: side of a plate pixel in pixels of the face (``scale_of(aligned_from_plate)``). The resolution
            lowered is the one seen in the plate: the plate's own, or the face's where that is lower. So the same
            power means the same in the plate, however fine the model.
    """
    share = 1.0 - power / 101.0
    sigma = RESOLUTION_SIGMA * max(plate_px, 1.0) * math.sqrt(max(1.0 / (share * share) - 1.0, 0.0))
    if sigma == 0.0:
        return face
    height, width = face.shape[:2]
    if _GAUSSIAN_REACH * sigma < min(height, width) / 3.0:
        return _filter(face, _gaussian_kernel(sigma))
    # As long as the face itself, a kernel costs more than two products with matrices.
    planes = np.ascontiguousarray(face.transpose(2, 0, 1))
    planes = _gaussian_matrix(sigma, height) @ planes @ np.ascontiguousarray(_gaussian_matrix(sigma, width).T)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def reduce_colors(face: FloatArray, power: float) -> FloatArray:
    """As a picture of few colours: brightness and colour differences rounded to steps, greys stay grey.

    The steps are the same in every frame, where the reference picks 256 colours anew for each, which flickers; their
    size makes the mean error that 256 colours chosen for a frame leave.

    Args:
        power: 0..100, percent of the rounded picture mixed in.
    """
    if power <= 0.0:
        return face
    steps = np.array([LUMA_STEP, CHROMA_STEP, CHROMA_STEP])
    levels = cv2.transform(face, _LUMA_CHROMA_FROM_RGB / steps[:, None])
    rounded = cv2.transform(np.rint(levels, out=levels), np.linalg.inv(_LUMA_CHROMA_FROM_RGB) * steps)
    return _mixed(face, np.asarray(rounded, np.float32), min(power / 100.0, 1.0))


def _smooth(face: FloatArray, shares: Sequence[float]) -> FloatArray:
    """Medians on the face at :data:`UNIT_SIDE`, each mixed in by its share; detail finer than that goes with them."""
    if not any(shares):
        return face
    height, width = face.shape[:2]
    scale = UNIT_SIDE / max(height, width)
    small = face if scale == 1.0 else _resized(face, max(1, round(height * scale)), max(1, round(width * scale)))
    smoothed = small
    for share in shares:
        if share > 0.0:
            smoothed = _mixed(smoothed, _median(smoothed), share)
    if scale == 1.0:
        return smoothed
    kept = np.float32(math.prod(1.0 - share for share in shares))
    return np.asarray(kept * face + _resized(smoothed - kept * small, height, width), np.float32)


def _resized(picture: FloatArray, height: int, width: int) -> FloatArray:
    is_smaller = height < picture.shape[0]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.float32)


def _median(face: FloatArray) -> FloatArray:
    return np.asarray(cv2.medianBlur(np.ascontiguousarray(face), MEDIAN_PX), np.float32)


def _mixed(face: FloatArray, other: FloatArray, share: float) -> FloatArray:
    if share == 1.0:
        return other
    return np.asarray(cv2.addWeighted(face, 1.0 - share, other, share, 0.0), np.float32)


def _filter(face: FloatArray, kernel: FloatArray) -> FloatArray:
    return np.asarray(cv2.sepFilter2D(face, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE), np.float32)


def _box_kernel(variance: float) -> FloatArray:
    """Equal weights, the outermost two less, so that any variance (pixels squared) is met exactly."""
    reach = math.floor((math.sqrt(1.0 + 12.0 * variance) - 1.0) / 2.0 + 1e-9)
    count = 2 * reach + 1
    inner = reach * (reach + 1) * count / 3.0
    end = max((variance * count - inner) / (2.0 * ((reach + 1) ** 2 - variance)), 0.0)
    weights = np.concatenate([[end], np.ones(count), [end]])
    return np.asarray(weights / weights.sum(), np.float32)


def _binomial_kernel(variance: float) -> FloatArray:
    """Nearly a Gaussian, of any variance (pixels squared) exactly: 1/4, 1/2, 1/4 repeated, and a rest."""
    whole, rest = divmod(variance, GAUSSIAN_VARIANCE)
    weights = np.array([rest / 2.0, 1.0 - rest, rest / 2.0])
    for _ in range(int(whole)):
        weights = np.convolve(weights, [0.25, 0.5, 0.25])
    weights = weights[weights > _TINY_WEIGHT]
    return np.asarray(weights / weights.sum(), np.float32)


def _gaussian_kernel(sigma: float) -> FloatArray:
    """A Gaussian's share of every pixel, which fades to the pixel itself as ``sigma`` (pixels) goes to 0."""
    reach = math.ceil(_GAUSSIAN_REACH * sigma)
    weights = np.diff(_gaussian_shares(sigma, reach))
    return np.asarray(weights / weights.sum(), np.float32)


def _gaussian_matrix(sigma: float, side: int) -> FloatArray:
    """(side, side) that blurs a column as :func:`_gaussian_kernel` does, all that lies outside given to the border."""
    shares = _gaussian_shares(sigma, side)
    offsets = np.arange(side + 1) - np.arange(side)[:, None]
    shares_before = shares[offsets + side]
    shares_before[:, 0], shares_before[:, -1] = 0.0, 1.0
    return np.asarray(np.diff(shares_before, axis=1), np.float32)


def _gaussian_shares(sigma: float, reach: int) -> NDArray[np.float64]:
    """Share of a Gaussian that lies before the left edge of each pixel, from ``reach`` before to one after it."""
    edges = (np.arange(-reach, reach + 2) - 0.5) / (sigma * math.sqrt(2.0))
    return np.array([0.5 + 0.5 * math.erf(edge) for edge in edges])
