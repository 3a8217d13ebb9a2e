"""Masks and labels follow their faces: into a derived faceset, and when the frames of a plate are cut again.

Masks are kept by the face's name and lie in its aligned square, so a face that is cut again from another place, or gets
another name, would leave them behind. :class:`MaskMover` takes them along. A kill at any moment leaves masks that are
right or set aside, never some that lie wrong: before a frame is written anew, the masks of its faces that move or go
are removed, and the removal says, as a version like any other, where the face lay; afterwards they are added again
where the face lies now. What is still set aside, because of a kill or because the face is gone for the time being, is
taken along by the next extraction that shows the face. A small file beside the masks keeps where the other faces of the
frame lay, whose masks stay.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dflcore.geometry import affine
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.atomic import translate_disk_errors
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import LABEL_SOURCE, MASKS_NAME, MaskStore
from dflcore.types import Affine, Box, FaceRecord, FloatArray

MOVED = "moved with its face"
SET_ASIDE = "set aside, the frame is cut again; the face lay at "
"""Beginning of what a removal for a move is made by; the place follows as JSON."""
IN_FLIGHT_NAME = "masks.moving.json"
"""Lies in a faceset while a frame with masks is written: where its faces lay, should the run be killed meanwhile."""
SAME_FACE_OVERLAP = 0.3
_UNMOVED_PX = 0.01
"""Squares whose corners moved less, in aligned pixels, are where they were."""


def carry_masks(
    source_store: MaskStore,
    target_store: MaskStore,
    record: FaceRecord,
    name: str,
    new_size: int,
    new_from_old: Affine | None,
    made_by: str,
) -> None:
    """Add the newest masks and label of one face to another, or to itself where it lies elsewhere now.

    Args:
        record: the face as the masks were made for it.
        name: of the face that gets them. new_size: side of its aligned square in pixels.
        new_from_old: old aligned pixels to new ones; None where nothing moved, masks are then copied as they are.
        made_by: added to who made each mask.

    Raises:
        DataCorrupt: a mask is damaged.
    """
    versions = source_store.masks_of(record.name)
    if source_store.label(record.name) is not None:
        versions[LABEL_SOURCE] = source_store.versions(record.name, LABEL_SOURCE)[-1].version
    for source, version in versions.items():
        _carry(
            source_store,
            target_store,
            (record.name, source, version),
            name,
            sizes=(record.aligned_size, new_size),
            new_from_old=new_from_old,
            made_by=made_by,
        )


def warp_mask(mask: FloatArray, new_from_old: Affine, old_size: int, new_size: int) -> FloatArray:
    """A mask through the transform of its face's pixels, its own resolution kept.

    Args:
        mask: (S, S) in [0, 1], any S.
        new_from_old: aligned pixels of faces of ``old_size`` to those of ``new_size``.

    Returns:
        (S, S) float32 in [0, 1]; what the old square did not show counts as not masked.
    """
    side = mask.shape[0]
    old_from_mask = _scaling(old_size / side)
    mask_from_new = _scaling(side / new_size)
    transform = affine.compose(mask_from_new, affine.compose(new_from_old, old_from_mask))
    moved = warp_to_aligned(torch.from_numpy(mask)[None], transform, side, padding="zeros")[0]
    return np.asarray(moved.clamp(0.0, 1.0).numpy(), dtype=np.float32)


def move_label(label: Label, new_from_old: Affine) -> Label:
    """Every point moved exactly; points outside the picture stay, they bound what is inside."""
    return Label(
        tuple(
            Polygon(polygon.include, tuple((float(x), float(y)) for x, y in affine.apply(new_from_old, polygon.points)))
            for polygon in label.polygons
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """Where a face lay when its masks were made."""

    face: str
    plate: str
    frame: int
    box: Box
    aligned_from_plate: Affine
    aligned_size: int

    @classmethod
    def of(cls, record: FaceRecord) -> _Place:
        return cls(
            face=record.name,
            plate=record.plate,
            frame=record.frame,
            box=record.box,
            aligned_from_plate=record.aligned_from_plate,
            aligned_size=record.aligned_size,
        )

    @classmethod
    def from_json(cls, text: str) -> _Place:
        """Raises ValueError, KeyError, TypeError."""
        values = json.loads(text)
        return cls(
            face=str(values["face"]),
            plate=str(values["plate"]),
            frame=int(values["frame"]),
            box=Box(*(float(value) for value in values["box"])),
            aligned_from_plate=np.array(values["aligned_from_plate"], dtype=np.float64).reshape(2, 3),
            aligned_size=int(values["aligned_size"]),
        )

    def to_json(self) -> str:
        box = self.box
        return json.dumps(
            {
                "face": self.face,
                "plate": self.plate,
                "frame": self.frame,
                "box": [box.left, box.top, box.right, box.bottom],
                "aligned_from_plate": self.aligned_from_plate.tolist(),
                "aligned_size": self.aligned_size,
            }
        )

    def motion_to(self, record: FaceRecord) -> Affine | None:
        """Old aligned pixels to new ones; None where the square did not move."""
        motion = affine.compose(record.aligned_from_plate, affine.invert(self.aligned_from_plate))
        side = float(self.aligned_size)
        corners = np.array([[0.0, 0.0], [side, 0.0], [side, side], [0.0, side]])
        is_still = self.aligned_size == record.aligned_size
        return None if is_still and np.abs(affine.apply(motion, corners) - corners).max() < _UNMOVED_PX else motion


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A mask or label that was set aside. ``version`` is the one that holds it."""

    place: _Place
    source: str
    version: int


