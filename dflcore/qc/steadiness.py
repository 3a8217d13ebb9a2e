"""Is the face as steady as the plate: changes from frame to frame that the plate does not make.

Two neighbouring frames are compared in the face's own square, so that head and camera moves cancel out as far as the
landmarks tell. The plate's change is taken off in squares, as independent changes add up that way::

    excess = sqrt(max(result² - plate², 0))

A frame is odd by the smaller of its changes to the frame before and the frame after: one frame that pops is found
without blaming its neighbours, and a cut or a blink blames nobody. Colour is stricter: a change that lasts is held
against the frame that arrives with it, as the plate's own is taken off already. The first and last frame have one
neighbour; there the neighbour's other change is taken off, as it may be the odd one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from dflcore.qc.expression import EYE_CORNERS
from dflcore.types import FloatArray

SMALL_PX: Final = 32
"""Side of the square in which pictures are compared: features, not pores and grain."""
_LEAST_WEIGHT: Final = 0.5
_EXPLAINED: Final = 0.5
"""An odd frame explains a change to or from it that is not more than twice its own."""
PAIRED: Final = ("flicker", "boil", "jitter")
"""What a pair of frames is measured for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTrace:
    """What is kept of a face until the next frame has been seen.

    Attributes:
        plate, result: (SMALL_PX, SMALL_PX, 3) RGB float32, sRGB-encoded, [0, 1].
        weight: (SMALL_PX, SMALL_PX) share of the matte.
        plate_points, result_points: (68, 2) landmarks in the face's square.
    """

    plate: FloatArray
    result: FloatArray
    weight: FloatArray
    plate_points: FloatArray
    result_points: FloatArray


def trace_face(
    plate: FloatArray, result: FloatArray, matte: FloatArray, plate_points: FloatArray, result_points: FloatArray
) -> FaceTrace:
    """Shrink a face for comparison with the next frame.

    Args:
        plate, result: (S, S, 3) RGB float32, sRGB-encoded, [0, 1]. matte: (S, S) float32 in [0, 1].
    """

    def small(picture: FloatArray) -> FloatArray:
        return np.asarray(cv2.resize(picture, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA), np.float32)

    return FaceTrace(
        plate=small(plate),
        result=small(result),
        weight=small(matte),
        plate_points=plate_points,
        result_points=result_points,
    )


def compare_traces(before: FaceTrace, after: FaceTrace) -> dict[str, float]:
    """What one face does from a frame to the next beyond the plate's doing, by name, see :data:`PAIRED`.

    Colours in percent of the display's range; jitter in percent of the distance between the plate's outer eye corners.
    """
    weight = np.minimum(before.weight, after.weight)
    weight = np.where(weight >= _LEAST_WEIGHT, weight, 0.0)
    changes: dict[str, float] = {"jitter": _jitter(before, after)}
    if weight.sum() <= 0.0:
        return changes
    result_mean, result_rest = _change(after.result - before.result, weight)
    plate_mean, plate_rest = _change(after.plate - before.plate, weight)
    changes["flicker"] = 100.0 * float(np.abs(result_mean - plate_mean).max())
    changes["boil"] = 100.0 * excess(result_rest, plate_rest)
    return changes


def excess(result: float, plate: float) -> float:
    """What is left of the result's change when the plate's is taken off."""
    return math.sqrt(max(result * result - plate * plate, 0.0))


def oddness(pairs: Mapping[int, float], frames: Sequence[int]) -> dict[int, float]:
    """How far each frame stands out between its neighbours.

    Args:
        pairs: change from ``frames[i]`` to ``frames[i + 1]`` under the number ``frames[i]``; pairs that could not be
            measured are absent.
        frames: in order.

    Returns:
        For every frame with a measured change to at least one neighbour.
    """
    odd: dict[int, float] = {}
    for index, frame in enumerate(frames):
        before = pairs.get(frames[index - 1]) if index > 0 else None
        after = pairs.get(frame)
        if before is not None and after is not None:
            odd[frame] = min(before, after)
        elif after is not None:
            odd[frame] = _one_sided(after, pairs.get(frames[index + 1]) if index + 1 < len(frames) else None)
        elif before is not None:
            odd[frame] = _one_sided(before, pairs.get(frames[index - 2]) if index > 1 else None)
    return odd


def oddness_and_jumps(pairs: Mapping[int, float], frames: Sequence[int]) -> dict[int, float]:
    """As :func:`oddness`, and a change that no odd frame explains counts for the frame that arrives with it.

    For changes that should not be even once: the face's colour against the plate's.
    """
    odd = oddness(pairs, frames)
    found = dict(odd)
    for before, after in itertools.pairwise(frames):
        change = pairs.get(before, 0.0)
        if max(odd.get(before, 0.0), odd.get(after, 0.0)) < _EXPLAINED * change:
            found[after] = max(found.get(after, 0.0), change)
    return found


def _one_sided(change: float, neighbours_other: float | None) -> float:
    return change if neighbours_other is None else max(change - neighbours_other, 0.0)


def _change(difference: FloatArray, weight: FloatArray) -> tuple[FloatArray, float]:
    """(3,) mean change, and the root mean square of what is left without it."""
    total = float(weight.sum())
    mean = (difference * weight[..., None]).sum(axis=(0, 1)) / total
    rest = ((difference - mean) ** 2).mean(axis=2)
    return np.asarray(mean, np.float32), math.sqrt(float((rest * weight).sum()) / total)


def _jitter(before: FaceTrace, after: FaceTrace) -> float:
    """Root mean square move of the landmarks, less the plate's."""
    first, second = (after.plate_points[index] for index in EYE_CORNERS)
    size = max(float(np.linalg.norm(first - second)), 1e-6)

    def move(a: FloatArray, b: FloatArray) -> float:
        return math.sqrt(float(((b - a) ** 2).sum(axis=1).mean()))

    result = move(before.result_points, after.result_points)
    plate = move(before.plate_points, after.plate_points)
    return 100.0 * excess(result, plate) / size
