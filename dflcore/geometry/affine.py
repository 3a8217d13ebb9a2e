"""2-D affine transforms as (2, 3) float64 matrices: estimate, compose, invert, apply.

Convention:
    Points are (x, y), x right, y down. ``b_from_a`` maps p_a to ``M[:, :2] @ p_a + M[:, 2]``. All in float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dflcore.errors import InvalidInput
from dflcore.types import Affine

IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
IDENTITY.flags.writeable = False


def estimate_similarity(from_points: ArrayLike, to_points: ArrayLike) -> Affine:
    """The rotation, uniform scale and shift that carry one set of points onto the other, least squares.

    Source: Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns",
    eq. 40-43, with population covariance; never returns a mirror image.

    Args:
        from_points, to_points: (N, 2), N of 2 or more, rows belong together.

    Returns:
        ``to_from_from``, (2, 3) float64.

    Raises:
        InvalidInput: fewer than two points, shapes differ, values not finite, or all points coincide.
    """
    source = np.asarray(from_points, dtype=np.float64)
    target = np.asarray(to_points, dtype=np.float64)
    if source.ndim != 2 or source.shape != target.shape or source.shape[1] != 2 or source.shape[0] < 2:
        raise InvalidInput(
            f"A similarity needs two equal lists of at least two points, not {source.shape} and {target.shape}.",
            reason="BAD_POINTS",
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InvalidInput("The points to align contain values that are not numbers.", reason="BAD_POINTS")
    source_mean, target_mean = source.mean(0), target.mean(0)
    source_centered, target_centered = source - source_mean, target - target_mean
    variance = float((source_centered**2).sum(1).mean())
    if variance <= 1e-18:
        raise InvalidInput("The points to align all lie in one place.", reason="BAD_POINTS")
    covariance = target_centered.T @ source_centered / len(source)
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) >= 0 else -1.0])
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum()) / variance
    linear = scale * rotation
    return np.column_stack([linear, target_mean - linear @ source_mean])


def compose(c_from_b: Affine, b_from_a: Affine) -> Affine:
    """``c_from_a``: first ``b_from_a``, then ``c_from_b``."""
    linear = c_from_b[:, :2] @ b_from_a[:, :2]
    return np.column_stack([linear, c_from_b[:, :2] @ b_from_a[:, 2] + c_from_b[:, 2]])


def invert(b_from_a: Affine) -> Affine:
    """``a_from_b``.

    Raises:
        InvalidInput: the transform collapses the plane and has no inverse.
    """
    m = np.asarray(b_from_a, dtype=np.float64)
    a, b, c, d = m[0, 0], m[0, 1], m[1, 0], m[1, 1]
    determinant = a * d - b * c
    if not math.isfinite(determinant) or abs(determinant) < 1e-18:
        raise InvalidInput("The transform has no inverse: it maps everything onto a line.", reason="SINGULAR_TRANSFORM")
    linear = np.array([[d, -b], [-c, a]]) / determinant
    return np.column_stack([linear, -linear @ m[:, 2]])


def apply(b_from_a: Affine, points: ArrayLike) -> NDArray[np.float64]:
    """(..., 2) points of space a in space b, float64."""
    p = np.asarray(points, dtype=np.float64)
    result: NDArray[np.float64] = p @ b_from_a[:, :2].T + b_from_a[:, 2]
    return result


def scale_of(b_from_a: Affine) -> float:
    """Length in b of one unit of a (root of the determinant's size)."""
    return math.sqrt(abs(float(np.linalg.det(np.asarray(b_from_a, dtype=np.float64)[:, :2]))))


def rotation_of(b_from_a: Affine) -> float:
    """Angle in radians by which the transform turns, clockwise in the image positive."""
    return math.atan2(float(b_from_a[1, 0]), float(b_from_a[0, 0]))


def shift(x: float, y: float) -> Affine:
    """The transform that moves points by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
