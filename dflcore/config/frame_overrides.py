"""Settings that differ on some frames, as a short text: ``1001-1040: opacity=0>1 matte_erode=2; 1100: mode=original``.

Blocks are separated by semicolons: frames, a colon, then settings separated by blanks. ``a>b`` lets a number run evenly
from the first to the last frame of its block. Where blocks overlap, the later one counts.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange

MAX_TEXT = 100_000
_RAMP = ">"


@dataclass(frozen=True, slots=True)
class FrameOverride:
    """One block: frames, and setting → value or (first, last) of a ramp, as written."""

    frames: FrameRange
    values: Mapping[str, str]
    numbers: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", frozenset(self.frames))

    def at(self, frame: int) -> dict[str, str | float]:
        """Values on a frame of the block."""
        first, last = self.frames.frames[0], self.frames.frames[-1]
        share = (frame - first) / (last - first) if last > first else 0.0
        return {name: _at(value, share) for name, value in self.values.items()}


@functools.lru_cache(maxsize=8)
def parse_overrides(text: str, allowed: frozenset[str]) -> tuple[FrameOverride, ...]:
    """Read the text; an empty one overrides nothing.

    Args:
        allowed: settings that may differ from frame to frame.

    Raises:
        InvalidInput: what was not understood, and where; a setting that cannot differ.
    """
    if len(text) > MAX_TEXT:
        raise _fault(f"is longer than {MAX_TEXT} characters")
    blocks = (block.strip() for block in text.split(";"))
    return tuple(_block(block, allowed) for block in blocks if block)


def values_at(overrides: Collection[FrameOverride], frame: int) -> dict[str, str | float]:
    """What is different on a frame; empty where nothing is."""
    found: dict[str, str | float] = {}
    for block in overrides:
        if frame in block.numbers:
            found |= block.at(frame)
    return found


def format_overrides(tables: Mapping[str, Mapping[str, object]]) -> str:
    """The text of a settings file's tables: frames → setting → value.

    Raises:
        InvalidInput: a value that cannot be written in one word.
    """
    blocks = []
    for frames, values in tables.items():
        words = []
        for name, value in values.items():
            word = str(value).lower() if isinstance(value, bool) else str(value)
            if not word or any(sign in word for sign in " \t\n;:="):
                raise _fault(f"cannot hold {name} = {value!r}")
            words.append(f"{name}={word}")
        blocks.append(f"{frames}: {' '.join(words)}")
    return "; ".join(blocks)


def _block(text: str, allowed: frozenset[str]) -> FrameOverride:
    frames_text, colon, rest = text.rpartition(":")  # a step may be written with a colon too
    if not colon or not rest.strip():
        raise _fault(f"has {text!r}, which is not 'frames: setting=value'")
    frames = FrameRange.parse(frames_text.strip())
    values: dict[str, str] = {}
    for word in rest.split():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise _fault(f"has {word!r} on frames {frames}, which is not 'setting=value'")
        if name not in allowed:
            raise _fault(
                f"names {name}, which cannot differ from frame to frame; these can: {', '.join(sorted(allowed))}"
            )
        values[name] = value
    return FrameOverride(frames, values)


def _at(value: str, share: float) -> str | float:
    first, ramp, last = value.partition(_RAMP)
    if not ramp:
        return value
    try:
        start, end = float(first), float(last)
    except ValueError:
        raise _fault(f"has {value!r}; only numbers can run from one value to another") from None
    return start + share * (end - start)


def _fault(text: str) -> InvalidInput:
    return InvalidInput(
        f"The setting overrides {text}. Write for example '1001-1040: opacity=0>1; 1100: mode=original'.",
        reason="BAD_OVERRIDES",
        field="overrides",
    )
