"""What a faceset already holds of a plate: the names its images get, what a person deleted, what went stale."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, NotFound
from dflcore.extract.corrections import overlap
from dflcore.extract.plan import PlannedFace
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate
from dflcore.io.sequence import plate_stems
from dflcore.types import FaceRecord, FloatArray, Origin

SAME_FACE_OVERLAP = 0.5
_NEAR_FRAMES = 4
"""Of a track, on each side, among which a face seen by an earlier run is looked for."""


class Ledger:
    """The state of one plate in one faceset, as it is when the run begins. Close it, or use it with ``with``.

    Args:
        planned: the faces there will be, by frame.

    Attributes:
        stem: what the names of this plate's aligned images begin with; differs from those of other plates in the set.
    """

    def __init__(self, faceset_path: Path, plate: Plate, planned: Mapping[int, Sequence[PlannedFace]]) -> None:
        self._path = faceset_path
        self._plate = plate
        self._before: dict[int, list[FaceRecord]] = {}
        self._deleted: set[str] = set()
        self._planned: dict[int, dict[int, PlannedFace]] = {}
        self._images: Faceset | None = None
        for frame, faces in planned.items():
            for face in faces:
                if face.sighting.origin is not Origin.INTERPOLATED:
                    self._planned.setdefault(face.track_id, {})[frame] = face
        self._frames_of = {track: sorted(faces) for track, faces in self._planned.items()}
        with Faceset.open(faceset_path) as faceset:
            present = set(faceset.names)
            for record in faceset.every_record(plate.name):
                self._before.setdefault(record.frame, []).append(record)
                if record.name not in present:
                    self._deleted.add(record.name)
            self.stem = plate_stems([*faceset.info.plates, plate.name])[plate.name]

    def settle(
        self, frame: int, pairs: Sequence[tuple[FaceRecord, FloatArray]], *, restore: bool
    ) -> list[tuple[FaceRecord, FloatArray | None]]:
        """The faces of a frame under the names they have had, without the images of those a person deleted.

        A face keeps its name when another one goes or becomes larger: views, masks and the trash name faces. One that
        was deleted, or moved to the trash, stays a row without an image, also while nobody finds it.

        Args:
            pairs: records with what their aligned images are, named as in an empty faceset.
            restore: deleted faces get images again.
        """
        before = self._before.get(frame, [])
        same = _same_faces(before, [record for record, _ in pairs])
        found = {old.name for old in same.values()}
        gone = [
            old
            for old in before
            if old.name in self._deleted and old.name not in found and old.plate_size == self._plate.size
        ]
        taken = {Path(old.name).stem for old in [*same.values(), *gone]}
        settled: list[tuple[FaceRecord, FloatArray | None]] = []
        for index, (record, image) in enumerate(pairs):
            old = same.get(index)
            if old is None:
                name = self._free_name(record, taken)
                taken.add(Path(name).stem)
                settled.append((replace(record, name=name), image))
                continue
            stays_deleted = old.name in self._deleted and not restore
            name = old.name if stays_deleted else Path(old.name).stem + Path(record.name).suffix
            named = replace(record, name=name, original_name=old.original_name)
            settled.append((named, None if stays_deleted else image))
        if not restore:
            settled += [(replace(old, face_index=len(pairs) + number), None) for number, old in enumerate(gone)]
        return settled

    def stale_images(self, frame: int, settled: Sequence[tuple[FaceRecord, FloatArray | None]]) -> list[str]:
        """Images a frame had which none of its faces has any more. Images that came back meanwhile are none of them."""
        written = {record.name for record, image in settled if image is not None}
        return [
            old.name for old in self._before.get(frame, ()) if old.name not in self._deleted and old.name not in written
        ]

    def recall(self, track_id: int, frame: int) -> NDArray[np.uint8] | None:
        """The aligned image of a track's seen face near a frame, as earlier runs left it.

        Faces are known again by their place: track numbers change when other frames of the plate become known.
        """
        frames = self._frames_of.get(track_id, [])
        place = bisect.bisect(frames, frame)
        near = sorted(frames[max(place - _NEAR_FRAMES, 0) : place + _NEAR_FRAMES], key=lambda one: abs(one - frame))
        for one in near:
            box = self._planned[track_id][one].sighting.box
            for old in self._before.get(one, ()):
                is_seen = old.name not in self._deleted and old.origin is not Origin.INTERPOLATED
                if is_seen and overlap(old.box, box) >= SAME_FACE_OVERLAP:
                    with contextlib.suppress(NotFound, DataCorrupt):
                        if self._images is None:
                            self._images = Faceset.open(self._path)
                        return self._images.read_image(old.name)
        return None

    def frames_with_deleted(self) -> frozenset[int]:
        return frozenset(
            frame for frame, records in self._before.items() if any(one.name in self._deleted for one in records)
        )

    def faces_now(self) -> list[FaceRecord]:
        """Faces of the frames asked for which the faceset has now."""
        asked = set(self._plate.frames)
        with Faceset.open(self._path) as faceset:
            present = set(faceset.names)
            every = faceset.every_record(self._plate.name)
            return [one for one in every if one.name in present and one.frame in asked]

    def close(self) -> None:
        if self._images is not None:
            self._images.close()
            self._images = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _free_name(self, record: FaceRecord, taken: set[str]) -> str:
        path, number = Path(record.name), 0
        name = path.name
        while Path(name).stem in taken:
            name = f"{self.stem}_{record.frame:06d}_{number}{path.suffix}"
            number += 1
        return name


def _same_faces(before: Sequence[FaceRecord], now: Sequence[FaceRecord]) -> dict[int, FaceRecord]:
    """Position in ``now`` → the record of the same face; each is one face at most, the best overlap first."""
    rated = [
        (shared, index, number)
        for index, record in enumerate(now)
        for number, old in enumerate(before)
        if old.plate_size == record.plate_size and (shared := overlap(record.box, old.box)) >= SAME_FACE_OVERLAP
    ]
    found: dict[int, FaceRecord] = {}
    matched: set[int] = set()
    for _, index, number in sorted(rated, key=lambda one: -one[0]):
        if index not in found and number not in matched:
            found[index] = before[number]
            matched.add(number)
    return found
