"""A faceset as columns: what sorting, filtering and reports work on, quick for a hundred thousand faces."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.expression import MEASURES, measure_expressions, template_points
from dflcore.curate.metric_store import HistogramKind, MetricStore
from dflcore.errors import Conflict, DataCorrupt, InvalidInput
from dflcore.io.faceset import BUSY_TIMEOUT_S, INDEX_NAME, Faceset
from dflcore.types import FacesetInfo, FloatArray

LANDMARK_COUNT: Final = 68
_READ_AT_ONCE: Final = ("plate_id", "frame", "face_index", "score", "yaw", "pitch", "roll", "sharpness")
_LATER: Final = ("plate_width", "plate_height", "spread", "track_id")
_TEXTS: Final = ("origin", "detector", "landmarker", "original_name")
_BLOCK: Final = 8192
_NAMES_PER_QUERY: Final = 500


class FaceTable:
    """The faces of a faceset that are really there, one array per property, rows in plate and frame order.

    Place, pose and quality come with opening; all else is read when first asked for. Unknown numbers are NaN. The
    table is a picture of the moment it was opened.

    Attributes:
        info: of the whole faceset.
        path: its folder.
        names: file names.
    """

    def __init__(self, info: FacesetInfo, names: Sequence[str], columns: dict[str, NDArray[Any]]) -> None:
        self.info = info
        self.path = Path(info.path)
        self.names = list(names)
        self._columns = columns
        self._parent: tuple[FaceTable, NDArray[np.int64]] | None = None

    @classmethod
    def open(cls, path: Path) -> FaceTable:
        """Read the columns of a faceset.

        Raises:
            NotFound, Unsupported, DataCorrupt, Conflict: as :meth:`Faceset.open`.
        """
        with Faceset.open(path) as faceset:
            names = list(faceset.names)
            info = faceset.info
        with _reading(path) as database:
            database.execute("BEGIN")  # both queries see the same rows in the same order
            row_of = {name: row for row, (name,) in enumerate(database.execute("SELECT name FROM face ORDER BY rowid"))}
            values = database.execute(f"SELECT {', '.join(_READ_AT_ONCE)} FROM face ORDER BY rowid")
            numbers = np.fromiter(chain.from_iterable(values), dtype=np.float64).reshape(-1, len(_READ_AT_ONCE))
            plate_names = dict(database.execute("SELECT id, name FROM plate"))
        names = [name for name in names if name in row_of]
        rows = np.array([row_of[name] for name in names], dtype=np.int64)
        columns: dict[str, NDArray[Any]] = dict(zip(_READ_AT_ONCE, np.ascontiguousarray(numbers[rows].T), strict=True))
        plates = np.array([plate_names.get(number) for number in range(max(plate_names, default=0) + 1)], dtype=object)
        columns["plate"] = plates[columns["plate_id"].astype(np.int64)]
        return cls(info, names, columns)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | Sequence[int]) -> FaceTable:
        """The table of some rows: a mask or row numbers in the order wanted. What was read is not read again."""
        chosen = np.asarray(rows)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        columns = {field: values[chosen] for field, values in self._columns.items()}
        table = FaceTable(self.info, [self.names[row] for row in chosen], columns)
        table._parent = (self, chosen)
        return table

    def column(self, field: str) -> NDArray[np.float64]:
        """(n,) float64 of a number that stands in the index, NaN where unknown; angles in radians."""
        assert field in _READ_AT_ONCE + _LATER, field
        return self._plain(field, np.dtype(np.float64))

    def text(self, field: str) -> NDArray[np.object_]:
        """(n,) of ``plate``, ``origin``, ``detector``, ``landmarker`` or ``original_name`` (may hold None)."""
        assert field in ("plate", *_TEXTS), field
        return self._plain(field, np.dtype(object))

    def _plain(self, field: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        if field not in self._columns:
            if self._parent is not None:
                parent, rows = self._parent
                self._columns[field] = parent._plain(field, dtype)[rows]
            else:
                self._columns[field] = np.array(self._column_blobs(field), dtype=dtype)
        return self._columns[field]

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) left, top, right, bottom in plate pixels."""
        return self._inherited("boxes", lambda: self._blobs("box", "<f8", 4).astype(np.float64))

    @property
    def rect_size(self) -> NDArray[np.float64]:
        """(n,) area of the detector's box in plate pixels."""
        return np.asarray((self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1]))

    @cached_property
    def landmarks(self) -> FloatArray:
        """(n, 68, 2) plate pixels."""
        points = self._inherited("landmarks", lambda: self._blobs("landmarks", "<f4", LANDMARK_COUNT * 2))
        return np.asarray(points.reshape(-1, LANDMARK_COUNT, 2), dtype=np.float32)

    @cached_property
    def aligned_landmarks(self) -> FloatArray:
        """(n, 68, 2) aligned pixels."""
        matrices = self._blobs("aligned_from_plate", "<f8", 6).reshape(-1, 2, 3)
        moved = np.einsum("nij,npj->npi", matrices[..., :2], self.landmarks.astype(np.float64))
        return np.asarray(moved + matrices[:, None, :, 2], dtype=np.float32)

    @cached_property
    def expressions(self) -> FloatArray:
        """(n, 6) see :mod:`dflcore.curate.expression`."""
        return self._inherited("expressions", self._read_expressions)

    @cached_property
    def identities(self) -> FloatArray:
        """(n, d) float32 descriptors; rows of NaN where there is none or one of another encoder's length."""
        return self._inherited("identities", self._read_identities)

    @cached_property
    def _measured(self) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
        if self._parent is not None:
            parent, rows = self._parent
            is_measured, values = parent._measured
            return is_measured[rows], {field: column[rows] for field, column in values.items()}
        with MetricStore.open(self.path) as store:
            return store.scalars(self.names)

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """(n,) whether the picture was measured as it is now; also True for pictures found damaged."""
        return self._measured[0]

    def metric(self, field: str) -> NDArray[np.float64]:
        """(n,) float64 of a measure of the pictures, NaN for damaged ones.

        Raises:
            InvalidInput: some faces are not measured; the message says to run `measure`.
        """
        self.require_measured(field)
        return self._measured[1][field]

    def require_measured(self, wanted_for: str) -> None:
        """Raises InvalidInput (NOT_MEASURED) unless every face is measured."""
        missing = int(len(self) - self.is_measured.sum())
        if missing:
            raise InvalidInput(
                f"{wanted_for!r} needs measures of the pictures, and {missing} of {len(self)} faces of {self.path} "
                "have none or changed since; run `measure` on the faceset first.",
                reason="NOT_MEASURED",
                path=self.path,
                field=wanted_for,
            )

    def histograms(self, kind: HistogramKind, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), bins) counts of measured, undamaged faces. Raises DataCorrupt."""
        with MetricStore.open(self.path) as store:
            return store.histograms([self.names[row] for row in rows], kind)

    def thumbs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(len(rows), 3072) uint8 small pictures of measured, undamaged faces. Raises DataCorrupt."""
        with MetricStore.open(self.path) as store:
            return store.thumbs([self.names[row] for row in rows])

    def hashes(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """(len(rows),) perceptual hashes of measured, undamaged faces. Raises DataCorrupt."""
        with MetricStore.open(self.path) as store:
            return store.hashes([self.names[row] for row in rows])

    def _inherited(self, field: str, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """A lazy column: cut from the table this one was taken from, or read."""
        if self._parent is not None:
            parent, rows = self._parent
            return np.asarray(getattr(parent, field)[rows])
        return read()

    def _read_expressions(self) -> FloatArray:
        lengths = np.empty((len(self), len(MEASURES)), dtype=np.float32)
        for start in range(0, len(self), _BLOCK):
            rows = slice(start, start + _BLOCK)
            points = template_points(self.landmarks[rows])
            lengths[rows] = measure_expressions(points, self.column("yaw")[rows], self.column("pitch")[rows])
        return lengths

    def _read_identities(self) -> FloatArray:
        blobs = self._column_blobs("identity")
        lengths = Counter(len(blob) for blob in blobs if blob is not None)
        if not lengths:
            return np.full((len(self), 0), np.nan, dtype=np.float32)
        length = lengths.most_common(1)[0][0]
        nothing = np.full(length // 4, np.nan, dtype="<f4").tobytes()
        joined = b"".join(blob if blob is not None and len(blob) == length else nothing for blob in blobs)
        return np.frombuffer(joined, dtype="<f4").astype(np.float32).reshape(len(self), -1)

    def _blobs(self, field: str, dtype: str, count: int) -> NDArray[Any]:
        joined = b"".join(self._column_blobs(field))
        values = np.frombuffer(joined, dtype=dtype)
        if values.size != len(self) * count:
            raise DataCorrupt(
                f"The faceset index {self.path / INDEX_NAME} holds values of unexpected length in column {field}.",
                reason="FACESET_INDEX_DAMAGED",
                path=self.path,
            )
        return values.reshape(len(self), count)

    def _column_blobs(self, field: str) -> list[Any]:
        with _reading(self.path) as database:
            if len(self) <= _NAMES_PER_QUERY:
                marks = ", ".join("?" * len(self))
                found = dict(database.execute(f"SELECT name, {field} FROM face WHERE name IN ({marks})", self.names))
            else:
                found = dict(database.execute(f"SELECT name, {field} FROM face"))
        try:
            return [found[name] for name in self.names]
        except KeyError as error:
            raise Conflict(
                f"The faceset {self.path} changed while it was read: {error} is gone. Try again.",
                reason="FACESET_CHANGED",
                path=self.path,
            ) from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The faceset's index, for a few queries."""
    index = Path(path) / INDEX_NAME
    try:
        uri = f"{index.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as database:
            yield database
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise Conflict(f"{index} is in use by another process; try again.", reason="FACESET_BUSY") from error
        raise DataCorrupt(
            f"The faceset index {index} cannot be read: {error}.", reason="FACESET_INDEX_DAMAGED", path=index
        ) from error
