"""``--chunk 3/10``: one of several parts of a range, for farms that number their tasks and do not know the frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.sequence import MOVIE_SUFFIXES, SequencePattern

MAX_COUNT = 1_000_000
_CHUNK = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The ``index``-th, counted from 1, of ``count`` parts."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Chunk:
        """Read ``3/10``.

        Raises:
            InvalidInput: it is something else, or there is no such part.
        """
        match = _CHUNK.fullmatch(text)
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= index <= count <= MAX_COUNT:
            raise InvalidInput(
                f"Cannot use the chunk {text!r}; write for example 3/10, the third of ten parts of the range (the "
                "first is 1/10).",
                reason="BAD_CHUNK",
                field="chunk",
            )
        return cls(index, count)

    def of(self, frames: FrameRange) -> FrameRange:
        """The part's frames, in one piece; empty where there are more parts than frames.

        All parts together are the range, none has a frame of another, and no two differ by more than one frame.
        """
        first = len(frames) * (self.index - 1) // self.count
        last = len(frames) * self.index // self.count
        return FrameRange(frames.frames[first:last])


def frames_to_divide(plate: str, frames: str) -> FrameRange:
    """The range that is divided: what was asked for, else all frames on disk.

    Raises:
        InvalidInput: the range cannot be read, or is needed: a movie's frames are not counted here.
        NotFound: there is no such plate.
    """
    if frames:
        return FrameRange.parse(frames)
    if Path(plate).suffix.lower() in MOVIE_SUFFIXES:
        raise InvalidInput(
            f"{plate} is a movie; say with --frames which range is divided into chunks.",
            reason="CHUNK_NEEDS_FRAMES",
            field="frames",
        )
    there = SequencePattern.parse(plate).frames_on_disk()
    if not there:
        raise NotFound(
            f"No frame of {plate} is on this machine's disks; say with --frames which range is divided into chunks.",
            reason="PLATE_NOT_FOUND",
            path=plate,
        )
    return there
