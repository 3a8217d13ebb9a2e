"""Finds the frames that begin a new shot.

Every frame is boiled down to a signature of 1 KiB, so that the search needs no pixels and can be repeated. A cut is
where the pictures before and after differ in structure whichever of them are compared: a flash ends, and the picture
before it matches the one after it. What moves is followed: pictures are compared at the shift at which they agree
best. A dissolve or a fade is no cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.types import FloatArray

LUMA_GRID: Final = (9, 16)
"""Rows and columns of the luma picture in a signature."""
CHROMA_GRID: Final = (5, 8)
HISTOGRAM_BINS: Final = 32
SIGNATURE_SIZE: Final = 9 * 16 + 2 * 5 * 8 + HISTOGRAM_BINS
_BLUR_CELLS: Final = 0.6
"""Deviation of the blur before sampling, in cells: a move by part of a cell changes cells little."""
_MAX_SHIFT: Final = (3, 6)
"""Rows and columns by which a picture may have moved from frame to frame, in luma cells."""
_FLAT: Final = 0.02
"""Contrast (of 1) below which a picture has no structure: black, white, fog."""
_NEIGHBOURS = 3
"""Frames on each side that are compared; a disturbance shorter than this is no cut."""
_CELLS_THAT_COUNT: Final = 0.8
"""Share of the cells that are compared, those least changed: somebody who passes by changes few at a time."""
_WORTH_FOLLOWING: Final = 0.01
"""Structures that differ by less are not compared at other shifts; most frames of a plate need none."""
_ROWS_AT_ONCE = 2048
_BRIGHTNESS_SAY: Final = 2.0
_COLOR_SAY: Final = 20.0
"""What a full change of the histogram and of the colours (by all of 1) adds to a change of structure."""
_CUT_DISTANCE: Final = 0.05
"""Least distance across a cut, see :func:`signature_distance`."""
_SURE_DISTANCE: Final = 0.15
"""From here on one lively neighbour, such as another cut, is forgiven."""
_ACTIVITY_RATIO: Final = 2.0
"""A cut stands out from the changes beside it by this factor: whip pans and people who pass by change on and on."""


def frame_signature(image: NDArray[np.uint8]) -> FloatArray:
    """What a frame looks like from far away.

    Args:
        image: (h, w, 3) uint8 RGB, sRGB-encoded, of any size; 200 pixels across are enough.

    Returns:
        (256,) float32: a blurred luma picture of 9 x 16 cells, two blurred colour difference pictures of 5 x 8, and
        the roots of a luma histogram of 32 bins.

    Raises:
        InvalidInput: not an RGB image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InvalidInput(f"Expected an RGB image, got an array of shape {image.shape}.", reason="BAD_IMAGE")
    small = cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255.0)
    luma = small @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    histogram = np.histogram(luma, bins=HISTOGRAM_BINS, range=(0.0, 1.0 + 1e-6))[0] / luma.size
    return np.concatenate(
        [
            _cells(luma, LUMA_GRID).ravel(),
            _cells(small[..., 0] - luma, CHROMA_GRID).ravel(),
            _cells(small[..., 2] - luma, CHROMA_GRID).ravel(),
            np.sqrt(histogram),
        ]
    ).astype(np.float32)


def find_cuts(frames: Sequence[int], signatures: FloatArray) -> list[int]:
    """The frames that begin a new shot; the first frame is none.

    Args:
        frames: ascending frame numbers. Missing numbers are no cut by themselves.
        signatures: (n, k) of :func:`frame_signature`, one row per frame.

    Raises:
        InvalidInput: there is not one signature per frame, or they are of another kind.
    """
    table = np.asarray(signatures, dtype=np.float64)
    if len(frames) == 0:
        return []
    if table.shape != (len(frames), SIGNATURE_SIZE):
        raise InvalidInput(
            f"Expected {len(frames)} signatures of {SIGNATURE_SIZE} numbers, got an array of shape {table.shape}.",
            reason="BAD_SIGNATURES",
        )
    steps = signature_distance(table[:-1], table[1:])
    return [int(frames[at]) for at in range(1, len(table)) if _is_cut(table, steps, at)]


