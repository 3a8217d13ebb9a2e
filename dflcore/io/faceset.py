"""The faceset: a folder of aligned faces a person can look at, plus one index that knows everything about them.

Layout of the folder::

    my_faceset/
        index.sqlite              one row per face, and what holds for the whole set
        name_001001_0.png         aligned faces (see aligned_image.py); delete one by hand and the face is gone
        ...
        faces.pack                or all of them in one file, see pack.py
        trash/                    faces put aside, see dflcore/curate/trash.py

The index is SQLite with a rollback journal and one writer at a time, so it also lives on a network disk. An image
without a row is ignored, a row without an image does not count as a face. With every frame that was looked at stands
the key of what its faces were made from, so that a later run knows which frames are current.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import Conflict, DataCorrupt, NotFound, Unsupported
from dflcore.io.aligned_image import AlignedFormat, decode_aligned, to_float, to_uint8, write_aligned
from dflcore.io.atomic import remove_leftovers, translate_disk_errors
from dflcore.io.lock import take_lock
from dflcore.io.pack import FaceFiles
from dflcore.types import Authorization, Box, FaceRecord, FacesetInfo, FaceType, FloatArray, Landmarks, Origin, Pose
from dflcore.version import SOFTWARE

INDEX_NAME = "index.sqlite"
RENAMING_PLAN = Path(".renaming", "plan.json")
"""There while :mod:`dflcore.curate.rename` is at work, or was killed."""
SCHEMA_VERSION = 3
BUSY_TIMEOUT_S = 10.0
_ROWS_AT_ONCE = 500

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE plate (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE face (
    name TEXT PRIMARY KEY, plate_id INTEGER NOT NULL REFERENCES plate(id), frame INTEGER NOT NULL,
    face_index INTEGER NOT NULL, plate_width INTEGER NOT NULL, plate_height INTEGER NOT NULL, box BLOB NOT NULL,
    score REAL NOT NULL, layout TEXT NOT NULL, landmarks BLOB NOT NULL, depth BLOB, aligned_from_plate BLOB NOT NULL,
    pitch REAL NOT NULL, yaw REAL NOT NULL, roll REAL NOT NULL, sharpness REAL NOT NULL, detector TEXT NOT NULL,
    landmarker TEXT NOT NULL, identity BLOB, track_id INTEGER, spread REAL, origin TEXT NOT NULL DEFAULT 'detected',
    original_name TEXT) STRICT;
CREATE INDEX face_by_frame ON face (plate_id, frame, face_index);
CREATE TABLE examined (plate_id INTEGER NOT NULL, frame INTEGER NOT NULL, faces INTEGER NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (plate_id, frame)) STRICT
"""
_UPGRADES = {
    2: """
ALTER TABLE face DROP COLUMN mask;
ALTER TABLE face ADD COLUMN spread REAL;
ALTER TABLE face ADD COLUMN origin TEXT NOT NULL DEFAULT 'detected';
ALTER TABLE face ADD COLUMN original_name TEXT
"""
}
"""Older layout → what turns it into the next one; nothing a person made is lost by it."""


