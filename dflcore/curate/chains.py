"""Orders that walk from face to face: always on to the nearest, or the farthest, of those left.

Both walks are exact, ties included, for up to :data:`CHUNK_FACES` faces; larger sets are walked chunk by chunk in
their present order, as the reference does. For n faces of one chunk:

- histograms: one n x n matrix in float32 (1.6 GB for 20 000 faces) from three matrix products, O(n² · 768) floating
  point operations, then n steps of O(n); close calls are decided in float64.
- small pictures, nearest: n steps of O(n · 48) for a lower bound, and the exact distance only where the bound allows
  it; farthest: n steps of O(n · 3072).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import Cancelled
from dflcore.progress import FrameProgress, RunControl

CHUNK_FACES: Final = 20_000
CLOSE_CALL: Final = 5e-3
"""Summed histogram distances this near to each other in float32 are compared again in float64."""
_BLOCK: Final = 1024
_CHANNELS: Final = 3
_COARSE_FIELDS: Final = 4
_CANDIDATES: Final = 256
_REPORT_STEPS: Final = 500

Stepped = Callable[[int], None]
"""Called with the number of faces placed since the last call; raises Cancelled."""


def in_chunks(count: int, chain: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> NDArray[np.int64]:
    """(count,) row numbers: the chains of each chunk of rows one after the other.

    Args:
        chain: rows of one chunk → the same rows in chain order.
    """
    chunks = [np.arange(start, min(start + CHUNK_FACES, count)) for start in range(0, count, CHUNK_FACES)]
    return np.concatenate([chain(chunk) for chunk in chunks]) if chunks else np.zeros(0, dtype=np.int64)


def report_to(control: RunControl, total: int) -> Stepped:
    """A :data:`Stepped` that says how far a walk of ``total`` faces is and stops it when asked."""
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        control.emit(FrameProgress(done=done, total=total))
        if control.stop_requested() is not None:
            raise Cancelled("Sorting was stopped; nothing was changed.", reason="CANCELLED")

    return step


def unit_roots(counts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Square roots of histograms that sum to 1: their scalar product is the Bhattacharyya coefficient.

    Args:
        counts: (n, bins); an empty histogram gives zeros.
    """
    total = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(np.sqrt(counts / np.maximum(total, 1.0)), dtype=np.float64)


def histogram_chain(counts: NDArray[np.float32], stepped: Stepped) -> NDArray[np.int64]:
    """Greedy chain from row 0 over summed Bhattacharyya distances of three channels.

    The list is kept as the reference keeps it: the nearest of those left swaps places with the next in line, so that
    of equally near ones the first of the swapped list is taken.

    Args:
        counts: (n, 768) counts of three channels.

    Returns:
        (n,) row numbers.
    """
    count = len(counts)
    roots = [unit_roots(counts[:, start : start + 256]) for start in range(0, counts.shape[1], 256)]
    distances = _summed_distances(roots, stepped)
    order = np.arange(count)
    for place in range(1, count):
        current, left = order[place - 1], order[place:]
        row = distances[current, left]
        close = np.flatnonzero(row <= row.min() + CLOSE_CALL)
        if len(close) > 1:
            exact = sum(
                np.sqrt(np.maximum(1.0 - np.einsum("nd,d->n", root[left[close]], root[current]), 0.0)) for root in roots
            )
            close = close[[int(np.argmin(exact))]]
        other = place + int(close[0])
        order[place], order[other] = order[other], order[place]
        if place % _REPORT_STEPS == 0:
            stepped(_REPORT_STEPS)
    return order


