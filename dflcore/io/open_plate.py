"""Opens a plate, whatever it is stored in."""

from __future__ import annotations

import re
from pathlib import Path

from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange
from dflcore.io.held import HeldPlate
from dflcore.io.plate import MissingPolicy, Plate, ResolveSpace
from dflcore.io.sequence import MOVIE_SUFFIXES, SequencePattern
from dflcore.io.stills import StillPlate
from dflcore.io.video import MoviePlate


def open_plate(
    text: str,
    *,
    frames: FrameRange | None = None,
    color_space: str = "auto",
    missing: MissingPolicy = "error",
    resolve_space: ResolveSpace | None = None,
) -> Plate:
    """Open a sequence pattern, a folder with one sequence, a still or a movie.

    Args:
        frames: those to process; None for all there are.
        color_space: OCIO name, or ``auto``: what the header says if it is known, else ``ACEScg`` for EXR and
            ``srgb_tx`` for 8- and 16-bit stills and movies. Logarithmic and HDR material is never guessed.
        missing: what to do with asked frames that are not there: ``hold`` shows the frame before the gap.
        resolve_space: which colour spaces are known, usually ``ColorConverter(...).find``; None asks the project's
            default config.

    Raises:
        NotFound: nothing of that name, or frames missing under ``error`` (all are named together).
        InvalidInput: bad pattern, unread file type, empty range, a colour space that must be stated.
        DataCorrupt, ResourceExhausted: the first frame's header is damaged or claims too much.
    """
    if frames is not None and not frames:
        raise InvalidInput("The frame range is empty.", reason="EMPTY_FRAME_RANGE", field="frames")
    if missing == "hold":
        every = open_plate(text, color_space=color_space, resolve_space=resolve_space)
        try:
            return HeldPlate(every, frames)
        except BaseException:
            every.close()
            raise
    if Path(text).suffix.lower() in MOVIE_SUFFIXES and not re.search(r"[#@]|%0?\d*d", Path(text).name):
        return MoviePlate(text, frames=frames, color_space=color_space, missing=missing)
    pattern = SequencePattern.parse(text)
    return StillPlate(
        text, pattern, frames=frames, color_space=color_space, missing=missing, resolve_space=resolve_space
    )
