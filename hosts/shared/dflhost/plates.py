"""Plates as hosts describe them: which files, which frames, and whether they are still the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .errors import HostError

_RANGE = re.compile(r"^(-?\d+)(?:-(-?\d+)(?:[x:](\d+))?)?$")
_TOKEN = re.compile(r"#+|@+|%(?:0(?P<printf>\d+))?d|\$F(?P<houdini>\d*)")
_NUMBERED = re.compile(r"^(?P<head>.*?)(?P<number>(?:(?<![^._ ])-)?\d+)(?P<tail>\.[A-Za-z0-9]+)$")
_VIEW = re.compile(r"(?P<path>.+)\?view=(?P<view>[^?/\\.]+)", re.DOTALL)
MOVIE_SUFFIXES = frozenset({".mov", ".mp4", ".mkv", ".mxf", ".avi", ".webm", ".m4v"})
MAX_FRAMES = 10_000_000
KEY_DIGITS = 32


@dataclass(frozen=True)
class FrameSet:
    """Frame numbers on disk, increasing, each once; written ``1001-1100,1200-1300x2``."""

    frames: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FrameSet:
        """Read ``first[-last[xstep]]`` joined by commas; an empty text is no frame.

        Raises:
            HostError: it cannot be read (reason ``BAD_FRAME_RANGE``).
        """
        numbers: set[int] = set()
        for token in filter(None, (part.strip() for part in text.split(","))):
            match = _RANGE.match(token)
            first, last, step = (match[1], match[2] or match[1], match[3] or "1") if match else ("1", "0", "0")
            span = range(int(first), int(last) + 1, int(step) or 1)
            if not int(step) or not span or len(span) > MAX_FRAMES:
                raise HostError(
                    f"The frame range {text!r} cannot be read at {token!r}; write for example 1001-1100, 1-9x2 or 1,5.",
                    reason="BAD_FRAME_RANGE",
                    category="INVALID_INPUT",
                    details={"field": "frames"},
                )
            numbers.update(span)
        return cls(tuple(sorted(numbers)))

    @classmethod
    def of(cls, numbers: Iterable[int]) -> FrameSet:
        """Any numbers, sorted and without doubles."""
        return cls(tuple(sorted(set(numbers))))

    @classmethod
    def span(cls, first: int, last: int, step: int = 1) -> FrameSet:
        """``first`` to ``last``, inclusive; nothing where the last comes before the first."""
        return cls(tuple(range(first, last + 1, step)))

    def __iter__(self) -> Iterator[int]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __contains__(self, frame: object) -> bool:
        return frame in self.frames

    def __sub__(self, other: FrameSet) -> FrameSet:
        """Frames that ``other`` lacks."""
        return FrameSet.of(set(self.frames) - set(other.frames))

    def __or__(self, other: FrameSet) -> FrameSet:
        """Frames of either."""
        return FrameSet.of((*self.frames, *other.frames))

    def __str__(self) -> str:
        """Text that parses back to the same frames; runs of step one joined."""
        runs: list[list[int]] = []
        for number in self.frames:
            if runs and number == runs[-1][1] + 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


@dataclass(frozen=True)
class Plate:
    """What a face is put into, or looked for in. Paths are the workstation's.

    Attributes:
        path: pattern (``name.####.exr``, ``name.%04d.exr``), single still, or movie, absolute; ``?view=right`` behind
            it names one view of files that hold several.
        frames: numbers on disk; an empty set takes every frame there is.
        color_space: as OpenColorIO names it; empty leaves it to the daemon (header, then file type).
        graph_hash: of the host's graph that rendered the files (Nuke ``opHashes``; Blender strip parameters); empty
            where the files are the plate itself.
    """

    path: str
    frames: FrameSet = field(default_factory=FrameSet)
    color_space: str = ""
    graph_hash: str = ""

    def identity(self, frame: int, *, with_content: bool = False) -> str:
        """32 hex digits that change when the frame's pixels may have changed.

        Of the graph hash where there is one, else of the file's path, size and time of change (to the millisecond, as
        network disks keep it); empty where the file is not there. ``with_content`` hashes the file's bytes instead of
        its time. Without content this reads no file, but it asks the disk.
        """
        if self.graph_hash:
            return _digest(self.graph_hash, str(frame), self.color_space)
        path = frame_path(self.path, frame)
        try:
            about = os.stat(path)
            mark = _content(path) if with_content else str(about.st_mtime_ns // 1_000_000)
        except OSError:
            return ""
        view = split_view(self.path)[1:] if split_view(self.path)[1] else ()
        return _digest(os.path.normcase(path), str(frame), str(about.st_size), mark, self.color_space, *view)

    def identities(self, *, with_content: bool = False) -> Mapping[int, str]:
        """:meth:`identity` of all frames; of those on disk where none are named."""
        frames = self.frames.frames or frames_on_disk(self.path).frames
        return {frame: self.identity(frame, with_content=with_content) for frame in frames}


def split_view(path: str) -> tuple[str, str]:
    """A plate's name without the view it asks for, and that view; empty where it asks for none."""
    match = _VIEW.fullmatch(path)
    return (match["path"], match["view"]) if match else (path, "")


