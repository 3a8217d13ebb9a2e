"""PNG files for people's screens, with what they are written into them as text."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, InvalidInput

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33
"""Signature and IHDR chunk: what must come before any text."""
_MAX_KEYWORD = 79
_COMPRESSION = 1
"""Quick: these pictures live as long as a knob is dragged."""


def encode_png(pixels: NDArray[np.uint8], text: Mapping[str, str]) -> bytes:
    """A PNG file.

    Args:
        pixels: (H, W, 3) RGB or (H, W, 1) gray, as the screen shall show them (sRGB-encoded).
        text: keyword → text; keywords are ASCII of at most 79 characters.

    Raises:
        InvalidInput: the picture is larger than the format or the encoder allows.
    """
    swapped = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels  # OpenCV writes BGR
    is_encoded, encoded = cv2.imencode(
        ".png", np.ascontiguousarray(swapped), [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]
    )
    if not is_encoded:
        raise InvalidInput(f"A picture of {pixels.shape} cannot be encoded as PNG.", reason="ENCODE_FAILED")
    data: Any = encoded.tobytes()
    chunks = b"".join(_text_chunk(keyword, value) for keyword, value in text.items())
    return bytes(data[:_HEADER_END] + chunks + data[_HEADER_END:])


def png_text(data: bytes) -> dict[str, str]:
    """What :func:`encode_png` wrote as text.

    Raises:
        DataCorrupt: not a PNG, or cut short.
    """
    found: dict[str, str] = {}
    if not data.startswith(_SIGNATURE):
        raise DataCorrupt("This is not a PNG file.", reason="FILE_DAMAGED")
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        if kind == b"iTXt":
            keyword, _, rest = body.partition(b"\0")
            found[keyword.decode("ascii")] = rest[2:].split(b"\0", 2)[2].decode("utf-8")
        if kind == b"IEND":
            return found
        position += 12 + length
    raise DataCorrupt("The PNG file is cut short.", reason="FILE_DAMAGED")


def _text_chunk(keyword: str, value: str) -> bytes:
    """International text: UTF-8, not compressed, without a language."""
    assert 0 < len(keyword) <= _MAX_KEYWORD
    body = keyword.encode("ascii") + b"\0\0\0\0\0" + value.replace("\0", " ").encode("utf-8", "replace")
    chunk = b"iTXt" + body
    return struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
