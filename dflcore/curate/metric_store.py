"""Where measures of pictures are kept: ``metrics.sqlite`` in the faceset folder, a cache that may be deleted."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import Conflict, DataCorrupt, InvalidInput
from dflcore.io.atomic import translate_disk_errors
from dflcore.io.pack import FaceFiles

METRICS_NAME = "metrics.sqlite"
LAYOUT: Final = 1
"""Goes up whenever a measure is computed differently; what was measured before is then taken again."""
BUSY_TIMEOUT_S: Final = 10.0
SCALARS: Final = ("blur", "motion_blur", "brightness", "hue", "black")
HistogramKind = Literal["gray_masked", "gray", "color"]
HISTOGRAM_BINS: Final[dict[str, int]] = {"gray_masked": 256, "gray": 256, "color": 768}

Stamp = tuple[int, int]
"""File size in bytes and time of change in nanoseconds."""

_SCHEMA = """
CREATE TABLE measure (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, blur REAL,
    motion_blur REAL, brightness REAL, hue REAL, black REAL, phash INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE histogram (name TEXT PRIMARY KEY, gray_masked BLOB NOT NULL, gray BLOB NOT NULL,
    color BLOB NOT NULL) STRICT;
CREATE TABLE thumb (name TEXT PRIMARY KEY, pixels BLOB NOT NULL) STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMetrics:
    """What is measured of one aligned picture.

    Attributes:
        blur: CPBD sharpness of the masked face, 0 blurred to 1 sharp.
        motion_blur: variance of a large Laplacian of the masked face; higher is sharper.
        brightness: mean V of HSV, 0 to 255.
        hue: mean H of HSV, 0 to 179.
        black: channel entries that are zero.
        phash: see :func:`dflcore.curate.metrics.perceptual_hash`.
        gray_masked, gray: (256,) uint32 counts of the masked and of the whole grey picture.
        color: (768,) uint32 counts of red, green and blue, whole picture.
        thumb: (32, 32, 3) uint8 RGB.
    """

    blur: float
    motion_blur: float
    brightness: float
    hue: float
    black: int
    phash: int
    gray_masked: NDArray[np.uint32]
    gray: NDArray[np.uint32]
    color: NDArray[np.uint32]
    thumb: NDArray[np.uint8]


class MetricStore:
    """The measures of one faceset. Any number may read while one writes: transactions are short."""

    def __init__(self, folder: Path, database: sqlite3.Connection | None, *, was_replaced: bool = False) -> None:
        self.folder = folder
        self.path = folder / METRICS_NAME
        self.was_replaced = was_replaced
        """The file that was there could not be used and gave way to an empty one."""
        self._database = database

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> MetricStore:
        """Open the measures of a faceset folder; without ``create`` what is absent or unusable counts as empty.

        Raises:
            InvalidInput, ResourceExhausted: the file cannot be made.
            Conflict: another process holds it.
        """
        path = folder / METRICS_NAME
        if not create:
            return cls(folder, _connect(path, "ro") if path.is_file() else None)
        was_there = path.is_file()
        database = _connect(path, "rw") if was_there else None
        is_unusable = database is None
        if database is None:
            with translate_disk_errors(path):
                path.unlink(missing_ok=True)
                path.touch()
            database = _connect(path, "rw", is_new=True)
        return cls(folder, database, was_replaced=was_there and is_unusable)

    def __enter__(self) -> MetricStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def stamps(self) -> dict[str, Stamp]:
        """Name → what its file was when it was measured."""
        return {name: (size, time) for name, size, time in self._query("SELECT name, bytes, mtime_ns FROM measure")}

    def stamps_on_disk(self) -> dict[str, Stamp]:
        """Name → what each file of the folder is now."""
        with FaceFiles.open(self.folder) as files:
            return files.stamps()

    def scalars(self, names: Sequence[str]) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
        """Which faces are measured as they are now, and :data:`SCALARS` by field, NaN where not known."""
        on_disk = self.stamps_on_disk()
        rows = {
            row[0]: row[3:]
            for row in self._query(f"SELECT name, bytes, mtime_ns, {', '.join(SCALARS)} FROM measure")
            if on_disk.get(row[0]) == row[1:3]
        }
        is_measured = np.array([name in rows for name in names], dtype=np.bool_)
        nothing = (None,) * len(SCALARS)
        values = np.array([rows.get(name, nothing) for name in names], dtype=np.float64).reshape(-1, len(SCALARS))
        return is_measured, {field: values[:, column] for column, field in enumerate(SCALARS)}

    def histograms(self, names: Iterable[str], kind: HistogramKind) -> NDArray[np.float32]:
        """(n, bins) counts.

        Raises:
            DataCorrupt: one of the faces has none or they are damaged.
        """
        wanted = list(names)
        counts = np.empty((len(wanted), HISTOGRAM_BINS[kind]), dtype=np.float32)
        for row, (name, blob) in enumerate(self._blobs(f"SELECT {kind} FROM histogram WHERE name = ?", wanted)):
            counts[row] = self._unpacked(name, blob, HISTOGRAM_BINS[kind])
        return counts

    def thumbs(self, names: Iterable[str]) -> NDArray[np.uint8]:
        """(n, 3072) uint8, rows of 32 x 32 RGB pictures. Raises as :meth:`histograms`."""
        wanted = list(names)
        blobs = [blob for _, blob in self._blobs("SELECT pixels FROM thumb WHERE name = ?", wanted)]
        if len({len(blob) for blob in blobs}) > 1:
            raise self._damaged("thumbnails differ in size")
        return np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(wanted), -1)

    def hashes(self, names: Sequence[str]) -> NDArray[np.uint64]:
        """(n,) perceptual hashes. Raises as :meth:`histograms`."""
        rows = dict(self._query("SELECT name, phash FROM measure WHERE phash IS NOT NULL"))
        try:
            return np.array([rows[name] for name in names], dtype=np.int64).view(np.uint64)
        except KeyError as error:
            raise self._damaged(f"no hash of {error}") from error

    def put(self, faces: Sequence[tuple[str, Stamp, FaceMetrics | None]]) -> None:
        """Replace what is known of some faces, all or none; None stands for a picture that cannot be read.

        Raises:
            Conflict: another process holds the file.
            InvalidInput, ResourceExhausted: it cannot be written.
        """
        if not faces or self._database is None:
            return
        names = [(name,) for name, _, _ in faces]
        good = [(name, found) for name, _, found in faces if found is not None]
        with _translated(self.path), self._database:
            self._database.executemany("DELETE FROM histogram WHERE name = ?", names)
            self._database.executemany("DELETE FROM thumb WHERE name = ?", names)
            self._database.executemany(
                "INSERT OR REPLACE INTO measure VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [_row(*face) for face in faces]
            )
            self._database.executemany(
                "INSERT INTO histogram VALUES (?, ?, ?, ?)",
                [(name, *(_packed(counts) for counts in (m.gray_masked, m.gray, m.color))) for name, m in good],
            )
            self._database.executemany(
                "INSERT INTO thumb VALUES (?, ?)", [(name, found.thumb.tobytes()) for name, found in good]
            )

    def _query(self, sql: str) -> Iterator[tuple[Any, ...]]:
        if self._database is not None:
            with _translated(self.path):
                yield from self._database.execute(sql)

    def _blobs(self, sql: str, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        if self._database is None:
            raise self._damaged("the file is gone")
        for name in names:
            with _translated(self.path):
                row = self._database.execute(sql, (name,)).fetchone()
            if row is None:
                raise self._damaged(f"nothing is stored for {name}")
            yield name, row[0]

    def _unpacked(self, name: str, blob: bytes, bins: int) -> NDArray[np.uint32]:
        try:
            planes = np.frombuffer(zlib.decompress(blob), dtype=np.uint8).reshape(4, bins)
        except (zlib.error, ValueError) as error:
            raise self._damaged(f"the histogram of {name} is broken") from error
        return np.ascontiguousarray(planes.T).view("<u4")[:, 0]

    def _damaged(self, what: str) -> DataCorrupt:
        return DataCorrupt(
            f"The measures in {self.path} cannot be used: {what}. Delete the file and run `measure` again.",
            reason="METRICS_DAMAGED",
            path=self.path,
        )


def _row(name: str, stamp: Stamp, found: FaceMetrics | None) -> tuple[object, ...]:
    if found is None:
        return (name, *stamp, *(None,) * (len(SCALARS) + 1))
    values = (found.blur, found.motion_blur, found.brightness, found.hue, found.black)
    return (name, *stamp, *(float(value) for value in values), found.phash)


def _packed(counts: NDArray[np.uint32]) -> bytes:
    """Bytes of equal weight side by side: the high ones are nearly all zero and cost next to nothing."""
    planes = counts.astype("<u4").view(np.uint8).reshape(-1, 4).T
    return zlib.compress(planes.tobytes(), 1)


def _connect(path: Path, mode: str, *, is_new: bool = False) -> sqlite3.Connection | None:
    """None when the file is damaged or of another layout."""
    database = None
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S)
        if is_new:
            with database:
                database.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {LAYOUT}")
        if database.execute("PRAGMA user_version").fetchone()[0] == LAYOUT:
            return database
    except sqlite3.OperationalError as error:
        if database is not None:
            database.close()
        if "locked" in str(error):
            raise _busy(path) from error
        raise InvalidInput(f"Cannot open {path}: {error}.", reason="NOT_WRITABLE", path=path) from error
    except sqlite3.DatabaseError:
        pass
    if database is not None:
        database.close()
    return None


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise _busy(path) from error
        raise InvalidInput(f"Cannot write {path}: {error}.", reason="NOT_WRITABLE", path=path) from error
    except sqlite3.DatabaseError as error:
        raise DataCorrupt(
            f"The measures in {path} are damaged: {error}. Delete the file and run `measure` again.",
            reason="METRICS_DAMAGED",
            path=path,
        ) from error


def _busy(path: Path) -> Conflict:
    return Conflict(f"{path} is in use by another process; try again.", reason="METRICS_BUSY", path=path)
