"""Does the matte's edge show: a step of colour across it that the plate does not have.

The edge is where the matte changes. Across it, along the matte's own direction of change, the result's slope of colour
is compared with the plate's at the same place. Slopes are averaged with their sign over a stretch of the edge: texture
cancels out, a step that runs along the edge does not. A soft matte makes a mismatch shallow, which is what feathering
is for. An edge of the plate that the result lacks is no seam: what counts is at most the result's own slope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.types import FloatArray

SECTORS: Final = 24
"""Stretches of the edge, by the direction in which they lie from the middle of the matte."""
MIN_SECTOR_PX: Final = 8
_SIGMA_PX: Final = 1.0
"""Blur before slopes are taken, so that grain has no say."""
_LEAST_SLOPE: Final = 0.01
"""Where the matte changes less per pixel there is no edge."""
_RIM_PX: Final = 2
"""The picture's border is no edge of the matte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The worst stretch of an edge.

    Attributes:
        step: slope that the plate has not, in percent of the display's range per pixel.
        clock: where it lies seen from the middle of the matte, as an hour of a clock face: 12 is the forehead.
    """

    step: float
    clock: int


def measure_seam(plate: FloatArray, result: FloatArray, matte: FloatArray) -> Seam | None:
    """The worst step across a matte's edge; None where the matte has no edge in the picture.

    Args:
        plate, result: (S, S, 3) RGB float32, sRGB-encoded, [0, 1], the same place.
        matte: (S, S) float32 in [0, 1].
    """
    smooth_matte = _blurred(matte)
    across, down = _slopes(smooth_matte)
    steepness = np.hypot(across, down)
    is_edge = steepness > _LEAST_SLOPE
    is_edge[:_RIM_PX] = is_edge[-_RIM_PX:] = False
    is_edge[:, :_RIM_PX] = is_edge[:, -_RIM_PX:] = False
    if int(is_edge.sum()) < MIN_SECTOR_PX:
        return None
    weights = steepness[is_edge]
    directions = np.stack([across[is_edge], down[is_edge]], axis=1) / np.maximum(weights, 1e-6)[:, None]
    toward = np.asarray(directions, dtype=np.float32)
    own, wanted = (_slopes_toward(picture, is_edge, toward) for picture in (result, plate))
    sectors = _sectors(matte, is_edge)
    steps = np.zeros(SECTORS)
    for sector in range(SECTORS):
        chosen = sectors == sector
        if int(chosen.sum()) >= MIN_SECTOR_PX:
            slope, plates = (np.average(one[chosen], axis=0, weights=weights[chosen]) for one in (own, wanted))
            steps[sector] = 100.0 * float(np.minimum(np.abs(slope - plates), np.abs(slope)).max())
    worst = int(steps.argmax())
    return Seam(step=float(steps[worst]), clock=round(12 * (worst + 0.5) / SECTORS) % 12 or 12)


def _slopes_toward(picture: FloatArray, is_edge: NDArray[np.bool_], toward: FloatArray) -> FloatArray:
    """(N, 3) slope of colour at every edge pixel in the direction in which the matte grows."""
    across, down = _slopes(_blurred(picture))
    slope = across[is_edge] * toward[:, :1] + down[is_edge] * toward[:, 1:]
    return np.asarray(slope, dtype=np.float32)


def _sectors(matte: FloatArray, is_edge: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For every edge pixel the number of its stretch, clockwise from the top."""
    total = float(matte.sum()) or 1.0
    rows, columns = np.mgrid[: matte.shape[0], : matte.shape[1]]
    middle_y, middle_x = float((rows * matte).sum()) / total, float((columns * matte).sum()) / total
    angle = np.arctan2(columns[is_edge] - middle_x, middle_y - rows[is_edge]) % (2.0 * math.pi)
    return np.asarray(np.minimum(angle / (2.0 * math.pi) * SECTORS, SECTORS - 1), dtype=np.int64)


def _blurred(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _SIGMA_PX, borderType=cv2.BORDER_REPLICATE), np.float32)


def _slopes(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Central differences per pixel, to the right and down."""
    down, across = (np.asarray(np.gradient(values, axis=axis), dtype=np.float32) for axis in (0, 1))
    return across, down
