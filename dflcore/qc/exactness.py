"""Is the plate untouched where it had to be: compared bit by bit, as the files hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Exactness:
    """What a comparison outside the matte found.

    Attributes:
        compared_px: pixels with a matte of exactly zero.
        differing_px: of these, those with any bit of any channel changed.
        max_difference: largest absolute difference of any channel there, in the plate's units; infinite where a finite
            value became NaN or infinite, or the other way round.
        max_value: largest finite colour value of the result there.
        plate_max_value: the same of the plate.
    """

    compared_px: int
    differing_px: int
    max_difference: float
    max_value: float
    plate_max_value: float

    @property
    def is_exact(self) -> bool:
        """Not one bit has changed."""
        return self.differing_px == 0


def measure_exactness(plate: NDArray[Any], result: NDArray[Any], matte: NDArray[Any]) -> Exactness:
    """Compare a result with its plate where the matte is zero.

    Two pixels are the same when all their bits are: ``-0.0`` differs from ``0.0``, a NaN equals the same NaN.

    Args:
        plate, result: (H, W, C) of one floating type (float16 or float32), the same pixels and channels; the first
            three channels are colour.
        matte: (H, W) the matte as it was delivered; exactly 0 means outside.

    Raises:
        InvalidInput: shapes or types differ.
    """
    _check(plate, result, matte)
    outside = matte == 0
    plate_px = np.ascontiguousarray(plate[outside])
    result_px = np.ascontiguousarray(result[outside])
    bits = np.dtype(f"u{plate.dtype.itemsize}")
    differs = (plate_px.view(bits) != result_px.view(bits)).any(axis=1)
    return Exactness(
        compared_px=int(outside.sum()),
        differing_px=int(differs.sum()),
        max_difference=_max_difference(plate_px[differs], result_px[differs]),
        max_value=_max_finite(result_px[:, :3]),
        plate_max_value=_max_finite(plate_px[:, :3]),
    )


def changed_pixels(plate: NDArray[Any], result: NDArray[Any]) -> NDArray[np.bool_]:
    """(H, W) pixels with some changed bit, wherever they lie; the quick part of :func:`measure_exactness`.

    Args:
        plate, result: as :func:`measure_exactness`.

    Raises:
        InvalidInput: shapes or types differ.
    """
    _check(plate, result, plate[..., 0])
    words = _words(plate) != _words(result)
    return words[..., 0] if words.shape[2] == 1 else np.asarray(words.any(axis=2))


def _words(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, n) the bits of every pixel in as few whole numbers as hold them."""
    pixel_bytes = pixels.shape[2] * pixels.dtype.itemsize
    width = next(size for size in (8, 4, 2, 1) if pixel_bytes % size == 0)
    return np.ascontiguousarray(pixels).view(f"u{width}")


def _check(plate: NDArray[Any], result: NDArray[Any], matte: NDArray[Any]) -> None:
    if plate.shape != result.shape or plate.dtype != result.dtype or matte.shape != plate.shape[:2]:
        raise InvalidInput(
            f"Cannot compare a plate {plate.shape} {plate.dtype} with a result {result.shape} {result.dtype} under a "
            f"matte {matte.shape}.",
            reason="BAD_SHAPE",
        )


def _max_difference(plate_px: NDArray[Any], result_px: NDArray[Any]) -> float:
    if plate_px.size == 0:
        return 0.0
    with np.errstate(invalid="ignore"):
        difference: FloatArray = np.abs(plate_px.astype(np.float32) - result_px.astype(np.float32))
    same = (plate_px == result_px) | (np.isnan(plate_px) & np.isnan(result_px))
    difference = np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf)).astype(np.float32)
    return float(difference.max())


def _max_finite(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0
