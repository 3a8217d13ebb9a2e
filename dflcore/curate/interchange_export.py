"""Facesets for the reference implementation: a folder of JPEG files with metadata, or one ``faceset.pak``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.curate.interchange_faces import legacy_from_record, legacy_polygons
from dflcore.curate.interchange_import import MASK_SOURCE, RefusedFace
from dflcore.errors import Conflict, DflError, InvalidInput
from dflcore.io.atomic import translate_disk_errors, write_bytes
from dflcore.io.faceset import Faceset
from dflcore.io.legacy.jpeg import MAX_MASK_BYTES, MAX_PAYLOAD_BYTES, LegacyFace, encode_mask, write_face
from dflcore.io.legacy.jpeg import metadata_from_face as legacy_metadata
from dflcore.io.legacy.pak import PackedFace, PakWriter
from dflcore.io.legacy.pickle_writer import write_value
from dflcore.io.masks import MaskStore
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import FaceRecord

PAK_SUFFIX: Final = ".pak"
_ROOM_FOR_KEYS: Final = 300
"""Bytes that a mask's key and array description take beside the encoded picture."""
_TOKEN: Final = re.compile(r"(?P<hashes>#+)|(?P<ats>@+)|%0?(?P<width>\d*)d")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export wrote.

    Attributes:
        path: the folder or file; a file is there only when ``stopped`` is None.
        faces, masks, labels: written.
        refused: every face that was not written.
        stopped: why it ended early, None when everything was exported.
    """

    path: Path
    faces: int
    masks: int
    labels: int
    refused: tuple[RefusedFace, ...]
    stopped: StopRequest | None


def export_legacy(
    faceset_path: Path, output: Path, control: RunControl, *, jpeg_quality: int = 100, mask_source: str = MASK_SOURCE
) -> ExportResult:
    """Write a faceset so that the reference implementation reads it.

    Pictures become JPEG (without colour subsampling), once more compressed; landmarks, transforms, the newest mask of
    one source and the newest label go with them. Permissions do not: the format has no place for them.

    Args:
        faceset_path: the faceset.
        output: a new or empty folder, or a file that does not exist and whose name ends in ``.pak``.
        jpeg_quality: 1 to 100.
        mask_source: whose masks to write.

    Raises:
        NotFound: no such faceset.
        InvalidInput: the quality is out of range, the faceset is empty, or the output cannot be written.
        Conflict: the output is there already.
        ResourceExhausted: the disk is full.
    """
    output = Path(output)
    if not 1 <= jpeg_quality <= 100:
        raise InvalidInput(f"jpeg_quality = {jpeg_quality} is not within 1 to 100.", reason="BAD_SETTING")
    _require_free(output)
    with contextlib.ExitStack() as stack:
        faceset = stack.enter_context(Faceset.open(faceset_path))
        if not len(faceset):
            raise InvalidInput(f"The faceset {faceset_path} holds no faces.", reason="EMPTY_FACESET", path=faceset_path)
        masks = stack.enter_context(MaskStore.open(faceset_path))
        pak = stack.enter_context(PakWriter(output)) if output.suffix.lower() == PAK_SUFFIX else None
        run = _Export(faceset, masks, output, pak, control, jpeg_quality, mask_source)
        if faceset.info.authorization.is_stated:
            run.say("AUTHORIZATION_NOT_CARRIED", "The files cannot hold whose face this is and who allowed its use.")
        return run.all_faces()


class _Export:
    """One export."""

    def __init__(
        self,
        faceset: Faceset,
        masks: MaskStore,
        output: Path,
        pak: PakWriter | None,
        control: RunControl,
        quality: int,
        mask_source: str,
    ) -> None:
        self._faceset, self._masks, self._output, self._pak = faceset, masks, output, pak
        self._control, self._quality, self._mask_source = control, quality, mask_source
        self._refused: list[RefusedFace] = []
        self._mask_count = self._label_count = 0

    def all_faces(self) -> ExportResult:
        """Write them in the faceset's order."""
        done = 0
        stopped: StopRequest | None = None
        total = len(self._faceset)
        for number, (record, name) in enumerate(self._named()):
            stopped = self._control.stop_requested()
            if stopped is not None:
                break
            try:
                face, jpeg = self._prepare(record)
                self._write(name, face, write_face(jpeg, face, name))
            except DflError as error:
                self._refuse(record.name, error)
            else:
                done += 1
                self._mask_count += face.mask_image is not None
                self._label_count += bool(face.polygons)
            path = None if self._pak else str(self._output / name)
            self._control.emit(FrameProgress(done=number + 1, total=total, frame=record.frame, path=path))
        if self._pak is not None and (stopped is not None or not done):
            self._pak.abandon()
        if not done and stopped is None:
            raise InvalidInput(
                f"None of the {total} faces of {self._faceset.path} can be exported. The first: {self._refused[0].why}",
                reason="NO_FACE_EXPORTED",
                path=self._faceset.path,
            )
        return ExportResult(
            path=self._output,
            faces=done,
            masks=self._mask_count,
            labels=self._label_count,
            refused=tuple(self._refused),
            stopped=stopped,
        )

    def say(self, reason: str, message: str, **details: str) -> None:
        self._control.emit(Notice(message=message, reason=reason, details={"path": str(self._output), **details}))

    def _named(self) -> Iterator[tuple[FaceRecord, str]]:
        """Faces with the file names they get: their own, as JPEG, which are different already."""
        for record in self._faceset.records():
            yield record, f"{Path(record.name).stem}.jpg"

    def _prepare(self, record: FaceRecord) -> tuple[LegacyFace, bytes]:
        """Metadata and picture of one face."""
        polygons = legacy_polygons(self._masks.label(record.name))
        face = legacy_from_record(record, frame_name(record.plate, record.frame), polygons, None)
        used = len(write_value(legacy_metadata(face)))
        jpeg = _encode(self._faceset.read_image(record.name), self._quality, record.name)
        mask = self._masks.mask(record.name, self._mask_source)
        if mask is None:
            return face, jpeg
        try:
            image = encode_mask(mask, min(MAX_MASK_BYTES, MAX_PAYLOAD_BYTES - used - _ROOM_FOR_KEYS))
        except InvalidInput as error:
            self.say("MASK_NOT_EXPORTED", f"{record.name} is written without its mask: {error.message}")
            return face, jpeg
        return legacy_from_record(record, face.source_filename, polygons, image), jpeg

    def _write(self, name: str, face: LegacyFace, data: bytes) -> None:
        if self._pak is not None:
            self._pak.add(PackedFace(name, "", data), face)
        else:
            write_bytes(self._output / name, data)

    def _refuse(self, name: str, error: DflError) -> None:
        if error.reason in ("DISK_FULL", "NOT_WRITABLE"):
            raise error
        self._refused.append(RefusedFace(name, error.message))
        self.say("FACE_NOT_EXPORTED", f"Not exported: {error.message}", name=name)


def frame_name(plate: str, frame: int) -> str:
    """Base name of the frame's file as the plate's pattern gives it; five digits where the plate is a movie."""
    last = re.split(r"[/\\]", plate)[-1]
    match = _TOKEN.search(last)
    if match is None:
        return f"{frame:05d}.png"
    token = match["hashes"] or match["ats"]
    width = len(token) if token else int(match["width"] or 0)
    return f"{last[: match.start()]}{frame:0{width}d}{last[match.end() :]}"


def _encode(image: NDArray[np.uint8], quality: int, name: str) -> bytes:
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise InvalidInput(f"{name} cannot be encoded as JPEG.", reason="ENCODE_FAILED", path=name)
    return bytes(data.tobytes())


def _require_free(output: Path) -> None:
    """Raises Conflict where something would be overwritten or mixed with."""
    is_pak = output.suffix.lower() == PAK_SUFFIX
    with translate_disk_errors(output):
        is_taken = output.exists() and (is_pak or not output.is_dir() or any(output.iterdir()))
    if is_taken:
        raise Conflict(
            f"{output} exists already{'' if is_pak else ' and is not an empty folder'}; nothing is overwritten. Name "
            "another output or remove it first.",
            reason="OUTPUT_EXISTS",
            path=output,
        )
