"""How much grain a face has, beside the plate's own grain in the same place.

Source: Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2), 1996: the difference
of two Laplacians removes what is flat, sloped or curved and leaves noise with six times its deviation. Differs: the
median instead of the mean, so that hair and eyelashes have no say.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.qc.sharpness import LUMA_WEIGHTS
from dflcore.types import FloatArray

LEAST_NOISE: Final = 0.0012
"""Of the display's range, a third of an 8-bit step: less than this is rounding, not grain."""
MIN_PX: Final = 400
_KERNEL: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_GAIN: Final = 6.0
_MEDIAN_OF_NORMAL: Final = 0.6745


def measure_noise(picture: FloatArray, mask: NDArray[np.bool_]) -> float | None:
    """Standard deviation of the noise of a picture's luma inside a mask; None for a mask of too few pixels.

    Args:
        picture: (H, W, 3) RGB float32, sRGB-encoded, [0, 1], not resampled: resampling removes grain.
        mask: (H, W).
    """
    inside = cv2.erode(
        mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0.0
    )
    chosen = np.asarray(inside, dtype=np.bool_)
    if int(chosen.sum()) < MIN_PX:
        return None
    luma = np.ascontiguousarray(picture @ LUMA_WEIGHTS, dtype=np.float32)
    rest = np.abs(np.asarray(cv2.filter2D(luma, cv2.CV_32F, _KERNEL)))[chosen]
    return float(np.median(rest)) / (_MEDIAN_OF_NORMAL * _GAIN)


def noise_ratio(result: FloatArray, plate: FloatArray, mask: NDArray[np.bool_]) -> float | None:
    """Noise of a face as a share of the plate's; None where the plate has next to none, or the mask is too small.

    Args:
        result, plate, mask: as :func:`measure_noise`.
    """
    own = measure_noise(plate, mask)
    face = measure_noise(result, mask)
    if own is None or face is None or own < LEAST_NOISE:
        return None
    return face / own
