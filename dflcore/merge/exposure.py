"""Fit the plate's light into what the networks know, and take it back afterwards.

Networks see [0, 1]. A face in an HDR plate may lie above or far below that, and even a well exposed one carries
highlights. Before encoding the crop is scaled so that its bright parts fit, and its highlights are rolled off; the
painted face goes the opposite way. Both are continuous in the picture's statistics, and for a face within [0, 1] they
are the identity, so nothing pops from frame to frame and ordinary footage is not touched.

Convention:
    Light is linear Rec.709, the networks' primaries: what fits is what the networks get. ``encoded`` is the same
    light under the sRGB curve, unbounded. Any shape, float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dflcore.color.transfer import linear_from_srgb, srgb_from_linear
from dflcore.types import FloatArray

BRIGHT_PERCENTILE = 95.0
"""Of the brightest channel inside the face: the level that must fit below 1.0."""
PEAK_PERCENTILE = 99.5
"""Of the same: the level that lands exactly on 1.0 after the roll-off."""
DARK_LEVEL = 0.1
"""A face whose bright level (scene-linear) is below this is lifted to it."""
MAX_LIFT = 64.0
"""Largest gain for dark faces; beyond six stops there is only noise."""
MAX_PEAK = 64.0
"""Largest highlight, in units of the scaled white, that is rolled off into [0, 1]; the rest clips in the network."""
KNEE = 0.8
"""Scene-linear level from which highlights are rolled off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How one face is brought to the networks and back.

    Attributes:
        gain: factor before encoding; 1 for a face within [:data:`DARK_LEVEL`, 1].
        peak: level after the gain that is mapped to 1.0; 1 when there are no highlights above it.
    """

    gain: float = 1.0
    peak: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Nothing is changed."""
        return self.gain == 1.0 and self.peak <= 1.0

    def fit(self, encoded: FloatArray) -> FloatArray:
        """Encoded plate light → encoded light the networks understand; not clipped."""
        return encoded if self.is_identity else _encode(self.compress(_decode(encoded)))

    def restore(self, encoded: FloatArray) -> FloatArray:
        """Inverse of :meth:`fit`, for the painted face."""
        return encoded if self.is_identity else _encode(self.expand(_decode(encoded)))

    def compress(self, rgb: FloatArray) -> FloatArray:
        """Linear plate light → linear light for the networks.

        Above the knee k the curve is ``k + d / (1 + a d)`` with d = x - k: slope 1 at k, 1.0 at the peak.
        """
        scaled = rgb * np.float32(self.gain)
        if self.peak <= 1.0:
            return scaled
        excess = np.maximum(scaled - np.float32(KNEE), 0.0)
        compressed = np.minimum(scaled, np.float32(KNEE)) + excess / (1.0 + np.float32(self._curvature) * excess)
        return np.asarray(compressed, dtype=np.float32)

    def expand(self, rgb: FloatArray) -> FloatArray:
        """Inverse of :meth:`compress`; above 1.0 it goes on along the tangent instead of running off to infinity."""
        if self.peak <= 1.0:
            return rgb * np.float32(1.0 / self.gain)
        curvature = np.float32(self._curvature)
        excess = np.maximum(rgb - np.float32(KNEE), 0.0)
        top = np.float32(1.0 - KNEE)
        bent = np.minimum(excess, top)
        slope = np.float32(1.0) / (1.0 - curvature * top) ** 2
        expanded = bent / (1.0 - curvature * bent) + slope * (excess - bent)
        result = (np.minimum(rgb, np.float32(KNEE)) + expanded) * np.float32(1.0 / self.gain)
        return np.asarray(result, dtype=np.float32)

    @property
    def _curvature(self) -> float:
        return 1.0 / (1.0 - KNEE) - 1.0 / (self.peak - KNEE)


def measure_exposure(encoded: FloatArray, mask: FloatArray) -> Exposure:
    """Decide how a face is brought into [0, 1].

    Args:
        encoded: (S, S, 3) finite, aligned space.
        mask: (S, S) in [0, 1]; the face is where it exceeds one half. An empty mask means all of the square.
    """
    brightest = encoded.max(axis=2)
    inside = brightest[mask > 0.5]
    levels = np.percentile(inside if inside.size else brightest, (BRIGHT_PERCENTILE, PEAK_PERCENTILE))
    bright, peak = _decode(levels.astype(np.float32))  # the curve keeps the order, so two numbers are enough
    gain = 1.0
    if bright > 1.0:
        gain = 1.0 / float(bright)
    elif bright < DARK_LEVEL:
        gain = min(DARK_LEVEL / max(float(bright), 1e-6), MAX_LIFT) if bright > 0.0 else 1.0
    return Exposure(gain=gain, peak=float(np.clip(peak * gain, 1.0, MAX_PEAK)))


def _decode(encoded: FloatArray) -> FloatArray:
    return np.asarray(linear_from_srgb(torch.from_numpy(encoded)).numpy())


def _encode(linear: FloatArray) -> FloatArray:
    return np.asarray(srgb_from_linear(torch.from_numpy(np.asarray(linear, np.float32))).numpy())
