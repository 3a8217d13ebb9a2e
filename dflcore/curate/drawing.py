"""Words and shapes on pictures that people print: the few strokes that sheets and reports share.

Convention:
    Pictures are (H, W, 3) uint8 RGB, sRGB-encoded; positions are whole pixels (x, y) from the top-left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.io.atomic import write_bytes

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]

REGULAR: Final = 400
BOLD: Final = 700
_cv: Any = cv2  # the stubs do not know the font functions of OpenCV 5


def paper(width: int, height: int, color: Color) -> Pixels:
    """An empty sheet."""
    return np.full((height, width, 3), color, dtype=np.uint8)


def text_width(words: str, size: int, weight: int = REGULAR) -> int:
    """Width in pixels of a line of text ``size`` pixels high."""
    return int(_cv.getTextSize((0, 0), words, (0, 0), _cv.FontFace("sans"), size, weight)[2])


def write_text_on(
    picture: Pixels,
    position: tuple[int, int],
    words: str,
    size: int,
    color: Color,
    *,
    weight: int = REGULAR,
    align: Literal["left", "center", "right"] = "left",
) -> None:
    """Draw a line of text; ``position`` is its base line's left end, middle or right end."""
    x, y = position
    if align != "left":
        width = text_width(words, size, weight)
        x -= width if align == "right" else width // 2
    _cv.putText(picture, words, (x, y), color, _cv.FontFace("sans"), size, weight)


def shorten_to(words: str, size: int, width: int) -> str:
    """The text, its middle left out where it is wider than ``width`` pixels."""
    if text_width(words, size) <= width:
        return words
    kept = len(words)
    while kept > 2:
        kept -= 1
        shorter = words[: (kept + 1) // 2] + "…" + words[len(words) - kept // 2 :]
        if text_width(shorter, size) <= width:
            return shorter
    return "…"


def fill(picture: Pixels, left: int, top: int, right: int, bottom: int, color: Color) -> None:
    """A filled rectangle; ``right`` and ``bottom`` are exclusive."""
    picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = color


def frame(picture: Pixels, left: int, top: int, right: int, bottom: int, color: Color, width: int = 1) -> None:
    """The outline of a rectangle, inside its edges."""
    fill(picture, left, top, right, top + width, color)
    fill(picture, left, bottom - width, right, bottom, color)
    fill(picture, left, top, left + width, bottom, color)
    fill(picture, right - width, top, right, bottom, color)


def write_png(path: Path, picture: Pixels) -> None:
    """Atomically. Raises InvalidInput, ResourceExhausted."""
    is_ok, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not is_ok:
        raise InvalidInput(f"{path} cannot be encoded as PNG.", reason="ENCODE_FAILED", path=path)
    write_bytes(path, data.tobytes())
