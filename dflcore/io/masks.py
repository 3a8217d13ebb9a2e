"""Masks and labels of a faceset: one SQLite file beside its index, every version kept.

Convention:
    Masks lie in aligned space, (S, S) float32 in [0, 1], 1 is face, any S. They are stored as gray PNG: 8 bits, which
    moves a value by at most 1/510, or 16 bits for masks that are finer than that (1/131070).
    A source is what made a mask (``xseg``, ``painted``): ``[a-z0-9_]``, at most 32 characters. ``hull`` (computed from
    landmarks) and ``label`` (drawn polygons) are reserved; labels are versioned like masks.

Nothing is ever overwritten: each change, also a removal, is a new version, so every removal can be taken back. SQLite
with a rollback journal, as the index, so that it lives on a network disk too. Transactions are short: many processes
may read and write, and wait for each other no longer than :data:`BUSY_TIMEOUT_S`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import cv2
import numpy as np

from dflcore.errors import Conflict, DataCorrupt, DflError, InvalidInput, NotFound, ResourceExhausted, Unsupported
from dflcore.io.mask_labels import Label, check_label
from dflcore.types import FloatArray
from dflcore.version import SOFTWARE

MASKS_NAME = "masks.sqlite"
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10.0
HULL_SOURCE = "hull"
LABEL_SOURCE = "label"
MAX_SIZE_PX = 8192
_ROUNDING = 1e-3
"""How far beyond [0, 1] a value may lie and be taken as rounding."""
_CHUNK = 64
"""Masks read in one go by :meth:`MaskStore.masks`: the file is locked for a moment only."""
_SOURCE = re.compile(r"[a-z0-9_]{1,32}")
_PNG_COMPRESSION = 3

Bits = Literal[8, 16]

_SCHEMA = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE content (id INTEGER PRIMARY KEY, size INTEGER, bits INTEGER, data BLOB NOT NULL) STRICT",
    # content_id NULL: removed. A restored version shares the content of the one it brings back.
    "CREATE TABLE version (source TEXT NOT NULL, face TEXT NOT NULL, version INTEGER NOT NULL, content_id INTEGER "
    "REFERENCES content(id), made_by TEXT NOT NULL, made_at TEXT NOT NULL, PRIMARY KEY (source, face, version)) "
    "STRICT, WITHOUT ROWID",
    "CREATE TABLE newest (source TEXT NOT NULL, face TEXT NOT NULL, version INTEGER NOT NULL, content_id INTEGER, "
    "PRIMARY KEY (source, face)) STRICT, WITHOUT ROWID",
    "CREATE INDEX newest_by_face ON newest (face, source, version, content_id)",
)
_ADD_VERSION = "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?)"
_SET_NEWEST = "INSERT OR REPLACE INTO newest VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskVersion:
    """One entry in the history of a mask or label.

    Attributes:
        version: 1, 2, 3...
        made_by: what made it, as its maker said.
        made_at: ISO time, UTC.
        is_removed: this version says that there is none.
        size: side in pixels; None for labels and removals.
        bits: 8 or 16; None for labels and removals.
    """

    version: int
    made_by: str
    made_at: str
    is_removed: bool
    size: int | None
    bits: int | None


@dataclass(frozen=True, slots=True)
class _Content:
    data: bytes
    size: int | None = None
    bits: int | None = None


class MaskStore:
    """The masks and labels of one faceset. Any number of threads and processes may use the same faceset's at once.

    Face names are taken as they come; whether the faceset has such a face is its importers' business. All methods
    raise, beside what they say themselves: NotFound (the faceset was deleted meanwhile), Conflict (another process
    kept the file locked), DataCorrupt, Unsupported (another layout), InvalidInput (a name that is none).
    """

    def __init__(self, faceset_path: Path, *, create: bool) -> None:
        self.faceset_path = Path(faceset_path)
        self.path = self.faceset_path / MASKS_NAME
        self._may_create = create
        self._database: sqlite3.Connection | None = None
        self._opened: tuple[int, int, int] | None = None  # process, device, inode
        self._lock = threading.RLock()

    @classmethod
    def open(cls, faceset_path: Path, *, create: bool = False) -> MaskStore:
        """Open a faceset's masks.

        Args:
            create: make the file where there is none. Without, a faceset that has none is read as empty and cannot be
                written; a file that is made later is found.

        Raises:
            NotFound: there is no such folder.
            InvalidInput: the file cannot be made there.
            Unsupported, DataCorrupt: the file has another layout, or is damaged.
        """
        store = cls(faceset_path, create=create)
        if not store.faceset_path.is_dir():
            raise NotFound(f"There is no faceset folder {faceset_path}.", reason="FACESET_NOT_FOUND", path=faceset_path)
        with store._session():
            pass
        store._may_create = False
        return store

    # Masks

    def add_mask(self, face: str, source: str, mask: FloatArray, *, made_by: str, bits: Bits = 8) -> int:
        """Store a mask as the newest version and return its number, counted from 1 for each face and source.

        Args:
            face: name in the faceset's index.
            source: see the conventions above.
            mask: (S, S) in [0, 1].
            made_by: what made it: a program, a file, a model with its iteration.
            bits: 16 where 1/510 is too coarse.

        Raises:
            InvalidInput: not a square of finite numbers in [0, 1], or a reserved source.
        """
        return self.add_masks(source, [(face, mask)], made_by=made_by, bits=bits)[0]

    def add_masks(
        self, source: str, masks: Iterable[tuple[str, FloatArray]], *, made_by: str, bits: Bits = 8
    ) -> list[int]:
        """:meth:`add_mask` for many faces in one transaction: all are stored or none. Encoded before it begins."""
        check_source(source)
        contents = [
            (face, _Content(_encode(mask, bits, f"mask {source!r} of {face}"), mask.shape[0], bits))
            for face, mask in masks
        ]
        return self._append(source, contents, made_by)

    def mask(self, face: str, source: str, *, version: int | None = None) -> FloatArray | None:
        """(S, S) float32 in [0, 1], size as stored; None where there is none or that version is a removal."""
        content = self._content(face, check_source(source), version)
        return None if content is None else _decode(content, self.path, face, source)

    def masks(self, faces: Iterable[str], source: str) -> Iterator[tuple[str, FloatArray]]:
        """Name and newest mask of those of ``faces`` that have one, in their order; reads ahead a few at a time."""
        check_source(source)
        asked = list(faces)
        for start in range(0, len(asked), _CHUNK):
            names = asked[start : start + _CHUNK]
            found = self._newest_contents(source, names)
            for face in names:
                if face in found:
                    yield face, _decode(found[face], self.path, face, source)

    def masks_of(self, face: str) -> dict[str, int]:
        """Sources of stored masks this face has, with their newest version."""
        rows = self._rows(
            "SELECT source, version FROM newest WHERE face = ? AND source != ? AND content_id IS NOT NULL "
            "ORDER BY source",
            (_check_face(face), LABEL_SOURCE),
        )
        return {source: int(version) for source, version in rows}

    def sources(self) -> dict[str, int]:
        """Sources of stored masks, with the number of faces that have one."""
        rows = self._rows(
            "SELECT source, count(*) FROM newest WHERE source != ? AND content_id IS NOT NULL GROUP BY source",
            (LABEL_SOURCE,),
        )
        return {source: int(count) for source, count in rows}

    def faces_with(self, source: str) -> list[str]:
        """Names of faces with a mask of that source, sorted."""
        return self._faces_with(check_source(source))

    def versions(self, face: str, source: str) -> list[MaskVersion]:
        """History of one mask, oldest first; of a face's label for the source ``label``."""
        rows = self._rows(
            "SELECT version, made_by, made_at, content_id IS NULL, size, bits FROM version LEFT JOIN content "
            "ON content.id = content_id WHERE source = ? AND face = ? ORDER BY version",
            (source if source == LABEL_SOURCE else check_source(source), _check_face(face)),
        )
        return [
            MaskVersion(version=number, made_by=maker, made_at=time, is_removed=bool(removed), size=size, bits=bits)
            for number, maker, time, removed, size, bits in rows
        ]

    def removals(self, made_by: str = "") -> list[tuple[str, str, MaskVersion]]:
        """Face, source and newest version of every mask and label that was removed and not replaced since.

        Args:
            made_by: only those whose maker begins with this.
        """
        rows = self._rows(
            "SELECT face, source, version, made_by, made_at FROM newest JOIN version USING (source, face, version) "
            "WHERE newest.content_id IS NULL AND substr(made_by, 1, length(?)) = ? ORDER BY face, source",
            (made_by, made_by),
        )
        return [
            (
                face,
                source,
                MaskVersion(version=number, made_by=maker, made_at=time, is_removed=True, size=None, bits=None),
            )
            for face, source, number, maker, time in rows
        ]

    def remove_masks(self, source: str, faces: Iterable[str] | None = None, *, made_by: str = "removed") -> int:
        """Take masks away, of all faces when ``faces`` is None; say how many. They can be restored."""
        return self._remove(check_source(source), faces, made_by)

    def restore_masks(self, source: str, faces: Iterable[str] | None = None, *, made_by: str = "restored") -> int:
        """Bring back what was removed and not replaced since, as it was; say how many."""
        return self._restore(check_source(source), faces, made_by)

    # Labels

    def set_label(self, face: str, label: Label, *, made_by: str) -> int:
        """Store a label as the newest version and return its number. One without polygons counts as a removal.

        Raises:
            InvalidInput: see :func:`~dflcore.io.mask_labels.check_label`.
        """
        return self.set_labels({face: label}, made_by=made_by)[0]

    def set_labels(self, labels: Mapping[str, Label], *, made_by: str) -> list[int]:
        """:meth:`set_label` for many faces in one transaction: all are stored or none."""
        for label in labels.values():
            check_label(label)
        contents = [
            (face, _Content(label.to_json().encode()) if label.polygons else None) for face, label in labels.items()
        ]
        return self._append(LABEL_SOURCE, contents, made_by)

    def label(self, face: str, *, version: int | None = None) -> Label | None:
        """The newest or a given version; None where there is none or that version is a removal."""
        content = self._content(face, LABEL_SOURCE, version)
        return None if content is None else _decode_label(content, self.path, face)

    def labels(self) -> Iterator[tuple[str, Label]]:
        """Every labelled face's name and newest label, sorted by name."""
        names = self.labelled_faces()
        for start in range(0, len(names), _CHUNK):
            part = names[start : start + _CHUNK]
            found = self._newest_contents(LABEL_SOURCE, part)
            yield from ((face, _decode_label(found[face], self.path, face)) for face in part if face in found)

    def labelled_faces(self) -> list[str]:
        """Names of faces with a label, sorted."""
        return self._faces_with(LABEL_SOURCE)

    def remove_labels(self, faces: Iterable[str] | None = None, *, made_by: str = "removed") -> int:
        """As :meth:`remove_masks`."""
        return self._remove(LABEL_SOURCE, faces, made_by)

    def restore_labels(self, faces: Iterable[str] | None = None, *, made_by: str = "restored") -> int:
        """As :meth:`restore_masks`."""
        return self._restore(LABEL_SOURCE, faces, made_by)

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._lock:
            if self._database is not None and self._opened is not None and self._opened[0] == os.getpid():
                self._database.close()
            self._database = self._opened = None

    def __enter__(self) -> MaskStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Rows

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows at once, so that no lock outlives the call; none where there is no file."""
        with self._session() as database:
            return [] if database is None else database.execute(query, values).fetchall()

    def _faces_with(self, source: str) -> list[str]:
        query = "SELECT face FROM newest WHERE source = ? AND content_id IS NOT NULL ORDER BY face"
        return [face for (face,) in self._rows(query, (source,))]

    def _content(self, face: str, source: str, version: int | None) -> _Content | None:
        if version is None:
            return self._newest_contents(source, [face]).get(face)
        rows = self._rows(
            "SELECT data, size, bits FROM version JOIN content ON content.id = content_id "
            "WHERE source = ? AND face = ? AND version = ?",
            (source, _check_face(face), version),
        )
        return _Content(*rows[0]) if rows else None

    def _newest_contents(self, source: str, faces: Sequence[str]) -> dict[str, _Content]:
        marks = ",".join("?" * len(faces))
        rows = self._rows(
            "SELECT face, data, content.size, content.bits FROM newest JOIN content ON content.id = content_id "
            f"WHERE source = ? AND face IN ({marks})",
            (source, *(_check_face(face) for face in faces)),
        )
        return {face: _Content(data, size, bits) for face, data, size, bits in rows}

    def _append(self, source: str, contents: Sequence[tuple[str, _Content | None]], made_by: str) -> list[int]:
        for face, _ in contents:
            _check_face(face)
        _check_text(made_by, "made_by")
        versions = []
        with self._transaction() as database:
            for face, content in contents:
                query = "SELECT version FROM newest WHERE source = ? AND face = ?"
                row = database.execute(query, (source, face)).fetchone()
                content_id = None
                if content is not None:
                    insert = "INSERT INTO content (size, bits, data) VALUES (?, ?, ?)"
                    content_id = database.execute(insert, (content.size, content.bits, content.data)).lastrowid
                versions.append(1 if row is None else int(row[0]) + 1)
                _write_version(database, source, face, versions[-1], content_id, made_by)
        return versions

    def _remove(self, source: str, faces: Iterable[str] | None, made_by: str) -> int:
        _check_text(made_by, "made_by")
        wanted = None if faces is None else {_check_face(face) for face in faces}
        with self._transaction() as database:
            query = "SELECT face, version FROM newest WHERE source = ? AND content_id IS NOT NULL"
            rows = [row for row in database.execute(query, (source,)).fetchall() if wanted is None or row[0] in wanted]
            for face, version in rows:
                _write_version(database, source, face, version + 1, None, made_by)
        return len(rows)

    def _restore(self, source: str, faces: Iterable[str] | None, made_by: str) -> int:
        _check_text(made_by, "made_by")
        wanted = None if faces is None else {_check_face(face) for face in faces}
        with self._transaction() as database:
            query = (
                "SELECT face, version, (SELECT content_id FROM version AS old WHERE old.source = newest.source AND "
                "old.face = newest.face AND old.content_id IS NOT NULL ORDER BY old.version DESC LIMIT 1) "
                "FROM newest WHERE source = ? AND content_id IS NULL"
            )
            found = database.execute(query, (source,)).fetchall()
            rows = [row for row in found if row[2] is not None and (wanted is None or row[0] in wanted)]
            for face, version, content_id in rows:
                _write_version(database, source, face, version + 1, content_id, made_by)
        return len(rows)

    # The file

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._session() as database:
            if database is None:
                raise InvalidInput(
                    f"The faceset {self.faceset_path} has no masks yet and was opened for reading only.",
                    reason="MASKS_READ_ONLY",
                    path=self.path,
                )
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _session(self) -> Iterator[sqlite3.Connection | None]:
        """The open database for one thread's one call; None where there is no file and none is to be made."""
        if self._opened is not None and self._opened[0] != os.getpid():  # forked: the parent's connection is not ours
            self._database, self._opened, self._lock = None, None, threading.RLock()
        with self._lock:
            try:
                yield self._connection()
            except (sqlite3.Error, OSError) as error:
                translated = self._translated(error)
                self.close()
                raise translated from error

    def _connection(self) -> sqlite3.Connection | None:
        """Ours if the file is still the one that was opened, else a new one."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            if self._database is not None or not self.faceset_path.is_dir():
                raise
            if not self._may_create:
                return None
            return self._open_file("rwc")
        if self._opened == (os.getpid(), status.st_dev, status.st_ino):
            return self._database
        return self._open_file("rw")  # falls back to reading where the file may not be written

    def _open_file(self, mode: str) -> sqlite3.Connection:
        self.close()
        address = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
        database = sqlite3.connect(
            address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                _create_tables(database)
            rows = dict(database.execute("SELECT key, value FROM about"))
            if rows.get("schema") != str(SCHEMA_VERSION):
                raise self._layout_error(rows)
            status = self.path.stat()
        except BaseException:
            database.close()
            raise
        self._database, self._opened = database, (os.getpid(), status.st_dev, status.st_ino)
        return database

    def _layout_error(self, about: Mapping[str, str]) -> Unsupported:
        return Unsupported(
            f"The masks {self.path} have layout {about.get('schema')}, written by "
            f"{about.get('software', 'another version')}; this version ({SOFTWARE}) works with layout "
            f"{SCHEMA_VERSION} only. Use the version that wrote it.",
            reason="MASKS_LAYOUT",
            path=self.path,
        )

    def _translated(self, error: sqlite3.Error | OSError) -> DflError:
        """What SQLite or the system said, as ours."""
        path, code = self.path, getattr(error, "sqlite_errorcode", -1) & 0xFF
        if not self.faceset_path.is_dir() or (not path.exists() and not self._may_create):
            return NotFound(
                f"The faceset {self.faceset_path} or its {MASKS_NAME} was deleted while in use.",
                reason="FACESET_GONE",
                path=self.faceset_path,
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Conflict(
                f"Another process has kept {path} locked for {BUSY_TIMEOUT_S:g} s; try again when it is done.",
                reason="MASKS_BUSY",
                path=path,
            )
        if code == sqlite3.SQLITE_FULL:
            return ResourceExhausted(
                f"The disk is full while writing {path}. Free some space and run again; finished work is kept.",
                reason="DISK_FULL",
                path=path,
            )
        is_refused = code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
        if is_refused or isinstance(error, PermissionError):
            return InvalidInput(
                f"Cannot write {path}: {error}. Choose a folder you may write to.", reason="NOT_WRITABLE", path=path
            )
        return DataCorrupt(
            f"The masks {path} are damaged: {error}. Restore the file from a backup, or delete it and make the masks "
            "again.",
            reason="MASKS_DAMAGED",
            path=path,
        )


def check_source(source: str) -> str:
    """The name of a source that may be stored. Raises InvalidInput."""
    if not _SOURCE.fullmatch(source):
        raise InvalidInput(
            f"{source!r} cannot name a mask source: lower-case letters, digits and underscores, at most 32.",
            reason="BAD_MASK_SOURCE",
            field="source",
        )
    if source in (HULL_SOURCE, LABEL_SOURCE):
        raise InvalidInput(
            f"The mask source {source!r} is reserved: hulls come from landmarks and labels are polygons.",
            reason="BAD_MASK_SOURCE",
            field="source",
        )
    return source


def _write_version(
    database: sqlite3.Connection, source: str, face: str, version: int, content_id: int | None, made_by: str
) -> None:
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    database.execute(_ADD_VERSION, (source, face, version, content_id, made_by, made_at))
    database.execute(_SET_NEWEST, (source, face, version, content_id))


def _create_tables(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:  # another process was first
            for statement in _SCHEMA:
                database.execute(statement)
            rows = [("schema", str(SCHEMA_VERSION)), ("software", SOFTWARE)]
            database.executemany("INSERT INTO about VALUES (?, ?)", rows)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _check_face(face: str) -> str:
    if not face or len(face) > 4096:
        raise InvalidInput(f"{face[:60]!r} is no name of a face.", reason="BAD_FACE_NAME", field="face")
    return _check_text(face, "face")


def _check_text(text: str, what: str) -> str:
    """Text that SQLite can hold: a file name whose bytes are no UTF-8 is not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{text[:60]!r} is not Unicode text.", reason="BAD_FACE_NAME", field=what) from error
    return text


