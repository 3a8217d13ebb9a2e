"""A faceset put back as its saved metadata says: the index, and the size of images that were edited elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dflcore.curate.derive import JPEG_QUALITY
from dflcore.curate.metadata import SavedFaceset, read_metadata, to_authorization, to_record
from dflcore.enhance.lanczos import resize_lanczos
from dflcore.errors import Conflict, DataCorrupt, NotFound
from dflcore.io.aligned_image import AlignedFormat, decode_aligned, to_float, to_uint8, write_aligned
from dflcore.io.atomic import sync_file, sync_folder, translate_disk_errors
from dflcore.io.faceset import INDEX_NAME, Faceset, FacesetWriter, lock_faceset
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import FaceRecord, FaceType

_STAGING = ".restoring"
_DAMAGED = "damaged"
_PROGRESS_EVERY = 64
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What :func:`restore_metadata` did.

    Attributes:
        faces: rows written to the index.
        resized: images brought back to the faceset's size.
        unusable: images that could not be: damaged, or not square.
        is_recreated: there was no index, or a damaged one, which was set aside.
        stopped: why it ended early; run again to finish.
    """

    faces: int
    resized: int
    unusable: int
    is_recreated: bool
    stopped: StopRequest | None


def restore_metadata(path: Path, file: Path, control: RunControl) -> RestoreResult:
    """Make a faceset's index what a file of :func:`~dflcore.curate.metadata.save_metadata` says.

    Faces of frames the file knows become as they were saved; other frames stay. A lost index is made anew; a damaged
    one is renamed, never deleted. Images whose side differs from the faceset's are resized **in place** (Lanczos; JPEG
    at quality 100); no other image is touched.

    Args:
        path: the faceset's folder.
        file: what was saved.
        control: told of faces done, asked for a stop before each image.

    Raises:
        NotFound: there is no such folder or file.
        DataCorrupt: the file is damaged; nothing was changed.
        Conflict: another process writes the faceset, its type or size is another, or faces were renamed since.
        Unsupported: the index was written by a version with another layout.
        InvalidInput, ResourceExhausted: the folder cannot be written.
    """
    path = Path(path)
    saved = read_metadata(file)
    records = [to_record(face, saved.faceset, Path(file)) for face in saved.faces]
    if not path.is_dir():
        raise NotFound(f"There is no folder {path}.", reason="FACESET_NOT_FOUND", path=path)
    roll_back(path / INDEX_NAME)
    names = _check_index(path, saved, records)
    resized, unusable, stopped = _resize_images(path, saved.faceset.aligned_size, records, control)
    if stopped is None:
        _replace_index(path, saved, records, is_damaged=names is None)
    if unusable:
        control.emit(
            Notice(
                message=f"{len(unusable)} images cannot be used: damaged or not square, beginning with {unusable[0]}.",
                reason="FACES_UNUSABLE",
                details={"path": str(path / unusable[0])},
            )
        )
    return RestoreResult(
        faces=0 if stopped else len(records),
        resized=resized,
        unusable=len(unusable),
        is_recreated=names is None and not stopped,
        stopped=stopped,
    )


def roll_back(index: Path) -> None:
    """What a writer that was killed left half done: who may only read cannot take it back."""
    if index.with_name(f"{index.name}-journal").exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(index)) as database:
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _check_index(path: Path, saved: SavedFaceset, records: Iterable[FaceRecord]) -> Mapping[str, object] | None:
    """Where each face of the present index lies; None where there is no index that can be read."""
    about = saved.faceset
    try:
        with Faceset.open(path) as faceset:
            if (faceset.face_type.value, faceset.aligned_size) != (about.face_type, about.aligned_size):
                raise Conflict(
                    f"The faceset {path} holds {faceset.face_type.value} faces of {faceset.aligned_size} px, the file "
                    f"was saved from {about.face_type} faces of {about.aligned_size} px. It belongs to another set.",
                    reason="FACESET_DIFFERS",
                    path=path,
                )
            places = {
                record.name: (record.plate, record.frame)
                for plate in faceset.info.plates
                for record in faceset.every_record(plate)
            }
    except (NotFound, DataCorrupt, sqlite3.DatabaseError):  # the last: damaged further inside
        return None
    for record in records:
        if places.get(record.name, (record.plate, record.frame)) != (record.plate, record.frame):
            raise Conflict(
                f"{record.name} is another face in {path} than in the file: the faces were renamed after it was saved.",
                reason="FACES_RENAMED",
                path=path / record.name,
            )
    return places