@dataclass(slots=True)
class MaskMover:
    """Takes masks along while frames of one plate are cut again. A faceset without masks costs nothing."""

    store: MaskStore | None = None
    _places: dict[int, list[_Place]] = field(default_factory=dict)
    _waiting: dict[int, list[_Waiting]] = field(default_factory=dict)
    """Left by earlier runs."""
    _unfinished: list[_Place] = field(default_factory=list)
    """Of frames whose rows a killed run took back and nobody has written since."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, faceset_path: Path, plate: str, todo: Collection[int]) -> Iterator[MaskMover]:
        """Look up where the faces lie, and bring back what an earlier run left aside although its face is there.

        Args:
            plate: its name. todo: frames that will be cut again.

        Raises:
            DataCorrupt, Unsupported, Conflict: the masks cannot be read or written.
        """
        if not (faceset_path / MASKS_NAME).is_file():
            yield cls()
            return
        with MaskStore.open(faceset_path) as store:
            mover = cls(store)
            mover._look(store, plate, frozenset(todo))
            yield mover
            _write_in_flight(store, mover._unfinished)

    @contextlib.contextmanager
    def moving(self, frame: int, records: Sequence[FaceRecord]) -> Iterator[None]:
        """Write the frame inside; afterwards the masks are where ``records``, its faces from now on, are."""
        if self.store is None:
            yield
            return
        pairs = _same_faces(self._places.get(frame, ()), records)
        moves = self._set_aside(self.store, frame, pairs)
        yield
        for one in moves:
            if one.place in pairs:
                _carry_waiting(self.store, one, pairs[one.place])
        self._bring_back(self.store, frame, records)
        self._unfinished = [place for place in self._unfinished if place not in self._places.get(frame, ())]

    def _look(self, store: MaskStore, plate: str, todo: frozenset[int]) -> None:
        for face, source, entry in store.removals(SET_ASIDE):
            place = _read_place(entry.made_by.removeprefix(SET_ASIDE))
            if place is not None and place.plate == plate and place.face == face:
                self._waiting.setdefault(place.frame, []).append(_Waiting(place, source, entry.version - 1))
        shown: dict[int, list[FaceRecord]] = {}
        with_rows: set[int] = set()
        with Faceset.open(store.faceset_path) as faceset:
            for record in faceset.every_record(plate):
                with_rows.add(record.frame)
                if record.frame in todo:
                    self._places.setdefault(record.frame, []).append(_Place.of(record))
                elif record.frame in self._waiting:
                    shown.setdefault(record.frame, []).append(record)
        for frame, records in shown.items():
            self._bring_back(store, frame, records)
        for place in _read_in_flight(store):
            if place.plate != plate or place.frame not in with_rows:
                self._unfinished.append(place)
                if place.plate == plate and place.frame in todo:
                    self._places.setdefault(place.frame, []).append(place)

    def _set_aside(self, store: MaskStore, frame: int, pairs: Mapping[_Place, FaceRecord]) -> list[_Waiting]:
        """Remove the masks of a frame's faces that move or go."""
        sources = {place: _sources(store, place.face) for place in self._places.get(frame, ())}
        with_masks = [place for place, names in sources.items() if names]
        if with_masks:
            others = [place for place in self._unfinished if place not in sources]
            _write_in_flight(store, [*others, *with_masks])
        moves: list[_Waiting] = []
        for place in with_masks:
            new = pairs.get(place)
            if new is not None and new.name == place.face and place.motion_to(new) is None:
                continue
            for source in sources[place]:
                if _remove(store, place.face, source, SET_ASIDE + place.to_json()):
                    version = store.versions(place.face, source)[-1].version - 1
                    moves.append(_Waiting(place, source, version))
        return moves

    def _bring_back(self, store: MaskStore, frame: int, records: Sequence[FaceRecord]) -> None:
        """What an earlier run left aside, to faces that have got nothing newer of the kind since."""
        waiting = self._waiting.pop(frame, [])
        pairs = _same_faces([one.place for one in waiting], records)
        for one in waiting:
            new = pairs.get(one.place)
            if new is not None and _is_free(store, new.name, one.source):
                _carry_waiting(store, one, new)


