"""Facesets from the reference implementation: looked at as a whole, then written person by person."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.interchange_faces import Kind, area_of, kind_of, kind_text, label_of, take_over
from dflcore.errors import Conflict, DataCorrupt, DflError, InvalidInput
from dflcore.io.faceset import INDEX_NAME, Faceset, FacesetWriter
from dflcore.io.legacy.frame_names import UNNUMBERED, place_frames
from dflcore.io.legacy.jpeg import LegacyFace, decode_mask, read_face
from dflcore.io.legacy.meta_dat import read_meta_dat
from dflcore.io.legacy.pickle_values import HOSTILE
from dflcore.io.legacy.sources import LegacySource, open_source
from dflcore.io.masks import MaskStore
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import Authorization, FaceRecord, FaceType

MASK_SOURCE: Final = "xseg"
MADE_BY: Final = "import"
UNKNOWN_SIZE: Final = (0, 0)
"""Plate size of faces whose plate was not named: the reference does not keep it."""
MAX_SINGLE_NOTICES: Final = 20
"""Faces that are reported one by one; the rest are summed up."""
_FRAME_TOKEN: Final = re.compile(r"#+|@+|%0?\d*d")
_UNSAFE: Final = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class RefusedFace:
    """A face that was not taken, and why in words."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import left on disk.

    Attributes:
        facesets: folders written, one per person.
        faces, frames: in them, earlier runs of the same import included.
        masks, labels: stored in this run.
        refused: every face that was not taken, lost ones of a truncated file included.
        unnumbered: faces whose frame number is made up.
        stopped: why it ended early, None when everything was imported.
    """

    facesets: tuple[Path, ...]
    faces: int
    frames: int
    masks: int
    labels: int
    refused: tuple[RefusedFace, ...]
    unnumbered: int
    stopped: StopRequest | None


def import_legacy(
    source: Path,
    faceset_path: Path,
    control: RunControl,
    *,
    authorization: Authorization | None = None,
    restore_meta: Path | None = None,
    plate: str = "",
    plate_size: tuple[int, int] = UNKNOWN_SIZE,
    only: tuple[FaceType, int] | None = None,
) -> ImportResult:
    """Make a faceset of the reference implementation's faces, with their masks and labels.

    Pixels are kept as decoded, landmarks and transforms as stored. Everything is looked at before anything is written.
    Faces that cannot be taken are named in notices and in the result. Running the same import again goes on where it
    was stopped.

    Args:
        source: a folder of JPEG files (sub-folders are persons), a ``.pak`` file, or a folder with ``faceset.pak``.
        faceset_path: where to; with several persons, one faceset per person in folders below.
        authorization: kept in the index.
        restore_meta: a ``meta.dat``: its metadata replaces that of the pictures it names, and pictures that were
            resized since get their saved size back.
        plate: the plate the faces were cut from, as it will be named when merging; else a name is derived.
        plate_size: its (width, height); (0, 0) for unknown.
        only: face type and size in pixels to take from a mixed set.

    Raises:
        NotFound: no such source or ``meta.dat``.
        InvalidInput: no usable face, a mixed set, several frame name patterns for one ``plate``, or metadata that asks
            for something to be run (``HOSTILE_PICKLE``; nothing is imported then).
        Conflict: the faceset folder holds something else.
        DataCorrupt, Unsupported: a pak or ``meta.dat`` that cannot be read.
    """
    run = _Import(open_source(source), Path(faceset_path), control, authorization or Authorization(), plate, plate_size)
    run.survey({} if restore_meta is None else {one.name: one.face for one in read_meta_dat(restore_meta)})
    if run.stopped is None:
        run.write(run.group(only))
        run.require_faces()
    return run.result()


@dataclass(frozen=True, slots=True)
class _Found:
    """A face that can be taken: its place in the source and what is needed to plan."""

    position: int
    name: str
    person: str
    frame_name: str
    kind: Kind
    area: float


@dataclass(slots=True)
class _Reports:
    """Things that happen to many faces: some told one by one, all counted."""

    control: RunControl
    told: Counter[str] = field(default_factory=Counter)

    def tell(self, reason: str, message: str, name: str) -> None:
        self.told[reason] += 1
        if self.told[reason] <= MAX_SINGLE_NOTICES:
            self.control.emit(Notice(message=message, reason=reason, details={"path": name}))

    def sum_up(self) -> None:
        for reason, count in self.told.items():
            if count > MAX_SINGLE_NOTICES:
                message = (
                    f"{count - MAX_SINGLE_NOTICES} more notices like these ({reason}); the result lists all faces."
                )
                self.control.emit(Notice(message=message, reason=reason, details={"count": str(count)}))


class _Import:
    """One import: survey, group, write."""

    def __init__(
        self,
        source: LegacySource,
        target: Path,
        control: RunControl,
        authorization: Authorization,
        plate: str,
        plate_size: tuple[int, int],
    ) -> None:
        self._source, self._target, self._control = source, target, control
        self._authorization, self._plate, self._plate_size = authorization, plate, plate_size
        self._reports = _Reports(control)
        self._saved: dict[str, LegacyFace] = {}
        self._found: list[_Found] = []
        self._refused: list[RefusedFace] = []
        self._ignored: Counter[str] = Counter()
        self._facesets: list[Path] = []
        self._faces = self._frames = self._masks = self._labels = self._unnumbered = 0
        self.stopped: StopRequest | None = None

    # -- looking

    def survey(self, saved: dict[str, LegacyFace]) -> None:
        """Read every face's metadata."""
        self._saved = saved
        for note in self._source.notes:
            self._control.emit(Notice(message=note, reason="LEGACY_SOURCE", details={"path": str(self._source.path)}))
        if self._source.saved_metadata is not None and not saved:
            message = f"{self._source.saved_metadata} is not used; ask for it to be restored if pictures were edited."
            self._control.emit(Notice(message=message, reason="META_DAT_NOT_USED", severity="info"))
        missing = len(saved.keys() - {entry.name for entry in self._source.entries})
        if missing:
            self._say("META_DAT_UNMATCHED", f"{missing} pictures of the saved metadata are not in {self._source.path}.")
        for position, entry in enumerate(self._source.entries):
            self.stopped = self.stopped or self._control.stop_requested()
            if self.stopped is not None:
                return
            try:
                _, face = self._read(position)
                found = _Found(
                    position, entry.name, entry.person, face.source_filename, kind_of(face, entry.name), area_of(face)
                )
            except DflError as error:
                self._refuse(entry.name, error)
                continue
            self._found.append(found)
            self._ignored.update(face.unknown_keys)
            if face.eyebrows_expand_mod != 1.0:
                self._ignored["eyebrows_expand_mod"] += 1

    def _read(self, position: int) -> tuple[bytes, LegacyFace]:
        entry = self._source.entries[position]
        data = self._source.read(position)
        if data is None:
            raise DataCorrupt(f"{entry.name} is not whole or not readable.", reason="LEGACY_FACE_DAMAGED")
        face = self._saved.get(entry.name) or read_face(data, entry.name)
        if face is None:
            raise InvalidInput(f"{entry.name} holds no face metadata.", reason="NO_FACE_METADATA")
        return data, face

    def _refuse(self, name: str, error: DflError) -> None:
        if error.reason == HOSTILE:
            raise error
        why = error.message if name in error.message else f"{name}: {error.message}"
        self._refused.append(RefusedFace(name, why))
        self._reports.tell("FACE_NOT_IMPORTED", f"Not imported: {why}", name)

    # -- planning

    def group(self, only: Kind | None) -> dict[str, list[_Found]]:
        """Faces by person, all of one kind each."""
        persons: dict[str, list[_Found]] = {}
        for found in self._found:
            if only is not None and found.kind != only:
                kind = kind_text(found.kind)
                self._refuse(found.name, InvalidInput(f"{found.name} is {kind}; only {kind_text(only)} was asked."))
            else:
                persons.setdefault(found.person, []).append(found)
        if not persons:
            self.require_faces()
        for members in persons.values():
            self._require_one_kind(members)
        if len(persons) == 1:
            return {"": next(iter(persons.values()))}
        return dict(zip(_folder_names(persons), persons.values(), strict=True))

    def require_faces(self) -> None:
        """Raises InvalidInput when an import that came to its end took nothing over."""
        if self._faces or self.stopped is not None:
            return
        self._reports.sum_up()
        first = f" The first: {self._refused[0].why}" if self._refused else ""
        raise InvalidInput(
            f"None of the {len(self._source.entries)} faces of {self._source.path} can be imported.{first}",
            reason="NO_FACE_IMPORTED",
            path=self._source.path,
        )

    def _require_one_kind(self, members: list[_Found]) -> None:
        kinds = Counter(found.kind for found in members)
        if len(kinds) == 1:
            return
        examples = {kind: next(one.name for one in members if one.kind == kind) for kind in kinds}
        listing = "; ".join(
            f"{count} of {kind_text(kind)} ({examples[kind]}...)" for kind, count in kinds.most_common(10)
        )
        raise InvalidInput(
            f"{self._source.path} mixes faces of different type or size, a faceset holds one kind: {listing}. "
            "Import one kind at a time, each into a folder of its own.",
            reason="MIXED_FACESET",
            path=self._source.path,
        )

    # -- writing

    def write(self, persons: dict[str, list[_Found]]) -> None:
        """Every person's faceset."""
        plans = {person: self._frame_plan(members) for person, members in persons.items()}
        total = sum(len(plan) for plan in plans.values())
        for person, plan in plans.items():
            if self.stopped is None:
                self._write_person(self._target / person if person else self._target, plan, total)

    def _frame_plan(self, members: list[_Found]) -> dict[tuple[str, int], list[_Found]]:
        """Faces by plate and frame, the largest first, in frame order."""
        places = place_frames([found.frame_name for found in members])
        patterns = sorted({place.plate for place in places} - {UNNUMBERED})
        if self._plate and len(patterns) > 1:
            raise InvalidInput(
                f"The faces come from frames of {len(patterns)} name patterns ({', '.join(patterns[:5])}), which "
                f"cannot all be {self._plate}. Import without naming the plate.",
                reason="SEVERAL_PLATES",
                path=self._source.path,
            )
        frames: dict[tuple[str, int], list[_Found]] = {}
        for place, found in zip(places, members, strict=True):
            is_numbered = place.plate != UNNUMBERED
            self._unnumbered += not is_numbered
            plate = self._plate if self._plate and is_numbered else f"{self._source.label}/{place.plate}"
            frames.setdefault((plate, place.frame), []).append(found)
        for faces in frames.values():
            faces.sort(key=lambda found: (-found.area, found.name))
        return dict(sorted(frames.items()))

    def _write_person(self, path: Path, plan: dict[tuple[str, int], list[_Found]], total: int) -> None:
        face_type, size = next(iter(plan.values()))[0].kind
        settings: dict[str, object] = {"imported_from": str(self._source.path.absolute()), "plate": self._plate}
        _require_new_or_same(path, settings)
        stems = _stems(plate for plate, _ in plan)
        with (
            FacesetWriter(
                path, face_type=face_type, aligned_size=size, settings=settings, authorization=self._authorization
            ) as writer,
            MaskStore.open(path, create=True) as masks,
        ):
            self._facesets.append(path)
            examined = {plate: writer.examined_frames(plate) for plate in stems}
            for (plate, frame), members in plan.items():
                self.stopped = self._control.stop_requested()
                if self.stopped is not None:
                    return
                names = [f"{stems[plate]}_{frame:06d}_{index}.png" for index in range(len(members))]
                done = self._write_frame(writer, masks, (plate, frame), members, names, examined[plate].get(frame))
                self._frames += 1
                self._faces += done
                shown = str(path / names[0]) if done else None
                self._control.emit(FrameProgress(done=self._frames, total=total, frame=frame, path=shown, faces=done))

    def _write_frame(
        self,
        writer: FacesetWriter,
        masks: MaskStore,
        place: tuple[str, int],
        members: list[_Found],
        names: list[str],
        earlier_key: str | None,
    ) -> int:
        """Faces of the frame that are there afterwards. Masks come first: a frame that has its key has them."""
        plate, frame = place
        faces: list[tuple[FaceRecord, NDArray[np.uint8]]] = []
        digest = hashlib.sha256()
        legacy: list[LegacyFace] = []
        for found in members:
            try:
                data, face = self._read(found.position)
                digest.update(data + repr((face.size, face.landmarks.tobytes())).encode())
                record, image, odd = take_over(data, face, found.name, names[len(faces)], self._plate_size)
            except DflError as error:
                self._refuse(found.name, error)
                continue
            for text in odd:
                self._odd(text, found.name)
            record = replace(record, plate=plate, frame=frame, face_index=len(faces))
            faces.append((record, image))
            legacy.append(face)
        key = f"import {digest.hexdigest()[:16]}"
        if key == earlier_key:
            return sum((writer.path / record.name).exists() for record, _ in faces)
        for (record, _), face in zip(faces, legacy, strict=True):
            self._store_masks(masks, record, face)
        writer.add_frame(plate, frame, self._plate_size, faces, key=key)
        return len(faces)

    def _store_masks(self, masks: MaskStore, record: FaceRecord, face: LegacyFace) -> None:
        original = record.original_name or record.name
        for fault in face.faults:
            self._odd(f"{original}: {fault}; the face is imported without it.", original)
        try:
            if face.mask_image is not None:
                masks.add_mask(record.name, MASK_SOURCE, decode_mask(face.mask_image, original), made_by=MADE_BY)
                self._masks += 1
        except (InvalidInput, DataCorrupt) as error:
            self._odd(f"The mask of {original} is left out: {error.message}", original)
        try:
            if face.polygons:
                masks.set_label(record.name, label_of(face), made_by=MADE_BY)
                self._labels += 1
        except InvalidInput as error:
            self._odd(f"The label of {original} is left out: {error.message}", original)

    def _odd(self, message: str, name: str) -> None:
        self._reports.tell("FACE_PARTLY_IMPORTED", message, name)

    # -- afterwards

    def result(self) -> ImportResult:
        """The result, after what is left to say was said."""
        self._reports.sum_up()
        if self._ignored:
            listing = ", ".join(f"{key} ({count} faces)" for key, count in sorted(self._ignored.items())[:20])
            self._say("METADATA_IGNORED", f"Metadata that a faceset has no use for was left out: {listing}.")
        if self._unnumbered:
            self._say(
                "FRAME_NUMBERS_MADE_UP",
                f"{self._unnumbered} faces do not say which frame they are from; they were numbered in order, as plate "
                f"{self._source.label}/{UNNUMBERED}, and cannot be merged back.",
            )
        if self._faces:
            self._say("IDENTITY_NOT_KNOWN", "Imported faces have no identity descriptors.", severity="info")
            if not self._plate or self._plate_size == UNKNOWN_SIZE:
                self._say(
                    "PLATE_NOT_KNOWN",
                    "The plate of these faces and its size are not known; to merge with them, import again into a new "
                    "folder and name the plate.",
                    severity="info",
                )
        return ImportResult(
            facesets=tuple(self._facesets),
            faces=self._faces,
            frames=self._frames,
            masks=self._masks,
            labels=self._labels,
            refused=tuple(self._refused),
            unnumbered=self._unnumbered,
            stopped=self.stopped,
        )

    def _say(self, reason: str, message: str, severity: str = "warning") -> None:
        details = {"path": str(self._source.path)}
        self._control.emit(Notice(message=message, reason=reason, severity=severity, details=details))