def _encode(mask: FloatArray, bits: Bits, what: str) -> bytes:
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not 1 <= mask.shape[0] <= MAX_SIZE_PX:
        raise InvalidInput(
            f"The {what} has shape {mask.shape}; masks are squares of 1 to {MAX_SIZE_PX} px.", reason="BAD_SHAPE"
        )
    low, high = float(mask.min()), float(mask.max())
    if not (low >= -_ROUNDING and high <= 1.0 + _ROUNDING):  # NaN fails as well
        raise InvalidInput(f"The {what} has values from {low:g} to {high:g}, not in [0, 1].", reason="BAD_MASK")
    if bits not in (8, 16):
        raise InvalidInput(f"Masks are stored with 8 or 16 bits, not {bits}.", reason="BAD_SETTING", field="bits")
    levels = (1 << bits) - 1
    whole = np.rint(np.clip(np.asarray(mask, dtype=np.float64), 0.0, 1.0) * levels)
    pixels = whole.astype(np.uint8) if bits == 8 else whole.astype(np.uint16)
    _, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])
    return encoded.tobytes()


def _decode(content: _Content, path: Path, face: str, source: str) -> FloatArray:
    pixels = cv2.imdecode(np.frombuffer(content.data, np.uint8), cv2.IMREAD_UNCHANGED) if content.data else None
    dtype = np.uint8 if content.bits == 8 else np.uint16
    if pixels is None or pixels.shape != (content.size, content.size) or pixels.dtype != dtype:
        raise DataCorrupt(
            f"The mask {source!r} of {face} in {path} is damaged; remove it and make it again.",
            reason="MASK_DAMAGED",
            path=path,
            face=face,
        )
    return pixels.astype(np.float32) / np.float32(np.iinfo(dtype).max)


def _decode_label(content: _Content, path: Path, face: str) -> Label:
    try:
        return Label.from_json(content.data.decode())
    except (UnicodeDecodeError, InvalidInput) as error:
        raise DataCorrupt(
            f"The label of {face} in {path} is damaged: {error}", reason="MASK_DAMAGED", path=path, face=face
        ) from error