class Faceset:
    """A faceset opened for reading. Rows are read when asked for; images one at a time."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._about = _read_about(path / INDEX_NAME, database)
        if not self._about:
            raise NotFound(
                f"{path} holds an empty {INDEX_NAME}, so it is not a faceset yet; make one with `dfl extract`.",
                reason="NOT_A_FACESET",
                path=path,
            )
        self._files = FaceFiles.open(path)
        try:
            present = self._files.names()
            rows = database.execute("SELECT name FROM face ORDER BY plate_id, frame, face_index")
            self.names: list[str] = [name for (name,) in rows if name in present]
            """File names of the faces that are really there, in plate and frame order."""
        except BaseException:
            self._files.close()
            raise

    @classmethod
    def open(cls, path: Path) -> Faceset:
        """Open an existing faceset read-only.

        Raises:
            NotFound: there is no such folder, or it holds no index.
            Unsupported: the index was written by a version with another layout.
            DataCorrupt: the index cannot be read.
        """
        path = Path(path)
        index = path / INDEX_NAME
        if not path.is_dir():
            raise NotFound(
                f"There is no faceset folder {path}; make one with `dfl extract`.",
                reason="FACESET_NOT_FOUND",
                path=path,
            )
        if not index.is_file():
            raise NotFound(
                f"{path} holds no {INDEX_NAME}, so it is not a faceset; make one with `dfl extract`.",
                reason="NOT_A_FACESET",
                path=path,
            )
        check_renamed(path)
        with _corrupt_means(index):
            _upgrade_index(path)
            database = _connect_to_read(index)
            try:
                return cls(path, database)
            except BaseException:
                database.close()
                raise

    @property
    def info(self) -> FacesetInfo:
        """What holds for the whole set."""
        plates = tuple(name for (name,) in self._database.execute("SELECT name FROM plate ORDER BY id"))
        return FacesetInfo(
            path=str(self.path),
            face_count=len(self.names),
            face_type=self.face_type,
            aligned_size=self.aligned_size,
            plates=plates,
            authorization=Authorization(**self._about.get("authorization", {})),
            settings=self._about.get("settings", {}),
            software=self._about.get("software", ""),
        )

    @property
    def face_type(self) -> FaceType:
        return FaceType(self._about["face_type"])

    @property
    def aligned_size(self) -> int:
        """Side of the aligned images in pixels."""
        return int(self._about["aligned_size"])

    def __len__(self) -> int:
        return len(self.names)

    def records(self, names: Iterable[str] | None = None) -> Iterator[FaceRecord]:
        """Rows of the faces that are there, in the order of :attr:`names`, or of the given names only.

        A reader that takes its time over them keeps no writer waiting.
        """
        if names is None:
            for first in range(0, len(self.names), _ROWS_AT_ONCE):
                wanted = self.names[first : first + _ROWS_AT_ONCE]
                where = f" WHERE face.name IN ({', '.join('?' * len(wanted))})"
                rows = {row[0]: row for row in self._database.execute(_SELECT_FACE + where, wanted).fetchall()}
                yield from (self._record(rows[name]) for name in wanted if name in rows)
            return
        for name in names:
            yield self.record(name)

    def examined_frames(self) -> Iterator[tuple[str, int, str]]:
        """Plate, frame and key of every frame that was looked at, with or without a face."""
        yield from self._database.execute(
            "SELECT plate.name, frame, key FROM examined JOIN plate ON plate.id = plate_id ORDER BY plate_id, frame"
        )

    def every_record(self, plate: str) -> Iterator[FaceRecord]:
        """Rows of a plate, those too whose image a person deleted, in frame order."""
        where = " WHERE plate.name = ? ORDER BY face.frame, face.face_index"
        yield from (self._record(row) for row in self._database.execute(_SELECT_FACE + where, (plate,)))

    def record(self, name: str) -> FaceRecord:
        """The row of one face. Raises NotFound."""
        row = self._database.execute(_SELECT_FACE + " WHERE face.name = ?", (name,)).fetchone()
        if row is None:
            raise NotFound(f"The faceset {self.path} has no face {name!r}.", reason="FACE_NOT_FOUND", path=self.path)
        return self._record(row)

    def records_by_frame(self, plate: str | None = None) -> dict[int, list[FaceRecord]]:
        """Faces of a plate by frame number, largest first; of every plate when ``plate`` is None."""
        frames: dict[int, list[FaceRecord]] = {}
        for record in self.records():
            if plate is None or record.plate == plate:
                frames.setdefault(record.frame, []).append(record)
        return frames

    def read_image(self, name: str) -> NDArray[np.uint8]:
        """Pixels of one aligned face: (S, S, 3) uint8 RGB, sRGB-encoded, whatever its file holds.

        Raises:
            NotFound: the image is gone.
            DataCorrupt: it cannot be decoded, or its size differs from the faceset's.
        """
        return to_uint8(self._decode(name))

    def read_float(self, name: str) -> FloatArray:
        """Pixels of one aligned face with all its file holds: (S, S, 3) float32 RGB, sRGB-encoded, EXR unbounded.

        Raises:
            NotFound, DataCorrupt: as :meth:`read_image`.
        """
        return to_float(self._decode(name))

    def _decode(self, name: str) -> FloatArray | NDArray[np.uint8]:
        path = self.path / name
        face = decode_aligned(self._files.read(name), path)
        if face.shape != (self.aligned_size, self.aligned_size, 3):
            raise DataCorrupt(
                f"The aligned face {path} is {face.shape[1]}x{face.shape[0]} px, this faceset's are "
                f"{self.aligned_size} px; delete it, or extract its frame again.",
                reason="FACE_DAMAGED",
                path=path,
            )
        return face

    def close(self) -> None:
        self._files.close()
        self._database.close()

    def __enter__(self) -> Faceset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(self, row: tuple[Any, ...]) -> FaceRecord:
        return _record_from_row(row, self.face_type, self.aligned_size)


class FacesetWriter:
    """Appends faces to a faceset, creating it when needed. One writer at a time holds the lock.

    Args:
        path: the folder.
        face_type, aligned_size: must equal those of an existing faceset.
        settings: the resolved settings, kept in the index.
        authorization: kept in the index; a stated one replaces an empty one, never the other way round. A stated one
            that is replaced by another stays in the index's ``authorization_history``.
        aligned_format, jpeg_quality: how images are written; the suffix of a record's name must be the format's.
        durable: every frame is flushed to disk; without it the caller flushes the whole set at the end.

    Raises:
        Conflict: another process writes this faceset, or it was made with another face type or size.
        Unsupported: the index was written by a version with another layout.
        DataCorrupt: the index cannot be read.
        InvalidInput: the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        face_type: FaceType,
        aligned_size: int,
        settings: dict[str, object],
        authorization: Authorization,
        aligned_format: AlignedFormat = "png",
        jpeg_quality: int = 95,
        durable: bool = True,
    ) -> None:
        self.path = Path(path)
        self.aligned_format = aligned_format
        self._jpeg_quality = jpeg_quality
        self.face_type = face_type
        self.aligned_size = aligned_size
        with translate_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            check_renamed(self.path)
            self._lock = lock_faceset(self.path)
            remove_leftovers(self.path)
        try:
            with _corrupt_means(self.path / INDEX_NAME):
                _upgrade(self.path / INDEX_NAME)
                self._database = sqlite3.connect(
                    self.path / INDEX_NAME, timeout=BUSY_TIMEOUT_S, check_same_thread=False
                )
                try:
                    if not durable:
                        self._database.execute("PRAGMA synchronous = OFF")
                    self._reconcile(settings, authorization)
                except BaseException:
                    self._database.close()
                    raise
        except BaseException:
            os.close(self._lock)
            raise

    def examined_frames(self, plate: str) -> dict[int, str]:
        """Frames of a plate that were looked at already, with or without a face, and the key each was given."""
        rows = self._database.execute(
            "SELECT frame, key FROM examined JOIN plate ON plate.id = plate_id WHERE plate.name = ?", (plate,)
        )
        return dict(rows)

    def add_frame(
        self,
        plate: str,
        frame: int,
        plate_size: tuple[int, int],
        faces: Iterable[tuple[FaceRecord, FloatArray | NDArray[np.uint8] | None]],
        *,
        key: str = "",
        stale: Iterable[str] = (),
    ) -> None:
        """Write all faces of one frame, or none: images first, then the rows in one transaction.

        What the index says of the frame so far is taken back before: images written over earlier ones never go with
        rows, or a key, that they were not made with.

        Args:
            plate: the plate's name.
            frame: frame number on disk.
            plate_size: (width, height) of the display window.
            faces: records with their aligned image (S, S, 3) RGB, sRGB-encoded, uint8 or unbounded float32; None
                writes the row alone, for a face a person deleted and that stays deleted.
            key: says what the faces were made from; comes back from :meth:`examined_frames`.
            stale: file names of images this frame had and has no more; removed while no row can mean them.
        """
        pairs = list(faces)
        with self._database:
            plate_id = self._plate_id(plate)
            self._database.execute("DELETE FROM face WHERE plate_id = ? AND frame = ?", (plate_id, frame))
            self._database.execute("DELETE FROM examined WHERE plate_id = ? AND frame = ?", (plate_id, frame))
        for record, image in pairs:
            if image is not None:
                path = self.path / record.name
                write_aligned(path, image, self.aligned_format, jpeg_quality=self._jpeg_quality)
        for name in stale:
            (self.path / name).unlink(missing_ok=True)
        with self._database:
            rows = [_row_from_record(record, plate_id, plate_size) for record, _ in pairs]
            self._database.executemany(_INSERT_FACE, rows)
            self._database.execute("INSERT INTO examined VALUES (?, ?, ?, ?)", (plate_id, frame, len(pairs), key))

    def close(self) -> None:
        self._database.close()
        os.close(self._lock)

    def __enter__(self) -> FacesetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plate_id(self, plate: str) -> int:
        self._database.execute("INSERT OR IGNORE INTO plate (name) VALUES (?)", (plate,))
        (plate_id,) = self._database.execute("SELECT id FROM plate WHERE name = ?", (plate,)).fetchone()
        return int(plate_id)

    def _reconcile(self, settings: dict[str, object], authorization: Authorization) -> None:
        about = _read_about(self.path / INDEX_NAME, self._database)
        is_new = not about
        existing = (
            about.get("face_type", self.face_type.value),
            about.get("aligned_size", self.aligned_size),
        )
        has_faces = not is_new and self._database.execute("SELECT 1 FROM face LIMIT 1").fetchone() is not None
        if has_faces and existing != (self.face_type.value, self.aligned_size):
            raise Conflict(
                f"The faceset {self.path} holds {existing[0]} faces of {existing[1]} px; this run would add "
                f"{self.face_type.value} faces of {self.aligned_size} px. Use another folder or the same settings.",
                reason="FACESET_DIFFERS",
                path=self.path,
            )
        about |= {
            "schema": SCHEMA_VERSION,
            "face_type": self.face_type.value,
            "aligned_size": self.aligned_size,
            "settings": settings,
            "software": SOFTWARE,
        }
        if authorization.is_stated or "authorization" not in about:
            replaced = about.get("authorization")
            about["authorization"] = asdict(authorization)
            if replaced and Authorization(**replaced).is_stated and replaced != about["authorization"]:
                about["authorization_history"] = [*about.get("authorization_history", []), replaced]
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")  # tables and first rows together: an index is whole or empty
            if is_new:
                for statement in _SCHEMA.split(";"):
                    self._database.execute(statement)
            self._database.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in about.items()],
            )