def _require_new_or_same(path: Path, settings: dict[str, object]) -> None:
    """Raises Conflict unless the folder is empty, absent, or from the same import."""
    if (path / INDEX_NAME).is_file():
        with Faceset.open(path) as faceset:
            if {key: faceset.info.settings.get(key) for key in settings} == settings:
                return
        what = "holds another faceset"
    elif not path.is_dir() or all(one.name.startswith(".") for one in path.iterdir()):
        return
    else:
        what = "is not empty"
    raise Conflict(f"{path} {what}. Import into a new folder.", reason="FOLDER_NOT_EMPTY", path=path)


def _folder_names(persons: Iterable[str]) -> list[str]:
    """A folder for each person; whatever the name says, it lies directly below the target."""
    names: list[str] = []
    for person in persons:
        name = _UNSAFE.sub("_", person).strip("._")[:60] or "faces"
        names.append(_unique(name, names))
    return names


def _stems(plates: Iterable[str]) -> dict[str, str]:
    """What the names of a plate's images begin with, different for each plate."""
    stems: dict[str, str] = {}
    for plate in plates:
        if plate not in stems:
            folder, _, last = ("/" + _FRAME_TOKEN.sub("", plate.replace("\\", "/"))).rpartition("/")
            base = _UNSAFE.sub("_", Path(f"_{last}").stem).strip("._-")
            stem = (base or _UNSAFE.sub("_", folder.rpartition("/")[2]).strip("._-"))[:40]
            stems[plate] = _unique(stem or "plate", list(stems.values()))
    return stems


def _unique(name: str, taken: list[str]) -> str:
    lower = {one.lower() for one in taken}
    candidates = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(one for one in candidates if one.lower() not in lower)