def with_view(path: str, view: str) -> str:
    """The name of a plate's view; the path itself for none."""
    return f"{path}?view={view}" if view else path


def sequence_pattern(path: str) -> str:
    """A file name of any host as the pattern ``name.####.exr``.

    Takes ``name.%04d.exr``, ``name.$F4.exr``, ``name.@@@@.exr`` and one file of a sequence (``name.1001.exr``). A
    movie, and a path without a number, is answered as it is; a view stays behind it.
    """
    bare, view = split_view(path)
    folder, name = _split(bare)
    match = _TOKEN.search(name)
    if match is not None:
        return with_view(folder + name[: match.start()] + "#" * _padding(match) + name[match.end() :], view)
    numbered = _NUMBERED.match(name)
    if numbered is None or numbered["tail"].lower() in MOVIE_SUFFIXES:
        return path
    return with_view(folder + numbered["head"] + "#" * len(numbered["number"]) + numbered["tail"], view)


def printf_pattern(path: str) -> str:
    """The same as ``name.%04d.exr``, as Nuke writes it."""
    folder, name = _split(sequence_pattern(path))
    match = _TOKEN.search(name)
    if match is None:
        return path
    padding = _padding(match)
    return folder + name[: match.start()] + (f"%0{padding}d" if padding > 1 else "%d") + name[match.end() :]


def frame_path(pattern: str, frame: int) -> str:
    """File of a frame, without the view; a path without a frame token is the file."""
    pattern = split_view(pattern)[0]
    folder, name = _split(pattern)
    match = _TOKEN.search(name)
    if match is None:
        return pattern
    return folder + name[: match.start()] + f"{frame:0{_padding(match)}d}" + name[match.end() :]


def frames_on_disk(pattern: str) -> FrameSet:
    """Frames of a pattern whose files are there; empty where the folder is not, and for a movie or a still."""
    folder, name = _split(split_view(pattern)[0])
    match = _TOKEN.search(name)
    if match is None:
        return FrameSet()
    padding = _padding(match)
    head, tail = re.escape(name[: match.start()]), re.escape(name[match.end() :])
    matcher = re.compile(f"{head}(-?\\d+){tail}")
    found = []
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            hit = matcher.fullmatch(entry.name)
            if hit is not None and f"{int(hit[1]):0{padding}d}" == hit[1]:
                found.append(int(hit[1]))
    return FrameSet.of(found)


def _split(path: str) -> tuple[str, str]:
    """Folder with its slash, of either system, and file name."""
    place = max(path.rfind("/"), path.rfind("\\")) + 1
    return path[:place], path[place:]


def _padding(match: re.Match[str]) -> int:
    text = match[0]
    if text[0] == "%":
        return int(match["printf"] or 1)
    return int(match["houdini"] or 1) if text[0] == "$" else len(text)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]


def _content(path: str) -> str:
    """SHA-256 of a file. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
