"""What a faceset already holds of a plate: the names its images get, what a person deleted, what went stale."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, NotFound
from dflcore.extract.corrections import overlap
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate
from dflcore.io.sequence import plate_stems
from dflcore.types import FaceRecord, Origin

_SAME_FACE_OVERLAP = 0.5


class Ledger:
    """The state of one plate in one faceset, as it is when the run begins.

    Attributes:
        stem: what the names of this plate's aligned images begin with; differs from those of other plates in the set.
    """

    def __init__(self, faceset_path: Path, plate: Plate) -> None:
        self._path = faceset_path
        self._plate = plate
        self._names: dict[int, list[str]] = {}
        self._deleted: dict[int, list[FaceRecord]] = {}
        self._seen: dict[int, list[FaceRecord]] = {}
        with Faceset.open(faceset_path) as faceset:
            present = set(faceset.names)
            for record in faceset.every_record(plate.name):
                self._names.setdefault(record.frame, []).append(record.name)
                if record.name not in present:
                    self._deleted.setdefault(record.frame, []).append(record)
                elif record.track_id is not None and record.origin is not Origin.INTERPOLATED:
                    self._seen.setdefault(record.track_id, []).append(record)
            self.stem = plate_stems([*faceset.info.plates, plate.name])[plate.name]

    def is_deleted(self, record: FaceRecord) -> bool:
        """A person deleted this face, or moved it to the trash: it is where a row without an image says one was."""
        return any(overlap(record.box, gone.box) >= _SAME_FACE_OVERLAP for gone in self._deleted.get(record.frame, ()))

    def recall(self, track_id: int, frame: int) -> NDArray[np.uint8] | None:
        """The aligned image of a track's seen face nearest to a frame, as earlier runs left it."""
        nearest = min(self._seen.get(track_id, ()), key=lambda one: abs(one.frame - frame), default=None)
        if nearest is None:
            return None
        with contextlib.suppress(NotFound, DataCorrupt), Faceset.open(self._path) as faceset:
            return faceset.read_image(nearest.name)
        return None

    def frames_with_deleted(self) -> frozenset[int]:
        return frozenset(self._deleted)

    def remove_stale_images(self, frame: int, kept: Collection[str]) -> None:
        """Delete images of a frame that was done again and now has fewer faces or other names."""
        for name in self._names.get(frame, ()):
            if name not in kept:
                (self._path / name).unlink(missing_ok=True)

    def faces_now(self) -> list[FaceRecord]:
        """Faces of the frames asked for which the faceset has now."""
        asked = set(self._plate.frames)
        with Faceset.open(self._path) as faceset:
            return [one for one in faceset.records() if one.plate == self._plate.name and one.frame in asked]
