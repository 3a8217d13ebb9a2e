"""Faces put aside, not deleted: they wait in ``trash/`` of their faceset until restored or emptied for good.

A face is moved by renaming its picture, so at any instant it is in one place, whole. Its row in the index stays, and
moving the picture back brings the face back; a person may do that by hand. ``trash/log.jsonl`` says when and why.
A packed picture is copied to the trash and then left out of the pack's faces; restored, it lies loose beside the pack.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dflcore.errors import Conflict, InvalidInput, NotFound
from dflcore.io.atomic import sync_folder, translate_disk_errors, write_bytes, write_text
from dflcore.io.faceset import INDEX_NAME
from dflcore.io.lock import take_lock
from dflcore.io.pack import FaceFiles, trash_members

TRASH_NAME: Final = "trash"
LOG_NAME: Final = "log.jsonl"
_LOCK_NAME: Final = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashedFace:
    """One picture in the trash.

    Attributes:
        name: what it was called in the faceset.
        stored: what it is called in the trash; differs where the trash already held one of that name.
        why, when: as the log has it; empty for pictures somebody moved there by hand. ``when`` is ISO 8601, UTC.
        batch: faces moved by one call share it.
    """

    name: str
    stored: str
    why: str = ""
    when: str = ""
    batch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveResult:
    """What was moved, and what was not with the reason."""

    moved: tuple[str, ...]
    skipped: dict[str, str]
    batch: str = ""


def move_to_trash(faceset_path: Path, names: Iterable[str], why: str) -> MoveResult:
    """Move faces out of a faceset.

    Names that are not there (any more) are skipped and reported. A kill half way leaves some moved and the others
    where they were.

    Args:
        why: a few words for the log, for example the filter that chose them.

    Raises:
        NotFound: there is no such faceset.
        InvalidInput: a name is not that of a picture in the folder itself, or the folder cannot be written.
        Conflict: another process moves faces of this set.
    """
    folder = _faceset_folder(faceset_path)
    wanted = list(dict.fromkeys(_checked(name) for name in names))
    with FaceFiles.open(folder) as files:
        return _move(folder, files, wanted, why)


def _move(folder: Path, files: FaceFiles, wanted: list[str], why: str) -> MoveResult:
    loose = _files_in(folder)
    present = loose | files.names()
    skipped = {name: "not in the faceset" for name in wanted if name not in present}
    batch = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    moved: list[str] = []
    if len(skipped) == len(wanted):
        return MoveResult(moved=(), skipped=skipped)
    with _locked(folder) as trash:
        taken = _files_in(trash)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        faces = []
        for name in wanted:
            if name not in skipped:
                stored = _free_name(name, taken)
                taken.add(stored)
                faces.append(TrashedFace(name=name, stored=stored, why=why, when=now, batch=batch))
        _append_log(trash, faces)  # first: an entry without a picture is harmless
        for face in faces:
            try:
                if face.name in loose:
                    os.rename(folder / face.name, trash / face.stored)
                else:
                    write_bytes(trash / face.stored, files.read(face.name))
            except (FileNotFoundError, NotFound):
                skipped[face.name] = "deleted meanwhile"
            else:
                moved.append(face.name)
        sync_folder(trash)
        sync_folder(folder)
        packed = [] if files.pack is None else [name for name in moved if name in files.pack]
        if packed:
            trash_members(folder, packed)
    return MoveResult(moved=tuple(moved), skipped=skipped, batch=batch)


def list_trash(faceset_path: Path) -> list[TrashedFace]:
    """What is in the trash, oldest first; pictures without a log entry come first.

    Raises:
        NotFound: there is no such faceset.
    """
    trash = _faceset_folder(faceset_path) / TRASH_NAME
    if not trash.is_dir():
        return []
    stored = _files_in(trash)
    logged: dict[str, TrashedFace] = {}
    for face in _read_log(trash):
        if face.stored in stored:
            logged.pop(face.stored, None)  # the latest entry counts, at its place
            logged[face.stored] = face
    by_hand = [TrashedFace(name=name, stored=name) for name in sorted(stored - set(logged))]
    return by_hand + list(logged.values())


def restore(faceset_path: Path, names: Iterable[str] | None = None) -> MoveResult:
    """Move faces back, all of them or those named (their names in the faceset; of several of one name the latest).

    A face whose name is taken in the faceset stays in the trash and is reported: nothing is overwritten.

    Raises:
        NotFound: there is no such faceset.
        InvalidInput: the folder cannot be written.
        Conflict: another process moves faces of this set.
    """
    by_name = {face.name: face for face in list_trash(faceset_path)}
    wanted = list(by_name) if names is None else list(dict.fromkeys(names))
    skipped = {name: "not in the trash" for name in wanted if name not in by_name}
    return _restore(faceset_path, [by_name[name] for name in wanted if name in by_name], skipped)


def restore_last(faceset_path: Path) -> MoveResult:
    """Move back what the last call of :func:`move_to_trash` moved, as far as it is still there. Raises as restore."""
    trashed = [face for face in list_trash(faceset_path) if face.batch]
    if not trashed:
        return MoveResult(moved=(), skipped={})
    last = trashed[-1].batch
    return _restore(faceset_path, [face for face in trashed if face.batch == last], {})


def empty_trash(faceset_path: Path) -> int:
    """Delete what is in the trash for good; says how many pictures.

    Raises:
        NotFound: there is no such faceset.
        InvalidInput: the folder cannot be written.
        Conflict: another process moves faces of this set.
    """
    folder = _faceset_folder(faceset_path)
    if not (folder / TRASH_NAME).is_dir():
        return 0
    with _locked(folder) as trash:
        stored = _files_in(trash)
        for name in stored:
            (trash / name).unlink(missing_ok=True)
        write_text(trash / LOG_NAME, "")
    return len(stored)


def _restore(faceset_path: Path, faces: list[TrashedFace], skipped: dict[str, str]) -> MoveResult:
    folder = _faceset_folder(faceset_path)
    moved: list[str] = []
    if not faces:
        return MoveResult(moved=(), skipped=skipped)
    with _locked(folder) as trash:
        for face in faces:
            if (folder / face.name).exists():
                skipped[face.name] = "the faceset has a face of this name again"
                continue
            try:
                os.rename(trash / face.stored, folder / face.name)
            except FileNotFoundError:
                skipped[face.name] = "not in the trash any more"
            else:
                moved.append(face.name)
        sync_folder(folder)
        sync_folder(trash)
    return MoveResult(moved=tuple(moved), skipped=skipped)


def _faceset_folder(path: Path) -> Path:
    folder = Path(path)
    if not (folder / INDEX_NAME).is_file():
        raise NotFound(f"{folder} holds no {INDEX_NAME}, so it is not a faceset.", reason="NOT_A_FACESET", path=folder)
    return folder


def _checked(name: str) -> str:
    is_plain = name == os.path.basename(name) and "\\" not in name and not name.startswith(".") and "\0" not in name
    if not is_plain or not name or Path(name).suffix in (".sqlite", ".pak", ""):
        raise InvalidInput(f"{name!r} is not the file name of a face.", reason="BAD_FACE_NAME", name=name)
    return name


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """The trash folder, made when needed, with nobody else at it."""
    trash = folder / TRASH_NAME
    with translate_disk_errors(trash):
        trash.mkdir(exist_ok=True)
        message = f"Another process moves faces to or from {trash}; try again when it is done."
        lock = take_lock(trash / _LOCK_NAME, Conflict(message, reason="TRASH_BUSY", path=trash))
        try:
            yield trash
        finally:
            os.close(lock)


def _files_in(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.name != LOG_NAME and entry.is_file(follow_symlinks=False)
        }


def _free_name(name: str, taken: set[str]) -> str:
    path, number = Path(name), 1
    stored = name
    while stored in taken:
        number += 1
        stored = f"{path.stem}~{number}{path.suffix}"
    return stored


def _append_log(trash: Path, faces: Iterable[TrashedFace]) -> None:
    log = trash / LOG_NAME
    lines = "".join(json.dumps(asdict(face)) + "\n" for face in faces)
    with open(log, "ab+") as stream:
        if stream.tell():  # a line cut short by a kill must not swallow the next one
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                lines = "\n" + lines
        stream.write(lines.encode())
        stream.flush()
        os.fsync(stream.fileno())


def _read_log(trash: Path) -> Iterator[TrashedFace]:
    """Entries in order; lines that cannot be read are passed over."""
    try:
        lines = (trash / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            entry = json.loads(line)
            if isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values()):
                face = TrashedFace(**entry)
                if face.name == os.path.basename(face.name) and face.name not in ("", ".", ".."):
                    yield face
