"""Frame numbers as artists write them: ``1001-1100``, ``1-9x2``, ``1,5,7-9``, ``-5--1``.

A *frame* is a number as on disk; an *index* is a zero-based position. They are never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dflcore.errors import InvalidInput

_TOKEN = re.compile(r"^(?P<first>-?\d+)(?:-(?P<last>-?\d+)(?:[x:](?P<step>-?\d+))?)?$")
MAX_FRAMES = 10_000_000
"""More frames than this in one range is taken as a typing mistake."""


@dataclass(frozen=True, slots=True)
class FrameRange:
    """An ordered set of frame numbers, ends inclusive.

    Attributes:
        frames: strictly increasing frame numbers.
    """

    frames: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """Read ``first[-last[xstep]]`` tokens joined by commas; ``:`` is accepted for ``x``.

        Raises:
            InvalidInput: a token cannot be read, runs backwards, or the result is empty or absurdly long.
        """
        numbers: set[int] = set()
        for token in text.split(","):
            numbers.update(_parse_token(token.strip(), text))
            if len(numbers) > MAX_FRAMES:
                raise InvalidInput(
                    f"Frame range {text!r} has more than {MAX_FRAMES} frames; check the numbers.",
                    reason="FRAME_RANGE_TOO_LONG",
                    field="frames",
                )
        return cls(tuple(sorted(numbers)))

    @classmethod
    def of(cls, numbers: Iterable[int]) -> FrameRange:
        """Any numbers, sorted and without doubles."""
        return cls(tuple(sorted(set(numbers))))

    def __iter__(self) -> Iterator[int]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __bool__(self) -> bool:
        return bool(self.frames)

    def __contains__(self, frame: object) -> bool:
        return frame in set(self.frames)

    def __str__(self) -> str:
        """The shortest text that parses back to the same frames, runs of step one joined."""
        runs: list[str] = []
        first = previous = None
        for number in self.frames:
            if previous is not None and number == previous + 1:
                previous = number
                continue
            if first is not None:
                runs.append(_run_text(first, previous))
            first = previous = number
        if first is not None:
            runs.append(_run_text(first, previous))
        return ",".join(runs)


def _parse_token(token: str, text: str) -> range:
    match = _TOKEN.match(token)
    if match is None:
        raise InvalidInput(
            f"Cannot read {token!r} in the frame range {text!r}; write for example 1001-1100, 1-9x2 or 1,5,7-9.",
            reason="BAD_FRAME_RANGE",
            field="frames",
        )
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    step = 1 if match["step"] is None else int(match["step"])
    if step < 1 or last < first:
        raise InvalidInput(
            f"Frame range {token!r} is empty: the last frame must not come before the first, "
            "and the step must be 1 or more.",
            reason="EMPTY_FRAME_RANGE",
            field="frames",
        )
    if (last - first) // step > MAX_FRAMES:
        raise InvalidInput(
            f"Frame range {token!r} has more than {MAX_FRAMES} frames; check the numbers.",
            reason="FRAME_RANGE_TOO_LONG",
            field="frames",
        )
    return range(first, last + 1, step)


def _run_text(first: int, last: int | None) -> str:
    return str(first) if last is None or first == last else f"{first}-{last}"
