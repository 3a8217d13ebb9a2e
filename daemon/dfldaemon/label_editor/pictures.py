"""Pictures for the page: faces, thumbnails and masks in formats every browser reads, and the hull as a polygon."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import Internal
from dflcore.geometry import affine
from dflcore.geometry.landmarks import hull_mask
from dflcore.types import FaceRecord, FloatArray

PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
THUMBNAIL_SIZE: Final = 96
_THUMBNAIL_QUALITY: Final = 85
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_OFFSET: Final = 24
"""Of the byte that holds the bits per channel: signature, length and name of the first chunk, width, height."""
_HULL_CANVAS: Final = 512
"""Pixels in which the outline of the hull is traced."""
_HULL_TOLERANCE: Final = 0.004
"""How far the traced outline may lie from the hull's, as a share of the picture: few points to drag, none missed."""


def browser_type(path: Path, head: bytes) -> str | None:
    """The media type of a file a browser shows as the faceset means it; None for what has to be converted first.

    Decided by content, so nothing but a picture is ever handed out under a picture's name.

    Args:
        head: the first bytes of the file, 32 or more.
    """
    if head.startswith(_PNG_SIGNATURE) and len(head) > _PNG_DEPTH_OFFSET and head[_PNG_DEPTH_OFFSET] == 8:
        return PNG
    if head.startswith(b"\xff\xd8\xff") and path.suffix.lower() in (".jpg", ".jpeg"):
        return JPEG
    return None


def encode_face(face: NDArray[np.uint8]) -> bytes:
    """PNG of a face, (S, S, 3) uint8 RGB, sRGB-encoded."""
    return _encode(".png", face[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


def encode_thumbnail(face: NDArray[np.uint8]) -> bytes:
    """JPEG of a face, (S, S, 3) uint8 RGB, sRGB-encoded, no larger than the strip shows it."""
    size = min(THUMBNAIL_SIZE, face.shape[0])
    small = np.asarray(cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _encode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY])


def encode_mask(mask: FloatArray) -> bytes:
    """Grey PNG of a mask, (h, w) float32 in [0, 1]: 255 is face."""
    return _encode(".png", np.rint(np.clip(mask, 0.0, 1.0) * 255.0).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def hull_outline(record: FaceRecord) -> list[tuple[float, float]]:
    """The outline of the hull of a face's landmarks: a polygon in aligned pixels, a start for drawing."""
    scale = _HULL_CANVAS / record.aligned_size
    aligned = affine.apply(record.aligned_from_plate, record.landmarks.points)
    mask = hull_mask(aligned * scale, _HULL_CANVAS, _HULL_CANVAS)
    binary = (mask >= 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return []
    largest = max(contours, key=cv2.contourArea)
    outline = cv2.approxPolyDP(largest, _HULL_TOLERANCE * _HULL_CANVAS, closed=True).reshape(-1, 2)
    corners = (outline + 0.5) / scale  # the contour runs through the centres of pixels
    return [(round(float(x), 2), round(float(y), 2)) for x, y in corners]


def _encode(suffix: str, pixels: NDArray[np.uint8], parameters: list[int]) -> bytes:
    encoded: NDArray[Any]
    is_encoded, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), parameters)
    if not is_encoded:
        raise Internal(f"A picture of shape {pixels.shape} cannot be encoded as {suffix}.", reason="ENCODE_FAILED")
    return encoded.tobytes()
