"""Where merged frames go: file names, version folders, what may be kept, and what must not be touched.

A frame that is there is kept when the manifest knows it by the same key and its file is as it was written; one that is
cut short is made again. A frame that is there for any other reason ("foreign": made otherwise, by another program, or
edited since) is never replaced without being told to (``overwrite``); a pattern with ``{version}`` goes to a new
version instead, so that a folder's meaning never changes. Overwriting replaces foreign frames only: a current one would
come out the same, and a merge that was interrupted goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.errors import Conflict, InvalidInput
from dflcore.frames import FrameRange
from dflcore.io.exr import is_valid_exr
from dflcore.io.plate import Plate, brief
from dflcore.io.sequence import MOVIE_SUFFIXES, SequencePattern
from dflcore.merge.provenance import FrameEntry, file_fact, manifest_path, read_manifest, read_run_key

VERSION_TOKEN = "{version}"
VERSION_DIGITS = 3
CLOCK_NS = 1000
"""File servers keep times of change to a microsecond at best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSequence:
    """Names of the files of one merge.

    Attributes:
        pattern: of the frames with the beauty.
        siblings: names of further sequences beside it (``matte``, ``patch``), empty for one file per frame.
    """

    pattern: SequencePattern
    siblings: tuple[str, ...] = ()

    def files(self, frame: int) -> dict[str, Path]:
        """Sibling name, "" for the beauty's own → file of a frame."""
        return {name: self.sibling(name).path(frame) for name in ("", *self.siblings)}

    def sibling(self, name: str) -> SequencePattern:
        """``shot.####.exr`` → ``shot_matte.####.exr``; the beauty's own pattern for an empty name."""
        if not name:
            return self.pattern
        if self.pattern.is_single:
            stem, suffix = os.path.splitext(self.pattern.head)
            head = f"{stem}_{name}{suffix}"
        else:
            stem = self.pattern.head.rstrip("._- ")
            head = f"{stem}_{name}{self.pattern.head[len(stem) :] or '.'}" if stem else f"{name}."
        return SequencePattern(
            folder=self.pattern.folder,
            head=head,
            tail=self.pattern.tail,
            padding=self.pattern.padding,
            number=self.pattern.number,
        )

    @property
    def manifest(self) -> Path:
        """``<name>.provenance.json`` beside the frames."""
        head = Path(self.pattern.head).stem if self.pattern.is_single else self.pattern.head
        return manifest_path(self.pattern.folder, head.rstrip("._- ") or "sequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """What a merge will do.

    Attributes:
        sequence: the files. todo: frames to compute. kept: frames that are there and current.
    """

    sequence: OutputSequence
    todo: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(slots=True)
class _Finding:
    """Frames of a sequence by what is on disk."""

    missing: list[int] = field(default_factory=list)
    current: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)


def plan_output(
    text: str,
    keys: Mapping[int, str],
    run_key: str,
    *,
    siblings: Sequence[str],
    overwrite: bool,
    plate: Plate,
) -> OutputPlan:
    """Decide which files are written, before any is.

    Reads EXR files: call it in a thread that does no colour work.

    Args:
        text: output pattern, ``{version}`` allowed.
        keys: frame → key of what would be computed.
        run_key: see :attr:`MergeIdentity.run_key`.
        overwrite: replace frames that were made otherwise; a pattern with ``{version}`` never needs to.

    Raises:
        InvalidInput: the pattern cannot be used, or would write over the plate.
        Conflict: frames are there that were made otherwise, and ``overwrite`` is off.
        DataCorrupt: a manifest is damaged.
    """
    if VERSION_TOKEN in text:
        return _plan_versioned(text, keys, run_key, siblings, plate)
    sequence = parse_output(text, siblings, frame_count=len(keys))
    check_not_plate(sequence, plate, keys)
    finding = _examine(sequence, keys)
    if finding.foreign and not overwrite:
        raise _conflict(sequence, finding.foreign)
    todo = sorted([*finding.missing, *finding.foreign])
    return OutputPlan(sequence=sequence, todo=tuple(todo), kept=tuple(finding.current))


def parse_output(text: str, siblings: Sequence[str], *, frame_count: int) -> OutputSequence:
    """Read an output pattern.

    Raises:
        InvalidInput: not an EXR, a folder, or no frame token for more than one frame.
    """
    path = Path(text)
    if path.suffix.lower() != ".exr":
        raise InvalidInput(
            f"The output {text!r} must be an EXR pattern such as shot_swap.####.exr.",
            reason="BAD_OUTPUT_PATTERN",
            field="output",
        )
    if path.is_dir():
        raise InvalidInput(f"The output {text} is a folder.", reason="BAD_OUTPUT_PATTERN", field="output")
    if not next(above for above in path.parents if above.exists()).is_dir():
        raise InvalidInput(
            f"The output {text} would lie in a file; its folder cannot be made. Choose another.",
            reason="BAD_OUTPUT_PATTERN",
            field="output",
        )
    if re.search(r"#|@|%0?\d*d", path.name):
        return OutputSequence(pattern=SequencePattern.parse(text), siblings=tuple(siblings))
    if frame_count > 1:
        raise InvalidInput(
            f"The output {text!r} has no frame token for {frame_count} frames; write for example {path.stem}.####.exr.",
            reason="BAD_OUTPUT_PATTERN",
            field="output",
        )
    pattern = SequencePattern(folder=path.parent, head=path.name, tail="", padding=0)
    return OutputSequence(pattern=pattern, siblings=tuple(siblings))


def check_not_plate(sequence: OutputSequence, plate: Plate, frames: Mapping[int, str]) -> None:
    """Refuse to write over the plate, whatever links lead there.

    Raises:
        InvalidInput: an output file is a file of the plate.
    """
    plate_files: dict[str, Path] = {}
    inodes: set[tuple[int, int]] = set()
    for path in _plate_files(plate, frames):
        plate_files[os.path.realpath(path)] = path
        if path.exists():
            status = path.stat()
            inodes.add((status.st_dev, status.st_ino))
    for frame in frames:
        for path in sequence.files(frame).values():
            is_plate = os.path.realpath(path) in plate_files
            if not is_plate and path.exists():
                status = path.stat()
                is_plate = (status.st_dev, status.st_ino) in inodes
            if is_plate:
                raise InvalidInput(
                    f"The output {path} is the plate's own file (frame {frame}); write somewhere else.",
                    reason="OUTPUT_IS_PLATE",
                    path=path,
                    frame=frame,
                )


def _plate_files(plate: Plate, frames: Mapping[int, str]) -> list[Path]:
    if Path(plate.name).suffix.lower() in MOVIE_SUFFIXES:
        return [Path(plate.name)]
    pattern = getattr(plate, "pattern", None) or SequencePattern.parse(plate.name)
    return [pattern.path(frame) for frame in frames]


def _examine(sequence: OutputSequence, keys: Mapping[int, str]) -> _Finding:
    """Sort the wanted frames by what is on disk; unfinished frames of a killed run count as missing."""
    known = read_manifest(sequence.manifest, keys)
    finding = _Finding()
    for frame in sorted(keys):
        files = list(sequence.files(frame).values())
        present = [path for path in files if os.path.lexists(path)]
        entry = known.frames.get(frame)
        ours = entry if entry is not None and entry.key == keys[frame] else None
        is_torn = known.unfinished.get(frame) == keys[frame]
        if ours is not None and all(_is_as_recorded(ours, path) for path in files):
            finding.current.append(frame)
        elif is_torn or all(ours is not None and not _is_edited(ours, path) for path in present):
            finding.missing.append(frame)
        else:
            finding.foreign.append(frame)
    return finding


def _is_as_recorded(entry: FrameEntry, path: Path) -> bool:
    """Whole, and the bytes are those that were written; read in full only where the time of change differs."""
    fact = entry.files.get(path.name)
    if fact is None or not path.is_file():
        return False
    status = path.stat()
    if status.st_size != fact["size"] or not is_valid_exr(path):
        return False
    is_untouched = abs(status.st_mtime_ns - entry.written_ns.get(path.name, 0)) < CLOCK_NS
    return is_untouched or file_fact(path)["sha256"] == fact["sha256"]


def _is_edited(entry: FrameEntry, path: Path) -> bool:
    """Somebody's own work lies under the name: a whole picture that is not as recorded, or no file at all.

    What is left of a frame that was cut short is nobody's work.
    """
    return not _is_as_recorded(entry, path) and (is_valid_exr(path) or not path.is_file())


def _plan_versioned(
    text: str,
    keys: Mapping[int, str],
    run_key: str,
    siblings: Sequence[str],
    plate: Plate,
) -> OutputPlan:
    """The newest version that was made the same way and has nothing in the way; else the next number."""
    numbers = _versions_on_disk(text)
    for number in sorted(numbers, reverse=True):
        sequence = parse_output(_with_version(text, number), siblings, frame_count=len(keys))
        if read_run_key(sequence.manifest) != run_key:
            continue
        check_not_plate(sequence, plate, keys)
        finding = _examine(sequence, keys)
        if not finding.foreign:
            return OutputPlan(sequence=sequence, todo=tuple(finding.missing), kept=tuple(finding.current))
    number = max(numbers, default=0) + 1
    sequence = parse_output(_with_version(text, number), siblings, frame_count=len(keys))
    check_not_plate(sequence, plate, keys)
    return OutputPlan(sequence=sequence, todo=tuple(sorted(keys)), kept=())


def _with_version(text: str, number: int) -> str:
    return text.replace(VERSION_TOKEN, f"v{number:0{VERSION_DIGITS}d}")


def _versions_on_disk(text: str) -> set[int]:
    """Version numbers that anything on disk has, at the first part of the path with the token."""
    parts = Path(text).parts
    position = next(index for index, part in enumerate(parts) if VERSION_TOKEN in part)
    folder = Path(*parts[:position])
    prefix = parts[position].split(VERSION_TOKEN)[0]
    matcher = re.compile(re.escape(prefix) + r"v(\d+)")
    if not folder.is_dir():
        return set()
    found = ((matcher.match(entry.name), entry) for entry in os.scandir(folder))
    return {int(match[1]) for match, entry in found if match and _holds_something(Path(entry.path))}


def _holds_something(path: Path) -> bool:
    """A file, or a folder with one that is not hidden: a folder that another merge has just made is not taken yet."""
    if not path.is_dir():
        return True
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in entries:  # of a million files the first will do
            is_folder = entry.is_dir(follow_symlinks=False)
            if _holds_something(Path(entry.path)) if is_folder else not entry.name.startswith("."):
                return True
    return False


def _conflict(sequence: OutputSequence, frames: Sequence[int]) -> Conflict:
    numbers = brief(FrameRange.of(frames))
    return Conflict(
        f"{len(frames)} frames of {sequence.pattern} are there already and were made otherwise (other plate, model, "
        f"settings or faces, or not by this program, or edited since): {numbers}. Nothing was written. Choose another "
        f"output, put {VERSION_TOKEN} into its name, or allow overwriting.",
        reason="OUTPUT_EXISTS",
        path=sequence.pattern,
        frame=numbers,
    )