def _carry_waiting(store: MaskStore, one: _Waiting, new: FaceRecord) -> None:
    _carry(
        store,
        store,
        (one.place.face, one.source, one.version),
        new.name,
        sizes=(one.place.aligned_size, new.aligned_size),
        new_from_old=one.place.motion_to(new),
        made_by=MOVED,
    )


def _carry(
    source_store: MaskStore,
    target_store: MaskStore,
    taken: tuple[str, str, int],
    name: str,
    *,
    sizes: tuple[int, int],
    new_from_old: Affine | None,
    made_by: str,
) -> None:
    """One mask or label; ``taken``: face, source, version. ``sizes``: aligned sides of the old and the new face."""
    face, source, version = taken
    entry = source_store.versions(face, source)[version - 1]
    maker = entry.made_by if entry.made_by.endswith(f"; {made_by}") else f"{entry.made_by}; {made_by}"
    if source == LABEL_SOURCE:
        label = source_store.label(face, version=version)
        if label is not None:
            target_store.set_label(
                name, label if new_from_old is None else move_label(label, new_from_old), made_by=maker
            )
        return
    mask = source_store.mask(face, source, version=version)
    if mask is not None:
        moved = mask if new_from_old is None else warp_mask(mask, new_from_old, *sizes)
        target_store.add_mask(name, source, moved, made_by=maker, bits=16 if entry.bits == 16 else 8)


def _sources(store: MaskStore, face: str) -> list[str]:
    return [*store.masks_of(face), *([LABEL_SOURCE] if store.label(face) is not None else [])]


def _same_faces(places: Sequence[_Place], records: Sequence[FaceRecord]) -> dict[_Place, FaceRecord]:
    """Place → the face that is there now; best overlap first. Places of one face and box share it."""
    rated = [(_overlap(place.box, record.box), place, record) for place in places for record in records]
    pairs: dict[_Place, FaceRecord] = {}
    owners: dict[str, tuple[str, Box]] = {}
    matched: set[tuple[str, Box]] = set()
    for overlap, place, record in sorted(rated, key=lambda one: -one[0]):
        who = (place.face, place.box)
        if overlap < SAME_FACE_OVERLAP or place in pairs:
            continue
        if owners.get(record.name) == who or (record.name not in owners and who not in matched):
            pairs[place] = record
            owners[record.name] = who
            matched.add(who)
    return pairs


def _overlap(a: Box, b: Box) -> float:
    """Shared area over united area."""
    width = max(min(a.right, b.right) - max(a.left, b.left), 0.0)
    height = max(min(a.bottom, b.bottom) - max(a.top, b.top), 0.0)
    united = a.width * a.height + b.width * b.height - width * height
    return width * height / united if united > 0 else 0.0


def _is_free(store: MaskStore, face: str, source: str) -> bool:
    """Nobody gave this face such a mask, or removed it, since one was set aside."""
    history = store.versions(face, source)
    return not history or history[-1].made_by.startswith(SET_ASIDE)


def _remove(store: MaskStore, face: str, source: str, made_by: str) -> int:
    if source == LABEL_SOURCE:
        return store.remove_labels([face], made_by=made_by)
    return store.remove_masks(source, [face], made_by=made_by)


def _in_flight(store: MaskStore) -> Path:
    return store.faceset_path / IN_FLIGHT_NAME


def _write_in_flight(store: MaskStore, places: Sequence[_Place]) -> None:
    """Not flushed to the disk: it is for a process that dies, and costs next to nothing per frame."""
    path = _in_flight(store)
    with translate_disk_errors(path):
        if not places:
            path.unlink(missing_ok=True)
            return
        temporary = path.with_suffix(".tmp")
        temporary.write_text("\n".join(place.to_json() for place in places), encoding="ascii")
        temporary.replace(path)


def _read_in_flight(store: MaskStore) -> list[_Place]:
    try:
        lines = _in_flight(store).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
    return [place for line in lines if (place := _read_place(line)) is not None]


def _read_place(text: str) -> _Place | None:
    """None for what was not written by us."""
    try:
        return _Place.from_json(text)
    except (ValueError, KeyError, TypeError):
        return None


def _scaling(factor: float) -> Affine:
    return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])