def _summed_distances(roots: list[NDArray[np.float64]], stepped: Stepped) -> NDArray[np.float32]:
    count = len(roots[0])
    narrow = [root.astype(np.float32) for root in roots]
    distances = np.zeros((count, count), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = distances[start : start + _BLOCK]
        for root in narrow:
            coefficient = root[start : start + _BLOCK] @ root.T
            np.subtract(1.0, coefficient, out=coefficient)
            np.maximum(coefficient, 0.0, out=coefficient)
            block += np.sqrt(coefficient, out=coefficient)
        stepped(0)
    return distances


def histogram_dissimilarity(counts: NDArray[np.float32], stepped: Stepped) -> NDArray[np.float64]:
    """(n,) sums of Bhattacharyya distances to all others, float64; O(n² · 256 / 2) in blocks, memory O(n).

    Args:
        counts: (n, 256).
    """
    roots = unit_roots(counts)
    sums = np.zeros(len(roots))
    for start in range(0, len(roots), _BLOCK):
        block = roots[start : start + _BLOCK]
        for other_start in range(start, len(roots), _BLOCK):
            distances = np.sqrt(np.maximum(1.0 - block @ roots[other_start : other_start + _BLOCK].T, 0.0))
            if other_start == start:
                np.fill_diagonal(distances, 0.0)
            else:
                sums[other_start : other_start + _BLOCK] += distances.sum(axis=0)
            sums[start : start + _BLOCK] += distances.sum(axis=1)
        stepped(len(block))
    return sums


def picture_chain(thumbs: NDArray[np.uint8], stepped: Stepped, *, farthest: bool = False) -> NDArray[np.int64]:
    """Greedy chain from row 0 over summed absolute differences; of equals the lowest row is taken.

    Args:
        thumbs: (n, side * side * 3) uint8 rows of square RGB pictures.
        farthest: walk to the most different one instead of the most similar.

    Returns:
        (n,) row numbers.
    """
    count = len(thumbs)
    order = np.zeros(count, dtype=np.int64)
    pool = _Pool(thumbs)
    current = 0
    for place in range(1, count):
        pool.remove(current)
        current = pool.farthest(thumbs[current]) if farthest else pool.nearest(thumbs[current])
        order[place] = current
        if place % _REPORT_STEPS == 0:
            stepped(_REPORT_STEPS)
    return order


class _Pool:
    """Pictures not yet placed, in row order; placed ones are cleared out when a quarter of the pool is."""

    def __init__(self, thumbs: NDArray[np.uint8]) -> None:
        self._rows = np.arange(len(thumbs))
        self._thumbs = thumbs
        self._coarse = coarse_sums(thumbs)
        self._is_left = np.ones(len(thumbs), dtype=np.bool_)
        self._gone = 0

    def remove(self, row: int) -> None:
        self._is_left[np.searchsorted(self._rows, row)] = False
        self._gone += 1
        if 4 * self._gone > len(self._rows):
            kept = self._is_left
            self._rows, self._thumbs, self._coarse = self._rows[kept], self._thumbs[kept], self._coarse[kept]
            self._is_left = np.ones(len(self._rows), dtype=np.bool_)
            self._gone = 0

    def nearest(self, thumb: NDArray[np.uint8]) -> int:
        """Row of the most similar picture left, the first of equals."""
        bound = np.abs(self._coarse - coarse_sums(thumb[None])[0]).sum(axis=1)
        bound[~self._is_left] = np.inf
        best = int(np.argmin(bound))
        nearest = int(picture_differences(self._thumbs[best : best + 1], thumb)[0])
        candidates = np.flatnonzero(bound <= nearest)
        while len(candidates):
            some = candidates[np.argsort(bound[candidates], kind="stable")[:_CANDIDATES]]
            differences = picture_differences(self._thumbs[some], thumb)
            lowest = int(differences.min())
            first = int(some[differences == lowest].min())
            if lowest < nearest or (lowest == nearest and first < best):
                nearest, best = lowest, first
            candidates = np.setdiff1d(candidates, some, assume_unique=True)
            candidates = candidates[bound[candidates] <= nearest]
        return int(self._rows[best])

    def farthest(self, thumb: NDArray[np.uint8]) -> int:
        """Row of the most different picture left, the first of equals."""
        differences = picture_differences(self._thumbs, thumb)
        differences[~self._is_left] = -1
        return int(self._rows[np.argmax(differences)])


def coarse_sums(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 48) sums over 4 x 4 fields: the summed differences of these never exceed those of the pictures."""
    side = round((thumbs.shape[1] / _CHANNELS) ** 0.5)
    field = side // _COARSE_FIELDS
    fields = thumbs.reshape(-1, _COARSE_FIELDS, field, _COARSE_FIELDS, field, _CHANNELS)
    sums = fields.sum(axis=(2, 4), dtype=np.uint32)
    return np.asarray(sums.reshape(len(thumbs), -1), dtype=np.float32)


def picture_differences(thumbs: NDArray[np.uint8], thumb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n,) summed absolute differences of each row to one picture."""
    sums = np.empty(len(thumbs), dtype=np.int64)
    for start in range(0, len(thumbs), _BLOCK):
        rows = np.ascontiguousarray(thumbs[start : start + _BLOCK])
        apart = cv2.absdiff(rows, np.ascontiguousarray(np.broadcast_to(thumb, rows.shape)))
        sums[start : start + len(rows)] = np.asarray(cv2.reduce(apart, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S))[:, 0]
    return sums