def _resize_images(
    path: Path, size: int, records: Iterable[FaceRecord], control: RunControl
) -> tuple[int, list[str], StopRequest | None]:
    """How many were resized, names of those that could not be, and why it ended early."""
    present = {entry.name for entry in os.scandir(path) if entry.is_file()}
    names = [record.name for record in records if record.name in present]
    unusable: list[str] = []
    resized = 0
    for index, name in enumerate(names):
        stopped = control.stop_requested()
        if stopped is not None:
            return resized, unusable, stopped
        try:
            resized += _resize_image(path / name, size)
        except DataCorrupt:
            unusable.append(name)
        if (index + 1) % _PROGRESS_EVERY == 0 or index + 1 == len(names):
            control.emit(FrameProgress(done=index + 1, total=len(names), path=str(path / name)))
    return resized, unusable, None


def _resize_image(path: Path, size: int) -> bool:
    """Bring an image back to the faceset's size; False where it has it. Raises DataCorrupt."""
    with path.open("rb") as stream:
        head = stream.read(24)
    is_png = head.startswith(_PNG_HEAD)
    if is_png and head[16:24] == size.to_bytes(4, "big") * 2:
        return False
    face = decode_aligned(path.read_bytes(), path)
    if face.shape[0] == face.shape[1] == size:
        return False
    if face.shape[0] != face.shape[1]:
        raise DataCorrupt(f"{path} is not square.", reason="FACE_DAMAGED", path=path)
    pixels = resize_lanczos(to_float(face), size)
    suffix = path.suffix.lower()
    format: AlignedFormat = "exr" if suffix == ".exr" else "png16" if face.dtype != np.uint8 else "png"
    if suffix in (".jpg", ".jpeg"):
        format = "jpeg"
    write_aligned(path, to_uint8(pixels) if face.dtype == np.uint8 else pixels, format, jpeg_quality=JPEG_QUALITY)
    return True


def _replace_index(path: Path, saved: SavedFaceset, records: list[FaceRecord], *, is_damaged: bool) -> None:
    """The new index is made beside, from the old one where that is sound, and takes its place in one step."""
    staging = path / _STAGING
    with translate_disk_errors(path), _locked(path):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            if not is_damaged:
                _copy_database(path / INDEX_NAME, staging / INDEX_NAME)
            _write_rows(staging, saved, records)
            sync_file(staging / INDEX_NAME)
            if is_damaged:
                _set_aside(path)
            os.replace(staging / INDEX_NAME, path / INDEX_NAME)
            sync_folder(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = lock_faceset(path)
    try:
        yield
    finally:
        os.close(lock)


def _copy_database(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as read,
        contextlib.closing(sqlite3.connect(target)) as written,
    ):
        read.backup(written)


def _write_rows(folder: Path, saved: SavedFaceset, records: list[FaceRecord]) -> None:
    keys = {(plate, frame): key for plate, frame, key in saved.examined}
    with FacesetWriter(
        folder,
        face_type=FaceType(saved.faceset.face_type),
        aligned_size=saved.faceset.aligned_size,
        settings=saved.faceset.settings,
        authorization=to_authorization(saved.faceset),
        durable=False,  # flushed once, before it takes its place
    ) as writer:
        frames: dict[tuple[str, int], list[FaceRecord]] = {}
        for record in records:
            frames.setdefault((record.plate, record.frame), []).append(record)
        for (plate, frame), faces in frames.items():
            key = keys.pop((plate, frame), "")
            writer.add_frame(plate, frame, faces[0].plate_size, [(record, None) for record in faces], key=key)
        for (plate, frame), key in keys.items():
            writer.add_frame(plate, frame, (0, 0), [], key=key)


def _set_aside(path: Path) -> None:
    """Rename a damaged index, and the journal that belongs to it: left behind, it would be applied to the new one."""
    number = 1
    while (path / f"{INDEX_NAME}.{_DAMAGED}-{number}").exists():
        number += 1
    for suffix in ("-journal", "-wal", "-shm", ""):
        found = path / f"{INDEX_NAME}{suffix}"
        if found.exists():
            found.rename(path / f"{INDEX_NAME}.{_DAMAGED}-{number}{suffix}")
