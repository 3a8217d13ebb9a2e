"""How alike two pictures are in structure: SSIM, between a result and the target it replaces.

Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
IEEE TIP 13(4), 2004, with its own numbers: a Gaussian window of 11 taps and 1.5 px, K1 = 0.01, K2 = 0.03, on luma,
windows that lie wholly inside the picture::

    SSIM = (2 ma mb + C1) (2 cov + C2) / ((ma² + mb² + C1) (va + vb + C2)),   C1 = 0.01², C2 = 0.03²

The paper (arXiv:2005.05535, Tables 1 and 2) names SSIM and says no more of it.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.qc.sharpness import LUMA_WEIGHTS
from dflcore.types import FloatArray

WINDOW_PX: Final = 11
WINDOW_SIGMA_PX: Final = 1.5
C1: Final = 0.01**2
C2: Final = 0.03**2
"""For values in [0, 1]."""
_REACH: Final = WINDOW_PX // 2


def structural_similarity(a: FloatArray, b: FloatArray, mask: NDArray[np.bool_] | None = None) -> float:
    """Mean SSIM of two pictures: 1 for the same, about 0 for unrelated ones, below 0 for opposites.

    Args:
        a, b: (H, W, 3) RGB or (H, W) luma, float32, sRGB-encoded, [0, 1].
        mask: (H, W) the windows whose centres count; None for all. Centres nearer than 5 px to the border never do.

    Raises:
        InvalidInput: shapes differ, the picture is smaller than the window, or the mask leaves no centre.
    """
    if a.shape != b.shape or a.ndim not in (2, 3) or min(a.shape[:2]) < WINDOW_PX:
        raise InvalidInput(
            f"SSIM compares two pictures of one size, {WINDOW_PX} px or more per side, not {a.shape} and {b.shape}.",
            reason="BAD_SHAPE",
        )
    similarity = _similarity_map(_luma(a), _luma(b))
    if mask is None:
        return float(similarity.mean())
    if mask.shape != a.shape[:2]:
        raise InvalidInput(f"A mask {mask.shape} does not fit a picture {a.shape}.", reason="BAD_SHAPE")
    inside = mask[_REACH:-_REACH, _REACH:-_REACH]
    if not inside.any():
        raise InvalidInput("The mask leaves nothing to compare.", reason="MASK_TOO_SMALL")
    return float(similarity[inside].mean())


def _luma(picture: FloatArray) -> NDArray[np.float64]:
    luma = picture @ LUMA_WEIGHTS if picture.ndim == 3 else picture
    return np.ascontiguousarray(luma, dtype=np.float64)


def _similarity_map(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H - 10, W - 10): one value per window."""
    mean_a, mean_b = _mean(a), _mean(b)
    covariance = _mean(a * b) - mean_a * mean_b
    variances = _mean(a * a) - mean_a * mean_a + _mean(b * b) - mean_b * mean_b
    luminance = (2.0 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return np.asarray(luminance * (2.0 * covariance + C2) / (variances + C2))


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of the windows that lie inside."""
    taps = cv2.getGaussianKernel(WINDOW_PX, WINDOW_SIGMA_PX, cv2.CV_64F)
    blurred = np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, taps, taps), dtype=np.float64)
    return blurred[_REACH:-_REACH, _REACH:-_REACH]
