"""Pictures that show nearly the same: a head that holds still gives hundreds of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.chains import Stepped, picture_differences
from dflcore.types import FloatArray

DEFAULT_BITS: Final = 6
"""Perceptual hashes of 64 bits that differ in more bits than this are different pictures."""
DEFAULT_DIFFERENCE: Final = 3.0
"""Mean difference of small pictures, in levels of 255, up to which they count as the same."""
DEFAULT_STEPS: Final = 0.4
"""Steps of expression up to which faces count as the same: a blink or a parted lip hardly changes a small picture."""
_REPORT_FACES: Final = 1000


def group_duplicates(
    hashes: NDArray[np.uint64],
    thumbs: NDArray[np.uint8],
    expressions: FloatArray,
    priority: NDArray[np.int64],
    stepped: Stepped,
    *,
    max_bits: int = DEFAULT_BITS,
    max_difference: float = DEFAULT_DIFFERENCE,
    max_steps: float = DEFAULT_STEPS,
) -> NDArray[np.int64]:
    """Which face stands for each face.

    Faces are gone through by priority. One that nobody stands for yet leads a group, and stands for all that are left
    and look like it. Everyone is compared with leaders only, so a slow movement is not chained into a single group.
    For n faces and g groups O(n · g) comparisons of 8 bytes, and one of 3072 bytes per pair whose hashes are near.

    Args:
        hashes: (n,) perceptual hashes.
        thumbs: (n, 3072) uint8.
        expressions: (n, d) lengths in steps; one that is not known is like no other.
        priority: (n,) row numbers, those that should lead first.

    Returns:
        (n,) row number of each row's leader; leaders stand for themselves.
    """
    leaders = np.full(len(hashes), -1, dtype=np.int64)
    left = priority
    for done, row in enumerate(priority):
        if done % _REPORT_FACES == _REPORT_FACES - 1:
            stepped(_REPORT_FACES)
            left = left[leaders[left] < 0]
        if leaders[row] >= 0:
            continue
        near = left[(np.bitwise_count(hashes[left] ^ hashes[row]) <= max_bits) & (leaders[left] < 0)]
        near = near[(np.abs(expressions[near] - expressions[row]) <= max_steps).all(axis=1)]
        difference = picture_differences(thumbs[near], thumbs[row]) / thumbs.shape[1]
        leaders[near[difference <= max_difference]] = row
        leaders[row] = row
    return leaders
