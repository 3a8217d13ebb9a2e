"""Results: versioned folders whose meaning never changes, what is in them, and whether they are stale."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .plates import FrameSet, Plate, frame_path, frames_on_disk, sequence_pattern

LAYERED, FLAT, PATCH = "layered", "flat", "patch"
"""The merge setting ``profile``: one multilayer EXR per frame (Nuke, Blender's compositor); plain RGBA with mattes and
a premultiplied patch as sibling sequences (Blender's sequencer, Resolve, Fusion); only the patch."""
VERSION_TOKEN = "{version}"
_VERSION = re.compile(r"(?<![A-Za-z0-9])v(\d{3,})(?![A-Za-z0-9])")
_KEY_FORMAT = 1
_NOT_FOR_RESULT = frozenset({"overwrite", "device"})


@dataclass(frozen=True)
class Result:
    """Merged frames on disk, as one version.

    Attributes:
        pattern: files of the beauty, ``…/v003/shot_swap.####.exr``, the workstation's path.
        frames: those that are there.
        version: 3 for ``v003``; 0 where the pattern has no version.
        siblings: name (``matte``, ``patch``) → pattern of a sequence beside it; empty in the layered profile.
        color_space: of the files, as OpenColorIO names it; empty where unknown.
        manifest_path: the file beside the frames that says how each was made.
    """

    pattern: str
    frames: FrameSet
    version: int = 0
    siblings: Mapping[str, str] = field(default_factory=dict)
    color_space: str = ""
    manifest_path: str = ""

    @property
    def label(self) -> str:
        """``shot_swap v003 1001-1048``, as hosts write it on a node or strip."""
        stem = _parts(self.pattern)[1]
        version = f" v{self.version:03d}" if self.version else ""
        return f"{stem}{version} {self.frames}".strip()


@dataclass(frozen=True)
class Manifest:
    """What a sequence's ``<name>.provenance.json`` says, and of a long one the parts in ``<name>.provenance``.

    Attributes:
        path: the file.
        frames: frame → key it was made with.
        run_key: equal run keys may share a folder: same plate, model, settings and code.
        color_space: scene-linear space of the frames.
        model, model_digest: name of the model and SHA-256 of its weights.
        settings: resolved merge settings.
    """

    path: str
    frames: Mapping[int, str]
    run_key: str = ""
    color_space: str = ""
    model: str = ""
    model_digest: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StaleReport:
    """Which frames of a result are no longer what the scene asks for.

    Attributes:
        changed: frames whose plate, model or settings changed.
        missing: frames asked for that are not there.
        reason: one sentence for the badge: "The model was trained further."; empty where nothing is stale.
    """

    changed: FrameSet
    missing: FrameSet
    reason: str

    @property
    def is_stale(self) -> bool:
        """Something must be made again."""
        return bool(self.changed.frames or self.missing.frames)

    @property
    def frames(self) -> FrameSet:
        """What *Update* asks for."""
        return self.changed | self.missing


@dataclass(frozen=True)
class ResultKey:
    """What a result was made from, small enough to be stored in the scene (:meth:`to_text`).

    Attributes:
        plate_path, frames: see :class:`~dflhost.plates.Plate`; the identities hold per frame.
        model_digest, settings_digest, software: of the model's weights, the settings that were sent, the daemon.
    """

    plate_path: str
    frames: Mapping[int, str]
    model_digest: str
    settings_digest: str
    software: str = ""

    @classmethod
    def of(
        cls,
        plate: Plate,
        model_digest: str,
        settings: Mapping[str, Any],
        software: str = "",
        *,
        with_content: bool = False,
    ) -> ResultKey:
        """The key of what the scene asks for now. Asks the disk about the plate: not for the interface's thread.

        Settings that change no pixel of the beauty's sequence or only where it lies (``overwrite``, ``device``) count
        for nothing; ``layers`` and ``profile`` do, since other files are wanted then.
        """
        identities = plate.identities(with_content=with_content)
        return cls(plate.path, identities, model_digest, settings_digest(settings), software)

    @classmethod
    def from_text(cls, text: str) -> ResultKey | None:
        """Inverse of :meth:`to_text`; None for a text that is none of ours."""
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            values = json.loads(text)
            if values["format"] == _KEY_FORMAT:
                frames = {int(frame): str(key) for frame, key in values["frames"].items()}
                texts = [str(values[name]) for name in ("plate", "model", "settings", "software")]
                return cls(texts[0], frames, texts[1], texts[2], texts[3])
        return None

    def to_text(self) -> str:
        """JSON in one line, for a hidden knob or a custom property."""
        values = {
            "format": _KEY_FORMAT,
            "plate": self.plate_path,
            "model": self.model_digest,
            "settings": self.settings_digest,
            "software": self.software,
            "frames": {str(frame): key for frame, key in sorted(self.frames.items())},
        }
        return json.dumps(values, separators=(",", ":"))

    def compare(self, wanted: ResultKey, present: FrameSet) -> StaleReport:
        """What must be made again so that this result is what is ``wanted``, given the frames that are there.

        A digest that is empty on either side is not known and says nothing.
        """
        asked = FrameSet.of(wanted.frames)
        missing = asked - present
        there = asked - missing
        for ours, theirs, sentence in (
            (self.model_digest, wanted.model_digest, "The model was trained further or is another one."),
            (self.settings_digest, wanted.settings_digest, "Settings were changed."),
            (self.plate_path, wanted.plate_path, "The plate is another one."),
            (self.software, wanted.software, "The daemon was updated."),
        ):
            if ours and theirs and ours != theirs and there.frames:
                return StaleReport(there, missing, sentence)
        changed = FrameSet.of(frame for frame in there if self.frames.get(frame, "") != wanted.frames[frame])
        if changed.frames:
            return StaleReport(changed, missing, f"The plate has changed in {_count(len(changed))}.")
        return StaleReport(changed, missing, f"{_count(len(missing))} not made yet." if missing.frames else "")


def settings_digest(settings: Mapping[str, Any]) -> str:
    """32 hex digits over the settings that decide what is written; their order does not matter."""
    kept = {name: value for name, value in settings.items() if name not in _NOT_FOR_RESULT and value is not None}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def output_pattern(folder: str, name: str, padding: int = 4) -> str:
    """``<folder>/<name>_swap/{version}/<name>_swap.####.exr``: what to ask a merge to write.

    Characters of the name that file systems or hosts stumble over become ``_``.
    """
    clean = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-") or "shot"
    slash = "\\" if "\\" in folder and "/" not in folder else "/"
    parts = (folder.rstrip("/\\"), f"{clean}_swap", VERSION_TOKEN, f"{clean}_swap.{'#' * padding}.exr")
    return slash.join(parts)


def versions(pattern: str) -> list[Result]:
    """Versions on disk of a pattern with ``{version}``, newest first. Reads folders: not for the interface's thread."""
    if VERSION_TOKEN not in pattern:
        found = read_result(pattern)
        return [found] if found.frames.frames else []
    numbers = sorted(_numbers_on_disk(pattern), reverse=True)
    results = (read_result(pattern.replace(VERSION_TOKEN, f"v{number:03d}")) for number in numbers)
    return [result for result in results if result.frames.frames]


def next_version(pattern: str) -> str:
    """The pattern with the first version number that nothing on disk has; one without ``{version}`` as it is."""
    if VERSION_TOKEN not in pattern:
        return pattern
    number = max(_numbers_on_disk(pattern), default=0) + 1
    return pattern.replace(VERSION_TOKEN, f"v{number:03d}")


def read_result(pattern: str) -> Result:
    """The result behind a pattern without ``{version}``, from the files and the manifest beside them."""
    manifest = read_manifest(pattern, with_parts=False)
    frames = frames_on_disk(pattern)
    if not frames.frames and manifest is not None and os.path.isfile(pattern):
        frames = FrameSet.of(manifest.frames)  # a single still has its number in the manifest only
    return Result(
        pattern=pattern,
        frames=frames,
        version=version_of(pattern),
        siblings=_siblings(pattern),
        color_space=manifest.color_space if manifest else "",
        manifest_path=manifest.path if manifest else "",
    )


def read_manifest(pattern: str, *, with_parts: bool = True) -> Manifest | None:
    """The manifest beside a sequence; None where there is none or it cannot be read.

    Frames of a merge that still runs are not in it yet: ask :meth:`DaemonSession.merged_frames` for those.

    Args:
        with_parts: of a long sequence the frames too, which lie in files of their own.
    """
    folder, stem, _, _ = _parts(pattern)
    path = f"{folder}{stem or 'sequence'}.provenance.json"
    try:
        values = _read_json(path)
        frames = _frame_keys(values)
        for part in _manifest_parts(path[: -len(".json")]) if with_parts else ():
            frames.update(_frame_keys(_read_json(part)))
        model = values["model"]
        return Manifest(
            path=path,
            frames=frames,
            run_key=str(values["run_key"]),
            color_space=str(values["output_space"]),
            model=str(model["name"]),
            model_digest=str(model["digest"]),
            settings=dict(values["settings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_json(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _frame_keys(document: Any) -> dict[int, str]:
    return {int(frame): str(entry["key"]) for frame, entry in document["frames"].items()}


def _manifest_parts(folder: str) -> list[str]:
    """``1000-1999.json`` and so on."""
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(folder))
        return [os.path.join(folder, name) for name in names if re.fullmatch(r"-?\d+--?\d+\.json", name)]
    return []


def missing_frames(result: Result, wanted: Iterable[int]) -> FrameSet:
    """Frames asked for that the result lacks."""
    return FrameSet.of(wanted) - result.frames


def version_of(pattern: str) -> int:
    """3 for a path with ``v003`` in it; the last one counts, 0 where there is none."""
    found = _VERSION.findall(pattern)
    return int(found[-1]) if found else 0


def _numbers_on_disk(pattern: str) -> set[int]:
    """Versions of a pattern with ``{version}`` that anything on disk has."""
    folder, prefix = os.path.split(pattern.partition(VERSION_TOKEN)[0])
    matcher = re.compile(re.escape(prefix) + r"v(\d{3,})")
    with contextlib.suppress(OSError):
        hits = (matcher.match(entry) for entry in os.listdir(folder or "."))
        return {int(hit[1]) for hit in hits if hit}
    return set()


def _count(number: int) -> str:
    return "1 frame" if number == 1 else f"{number} frames"


def _parts(pattern: str) -> tuple[str, str, str, str]:
    """Folder with its slash, name without separator, separator, frame token with what follows."""
    place = max(pattern.rfind("/"), pattern.rfind("\\")) + 1
    name = sequence_pattern(pattern)[place:] if "#" not in pattern[place:] else pattern[place:]
    head, hashes, tail = name.partition("#")
    if not hashes:
        head, tail = os.path.splitext(name)
    stem = head.rstrip("._- ")
    return pattern[:place], stem, head[len(stem) :], hashes + tail


def _siblings(pattern: str) -> dict[str, str]:
    """Sequences named ``<stem>_<name>`` beside this one that have its first frame."""
    folder, stem, separator, tail = _parts(pattern)
    first = frames_on_disk(pattern).frames[:1]
    ending = frame_path(separator + tail, first[0]) if first else separator + tail
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(folder or ".")):
            if entry.startswith(f"{stem}_") and entry.endswith(ending):
                name = entry[len(stem) + 1 : len(entry) - len(ending)]
                if re.fullmatch(r"[a-z][a-z_]*", name):
                    found[name] = f"{folder}{stem}_{name}{separator}{tail}"
    return found
