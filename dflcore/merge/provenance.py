"""What merged frames say about themselves: header attributes, frame keys, and the manifest beside the sequence.

The manifest ``<name>.provenance.json`` lies in the frames' folder and maps frame numbers to the key and checksum each
was made with. That one file holds a sequence of up to :data:`PART_FRAMES` frames. Of a longer one it keeps only what
all frames share, and ``<name>.provenance/1000-1999.json`` and so on, each a manifest of its own, hold the frames: a
merge reads and writes those its frames lie in, so what it costs does not grow with the sequence.

While a merge runs it writes to a journal of its own in that folder (one short line before a frame gets its name, one
after), which is folded into the manifest at the end. A journal whose process died is folded by the next run. Several
processes, on several machines, may fill one sequence at the same time. Who writes holds the sequence's lock and writes
parts, then the manifest, then removes journals; who reads goes the other way and so misses nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from dflcore.config.merge import ProvenanceAttributes
from dflcore.errors import Conflict, DataCorrupt
from dflcore.io.atomic import remove_leftovers, translate_disk_errors, write_bytes
from dflcore.io.plate import MetadataValue
from dflcore.types import Authorization, FaceRecord, FaceType
from dflcore.version import SOFTWARE

FORMAT = 2
"""Builds that wrote format 1 kept everything in one file and their journals beside the frames."""
PART_FRAMES = 1000
"""Frames of one part of a manifest, from a multiple of it on; as many fit into the one file of a short sequence."""
MERGE_REVISION = 5
"""Raised by one whenever the same inputs give other pixels; part of every frame key."""
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for footage with parts made by a trained model; C2PA and platforms read it."""
KEY_DIGITS = 32
MANIFEST_SUFFIX = ".provenance.json"
_JOURNAL_SUFFIX = ".journal"
_PART_NAME = re.compile(r"(-?\d+)-(-?\d+)\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeIdentity:
    """What is the same for all frames of a merge and decides their pixels and headers.

    Attributes:
        plate: the plate as the user named it. color_space: of the plate, by OCIO name.
        output_space: scene-linear space of the frames.
        model_name, model_digest: the face model. face_type: what it paints.
        settings: resolved values of all settings. settings_digest: over those that matter for pixels.
        authorization: who allowed it, and for what, on the source face's record.
        cast_authorizations: the same of the other models of a cast, by model's name.
        made_for_project, made_for_use: what this merge's settings say the frames are for; empty when they say nothing.
    """

    plate: str
    color_space: str
    output_space: str
    model_name: str
    model_digest: str
    face_type: FaceType
    settings: Mapping[str, Any]
    settings_digest: str
    authorization: Authorization = field(default_factory=Authorization)
    cast_authorizations: Mapping[str, Authorization] = field(default_factory=dict)
    made_for_project: str = ""
    made_for_use: str = ""

    @property
    def run_key(self) -> str:
        """Equal run keys may share a folder: same plate, model, settings and code.

        Of the plate's path the last folder and the name count: what lies above may be called otherwise on each machine.
        """
        plate = "/".join(re.split(r"[\\/]", self.plate)[-2:])
        return _digest(
            plate, self.color_space, self.output_space, self.model_digest, self.settings_digest, _code_version()
        )

    def frame_key(
        self,
        plate_identity: str,
        records: Sequence[FaceRecord],
        masks: Sequence[str] = (),
        *,
        settings_digest: str | None = None,
    ) -> str:
        """32 hex digits over everything that decides a frame's pixels.

        Args:
            masks: what identifies the stored masks of the frame's faces; a frame without any says nothing.
            settings_digest: of the settings as they hold on this frame; None where they hold on all alike.
        """
        faces = hashlib.sha256()
        for record in sorted(records, key=lambda record: record.face_index):
            faces.update(f"{record.face_index} {record.face_type.value} {record.aligned_size} ".encode())
            faces.update(record.landmarks.points.astype("<f4").tobytes())
            faces.update(record.aligned_from_plate.astype("<f8").tobytes())
            if record.face_type is not self.face_type:
                faces.update(f" as {self.face_type.value}".encode())
        for mask in masks:
            faces.update(f"{mask}\0".encode("utf-8", "surrogateescape"))
        return _digest(
            plate_identity,
            self.color_space,
            self.output_space,
            self.model_digest,
            settings_digest or self.settings_digest,
            faces.hexdigest(),
            _code_version(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameEntry:
    """One merged frame in the manifest.

    Attributes:
        key: see :meth:`MergeIdentity.frame_key`.
        files: file name → size in bytes and SHA-256.
        written_ns: file name → time of the last change when it was finished; saves looking at the sum.
        plate: identity of the plate's frame. faces: how many were composited.
        masks: face → source → version of the stored masks that were used.
    """

    key: str
    files: Mapping[str, Mapping[str, Any]]
    plate: str = ""
    faces: int = 0
    masks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    written_ns: Mapping[str, int] = field(default_factory=dict)


def frame_attributes(
    identity: MergeIdentity,
    plate_metadata: Mapping[str, MetadataValue],
    *,
    frame: int,
    faces: int,
    policy: ProvenanceAttributes,
) -> dict[str, MetadataValue | str | int | float]:
    """A merged frame's header: the plate's own attributes, the frame number, and what the policy lets us say.

    ``off`` says nothing of ours; ``minimal`` the synthetic mark, hashes and version; ``full`` also names, settings, the
    authorisation with its reference, and what the frames are made for.
    """
    attributes: dict[str, MetadataValue | str | int | float] = {
        name: value for name, value in plate_metadata.items() if not name.lower().startswith("dfl/")
    }
    attributes["imageCounter"] = frame
    if policy == "off":
        return attributes
    attributes |= {
        "dfl/synthetic": 1,
        "dfl/digitalSourceType": DIGITAL_SOURCE_TYPE,
        "dfl/frame": frame,
        "dfl/faces": faces,
        "dfl/modelDigest": identity.model_digest,
        "dfl/settingsDigest": identity.settings_digest,
        "dfl/software": SOFTWARE,
    }
    if policy == "full":
        attributes |= {
            "dfl/model": identity.model_name,
            "dfl/plate": identity.plate,
            "dfl/settings": json.dumps(dict(identity.settings), sort_keys=True),
        }
        for name, value in asdict(identity.authorization).items():
            if value:
                attributes[f"dfl/authorization{name.capitalize()}"] = value
        if identity.cast_authorizations:
            attributes["dfl/castAuthorization"] = json.dumps(_stated(identity.cast_authorizations), sort_keys=True)
        for name, value in (("Project", identity.made_for_project), ("Use", identity.made_for_use)):
            if value:
                attributes[f"dfl/madeFor{name}"] = value
    return attributes


class SequenceManifest:
    """The manifest of one sequence, for one run that adds to it.

    Args:
        path: ``<name>.provenance.json``.

    Raises:
        Conflict: another merge is filling the sequence with frames that are made otherwise.
        DataCorrupt: the manifest is there and cannot be read.
        InvalidInput, ResourceExhausted: the folder cannot be written.
    """

    def __init__(self, path: Path, identity: MergeIdentity) -> None:
        self.path = path
        self._identity = identity
        with translate_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(_lock_path(path)):
                _fold_dead_journals(path, identity)
                folder = parts_folder(path)
                folder.mkdir(exist_ok=True)
                remove_leftovers(folder)
                self._journal_path = folder / f".{os.getpid()}-{secrets.token_hex(4)}{_JOURNAL_SUFFIX}"
                self._journal: IO[str] = self._journal_path.open("w", encoding="utf-8")
                _try_lock(self._journal)
                self._append({"run_key": identity.run_key})

    def begin(self, frame: int, key: str) -> None:
        """Announce that the frame's file is about to get its name."""
        self._append({"frame": frame, "begin": key})
        with translate_disk_errors(self._journal_path):
            os.fsync(self._journal.fileno())

    def finish(self, frame: int, entry: FrameEntry) -> None:
        """The frame's files are there."""
        self._append({"frame": frame, **asdict(entry)})

    def close(self) -> None:
        """Fold this run's frames into the manifest and remove its journal; harmless when repeated."""
        if self._journal.closed:
            return
        with translate_disk_errors(self.path), _locked(_lock_path(self.path)):
            _fold(self.path, self._identity, _read(self.path), _read_journals([self._journal_path]))
            self._journal.close()
            self._journal_path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # parts are in it, or journals of others
                parts_folder(self.path).rmdir()

    def _append(self, line: Mapping[str, Any]) -> None:
        with translate_disk_errors(self._journal_path):
            self._journal.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._journal.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestContent:
    """What a manifest and the journals beside it say.

    Attributes:
        run_key: see :attr:`MergeIdentity.run_key`; empty when there is no manifest.
        frames: finished frames.
        unfinished: keys of frames that were announced and never reported finished; their files may be there.
        format: of the file.
    """

    run_key: str = ""
    frames: Mapping[int, FrameEntry] = field(default_factory=dict)
    unfinished: Mapping[int, str] = field(default_factory=dict)
    format: int = FORMAT


def read_manifest(path: Path, frames: Collection[int] | None = None) -> ManifestContent:
    """A manifest as it is now, with what running and killed merges have added since it was written.

    Args:
        frames: those asked about, others may be missing from the answer: only parts they lie in are read. None for all.

    Raises:
        DataCorrupt: it cannot be read.
    """
    journals = _read_journals(_journals(path))
    head = _read(path)
    old_journals = _read_journals(_old_journals(path, head))
    wanted = None if frames is None else {_first_of_part(frame) for frame in frames}
    parts = [_read(part) for first, part in _parts(path).items() if wanted is None or first in wanted]
    return replace(_overlaid(head, *parts, old_journals, journals), run_key=head.run_key)


def iterate_frames(path: Path, after: int | None = None) -> Iterator[tuple[int, FrameEntry]]:
    """Finished frames of a manifest in order, as of :func:`read_manifest`; parts are read when their turn comes.

    Args:
        after: begin behind this frame; parts that end before it are not read. None begins with the first.

    Raises:
        DataCorrupt: it cannot be read.
    """
    journals = _read_journals(_journals(path))
    head = _read(path)
    loose = [_divided(content) for content in (head, _read_journals(_old_journals(path, head)), journals)]
    parts, nothing = _parts(path), ManifestContent()
    for first in sorted({*parts, *loose[0], *loose[1], *loose[2]}):
        if after is not None and first < _first_of_part(after):
            continue
        part = _read(parts[first]) if first in parts else nothing
        before, *later = (one.get(first, nothing) for one in loose)
        frames = _overlaid(before, part, *later).frames
        yield from ((frame, frames[frame]) for frame in sorted(frames) if after is None or frame > after)


def read_run_key(path: Path) -> str:
    """Of the merge that added to the sequence last; empty when there is no manifest. Raises DataCorrupt."""
    return _read(path).run_key


def manifest_path(folder: Path, sequence_name: str) -> Path:
    """Where the manifest of a sequence lies."""
    return folder / f"{sequence_name}{MANIFEST_SUFFIX}"


def parts_folder(manifest: Path) -> Path:
    """Where the parts of a long sequence's manifest lie, and the journals of merges at work."""
    return manifest.with_name(manifest.name.removesuffix(".json"))


def file_fact(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a finished file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _code_version() -> str:
    return f"{SOFTWARE} merge {MERGE_REVISION}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]


def _fold_dead_journals(path: Path, identity: MergeIdentity) -> None:
    """Fold the journals of processes that are gone; call it under the sequence's lock.

    Raises:
        Conflict: one that is not gone makes its frames otherwise.
    """
    head = _read(path)
    with contextlib.ExitStack() as held:
        dead: list[Path] = []
        for journal in (*_old_journals(path, head), *_journals(path)):
            with contextlib.suppress(FileNotFoundError):
                file = held.enter_context(journal.open("r+", encoding="utf-8"))
                if _try_lock(file):
                    dead.append(journal)
                elif os.name == "posix" and _run_key_of(file) not in ("", identity.run_key):
                    raise Conflict(
                        f"Another merge is writing the frames of {path} with another plate, model or settings. Wait "
                        "for it to end, or choose another output.",
                        reason="OUTPUT_BUSY",
                        path=path,
                    )
        _fold(path, identity, head, _read_journals(dead))
        for journal in dead:
            journal.unlink(missing_ok=True)


def _fold(path: Path, identity: MergeIdentity, head: ManifestContent, added: ManifestContent) -> None:
    """Bring manifest and parts up to date, writing only files that change; call it under the sequence's lock.

    Args:
        head: what the manifest holds: of a short sequence all, of a long one that was one file so far its frames.
        added: what journals say.
    """
    parts, whole = _parts(path), _overlaid(head, added)
    if not parts and len(whole.frames) <= PART_FRAMES:
        _write(path, _document(identity, whole))
        return
    old, new = _divided(head), _divided(added)
    nothing = ManifestContent()
    for first in sorted({*old, *new}):
        part = parts_folder(path) / f"{first}-{first + PART_FRAMES - 1}.json"
        # What a part has already came there later than what the manifest has: a fold was cut short.
        content = _overlaid(old.get(first, nothing), _read(part), new.get(first, nothing))
        _write(part, _document(identity, content))
    _write(path, _document(identity, nothing) | {"parts": f"{parts_folder(path).name}/<first>-<last frame>.json"})


def _overlaid(*contents: ManifestContent) -> ManifestContent:
    """All of them together; what comes later holds."""
    frames: dict[int, FrameEntry] = {}
    unfinished: dict[int, str] = {}
    for content in contents:
        frames |= content.frames
        for frame in content.frames:
            unfinished.pop(frame, None)
        unfinished |= content.unfinished
    return ManifestContent(frames=frames, unfinished=unfinished)


def _divided(content: ManifestContent) -> dict[int, ManifestContent]:
    """First frame of a part → what belongs there."""
    frames: dict[int, dict[int, FrameEntry]] = {}
    unfinished: dict[int, dict[int, str]] = {}
    for frame, entry in content.frames.items():
        frames.setdefault(_first_of_part(frame), {})[frame] = entry
    for frame, key in content.unfinished.items():
        unfinished.setdefault(_first_of_part(frame), {})[frame] = key
    return {
        first: ManifestContent(frames=frames.get(first, {}), unfinished=unfinished.get(first, {}))
        for first in {*frames, *unfinished}
    }


def _first_of_part(frame: int) -> int:
    return frame // PART_FRAMES * PART_FRAMES


def _stated(permissions: Mapping[str, Authorization]) -> dict[str, dict[str, str]]:
    """What was said of each model; empty for one of which nothing was."""
    return {
        model: {name: value for name, value in asdict(permission).items() if value}
        for model, permission in permissions.items()
    }


def _document(identity: MergeIdentity, content: ManifestContent) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "software": SOFTWARE,
        "synthetic": True,
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "run_key": identity.run_key,
        "plate": {"name": identity.plate, "color_space": identity.color_space},
        "output_space": identity.output_space,
        "model": {"name": identity.model_name, "digest": identity.model_digest},
        "settings": dict(identity.settings),
        "settings_digest": identity.settings_digest,
        "authorization": asdict(identity.authorization),
        "cast_authorization": _stated(identity.cast_authorizations),
        "made_for": {"project": identity.made_for_project, "use": identity.made_for_use},
        "unfinished": {str(frame): key for frame, key in sorted(content.unfinished.items())},
        "frames": {str(frame): asdict(entry) for frame, entry in sorted(content.frames.items())},
    }


def _read(path: Path) -> ManifestContent:
    try:
        document = json.loads(path.read_text("utf-8"))
        return ManifestContent(
            run_key=str(document["run_key"]),
            frames={int(frame): FrameEntry(**entry) for frame, entry in document["frames"].items()},
            unfinished={int(frame): str(key) for frame, key in document["unfinished"].items()},
            format=int(document.get("format", FORMAT)),
        )
    except FileNotFoundError:
        return ManifestContent()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(
            f"The manifest {path} is damaged: {error}. Move it away and merge with overwrite.",
            reason="MANIFEST_DAMAGED",
            path=path,
        ) from error


def _write(path: Path, document: Mapping[str, Any]) -> None:
    data = (json.dumps(document, indent=1) + "\n").encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    write_bytes(path, data)


def _parts(path: Path) -> dict[int, Path]:
    """First frame → file, in order."""
    folder = parts_folder(path)
    matches = map(_PART_NAME.fullmatch, _files_in(folder))
    found = {int(match[1]): folder / match[0] for match in matches if match}
    return dict(sorted(found.items()))


def _journals(path: Path) -> list[Path]:
    folder = parts_folder(path)
    return [folder / name for name in _files_in(folder) if name.startswith(".") and name.endswith(_JOURNAL_SUFFIX)]


def _old_journals(path: Path, head: ManifestContent) -> list[Path]:
    """Those of builds that kept them beside the frames, where listing takes long when they are many."""
    if head.format >= FORMAT:
        return []
    prefix = f".{parts_folder(path).name}."
    names = [name for name in _files_in(path.parent) if name.startswith(prefix) and name.endswith(_JOURNAL_SUFFIX)]
    return [path.with_name(name) for name in names]


def _files_in(folder: Path) -> list[str]:
    """Names of a folder's files, links aside, in order."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    return []


def _run_key_of(journal: IO[str]) -> str:
    """What a journal's first line says; empty where it says nothing."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(journal.readline())["run_key"])
    return ""


def _read_journals(paths: Sequence[Path]) -> ManifestContent:
    return _overlaid(*map(_read_journal, paths))


def _read_journal(path: Path) -> ManifestContent:
    """What it says was finished, and was not. A last line cut short by a kill is passed over."""
    finished: dict[int, FrameEntry] = {}
    begun: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                values = json.loads(line)
                frame = int(values.pop("frame"))
                if "begin" in values:
                    begun[frame] = str(values["begin"])
                else:
                    finished[frame] = FrameEntry(**values)
                    begun.pop(frame, None)
    return ManifestContent(frames=finished, unfinished=begun)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name.removesuffix('.json')}.lock")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for, and hold, an advisory lock that the system drops when its process ends."""
    with path.open("a") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_lock(file: IO[str]) -> bool:
    """Take a file's advisory lock if nobody holds it."""
    if os.name != "posix":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
