"""Frame numbers and file names: ``shot.####.exr`` ↔ ``shot.1001.exr``.

Convention:
    A *pattern* holds one frame token in its file name: ``####`` or ``@@@@`` (as many digits as characters, a single one
    means no padding) or printf's ``%04d`` / ``%d``. Numbers longer than the padding are legal. A negative number is
    padded as printf pads it, sign included (``-5`` under ``####`` is ``-005``); ``-0005`` is found as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dflcore.errors import InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.views import split_view, with_view

STILL_SUFFIXES = frozenset({".exr", ".dpx", ".tif", ".tiff", ".png", ".jpg", ".jpeg"})
"""Image files that are read, lower case."""
MOVIE_SUFFIXES = frozenset({".mov", ".mp4", ".mkv", ".mxf", ".avi", ".webm", ".m4v"})
"""Movie files that are read, lower case."""

MAX_PADDING = 12
_TOKEN = re.compile(r"#+|@+|%0?(?P<width>\d*)d")
_ANY_TOKEN = re.compile(r"(?:%0?\d*d|[#@]+|<[A-Za-z]+>)")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_VIEW_TOKEN = re.compile(r"%[vV]")
_NUMBERED = re.compile(r"^(?P<head>.*?)(?P<number>(?:(?<![^._ ])-)?\d+)(?P<tail>\.[A-Za-z0-9]+)$")
# A minus sign belongs to the number only after a separator or at the start: in "shot-0001.exr" it joins words.


def plate_stems(plates: Iterable[str]) -> dict[str, str]:
    """What the names of files made from plates begin with: ``shot010`` for ``/path/shot010.####.exr``.

    A digest of the whole name is added for a plate whose stem an earlier one has.
    """
    stems: dict[str, str] = {}
    for plate in dict.fromkeys(plates):
        name = _ANY_TOKEN.sub("", Path(plate).name)
        stem = _UNSAFE.sub("_", name.removesuffix(Path(name).suffix)).strip("_-") or "plate"
        is_taken = stem in stems.values()
        stems[plate] = f"{stem}-{hashlib.sha256(plate.encode()).hexdigest()[:6]}" if is_taken else stem
    return stems


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencePattern:
    """A numbered file sequence, or one still file.

    Attributes:
        folder: where the files lie, as the user wrote it.
        head, tail: file name before and after the number; a single file has its whole name in ``head``.
        padding: least number of digits; 0 for a single file.
        number: frame number of a single file: the one in its name, else 1.
        view: the view of a stereo file that is asked for; empty for the first. See :mod:`dflcore.io.views`.
    """

    folder: Path
    head: str
    tail: str
    padding: int
    number: int = 1
    view: str = ""

    @classmethod
    def parse(cls, text: str) -> SequencePattern:
        """Read a pattern, an existing still file, or a folder that holds one sequence, each with a view or without.

        Raises:
            InvalidInput: no or more than one frame token, a token in a folder name, a file type that is not read, a
                folder with several sequences (all are named).
            NotFound: the file or folder does not exist, or the folder holds no images.
        """
        if not text.strip() or "\0" in text:
            raise InvalidInput(
                "The plate's path is empty or holds a NUL character.", reason="BAD_PATTERN", field="plate"
            )
        bare, view = split_view(text)
        path = Path(bare)
        if path.is_dir():
            pattern = _sequence_in_folder(path)
        else:
            pattern = _single(path) if path.is_file() else _parse_tokens(path, bare)
        if view and pattern.suffix != ".exr":
            raise InvalidInput(
                f"{text!r} asks for a view, which only EXR files hold.", reason="BAD_PATTERN", field="plate"
            )
        return replace(pattern, view=view)

    @property
    def is_single(self) -> bool:
        """One still file rather than a sequence."""
        return self.padding == 0

    @property
    def suffix(self) -> str:
        """File type, lower case with its dot (``.exr``)."""
        return Path(self.head + self.tail).suffix.lower()

    def path(self, frame: int) -> Path:
        """File of a frame, whether it exists or not; a single file answers every frame with itself."""
        if self.is_single:
            return self.folder / self.head
        printf_form = self.folder / f"{self.head}{frame:0{self.padding}d}{self.tail}"
        if frame < 0:
            wide_form = self.folder / f"{self.head}-{-frame:0{self.padding}d}{self.tail}"
            if wide_form.exists() and not printf_form.exists():
                return wide_form
        return printf_form

    def frames_on_disk(self) -> FrameRange:
        """Every frame of the pattern that exists; may be empty.

        Raises:
            NotFound: the folder does not exist.
        """
        if self.is_single:
            return FrameRange((self.number,) if self.path(self.number).is_file() else ())
        matcher = re.compile(re.escape(self.head) + r"(-?\d+)" + re.escape(self.tail))
        found = (matcher.fullmatch(name) for name in _names_in(self.folder))
        return FrameRange.of(int(match[1]) for match in found if match and self._is_padded(match[1]))

    def __str__(self) -> str:
        return with_view(str(self.folder / (self.head + "#" * self.padding + self.tail)), self.view)

    def _is_padded(self, digits: str) -> bool:
        number = int(digits)
        if number < 0:
            return digits in (f"{number:0{self.padding}d}", f"-{-number:0{self.padding}d}")
        return digits == f"{number:0{self.padding}d}"


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError as error:
        raise NotFound(f"The folder {folder} does not exist.", reason="FOLDER_NOT_FOUND", path=folder) from error
    except NotADirectoryError as error:
        raise InvalidInput(f"{folder} is not a folder.", reason="BAD_PATTERN", path=folder) from error
    except PermissionError as error:
        raise InvalidInput(f"The folder {folder} may not be read.", reason="NO_PERMISSION", path=folder) from error


def _check_still(path: Path) -> None:
    if path.suffix.lower() not in STILL_SUFFIXES:
        kinds = ", ".join(sorted(suffix[1:] for suffix in STILL_SUFFIXES))
        raise InvalidInput(
            f"{path} is not of a file type that is read as a still ({kinds}).", reason="FILE_TYPE_NOT_READ", path=path
        )


def _single(path: Path) -> SequencePattern:
    _check_still(path)
    match = _NUMBERED.match(path.name)
    number = int(match["number"]) if match else 1
    return SequencePattern(folder=path.parent, head=path.name, tail="", padding=0, number=number)


def _parse_tokens(path: Path, text: str) -> SequencePattern:
    if _VIEW_TOKEN.search(text):
        raise InvalidInput(
            f"{text!r} holds a view token (%V); name the files of one view, or the view of a stereo file as "
            "shot.####.exr?view=right.",
            reason="BAD_PATTERN",
            field="plate",
        )
    if any(_TOKEN.search(part) for part in path.parent.parts):
        raise InvalidInput(
            f"{text!r} has a frame token in a folder name; it belongs in the file name.",
            reason="BAD_PATTERN",
            field="plate",
        )
    tokens = list(_TOKEN.finditer(path.name))
    if not tokens:
        raise NotFound(
            f"There is no file or folder {text}; a sequence is written like shot.####.exr or shot.%04d.exr.",
            reason="PLATE_NOT_FOUND",
            path=text,
        )
    if len(tokens) > 1:
        raise InvalidInput(
            f"{text!r} has {len(tokens)} frame tokens ({', '.join(token[0] for token in tokens)}); it may have one.",
            reason="BAD_PATTERN",
            field="plate",
        )
    token = tokens[0]
    padding = max(int(token["width"] or 1), 1) if token[0].startswith("%") else len(token[0])
    if padding > MAX_PADDING:
        raise InvalidInput(
            f"{text!r} asks for {padding} digits; at most {MAX_PADDING} make sense.",
            reason="BAD_PATTERN",
            field="plate",
        )
    _check_still(path)
    head, tail = path.name[: token.start()], path.name[token.end() :]
    return SequencePattern(folder=path.parent, head=head, tail=tail, padding=padding)


def _sequence_in_folder(folder: Path) -> SequencePattern:
    groups: dict[tuple[str, str], list[str]] = {}
    stills: list[Path] = []
    for name in sorted(_names_in(folder)):
        path = folder / name
        if name.startswith(".") or path.suffix.lower() not in STILL_SUFFIXES:
            continue
        match = _NUMBERED.match(name)
        if match is None:
            stills.append(path)
        else:
            groups.setdefault((match["head"], match["tail"]), []).append(match["number"])
    found = [_pattern_of(folder, head, tail, numbers) for (head, tail), numbers in groups.items()]
    if len(found) == 1 and not stills:
        return found[0]
    if not found and len(stills) == 1:
        return _single(stills[0])
    if not found and not stills:
        raise NotFound(
            f"The folder {folder} holds no image sequence; movies are named by their file.",
            reason="PLATE_NOT_FOUND",
            path=folder,
        )
    names = ", ".join([*(str(pattern) for pattern in found), *(str(still) for still in stills)][:20])
    raise InvalidInput(
        f"The folder {folder} holds {len(found) + len(stills)} sequences or stills; name one of them: {names}.",
        reason="SEVERAL_SEQUENCES",
        path=folder,
    )


def _pattern_of(folder: Path, head: str, tail: str, numbers: Iterable[str]) -> SequencePattern:
    """Padding is what the shortest number shows: ``9, 10`` is unpadded, ``0009, 10000`` has four digits."""
    padding = min(len(number) for number in numbers)
    return SequencePattern(folder=folder, head=head, tail=tail, padding=padding)
