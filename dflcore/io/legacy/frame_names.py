"""Frame numbers out of the frame names that faces remember."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNNUMBERED: Final = "unnumbered"
_NUMBERED: Final = re.compile(r"(?P<head>.*?)(?P<digits>\d+)(?P<rest>\D*)", re.DOTALL)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
_MAX_DIGITS: Final = 9
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Which frame of which plate a face is from.

    Attributes:
        plate: pattern of the frame names without a folder (``shot.####.png``); ``unnumbered`` for faces whose frame
            is not known, which are numbered in the order given.
        frame: number.
    """

    plate: str
    frame: int


def place_frames(names: Sequence[str]) -> list[FramePlace]:
    """A place for every face, from the names of the frames they were cut from.

    Faces of one name share a frame. Where two names of a pattern have the same number (``1.png`` and ``001.png``), the
    second is treated as having none. A name that is empty stands for a frame of its own.
    """
    parts = [_split(name) for name in names]
    paddings: dict[tuple[str, str], int] = {}
    for part in parts:
        if part is not None:
            head, digits, tail = part
            paddings[head, tail] = min(len(digits), paddings.get((head, tail), _MAX_DIGITS))
    owners: dict[tuple[str, int], str] = {}
    unnumbered: dict[str, int] = {}
    places: list[FramePlace] = []
    for position, (name, part) in enumerate(zip(names, parts, strict=True)):
        if part is not None:
            head, digits, tail = part
            plate = head + "#" * paddings[head, tail] + tail
            if owners.setdefault((plate, int(digits)), digits) == digits:
                places.append(FramePlace(plate, int(digits)))
                continue
        number = unnumbered.setdefault(name or f"\0{position}", len(unnumbered) + 1)
        places.append(FramePlace(UNNUMBERED, number))
    return places


def _split(name: str) -> tuple[str, str, str] | None:
    """Text before the last number of the stem, the number's digits, the rest; None without a number."""
    base = _UNPRINTABLE.sub("_", re.split(r"[/\\]", name)[-1])[:_MAX_NAME]
    suffix = Path(base).suffix
    match = _NUMBERED.fullmatch(base[: len(base) - len(suffix)])
    if match is None:
        return None
    digits = match["digits"]
    if len(digits) > _MAX_DIGITS or not digits.isascii():
        return None
    return match["head"].replace("#", "_"), digits, match["rest"].replace("#", "_") + suffix
