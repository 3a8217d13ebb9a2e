# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips in plain values, as plates; knows no Blender."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import pairwise

from ._dflhost.errors import HostError
from ._dflhost.plates import FrameSet, Plate


def file_name(name: str) -> str:
    """A strip's or image's name as part of a file name: ``Take 2.mov`` → ``Take_2``."""
    stem = os.path.splitext(name)[0] if "." in name else name
    return re.sub(r"[^A-Za-z0-9_-]+", "_", re.sub(r"[._]?#+$|[._]?\d{3,}$", "", stem)).strip("_") or "shot"


@dataclass(frozen=True)
class ElementFacts:
    """What says whether a strip shows its files as they are, in plain values.

    Attributes:
        names: files of an image strip that are seen, in order; of a movie its only one.
        folder: absolute. first_movie_frame: number of the first frame seen, of a movie.
        frames_seen: how many scene frames show it.
        changes: what is done to the pixels or the time, in an artist's words; empty where nothing is.
    """

    name: str
    folder: str
    names: tuple[str, ...]
    is_movie: bool
    frames_seen: int
    first_movie_frame: int = 1
    color_space: str = ""
    changes: tuple[str, ...] = ()


def plate_of_strip(facts: ElementFacts) -> Plate:
    """The files behind a strip as a plate.

    Raises:
        HostError: the strip shows something else than its files (``STRIP_IS_CHANGED``), or its files are no sequence
            with rising numbers (``NOT_A_SEQUENCE``).
    """
    if facts.changes:
        raise HostError(
            f'The strip "{facts.name}" does not show its file as it is ({", ".join(facts.changes)}): '
            "it must be rendered first.",
            reason="STRIP_IS_CHANGED",
            category="UNSUPPORTED",
        )
    if facts.is_movie:
        first = facts.first_movie_frame
        frames = FrameSet.span(first, first + facts.frames_seen - 1)
        return Plate(os.path.join(facts.folder, facts.names[0]), frames, facts.color_space)
    pattern, numbers = sequence_of(facts.names)
    if pattern is None:
        raise HostError(
            f'The files of "{facts.name}" are no sequence whose numbers rise by one.',
            reason="NOT_A_SEQUENCE",
            category="INVALID_INPUT",
        )
    return Plate(os.path.join(facts.folder, pattern), FrameSet.of(numbers), facts.color_space)


def sequence_of(names: tuple[str, ...]) -> tuple[str | None, list[int]]:
    """File names as a pattern ``name.####.exr`` and its numbers; a single name without a number is its own pattern.

    The pattern is None where names differ in more than the number or the numbers do not rise by one.
    """
    split = [os.path.splitext(name) for name in names]
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", stem) for stem, _ in split]
    if len(names) == 1 and parts[0] is None:
        return names[0], []
    numbers: list[int] = []
    patterns: set[str] = set()
    for part, (_, ending) in zip(parts, split, strict=True):
        if part is None:
            return None, []
        head, digits, tail = part.groups()
        numbers.append(int(digits))
        patterns.add(f"{head}{'#' * len(digits)}{tail}{ending}")
    rises = all(after == before + 1 for before, after in pairwise(numbers))
    if len(patterns) != 1 or not rises:
        return None, []
    return patterns.pop(), numbers
