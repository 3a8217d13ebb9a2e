"""How sharp a face is: variance of the Laplacian inside a mask, on faces aligned to one size.

A blurred face of the right layout can pass for the right person; this number stands beside every likeness.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.geometry.warp import warp_to_aligned
from dflcore.types import Affine, FloatArray

LUMA_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Rec.709, on encoded values."""
INSIDE_MATTE = 0.9
"""A matte above this shows the swapped face; learned mattes seldom reach 1 everywhere."""
MIN_MASK_PX = 100
"""Fewer pixels than this say nothing."""


def laplacian_variance(luma: FloatArray, mask: NDArray[np.bool_]) -> float:
    """Variance of the four-neighbour Laplacian over the pixels of the mask.

    The Laplacian looks one pixel around: the mask should end at least one pixel before anything that is not face.

    Args:
        luma: (S, S) float32, display-referred (sRGB-encoded), [0, 1].
        mask: (S, S) what counts.

    Raises:
        InvalidInput: shapes differ, or the mask holds fewer than :data:`MIN_MASK_PX` pixels.
    """
    if luma.shape != mask.shape:
        raise InvalidInput(f"A mask {mask.shape} does not fit a face {luma.shape}.", reason="BAD_SHAPE")
    if int(mask.sum()) < MIN_MASK_PX:
        raise InvalidInput(
            f"Sharpness needs {MIN_MASK_PX} pixels or more inside the matte, not {int(mask.sum())}.",
            reason="MASK_TOO_SMALL",
        )
    laplacian = cv2.Laplacian(np.ascontiguousarray(luma, dtype=np.float32), cv2.CV_32F, ksize=1)
    return float(np.var(laplacian[mask]))


def sharpness_ratio(face_luma: FloatArray, reference_luma: FloatArray, mask: NDArray[np.bool_]) -> float:
    """Sharpness of a face as a share of a reference's: 1 is as sharp, 0 is flat.

    Both must show the face at the same place and size (see :func:`aligned_luma`), so that the same mask fits and a
    detail covers as many pixels in one as in the other.

    Raises:
        InvalidInput: as :func:`laplacian_variance`, or the reference is flat.
    """
    reference = laplacian_variance(reference_luma, mask)
    if reference <= 0.0:
        raise InvalidInput("The reference face is flat; its sharpness is zero.", reason="FLAT_REFERENCE")
    return laplacian_variance(face_luma, mask) / reference


def contrast_ratio(face_luma: FloatArray, reference_luma: FloatArray, mask: NDArray[np.bool_]) -> float:
    """Standard deviation of a face's luma as a share of a reference's.

    Sharpness grows with the square of contrast; a face lit harder than its reference looks sharper than it is. This
    number, squared, is what a sharpness ratio owes to that.

    Raises:
        InvalidInput: as :func:`sharpness_ratio`.
    """
    if face_luma.shape != mask.shape or reference_luma.shape != mask.shape:
        raise InvalidInput(f"A mask {mask.shape} does not fit a face {face_luma.shape}.", reason="BAD_SHAPE")
    reference = float(np.std(reference_luma[mask])) if mask.any() else 0.0
    if reference <= 0.0:
        raise InvalidInput("The reference face is flat; its contrast is zero.", reason="FLAT_REFERENCE")
    return float(np.std(face_luma[mask])) / reference


def aligned_luma(rgb: FloatArray, aligned_from_image: Affine, size: int) -> FloatArray:
    """The luma of a face cut out of an image, shrunk with antialiasing where it must be.

    Args:
        rgb: (H, W, 3) float32, sRGB-encoded.
        aligned_from_image: (2, 3), image pixels to aligned pixels.

    Returns:
        (size, size) float32, clipped to [0, 1], as a display shows it.

    Raises:
        InvalidInput: the transform has no inverse.
    """
    planes = torch.from_numpy(np.ascontiguousarray((rgb @ LUMA_WEIGHTS)[None], dtype=np.float32))
    aligned = warp_to_aligned(planes, aligned_from_image, size)[0].clamp(0.0, 1.0)
    return np.ascontiguousarray(aligned.numpy(), dtype=np.float32)


def aligned_inside(matte: FloatArray, aligned_from_image: Affine, size: int, margin_px: int = 3) -> NDArray[np.bool_]:
    """Where the matte is above :data:`INSIDE_MATTE`, in aligned space, kept ``margin_px`` away from its edge.

    Args:
        matte: (H, W) float32 in [0, 1], image space.

    Returns:
        (size, size) bool.

    Raises:
        InvalidInput: the transform has no inverse.
    """
    planes = torch.from_numpy(np.ascontiguousarray(matte[None], dtype=np.float32))
    full = (
        (warp_to_aligned(planes, aligned_from_image, size, padding="zeros")[0] > INSIDE_MATTE).numpy().astype(np.uint8)
    )
    full = np.pad(full, 1)  # beyond the image there is no face
    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
    eroded = cv2.erode(full, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
    return np.asarray(eroded[1:-1, 1:-1], dtype=np.bool_)