_SELECT_FACE = (
    "SELECT face.name, plate.name, face.frame, face.face_index, face.plate_width, face.plate_height, "
    "face.box, face.score, "
    "face.layout, face.landmarks, face.depth, face.aligned_from_plate, face.pitch, face.yaw, face.roll, "
    "face.sharpness, face.detector, face.landmarker, face.identity, face.track_id, face.spread, face.origin, "
    "face.original_name "
    "FROM face JOIN plate ON plate.id = face.plate_id"
)
_INSERT_FACE = (
    "INSERT INTO face (name, plate_id, frame, face_index, plate_width, plate_height, box, score, layout, landmarks, "
    "depth, aligned_from_plate, pitch, yaw, roll, sharpness, detector, landmarker, identity, track_id, spread, origin, "
    "original_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _row_from_record(record: FaceRecord, plate_id: int, plate_size: tuple[int, int]) -> tuple[object, ...]:
    box = np.array([record.box.left, record.box.top, record.box.right, record.box.bottom], dtype="<f8")
    marks = record.landmarks
    return (
        record.name,
        plate_id,
        record.frame,
        record.face_index,
        *plate_size,
        box.tobytes(),
        record.score,
        marks.layout,
        marks.points.astype("<f4").tobytes(),
        None if marks.depth is None else marks.depth.astype("<f4").tobytes(),
        record.aligned_from_plate.astype("<f8").tobytes(),
        record.pose.pitch,
        record.pose.yaw,
        record.pose.roll,
        record.sharpness,
        record.detector,
        record.landmarker,
        None if record.identity is None else record.identity.astype("<f4").tobytes(),
        record.track_id,
        record.spread,
        record.origin.value,
        record.original_name,
    )


def _record_from_row(row: tuple[Any, ...], face_type: FaceType, aligned_size: int) -> FaceRecord:
    left, top, right, bottom = np.frombuffer(row[6], dtype="<f8").tolist()
    return FaceRecord(
        name=row[0],
        plate=row[1],
        frame=row[2],
        face_index=row[3],
        plate_size=(row[4], row[5]),
        box=Box(left, top, right, bottom),
        score=row[7],
        landmarks=Landmarks(
            points=_floats(row[9]).reshape(-1, 2),
            layout=row[8],
            depth=None if row[10] is None else _floats(row[10]),
        ),
        face_type=face_type,
        aligned_size=aligned_size,
        aligned_from_plate=np.frombuffer(row[11], dtype="<f8").reshape(2, 3),
        pose=Pose(row[12], row[13], row[14]),
        sharpness=row[15],
        detector=row[16],
        landmarker=row[17],
        identity=None if row[18] is None else _floats(row[18]),
        track_id=row[19],
        spread=row[20],
        origin=Origin(row[21]),
        original_name=row[22],
    )


def _floats(blob: bytes) -> FloatArray:
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)


