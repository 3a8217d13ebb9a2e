"""The pick of a faceset: every direction of the head, the sharpest of each, as different as possible.

Source: the method ``final`` of the deepfacelab fact sheet §1.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.chains import Stepped, histogram_dissimilarity
from dflcore.errors import InvalidInput

YAW_BINS: Final = 128
YAW_LIMIT: Final = 1.2
"""Radians; what lies beyond goes into the outer bins."""
PITCH_LIMIT: Final = np.pi / 2
PRESELECTION: Final = 10
"""Of each yaw bin this many times as many faces as wanted are looked at, the sharpest."""
DEFAULT_TARGET: Final = 2000

BLURRED: Final = "less sharp than enough others of its yaw"
SURPLUS: Final = "enough others of its yaw and pitch were chosen"


@dataclass(frozen=True, slots=True, kw_only=True)
class BestFaces:
    """Row numbers: chosen ones in order, and the others with the reason in words."""

    chosen: NDArray[np.int64]
    rejected: dict[int, str]


def choose_best(
    yaw: NDArray[np.float64],
    pitch: NDArray[np.float64],
    quality: NDArray[np.float64],
    gray: NDArray[np.float32],
    target_count: int,
    stepped: Stepped,
) -> BestFaces:
    """Pick about ``target_count`` faces.

    Faces fall into 128 bins of yaw. A bin is entitled to its share of the target, and what poor bins lack is spread
    over all. Of each bin the sharpest tenfold is kept, divided into as many bins of pitch as faces are wanted, and
    from these, most unusual histogram first, one face is taken at a time, round and round.

    Args:
        yaw, pitch: (n,) radians.
        quality: (n,) sharpness, or the size of the face in the plate; higher is better.
        gray: (n, 256) counts of the whole grey picture.
        target_count: faces wanted; a set with fewer faces in a bin gives fewer.

    Raises:
        InvalidInput: fewer faces wanted than there are bins of yaw.
    """
    if target_count < YAW_BINS:
        raise InvalidInput(
            f"The best faces are spread over {YAW_BINS} directions of the head; ask for at least as many, "
            f"not {target_count}.",
            reason="TARGET_TOO_SMALL",
            field="target_count",
        )
    bin_of = _bins(-yaw, YAW_LIMIT, YAW_BINS)
    members = [np.flatnonzero(bin_of == number) for number in range(YAW_BINS)]
    wanted = round(target_count / YAW_BINS)
    wanted += sum(max(wanted - len(rows), 0) for rows in members) // YAW_BINS
    chosen: list[int] = []
    rejected: dict[int, str] = {}
    for rows in members:
        ranked = rows[np.argsort(-quality[rows], kind="stable")]
        rejected |= dict.fromkeys(ranked[PRESELECTION * wanted :].tolist(), BLURRED)
        ranked = ranked[: PRESELECTION * wanted]
        queues = _by_pitch(ranked, pitch, gray, wanted, stepped)
        taken = _round_robin(queues, wanted)
        chosen += taken
        rejected |= dict.fromkeys(sorted(set(ranked.tolist()) - set(taken)), SURPLUS)
    return BestFaces(chosen=np.array(chosen, dtype=np.int64), rejected=rejected)


def _by_pitch(
    rows: NDArray[np.int64], pitch: NDArray[np.float64], gray: NDArray[np.float32], bins: int, stepped: Stepped
) -> list[list[int]]:
    """Rows by bin of pitch, those with the most unusual histogram of their bin first."""
    bin_of = _bins(pitch[rows], PITCH_LIMIT, bins)
    queues = []
    for number in range(bins):
        inside = rows[bin_of == number]
        unusual = histogram_dissimilarity(gray[inside], stepped) if len(inside) > 1 else np.zeros(len(inside))
        queues.append(inside[np.argsort(-unusual, kind="stable")].tolist())
    return queues


def _round_robin(queues: list[list[int]], count: int) -> list[int]:
    taken = [(turn, number, row) for number, queue in enumerate(queues) for turn, row in enumerate(queue)]
    return [row for _, _, row in sorted(taken)[:count]]


def _bins(angles: NDArray[np.float64], limit: float, count: int) -> NDArray[np.int64]:
    """Bin of each angle among ``count`` equal ones over ±limit; the outer ones take what lies beyond."""
    edges = np.linspace(-limit, limit, count + 1)[1:-1]
    return np.searchsorted(edges, angles, side="right")