def _is_cut(table: NDArray[np.float64], steps: NDArray[np.float64], at: int) -> bool:
    """Whether a shot begins at index ``at``; ``steps[i]`` is the distance of frames i and i + 1."""
    if steps[at - 1] <= _CUT_DISTANCE:
        return False
    before, after = range(max(at - _NEIGHBOURS, 0), at), range(at, min(at + _NEIGHBOURS, len(table)))
    pairs = np.array([(a, b) for a in before for b in after])
    across = float(signature_distance(table[pairs[:, 0]], table[pairs[:, 1]]).min())
    beside = [steps[max(at - 1 - _NEIGHBOURS, 0) : at - 1], steps[at : at + _NEIGHBOURS]]
    liveliest = np.median if across > _SURE_DISTANCE else np.max
    activity = max((float(liveliest(side)) for side in beside if len(side)), default=0.0)
    return across > _CUT_DISTANCE and across > _ACTIVITY_RATIO * activity


def signature_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """How different pictures are, row by row: 0 for the same, 0.1 to 1 for different places.

    What counts is structure, luma without its mean and contrast, which light that changes for the whole picture leaves
    alone. Where structure differs, other colours and another distribution of brightness make the difference weightier.

    Args:
        a, b: (n, 256) signatures.

    Returns:
        (n,).
    """
    parts = [slice(first, first + _ROWS_AT_ONCE) for first in range(0, len(a), _ROWS_AT_ONCE)]
    return np.concatenate([_distance(a[part], b[part]) for part in parts] or [np.zeros(0)])


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    luma_size, chroma_size = LUMA_GRID[0] * LUMA_GRID[1], 2 * CHROMA_GRID[0] * CHROMA_GRID[1]
    ours, theirs = (one[:, :luma_size].reshape(-1, *LUMA_GRID) for one in (a, b))
    structure = _unlikeness(*_overlap(ours, theirs, 0, 0))
    lively = np.flatnonzero(structure > _WORTH_FOLLOWING)
    if len(lively):
        best = structure[lively]
        for down in range(-_MAX_SHIFT[0], _MAX_SHIFT[0] + 1):
            for right in range(-_MAX_SHIFT[1], _MAX_SHIFT[1] + 1):
                best = np.minimum(best, _unlikeness(*_overlap(ours[lively], theirs[lively], down, right)))
        structure[lively] = best
    color = np.abs(a - b)[:, luma_size : luma_size + chroma_size].mean(-1)
    brightness = 0.5 * ((a - b)[:, luma_size + chroma_size :] ** 2).sum(-1)  # Hellinger's, squared: 0 to 1
    return np.asarray(structure * (1.0 + _BRIGHTNESS_SAY * brightness + _COLOR_SAY * color))


def _cells(picture: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    height, width = picture.shape
    sigma = (_BLUR_CELLS * width / grid[1], _BLUR_CELLS * height / grid[0])
    blurred = cv2.GaussianBlur(picture, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1], borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(blurred, (grid[1], grid[0]), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _overlap(
    a: NDArray[np.float64], b: NDArray[np.float64], down: int, right: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The parts of two (n, rows, columns) pictures that lie on each other when the second is moved."""
    rows, columns = a.shape[1:]
    ours = a[:, max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)]
    theirs = b[:, max(-down, 0) : rows + min(-down, 0), max(-right, 0) : columns + min(-right, 0)]
    return ours.reshape(len(a), -1), theirs.reshape(len(a), -1)


def _unlikeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the structure of pictures (n, cells) differs in the cells that differ least; 0 to about 1."""
    a = a - a.mean(-1, keepdims=True)
    b = b - b.mean(-1, keepdims=True)
    a = a / np.sqrt((a**2).mean(-1, keepdims=True) + _FLAT**2)
    b = b / np.sqrt((b**2).mean(-1, keepdims=True) + _FLAT**2)
    squares = (a - b) ** 2
    kept = max(round(_CELLS_THAT_COUNT * squares.shape[1]), 1)
    return np.asarray(np.partition(squares, kept - 1, axis=-1)[:, :kept].mean(-1) / 4.0)
