"""A job for a render farm: what to do, with paths that every machine may know by another name.

A path is a folder, which a farm maps from one machine to the next, and a name below it, which is the same everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dflcore.config.base import Settings
from dflcore.config.cast_text import parse_casting
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.frames import FrameRange
from dflcore.version import __version__

Kind = Literal["merge", "extract", "train"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SETTINGS: Mapping[Kind, type[Settings]] = {
    "merge": MergeSettings,
    "extract": ExtractSettings,
    "train": TrainSettings,
}
WRITTEN: Mapping[Kind, str] = {"merge": "output", "extract": "faceset", "train": "model"}
"""The path a job writes to."""
ROLES: Mapping[Kind, frozenset[str]] = {
    "merge": frozenset({"plate", "model", "faceset", "output"}),
    "extract": frozenset({"plate", "faceset"}),
    "train": frozenset({"source", "target", "model"}),
}
"""The paths a job must have."""
FORMAT = 1
MAX_NAME = 100
MAX_JOB_BYTES = 4_000_000
"""Of a description: frames that are no runs take seven bytes each."""
VERSION_TOKEN = "{version}"


@dataclass(frozen=True, slots=True)
class FarmPath:
    """A folder, and what is named below it: nothing, a file, a pattern, or folders with ``{version}`` and a pattern."""

    folder: str
    name: str = ""

    @classmethod
    def of(cls, path: str) -> FarmPath:
        """Divide an absolute path of files before the first part that is not the same folder for all of them."""
        parts = Path(path).parts
        first = next((index for index, part in enumerate(parts) if VERSION_TOKEN in part), len(parts) - 1)
        return cls(str(Path(*parts[:first])), "/".join(parts[first:]))

    def __str__(self) -> str:
        return str(Path(self.folder, self.name)) if self.name else self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmJob:
    """One job.

    Attributes:
        name: what the farm shows.
        paths: role → path. ``plate``, ``model``, ``faceset`` and ``output`` of a merge; ``plate`` and ``faceset`` of an
            extraction; ``source``, ``source2``..., ``target`` and ``model`` of a training.
        frames: of the plate; empty for a training, and where an extraction takes all there are.
        chunk: frames per task; 0 makes one task of the whole job, or one for each machine of a training.
        settings: as given; the rest is left to the worker's defaults.
        model_digest: of a merge's model when it was submitted; a worker that sees another refuses.
        cast_digests: the same of the models its setting ``cast`` names, in their order.
        software: version that submitted it; workers of another refuse.
        path_separator: of lists of paths in ``settings``.
    """

    name: str
    kind: Kind
    paths: Mapping[str, FarmPath]
    frames: FrameRange = field(default_factory=lambda: FrameRange(()))
    chunk: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    model_digest: str = ""
    cast_digests: tuple[str, ...] = ()
    software: str = __version__
    path_separator: str = os.pathsep

    @property
    def written(self) -> FarmPath:
        """What the job writes."""
        return self.paths[WRITTEN[self.kind]]

    @property
    def models(self) -> dict[str, str]:
        """Folder of a model the job reads → its digest when the job was submitted."""
        if not self.model_digest:
            return {}
        cast = parse_casting(str(self.settings.get("cast", ""))).folders
        return {**dict(zip(cast, self.cast_digests, strict=False)), str(self.paths["model"]): self.model_digest}

    @property
    def nodes(self) -> int:
        """Machines that may train together; each does a task."""
        return int(self.settings.get("nodes", 1)) if self.kind == "train" else 1

    @property
    def has_window(self) -> bool:
        """A frame's pixels depend on frames around it, which a task reads without writing them."""
        changed = str(self.settings.get("overrides", ""))
        return any(self.settings.get(name) or name in changed for name in ("smooth_matte", "smooth_colors"))

    def with_folders(self, folders: Mapping[str, str]) -> FarmJob:
        """The job as another machine sees it.

        Raises:
            InvalidInput: there is no such role.
        """
        unknown = sorted(set(folders) - set(self.paths))
        if unknown:
            raise InvalidInput(
                f"A {self.kind} job has no path {unknown[0]!r}; it has {', '.join(self.paths)}.",
                reason="UNKNOWN_FARM_PATH",
                field=unknown[0],
            )
        moved = {role: FarmPath(folders.get(role, path.folder), path.name) for role, path in self.paths.items()}
        return replace(self, paths=moved)

    def with_mapped_settings(self, change: Callable[[str], str]) -> FarmJob:
        """The job with every path inside its settings changed, for example by a path map."""
        return replace(self, settings=_mapped_settings(self.settings, change, self.path_separator))

    def to_values(self) -> dict[str, Any]:
        """As JSON has it; :meth:`from_values` reads it back."""
        return {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "paths": {role: {"folder": path.folder, "name": path.name} for role, path in self.paths.items()},
            "frames": range_text(self.frames),
            "chunk": self.chunk,
            "settings": dict(self.settings),
            "model_digest": self.model_digest,
            "cast_digests": list(self.cast_digests),
            "software": self.software,
            "path_separator": self.path_separator,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> FarmJob:
        """Read what :meth:`to_values` wrote.

        Raises:
            Unsupported: of a newer format. DataCorrupt: it is something else.
            InvalidInput: a setting is unknown here or out of range.
        """
        try:
            if int(values["format"]) > FORMAT:
                raise Unsupported(
                    "This farm job was submitted by a newer version; update this worker.", reason="FARM_JOB_IS_NEWER"
                )
            kind = values["kind"]
            settings = dict(values["settings"])
            job = cls(
                name=str(values["name"]),
                kind=kind,
                paths={
                    str(role): FarmPath(str(path["folder"]), str(path["name"]))
                    for role, path in values["paths"].items()
                },
                frames=FrameRange.parse(values["frames"]) if values["frames"] else FrameRange(()),
                chunk=int(values["chunk"]),
                settings=settings,
                model_digest=str(values["model_digest"]),
                software=str(values["software"]),
                path_separator=str(values["path_separator"]),
                cast_digests=tuple(map(str, values.get("cast_digests", ()))),
            )
            checked = SETTINGS[kind].from_values(settings)
            job = replace(job, settings={name: getattr(checked, name) for name in settings})
            if not ROLES[kind] <= set(job.paths):
                raise ValueError(f"a {kind} job without a path for {min(ROLES[kind] - set(job.paths))}")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataCorrupt(
                f"The description of the farm job cannot be read ({error!r}); submit it again.",
                reason="FARM_JOB_DAMAGED",
            ) from error
        return job


def make_job(
    kind: Kind,
    paths: Mapping[str, FarmPath],
    settings: Mapping[str, Any],
    *,
    frames: FrameRange | None = None,
    chunk: int = 0,
    name: str = "",
    model_digest: str = "",
    cast_digests: tuple[str, ...] = (),
) -> FarmJob:
    """A job that can be submitted.

    Args:
        chunk: frames per task, 1 or more for a merge; others have one task.

    Raises:
        InvalidInput: no frames, a chunk of no frames, or nobody could write the output.
        NotFound: a folder the job reads is not there.
    """
    if kind == "merge" and chunk < 1:
        raise InvalidInput(
            f"A chunk of {chunk} frames holds nothing; give --chunk 1 or more.", reason="BAD_CHUNK", field="chunk"
        )
    if kind == "merge" and not frames:
        raise InvalidInput("There is no frame to merge; give --frames.", reason="EMPTY_FRAME_RANGE", field="frames")
    written = WRITTEN[kind]
    for role, path in paths.items():
        if role != written and not Path(path.folder).is_dir():
            raise NotFound(
                f"There is no folder {path.folder} for the {role}; check the path.",
                reason="FOLDER_NOT_FOUND",
                path=path.folder,
            )
    check_output(paths[written], "this machine")
    shown = name or f"{kind} {Path(str(paths.get('plate', paths[written]))).name}"
    return FarmJob(
        name=_plain_name(shown),
        kind=kind,
        paths=paths,
        frames=frames or FrameRange(()),
        chunk=chunk,
        settings=settings,
        model_digest=model_digest,
        cast_digests=cast_digests,
    )


def check_output(path: FarmPath, machine: str) -> None:
    """A share that is not mounted must not be mistaken for an empty local folder.

    Raises:
        InvalidInput: neither the folder nor the one it lies in is there, or it may not be written.
    """
    folder = Path(path.folder)
    there = folder if folder.exists() else folder.parent
    if not there.is_dir():
        raise InvalidInput(
            f"The output folder {folder} cannot be reached from {machine}: {there} is not there. Mount the share, make "
            "the folder, or add a path-mapping rule.",
            reason="OUTPUT_NOT_REACHABLE",
            path=folder,
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidInput(
            f"The output folder {folder} cannot be written from {machine}; give the farm's user the right to.",
            reason="OUTPUT_NOT_REACHABLE",
            path=folder,
        )


def chunk_count(job: FarmJob) -> int:
    """Tasks of a job on a farm that counts them; chunks are evened out, none is larger than asked for."""
    return -(-len(job.frames) // job.chunk) if job.chunk and job.frames else job.nodes


def range_text(frames: FrameRange) -> str:
    """The shortest text with steps: ``1-9:2,20``. Both our grammar and OpenJobDescription's read it."""
    numbers = frames.frames
    parts: list[str] = []
    index = 0
    while index < len(numbers):
        end = index
        if index + 1 < len(numbers):
            step = numbers[index + 1] - numbers[index]
            while end + 1 < len(numbers) and numbers[end + 1] - numbers[end] == step:
                end += 1
            if step > 1 and end - index < 2:  # two numbers apart are no series
                end = index
        if end == index:
            parts.append(str(numbers[index]))
        else:
            parts.append(f"{numbers[index]}-{numbers[end]}" + (f":{step}" if step > 1 else ""))
        index = end + 1
    return ",".join(parts)


def _plain_name(text: str) -> str:
    """A name that every farm takes: no control characters, no braces of templates, not too long."""
    return "".join(letter if letter.isprintable() and letter not in "{}" else "_" for letter in text)[:MAX_NAME]


def _mapped_settings(settings: Mapping[str, Any], change: Callable[[str], str], separator: str) -> dict[str, Any]:
    mapped = dict(settings)
    for name in ("ocio_config", "segmenter"):
        if mapped.get(name):
            mapped[name] = change(str(mapped[name]))
    kind, colon, argument = str(mapped.get("enhancer", "")).partition(":")
    if argument:
        path, query, rest = argument.partition("?")
        mapped["enhancer"] = f"{kind}{colon}{change(path)}{query}{rest}"
    if mapped.get("keep_person"):
        pictures = str(mapped["keep_person"]).split(separator)
        mapped["keep_person"] = os.pathsep.join(change(picture) for picture in pictures)
    if mapped.get("cast"):
        mapped["cast"] = str(parse_casting(str(mapped["cast"])).with_folders(change))
    return mapped