def _uri(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def lock_faceset(path: Path) -> int:
    """Take a faceset for writing; close the descriptor to give it back. Raises Conflict while somebody else has it."""
    message = f"Another process is writing to the faceset {path}; wait for it or cancel it."
    return take_lock(path / ".lock", Conflict(message, reason="FACESET_BUSY", path=path))


def check_renamed(path: Path) -> None:
    """Raises Conflict while a renaming that was killed waits to be finished: its images are on their way."""
    if (path / RENAMING_PLAN).is_file():
        raise Conflict(
            f"Renaming the faces of {path} was interrupted; run `dfl faceset recover-names {path}` to finish it.",
            reason="RENAME_UNFINISHED",
            path=path,
        )


def _connect_to_read(index: Path) -> sqlite3.Connection:
    """Read-only, unless a killed writer left a journal, which SQLite rolls back first and needs to write for."""
    mode = "rw" if index.with_name(index.name + "-journal").exists() else "ro"
    return sqlite3.connect(f"file:{_uri(index)}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)


def _layout_of(index: Path) -> int:
    """The layout of an index; ours for one that is not there or empty."""
    if not index.is_file():
        return SCHEMA_VERSION
    with contextlib.closing(_connect_to_read(index)) as database:
        if not database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'about'").fetchone()[0]:
            return SCHEMA_VERSION
        (found,) = database.execute("SELECT value FROM about WHERE key = 'schema'").fetchone() or ("0",)
        return int(json.loads(found))


def _upgrade_index(path: Path) -> None:
    """Bring the index of a faceset nobody writes to up to this version's layout."""
    if _layout_of(path / INDEX_NAME) not in _UPGRADES:
        return
    with translate_disk_errors(path):
        lock = lock_faceset(path)
    try:
        _upgrade(path / INDEX_NAME)
    finally:
        os.close(lock)


def _upgrade(index: Path) -> None:
    """As :func:`_upgrade_index`, for who holds the lock; whole or not at all."""
    while (layout := _layout_of(index)) in _UPGRADES:
        with contextlib.closing(sqlite3.connect(index, timeout=BUSY_TIMEOUT_S)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            for statement in _UPGRADES[layout].split(";"):
                database.execute(statement)
            database.execute("UPDATE about SET value = ? WHERE key = 'schema'", (json.dumps(layout + 1),))


def _read_about(index: Path, database: sqlite3.Connection) -> dict[str, Any]:
    """What holds for the whole set; nothing for an index without tables. Raises Unsupported for another layout."""
    if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return {}
    about = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM about")}
    found = about["schema"]
    if found != SCHEMA_VERSION:
        writer = about.get("software") or "another version"
        raise Unsupported(
            f"The faceset index {index} has layout {found}, written by {writer}; this version ({SOFTWARE}) works with "
            f"layout {SCHEMA_VERSION} only. Use the version that wrote it, or extract into a new folder.",
            reason="FACESET_LAYOUT",
            path=index,
        )
    return about


@contextlib.contextmanager
def _corrupt_means(index: Path) -> Iterator[None]:
    """SQLite's complaints about a damaged or locked file, as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise Conflict(
                f"The faceset index {index} is in use by another process.", reason="FACESET_BUSY", path=index
            ) from error
        raise DataCorrupt(
            f"The faceset index {index} cannot be read: {error}.", reason="FACESET_INDEX_DAMAGED", path=index
        ) from error
    except (sqlite3.DatabaseError, json.JSONDecodeError, KeyError, ValueError) as error:
        raise DataCorrupt(
            f"The faceset index {index} is damaged: {error}. Restore it from a backup or extract again.",
            reason="FACESET_INDEX_DAMAGED",
            path=index,
        ) from error
