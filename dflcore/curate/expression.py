"""What a face does, read off its landmarks: a few named lengths, for all faces of a set at once.

Convention:
    Lengths are in template units (1 is the width of the brows of the alignment template, whatever the size of the
    face in the plate). Left and right are those of the image. Turning the head shortens what the camera sees; lengths
    across are divided by the cosine of yaw, lengths up and down by that of pitch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.types import FloatArray

LEAST_COSINE: Final = 0.35
"""Beyond some 70 degrees the correction would only enlarge noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionMeasure:
    """One named length.

    Attributes:
        name: as filters and reports write it.
        title: as a person reads it.
        step: a difference a viewer notices, template units; used to weigh measures against each other.
    """

    name: str
    title: str
    step: float


MEASURES: Final[tuple[ExpressionMeasure, ...]] = (
    ExpressionMeasure(name="mouth_open", title="mouth open", step=0.06),
    ExpressionMeasure(name="mouth_width", title="smile width", step=0.06),
    ExpressionMeasure(name="brow_left", title="left brow height", step=0.04),
    ExpressionMeasure(name="brow_right", title="right brow height", step=0.04),
    ExpressionMeasure(name="eye_left", title="left eye open", step=0.025),
    ExpressionMeasure(name="eye_right", title="right eye open", step=0.025),
)
STEPS: Final[NDArray[np.float32]] = np.array([measure.step for measure in MEASURES], dtype=np.float32)


def template_points(points: FloatArray) -> FloatArray:
    """Faces moved, turned and scaled onto the alignment template.

    The closed form of the least-squares similarity in the complex plane; the same as
    :func:`dflcore.geometry.affine.estimate_similarity`, for all faces at once.

    Args:
        points: (n, 68, 2) pixels of any space.

    Returns:
        (n, 68, 2) float32 template units; NaN for faces whose points all coincide.
    """
    z = points[..., 0] + 1j * points[..., 1].astype(np.complex128)  # (n, 68)
    steering = z[:, list(ALIGNMENT_INDEXES)]
    goal = ALIGNMENT_TEMPLATE[:, 0] + 1j * ALIGNMENT_TEMPLATE[:, 1]
    center, goal_center = steering.mean(axis=1, keepdims=True), goal.mean()
    offset = steering - center
    spread = (offset.real**2 + offset.imag**2).sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (offset.conj() * (goal - goal_center)).sum(axis=1, keepdims=True) / spread
        placed = factor * (z - center) + goal_center
    return np.stack([placed.real, placed.imag], axis=-1).astype(np.float32)


def measure_expressions(points: FloatArray, yaw: NDArray[np.float64], pitch: NDArray[np.float64]) -> FloatArray:
    """(n, 6) float32 lengths in the order of :data:`MEASURES`.

    Args:
        points: (n, 68, 2) template units.
        yaw, pitch: (n,) radians.
    """
    across = np.maximum(np.cos(yaw), LEAST_COSINE)
    upright = np.maximum(np.cos(pitch), LEAST_COSINE)
    y = points[..., 1]
    mouth_open = _distance(points, (61, 62, 63), (67, 66, 65)) / upright
    mouth_width = _distance(points, (48,), (54,)) / across
    brow_left = (y[:, 36:42].mean(axis=1) - y[:, 17:22].mean(axis=1)) / upright
    brow_right = (y[:, 42:48].mean(axis=1) - y[:, 22:27].mean(axis=1)) / upright
    eye_left = _distance(points, (37, 38), (41, 40)) / upright
    eye_right = _distance(points, (43, 44), (47, 46)) / upright
    return np.stack([mouth_open, mouth_width, brow_left, brow_right, eye_left, eye_right], axis=1).astype(np.float32)


def _distance(points: FloatArray, first: tuple[int, ...], second: tuple[int, ...]) -> NDArray[np.float64]:
    apart = points[:, list(first)].astype(np.float64) - points[:, list(second)]
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]).mean(axis=1))
