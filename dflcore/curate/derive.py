"""A new faceset made from an old one, face by face; the old one is only read.

The new set grows in ``<output>.unfinished`` and takes its name when it is whole, so a folder of the final name is never
half a faceset. Stopped or killed, the same call goes on where it was: every frame carries a key of what it was made
from. The same call with other wishes begins anew, and so does one after a power cut: the unfinished index is not
flushed to the disk row by row, which would take longer than making the faces.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.aligned_image import AlignedFormat, decode_aligned, to_uint8, write_aligned
from dflcore.io.atomic import sync_file, sync_folder, translate_disk_errors, write_text
from dflcore.io.faceset import INDEX_NAME, Faceset, FacesetWriter, lock_faceset
from dflcore.io.mask_carry import carry_masks
from dflcore.io.masks import MASKS_NAME, MaskStore
from dflcore.io.pack import FaceFiles
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.quality import measure_sharpness
from dflcore.types import Affine, FaceRecord, FaceType, FloatArray

UNFINISHED_SUFFIX = ".unfinished"
MARKER_NAME = "unfinished.json"
"""Lies in a faceset that is being made and says from what and how; in a folder of the final name it means nothing."""
JPEG_QUALITY = 100
_FORMATS: Mapping[str, AlignedFormat] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".exr": "exr"}

Pixels = FloatArray | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """One face of the new set.

    Attributes:
        image: (S, S, 3) RGB, sRGB-encoded, uint8 or unbounded float32.
        changes: fields of the record that differ from the old one's; sharpness is measured here.
        new_from_old: old aligned pixels to new ones, for masks and labels; None where nothing moved.
        is_second_hand: made from the old aligned image although it would be better made from the plate.
    """

    image: Pixels
    changes: Mapping[str, object] = field(default_factory=dict)
    new_from_old: Affine | None = None
    is_second_hand: bool = False


class Remaker(Protocol):
    """What is done to each face."""

    def __call__(self, record: FaceRecord, image: Pixels) -> Remade:
        """``image``: the old aligned face, sRGB-encoded, uint8 for 8-bit files, else unbounded float32.

        Raises:
            InvalidInput, DataCorrupt: this face cannot be made; it is left out and reported.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What :func:`derive_faceset` made.

    Attributes:
        faces: in the new set so far. second_hand: of those, see :class:`Remade`.
        left_out: faces whose image was damaged, or gone by the time it was their turn.
        path: the finished set, or the unfinished one when stopped.
        stopped: why it ended early.
    """

    faces: int
    second_hand: int
    left_out: int
    path: Path
    stopped: StopRequest | None


def derive_faceset(
    source_path: Path,
    output_path: Path,
    control: RunControl,
    *,
    maker: str,
    wishes: Mapping[str, object],
    face_type: FaceType | None = None,
    aligned_size: int | None = None,
    remake: Remaker,
) -> Derived:
    """Make a new faceset of all faces of another.

    Names, identity, tracks, origin and everything else of the records is kept, and so are masks and labels; files keep
    their kind (PNG of either depth, EXR, JPEG at quality 100). Of masks and labels only the newest versions come along.

    Args:
        source_path: the old set; only read.
        output_path: the new set; must not exist.
        control: told of every face, asked for a stop before each frame.
        maker: word for who made masks and labels.
        wishes: everything that decides the result beside the old set; JSON values.
        face_type, aligned_size: of the new set; the old one's when None.
        remake: makes one face.

    Raises:
        Conflict: the output exists, or another process makes it.
        NotFound: the old faceset is not there.
        DataCorrupt: its index, pack or masks are damaged.
        InvalidInput, ResourceExhausted: the output cannot be written.
    """
    output_path = Path(output_path)
    _require_free(output_path)
    with Faceset.open(source_path) as source:
        face_type = face_type or source.face_type
        aligned_size = aligned_size or source.aligned_size
        recipe = {
            "source": str(Path(source_path).absolute()),
            "face_type": face_type.value,
            "aligned_size": aligned_size,
            **wishes,
        }
        staging = output_path.with_name(output_path.name + UNFINISHED_SUFFIX)
        _prepare(staging, recipe)
        with (
            FacesetWriter(
                staging,
                face_type=face_type,
                aligned_size=aligned_size,
                settings={**source.info.settings, "face_type": face_type.value, "aligned_size": aligned_size},
                authorization=source.info.authorization,
                durable=False,  # flushed once, before it takes its place
            ) as writer,
            FaceFiles.open(source.path) as files,
            _Masks(source.path, staging, maker) as masks,
        ):
            run = _Run(source, files, writer, masks, remake, control, _digest(recipe))
            stopped = run.all_frames()
    run.report()
    sync_file(staging / INDEX_NAME)
    if stopped is None:
        _finish(staging, output_path)
    else:
        _write_marker(staging, recipe, boot="")  # all of it is on the disk now
    path = staging if stopped else output_path
    return Derived(faces=run.made, second_hand=run.second_hand, left_out=run.left_out, path=path, stopped=stopped)


class _Run:
    """One pass over the old set."""

    def __init__(
        self,
        source: Faceset,
        files: FaceFiles,
        writer: FacesetWriter,
        masks: _Masks,
        remake: Remaker,
        control: RunControl,
        digest: str,
    ) -> None:
        self._source, self._files, self._writer, self._masks = source, files, writer, masks
        self._remake, self._control, self._digest = remake, control, digest
        self._lost: list[str] = []
        self.made = self.second_hand = self.left_out = 0

    def all_frames(self) -> StopRequest | None:
        total = len(self._source)
        finished: dict[str, dict[int, str]] = {}
        seen = 0
        for (plate, frame), group in groupby(self._source.records(), key=lambda record: (record.plate, record.frame)):
            stopped = self._control.stop_requested()
            if stopped is not None:
                return stopped
            records = list(group)
            if plate not in finished:
                finished[plate] = self._writer.examined_frames(plate)
            key = self._key(records)
            if not self._count_finished(finished[plate].get(frame, ""), key):
                self._one_frame(plate, frame, records, key)
            seen += len(records)
            path = str(self._writer.path / records[-1].name)
            self._control.emit(FrameProgress(done=seen, total=total, frame=frame, path=path, faces=len(records)))
        return None

    def report(self) -> None:
        """Say which faces could not be made."""
        if self._lost:
            self._control.emit(
                Notice(
                    message=f"{len(self._lost)} faces were left out because their image is gone or damaged, beginning "
                    f"with {self._lost[0]}.",
                    reason="FACES_LEFT_OUT",
                    details={"path": str(self._source.path / self._lost[0])},
                )
            )

    def _key(self, records: Sequence[FaceRecord]) -> str:
        parts = [self._digest, *(f"{record.name}\0{self._files.stamp(record.name)}" for record in records)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def _count_finished(self, found: str, key: str) -> bool:
        """An earlier run made this frame; take over what it counted."""
        digest, _, counts = found.partition(":")
        if digest != key:
            return False
        made, second_hand, left_out = (int(number) for number in counts.split(":"))
        self._count(made, second_hand, left_out)
        return True

    def _count(self, made: int, second_hand: int, left_out: int) -> None:
        self.made += made
        self.second_hand += second_hand
        self.left_out += left_out

    def _one_frame(self, plate: str, frame: int, records: Sequence[FaceRecord], key: str) -> None:
        rows: list[tuple[FaceRecord, None]] = []
        second_hand = 0
        for record in records:
            try:
                face = self._remake(record, decode_aligned(self._files.read(record.name), Path(record.name)))
            except (NotFound, DataCorrupt, InvalidInput):
                self._lost.append(record.name)
                continue
            name = self._write(record, face)
            self._masks.carry(record, name, self._writer.aligned_size, face.new_from_old)
            rows.append((self._new_record(record, name, face), None))
            second_hand += face.is_second_hand
        counts = (len(rows), second_hand, len(records) - len(rows))
        self._count(*counts)
        finished_key = ":".join([key, *(str(number) for number in counts)])
        self._writer.add_frame(plate, frame, records[0].plate_size, rows, key=finished_key)

    def _write(self, record: FaceRecord, face: Remade) -> str:
        suffix = Path(record.name).suffix.lower()
        name = record.name if suffix in _FORMATS else f"{record.name}.png"
        format = _FORMATS.get(suffix, "png")
        if format == "png" and face.image.dtype != np.uint8:
            format = "png16"
        write_aligned(self._writer.path / name, face.image, format, jpeg_quality=JPEG_QUALITY)
        return name

    def _new_record(self, record: FaceRecord, name: str, face: Remade) -> FaceRecord:
        changes: dict[str, object] = {
            **face.changes,
            "name": name,
            "face_type": self._writer.face_type,
            "aligned_size": self._writer.aligned_size,
            "sharpness": measure_sharpness(to_uint8(face.image)),
        }
        return replace(record, **changes)  # type: ignore[arg-type]  # checked by the dataclass at once


class _Masks:
    """Masks and labels from the old set to the new one; a set without any costs nothing."""

    def __init__(self, source: Path, target: Path, maker: str) -> None:
        self._source = MaskStore.open(source)
        self._target = MaskStore.open(target, create=True) if (source / MASKS_NAME).is_file() else None
        self._maker = maker

    def carry(self, record: FaceRecord, name: str, new_size: int, new_from_old: Affine | None) -> None:
        """The newest masks and label of one face, through the transform its pixels went through."""
        if self._target is None:
            return
        carry_masks(self._source, self._target, record, name, new_size, new_from_old, self._maker)

    def __enter__(self) -> _Masks:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        if self._target is not None:
            self._target.close()


def resample(image: Pixels, new_from_old: Affine, size: int) -> Pixels:
    """An aligned face through a transform, edges repeated; (size, size, 3) of the same kind as ``image``."""
    pixels = np.asarray(image, dtype=np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))  # (3, S, S)
    moved = warp_to_aligned(tensor, new_from_old, size, padding="border").permute(1, 2, 0).numpy()
    if image.dtype == np.uint8:
        return np.asarray(np.rint(np.clip(moved, 0.0, 255.0)), dtype=np.uint8)
    return np.asarray(moved, dtype=np.float32)


def _digest(recipe: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def _require_free(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise Conflict(
            f"{output} exists already; name another folder for the new faceset, or remove it.",
            reason="OUTPUT_EXISTS",
            path=output,
        )


def _prepare(staging: Path, recipe: Mapping[str, object]) -> None:
    """A folder to build in: new, or that of an earlier run with the same wishes; one with others is emptied."""
    marker = staging / MARKER_NAME
    is_foreign = staging.exists() and any(not path.name.startswith(".") for path in staging.iterdir())
    if is_foreign and not marker.is_file():
        raise Conflict(
            f"{staging} is in the way: the new faceset would grow there, but it was not made by such a run. "
            "Move it away.",
            reason="OUTPUT_EXISTS",
            path=staging,
        )
    with translate_disk_errors(staging):
        staging.mkdir(parents=True, exist_ok=True)
        lock = lock_faceset(staging)
        try:
            goes_on = _goes_on(marker, recipe)
            _write_marker(staging, recipe, boot=_boot())  # first: while it is emptied the folder is known to be ours
            for path in [] if goes_on else list(staging.iterdir()):
                if path.name not in (".lock", MARKER_NAME):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            os.close(lock)


def _write_marker(staging: Path, recipe: Mapping[str, object], *, boot: str) -> None:
    text = json.dumps({**recipe, "boot": boot}, sort_keys=True, indent=1)
    write_text(staging / MARKER_NAME, text)


def _goes_on(marker: Path, recipe: Mapping[str, object]) -> bool:
    """An earlier run had the same wishes, and the machine has not gone down in the middle of it."""
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
        return found.pop("boot") in ("", _boot()) and found == dict(recipe)
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _boot() -> str:
    """Differs each time the machine starts; where that is not known, each time it is asked."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(8)


def _finish(staging: Path, output: Path) -> None:
    with translate_disk_errors(output):
        try:
            os.rename(staging, output)
        except OSError as error:
            if not output.exists():
                raise
            raise Conflict(
                f"{output} was made by somebody else meanwhile; the new faceset is whole in {staging}.",
                reason="OUTPUT_EXISTS",
                path=output,
            ) from error
        (output / MARKER_NAME).unlink()  # last: without it, what a killed run left would not be known as ours
        sync_folder(output.parent)
