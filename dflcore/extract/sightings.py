"""What detection saw in a plate, kept beside the faceset so that nothing has to be seen twice.

Detection is the expensive part of extraction; tracking, smoothing, choosing people and cutting out faces are cheap and
are done again whenever their settings change. So the two meet here: one half writes what every frame shows, raw, the
other reads it. An artist's corrections live here too and are part of what is seen from then on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound, ResourceExhausted, Unsupported
from dflcore.extract.corrections import Correction, parse_corrections
from dflcore.io.atomic import translate_disk_errors
from dflcore.types import Box, FloatArray, Landmarks, Origin, Sighting
from dflcore.version import SOFTWARE

SIGHTINGS_NAME = "sightings.sqlite"
LAYOUT = 1
BUSY_TIMEOUT_S = 10.0

_SCHEMA = """
CREATE TABLE plate (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE look (plate_id INTEGER NOT NULL, frame INTEGER NOT NULL, digest TEXT NOT NULL, key TEXT NOT NULL,
    signature BLOB NOT NULL, pixel_aspect REAL NOT NULL, PRIMARY KEY (plate_id, frame)) STRICT;
CREATE TABLE sighting (plate_id INTEGER NOT NULL, frame INTEGER NOT NULL, number INTEGER NOT NULL, box BLOB NOT NULL,
    score REAL NOT NULL, layout TEXT NOT NULL, landmarks BLOB NOT NULL, depth BLOB, spread REAL, identity BLOB,
    detector TEXT NOT NULL, landmarker TEXT NOT NULL, origin TEXT NOT NULL,
    PRIMARY KEY (plate_id, frame, number)) STRICT;
CREATE TABLE correction (plate_id INTEGER NOT NULL, frame INTEGER NOT NULL, statements TEXT NOT NULL,
    PRIMARY KEY (plate_id, frame)) STRICT
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What one frame shows.

    Attributes:
        signature: (k,) float32, tells frames of different shots apart; see :mod:`dflcore.extract.cuts`.
        sightings: faces, the largest first.
        pixel_aspect: width of a plate pixel in heights.
    """

    frame: int
    signature: FloatArray
    sightings: tuple[Sighting, ...]
    pixel_aspect: float = 1.0


class SightingStore:
    """The sightings of all plates of one faceset folder."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> SightingStore:
        """Open the store of a folder, making it when needed.

        Raises:
            DataCorrupt: it cannot be read.
            Unsupported: another version wrote it with another layout.
            InvalidInput: the folder cannot be written.
        """
        path = Path(folder) / SIGHTINGS_NAME
        with translate_disk_errors(path), _damage_means(path):
            database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            try:
                _prepare(path, database)
            except BaseException:
                database.close()
                raise
        return cls(path, database)

    def plates(self) -> list[str]:
        """Plates that were looked at or corrected, in the order they came."""
        with _damage_means(self.path):
            return [name for (name,) in self._database.execute("SELECT name FROM plate ORDER BY id")]

    def keys(self, plate: str) -> dict[int, str]:
        """Frames of a plate that were looked at, and the key each was given."""
        with _damage_means(self.path):
            rows = self._database.execute(
                "SELECT frame, key FROM look JOIN plate ON plate.id = plate_id WHERE plate.name = ?", (plate,)
            )
            return dict(rows)

    def add(self, plate: str, look: Look, *, digest: str, key: str) -> None:
        """Replace what is known of a frame.

        Args:
            digest: of the settings it was looked at with.
            key: of those, the frame's file and its corrections.
        """
        with _damage_means(self.path), self._database:
            plate_id = self._plate_id(plate)
            self._database.execute("DELETE FROM sighting WHERE plate_id = ? AND frame = ?", (plate_id, look.frame))
            self._database.executemany(
                "INSERT INTO sighting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(plate_id, look.frame, number, *_row(seen)) for number, seen in enumerate(look.sightings)],
            )
            self._database.execute(
                "INSERT OR REPLACE INTO look VALUES (?, ?, ?, ?, ?, ?)",
                (plate_id, look.frame, digest, key, look.signature.astype("<f4").tobytes(), look.pixel_aspect),
            )

    def looks(self, plate: str, digest: str) -> list[Look]:
        """Everything seen in a plate with these settings, in frame order."""
        with _damage_means(self.path):
            seen: dict[int, list[Sighting]] = {}
            for frame, *row in self._database.execute(
                "SELECT sighting.frame, box, score, layout, landmarks, depth, spread, identity, detector, landmarker, "
                "origin FROM sighting JOIN plate ON plate.id = plate_id WHERE plate.name = ? "
                "ORDER BY sighting.frame, number",
                (plate,),
            ):
                seen.setdefault(frame, []).append(_sighting(frame, row))
            rows = self._database.execute(
                "SELECT frame, signature, pixel_aspect FROM look JOIN plate ON plate.id = plate_id "
                "WHERE plate.name = ? AND digest = ? ORDER BY frame",
                (plate, digest),
            )
            return [Look(frame, _floats(mark), tuple(seen.get(frame, ())), aspect) for frame, mark, aspect in rows]

    def correct(self, plate: str, corrections: Iterable[Correction], *, replace: bool = True) -> list[int]:
        """Remember what an artist says of some frames; the next extraction of the plate acts on it.

        Args:
            replace: earlier corrections of the same frames are forgotten, else they are added to.

        Returns:
            the frames concerned.
        """
        by_frame: dict[int, list[Correction]] = {}
        for correction in corrections:
            by_frame.setdefault(correction.frame, []).append(correction)
        with _damage_means(self.path), self._database:
            plate_id = self._plate_id(plate)
            known = {} if replace else self.corrections(plate)
            for frame, statements in by_frame.items():
                every = [*known.get(frame, ()), *statements]
                text = json.dumps([one.values() for one in every])
                self._database.execute("INSERT OR REPLACE INTO correction VALUES (?, ?, ?)", (plate_id, frame, text))
        return sorted(by_frame)

    def forget_corrections(self, plate: str, frames: Sequence[int]) -> int:
        """Take corrections back; returns of how many frames."""
        with _damage_means(self.path), self._database:
            plate_id = self._plate_id(plate)
            statement = "DELETE FROM correction WHERE plate_id = ? AND frame = ?"
            return sum(self._database.execute(statement, (plate_id, frame)).rowcount for frame in frames)

    def corrections(self, plate: str) -> dict[int, tuple[Correction, ...]]:
        """What an artist said, by frame."""
        with _damage_means(self.path):
            rows = self._database.execute(
                "SELECT frame, statements FROM correction JOIN plate ON plate.id = plate_id WHERE plate.name = ? "
                "ORDER BY frame",
                (plate,),
            )
            where = str(self.path)
            return {frame: tuple(parse_corrections(json.loads(text), where=where)) for frame, text in rows}

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> SightingStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plate_id(self, plate: str) -> int:
        self._database.execute("INSERT OR IGNORE INTO plate (name) VALUES (?)", (plate,))
        (plate_id,) = self._database.execute("SELECT id FROM plate WHERE name = ?", (plate,)).fetchone()
        return int(plate_id)


def _row(seen: Sighting) -> tuple[object, ...]:
    marks = seen.landmarks
    return (
        np.array([seen.box.left, seen.box.top, seen.box.right, seen.box.bottom], dtype="<f8").tobytes(),
        seen.score,
        marks.layout,
        marks.points.astype("<f4").tobytes(),
        None if marks.depth is None else marks.depth.astype("<f4").tobytes(),
        seen.spread,
        None if seen.identity is None else seen.identity.astype("<f4").tobytes(),
        seen.detector,
        seen.landmarker,
        seen.origin.value,
    )


def _sighting(frame: int, row: list[Any]) -> Sighting:
    box, score, layout, landmarks, depth, spread, identity, detector, landmarker, origin = row
    left, top, right, bottom = np.frombuffer(box, dtype="<f8").tolist()
    return Sighting(
        frame=frame,
        box=Box(left, top, right, bottom),
        score=score,
        landmarks=Landmarks(
            points=_floats(landmarks).reshape(-1, 2),
            layout=layout,
            depth=None if depth is None else _floats(depth),
        ),
        detector=detector,
        landmarker=landmarker,
        spread=spread,
        identity=None if identity is None else _floats(identity),
        origin=Origin(origin),
    )


def _floats(blob: bytes) -> FloatArray:
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found == LAYOUT:
        return
    if found or database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise Unsupported(
            f"{path} has layout {found}; this version ({SOFTWARE}) works with layout {LAYOUT} only. Use the version "
            "that wrote it, or move the file away: everything will be looked at again.",
            reason="FACESET_LAYOUT",
            path=path,
        )
    with database:
        database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {LAYOUT}")


@contextmanager
def _damage_means(path: Path) -> Iterator[None]:
    """SQLite's complaints, as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Conflict(f"{path} is in use by another process.", reason="FACESET_BUSY", path=path) from error
        if not path.parent.is_dir() or (code == sqlite3.SQLITE_READONLY and not path.exists()):
            raise NotFound(
                f"The faceset {path.parent} was deleted while in use.", reason="FACESET_GONE", path=path.parent
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise ResourceExhausted(
                f"The disk is full while writing {path}. Free some space and run again; finished work is kept.",
                reason="DISK_FULL",
                path=path,
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise InvalidInput(
                f"Cannot write {path}: {error}. Choose a folder you may write to.", reason="NOT_WRITABLE", path=path
            ) from error
        raise DataCorrupt(f"{path} cannot be read: {error}.", reason="SIGHTINGS_DAMAGED", path=path) from error
    except (sqlite3.DatabaseError, ValueError) as error:
        raise DataCorrupt(
            f"{path} is damaged: {error}. Move it away: everything will be looked at again, corrections must be made "
            "again.",
            reason="SIGHTINGS_DAMAGED",
            path=path,
        ) from error
