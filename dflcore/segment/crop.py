"""From the square a face was extracted to, to the square a network reads, and back.

Convention:
    As :mod:`dflcore.geometry.warp`: points (x, y), pixel centres at + 0.5, ``b_from_a`` maps points of a to b.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.geometry import affine
from dflcore.geometry.alignment import network_from_aligned
from dflcore.geometry.template import FACE_TYPE_CROPS
from dflcore.geometry.warp import Padding, warp_to_aligned
from dflcore.types import Affine, FaceRecord, FaceType, FloatArray


def cut_for_network(image: NDArray[np.uint8], record: FaceRecord, face_type: FaceType, size: int) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 sRGB as extracted → (size, size, 3) as the network reads it; the border repeats outside.

    Raises:
        DataCorrupt: as :func:`network_from_aligned`.
    """
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    cut = warp_to_aligned(planes, network_from_aligned(record, face_type, size), size)
    return np.asarray(cut.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def cut_mask_for_network(
    mask: FloatArray, record: FaceRecord, face_type: FaceType, size: int, *, padding: Padding = "zeros"
) -> FloatArray:
    """(M, M) mask of the aligned square → (size, size) in the network's square.

    Args:
        padding: what lies outside the mask: nothing (``zeros``), or what its edge shows (``border``).

    Raises:
        DataCorrupt: as :func:`network_from_aligned`.
    """
    network_from_mask = affine.compose(
        network_from_aligned(record, face_type, size), _scaled(record.aligned_size / len(mask))
    )
    return _warp_mask(mask, network_from_mask, size, padding)


def mask_to_aligned(mask: FloatArray, record: FaceRecord, face_type: FaceType) -> FloatArray:
    """A network's mask, (N, N), in the aligned square of its face, at a size that loses no detail of it."""
    size = len(mask)
    if face_type is record.face_type:
        return mask
    sides = FACE_TYPE_CROPS[record.face_type].side / FACE_TYPE_CROPS[face_type].side
    result_size = max(16, min(record.aligned_size, math.ceil(size * sides)))
    aligned_from_network = affine.invert(network_from_aligned(record, face_type, size))
    result_from_mask = affine.compose(_scaled(result_size / record.aligned_size), aligned_from_network)
    return _warp_mask(mask, result_from_mask, result_size, "zeros")


def _warp_mask(mask: FloatArray, target_from_mask: Affine, size: int, padding: Padding) -> FloatArray:
    plane = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None]
    warped = warp_to_aligned(plane, target_from_mask, size, padding=padding)
    return np.asarray(warped[0].clamp(0.0, 1.0).numpy(), dtype=np.float32)


def _scaled(factor: float) -> Affine:
    return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])
