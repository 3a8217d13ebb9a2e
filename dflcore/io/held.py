"""A plate whose gaps show the frame before them."""

from __future__ import annotations

import bisect
from dataclasses import replace
from pathlib import Path
from typing import Any

from dflcore.errors import NotFound
from dflcore.frames import FrameRange
from dflcore.io.plate import Plate, PlateImage, brief
from dflcore.progress import Notice


class HeldPlate:
    """A :class:`~dflcore.io.plate.Plate` over another one, with a frame for every number between its first and last.

    Args:
        plate: with all the frames it has; closed with this one.
        frames: those to be processed; None for all from its first to its last.

    Raises:
        NotFound: frames before the first or after the last, which nothing stands before or is known to follow.
    """

    def __init__(self, plate: Plate, frames: FrameRange | None) -> None:
        self._plate = plate
        self._there = plate.frames.frames
        first, last = self._there[0], self._there[-1]
        self.frames = frames or FrameRange(tuple(range(first, last + 1)))
        beyond = FrameRange.of(frame for frame in self.frames if not first <= frame <= last)
        if beyond:
            raise NotFound(
                f"{len(beyond)} frames of {plate.name} are missing: {brief(beyond)}; it has {brief(plate.frames)}. "
                "Only gaps between frames can be held; correct the range.",
                reason="FRAMES_MISSING",
                path=plate.name,
                frame=brief(beyond),
            )
        self.name = plate.name
        self.color_space, self.color_space_note = plate.color_space, plate.color_space_note
        self.rate, self.size = plate.rate, plate.size
        held = FrameRange.of(set(self.frames) - set(self._there))
        kept = [notice for notice in plate.notices if notice.reason != "FRAMES_MISSING"]
        self.notices = (*kept, *([_held_notice(plate.name, held)] if held else []))

    @property
    def pattern(self) -> Any:
        """The files' pattern, None of a movie."""
        return getattr(self._plate, "pattern", None)

    @property
    def header(self) -> tuple[tuple[str, ...], Path, int] | None:
        """As :func:`dflcore.io.plate.check_color` asks for it, None of a movie."""
        return getattr(self._plate, "header", None)

    def source_of(self, frame: int) -> int:
        """The frame that is shown at ``frame``."""
        return self._there[max(bisect.bisect_right(self._there, frame) - 1, 0)]

    def read(self, frame: int) -> PlateImage:
        """See :meth:`dflcore.io.plate.Plate.read`; a held frame has the header of the one it shows."""
        return replace(self._plate.read(self.source_of(frame)), frame=frame)

    def identity(self, frame: int) -> str:
        """See :meth:`dflcore.io.plate.Plate.identity`."""
        return self._plate.identity(self.source_of(frame))

    def close(self) -> None:
        """Release the plate."""
        self._plate.close()


def _held_notice(name: str, held: FrameRange) -> Notice:
    return Notice(
        message=f"{len(held)} frames of {name} are missing and show the frame before them: {brief(held)}.",
        reason="FRAMES_HELD",
        details={"path": name, "frame": brief(held), "held": str(len(held))},
    )
