"""How sharp a picture looks: the share of edges whose blur the eye would not notice.

Source: Narvekar and Karam 2011, "A no-reference image blur metric based on the cumulative probability of blur
detection (CPBD)", with the numbers of the deepfacelab fact sheet §1.7.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX: Final = 64
"""Side of the blocks; what is left over at the right and bottom is not looked at."""
EDGE_BLOCK_SHARE: Final = 0.002
"""A block with more edge pixels than this share is an edge block."""
CANNY_LOW: Final = 0.1
CANNY_HIGH: Final = 0.2
"""Grey levels of the 3x3 Sobel strength. The fact sheet leaves them open; so low, every visible edge counts."""
MAX_MARGIN_STEPS: Final = 101
"""An edge is followed at most this far to either side."""
BLUR_STEEPNESS: Final = 3.6
CONTRAST_LIMIT: Final = 50.0
JUST_NOTICEABLE_WIDTHS: Final = (5.0, 3.0)
"""Edge widths in pixels at which blur is noticed: blocks of little contrast, and others."""
NOTICED_BUCKET: Final = 63
"""Edges whose probability of blur, in whole percent, is at most this count as sharp."""
_SOBEL_SCALE: Final = 16.0
_DIRECTION_STEP: Final = np.pi / 4.0


def perceived_sharpness(gray: NDArray[np.uint8]) -> float:
    """Share of edges, 0 to 1, that do not look blurred; 0 where there are no edges.

    Args:
        gray: (H, W) uint8, display-referred.
    """
    height, width = (side // BLOCK_PX * BLOCK_PX for side in gray.shape)
    if not height or not width:
        return 0.0
    values = gray.astype(np.float64)
    widths = _edge_widths(values)[:height, :width]
    if not widths.any():
        return 0.0
    is_edge_block = _blocks(_canny(gray)[:height, :width]).mean(axis=(1, 3)) > EDGE_BLOCK_SHARE
    blocks = _blocks(values[:height, :width])
    contrast = blocks.max(axis=(1, 3)) - blocks.min(axis=(1, 3))
    noticeable = np.where(contrast <= CONTRAST_LIMIT, *JUST_NOTICEABLE_WIDTHS)
    row, column = np.nonzero(widths)
    block = (row // BLOCK_PX, column // BLOCK_PX)
    kept = is_edge_block[block]
    probability = 1.0 - np.exp(-((widths[row, column] / noticeable[block]) ** BLUR_STEEPNESS))
    buckets = np.rint(100.0 * probability[kept])
    return float(np.mean(buckets <= NOTICED_BUCKET)) if buckets.size else 0.0


def _blocks(picture: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64] | NDArray[np.bool_]:
    """(rows, BLOCK_PX, columns, BLOCK_PX) view."""
    height, width = picture.shape
    return picture.reshape(height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)


def _canny(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    x, y = (
        np.rint(cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) * _SOBEL_SCALE).clip(-32767, 32767).astype(np.int16)
        for dx in (1, 0)
    )
    return np.asarray(cv2.Canny(x, y, CANNY_LOW * _SOBEL_SCALE, CANNY_HIGH * _SOBEL_SCALE, L2gradient=True) > 0)


def _edge_widths(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Width in pixels of every upright edge, measured along its row; 0 elsewhere.

    An edge pixel's two sides are followed from its neighbours outwards while the picture goes on falling or rising.
    """
    is_edge = _upright_edges(values)
    gradient_y, gradient_x = np.gradient(values)
    direction = np.rint(np.arctan2(gradient_y, gradient_x) / _DIRECTION_STEP)
    steps = np.diff(values, axis=1)
    widths = np.zeros(values.shape, dtype=np.int64)
    is_edge[[0, -1]] = False
    is_edge[:, [0, -1]] = False
    for is_rising in (True, False):
        row, column = np.nonzero(is_edge & ((direction == 0) if is_rising else (np.abs(direction) == 4)))
        goes_on = steps > 0 if is_rising else steps < 0
        right = _run_lengths(goes_on)[row, column + 1]
        left = _run_lengths(goes_on[:, ::-1])[row, values.shape[1] - column]
        widths[row, column] = np.minimum(left + 1, MAX_MARGIN_STEPS) + np.minimum(right + 1, MAX_MARGIN_STEPS)
    return widths


def _upright_edges(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the sideways Sobel strength is above twice its root mean square and a peak along its row or column."""
    kernel = np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]) / 8.0
    strength = cv2.filter2D(values, cv2.CV_64F, kernel, borderType=cv2.BORDER_REFLECT) ** 2
    strength[strength <= 2.0 * np.sqrt(np.mean(strength))] = 0.0
    padded = np.pad(strength, 1)
    is_peak_of_row = (strength > padded[1:-1, :-2]) & (strength > padded[1:-1, 2:])
    is_peak_of_column = (strength > padded[:-2, 1:-1]) & (strength > padded[2:, 1:-1])
    return np.asarray(is_peak_of_row | is_peak_of_column)


def _run_lengths(goes_on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(H, W + 2): how many True follow one another from each column on; two columns of 0 at the end."""
    width = goes_on.shape[1]
    stop_at = np.where(goes_on, width, np.arange(width))
    stop_at = np.minimum.accumulate(stop_at[:, ::-1], axis=1)[:, ::-1]
    return np.pad(stop_at - np.arange(width), ((0, 0), (0, 2)))
