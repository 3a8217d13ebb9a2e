"""``faceset.pak``: all faces of a folder in one file, each still a JPEG with its own metadata (fact sheet §2.4).

Layout, integers unsigned 64 bit, little-endian::

    0       version, 1
    8       B, bytes of the index
    16      the index: a pickled list of C dictionaries, one per face
    16+B    C+1 offsets
    D       the JPEG files, D = 16 + B + 8 (C + 1)

Offsets count from D, except the last: the reference writes the end of the file there, counted from the file's start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from dflcore.errors import DataCorrupt, NotFound, Unsupported
from dflcore.io.atomic import atomic_path, translate_disk_errors
from dflcore.io.legacy.jpeg import LegacyFace, polygon_values
from dflcore.io.legacy.pickle_values import Value, iterate_items
from dflcore.io.legacy.pickle_writer import EnumCall, write_bare_value
from dflcore.io.legacy.reading import translate_read_errors

PAK_NAME = "faceset.pak"
PAK_VERSION: Final = 1
MAX_FACE_BYTES: Final = 64 << 20
_HEADER_BYTES: Final = 16
_MAX_COUNT: Final = 10_000_000

FACE_TYPE_NUMBERS: Final = {
    "half_face": 0,
    "midfull_face": 1,
    "full_face": 2,
    "full_face_no_align": 3,
    "whole_face": 4,
    "head": 10,
    "head_no_align": 20,
    "mark_only": 100,
}
_SAMPLE_FACE: Final = 1
_SAMPLE_FACE_PERSON: Final = 2


@dataclass(frozen=True, slots=True)
class PackedFace:
    """One face of a pak.

    Attributes:
        name: file name it had.
        person: sub-folder it came from, empty without.
        jpeg: the whole JPEG file.
    """

    name: str
    person: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class FaceEntry:
    """Name and person of a face, see :class:`PackedFace`."""

    name: str
    person: str = ""


class PakReader:
    """Gives out the faces of a pak one at a time.

    Args:
        path: the file.
        salvage: give out what is whole and list the rest in :attr:`lost`, even where the index is damaged; without it
            the faces that are whole come first, then an error says how many are not.

    Raises:
        NotFound: no such file.
        Unsupported: a later version of the format.
        InvalidInput: the index asks for something to be run (``HOSTILE_PICKLE``), with ``salvage`` too.
        DataCorrupt: so damaged that no face can be found.
    """

    def __init__(self, path: Path, *, salvage: bool = False) -> None:
        self.path = Path(path)
        self.lost: list[str] = []
        """Faces that are not whole, by name; complete after the last face was given out."""
        self.notes: list[str] = []
        """What is wrong with the file as a whole, in words."""
        self._salvage = salvage
        if not self.path.is_file():
            raise NotFound(f"There is no packed faceset {self.path}.", reason="PAK_NOT_FOUND", path=self.path)
        with translate_read_errors(self.path), open(self.path, "rb") as stream:
            self._size = os.fstat(stream.fileno()).st_size
            index_bytes = self._read_header(stream)
            self.entries = self._read_index(stream, index_bytes)
            """Every face, whole or not, in order."""
            self._starts, self._ends, self._data_start = self._read_table(stream, _HEADER_BYTES + index_bytes)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[PackedFace]:
        self.lost.clear()
        for position, entry in enumerate(self.entries):
            jpeg = self.read(position)
            if jpeg is None:
                self.lost.append(entry.name)
            else:
                yield PackedFace(entry.name, entry.person, jpeg)
        if self.lost and not self._salvage:
            raise DataCorrupt(
                f"{self.path} is truncated or damaged: {len(self.lost)} of {len(self)} faces are not whole, the first "
                f"of them {self.lost[0]}. Copy the file again, or ask for what is whole (salvage).",
                reason="PAK_TRUNCATED",
                path=self.path,
                lost=len(self.lost),
            )

    def _read_header(self, stream: BinaryIO) -> int:
        header = stream.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            raise self._damaged("it ends before its index")
        version, index_bytes = struct.unpack("<QQ", header)
        if version != PAK_VERSION:
            raise Unsupported(
                f"{self.path} is no packed faceset, or of version {version}; version {PAK_VERSION} is read.",
                reason="PAK_VERSION",
                path=self.path,
            )
        if _HEADER_BYTES + index_bytes > self._size:
            raise self._damaged("it ends within its index")
        return int(index_bytes)

    def _read_index(self, stream: BinaryIO, index_bytes: int) -> list[FaceEntry]:
        entries: list[FaceEntry] = []
        try:
            for item in iterate_items(stream, index_bytes, str(self.path)):
                entries.append(_entry(item, len(entries)))
        except DataCorrupt as error:
            count = self._count_from_table(stream, _HEADER_BYTES + index_bytes) if self._salvage else None
            if count is None:
                raise
            self.notes.append(f"The index is damaged after {len(entries)} of {count} names: {error.message}")
            entries = entries[:count]
            entries += [FaceEntry(f"face_{position + 1:06d}.jpg", "") for position in range(len(entries), count)]
        return entries

    def _count_from_table(self, stream: BinaryIO, table: int) -> int | None:
        """How many faces there are when the index does not say: the table ends with the end of the file."""
        stream.seek(table)
        previous = 0
        for position in range(_MAX_COUNT):
            data = stream.read(8)
            if len(data) < 8:
                return None
            (offset,) = struct.unpack("<Q", data)
            data_start = table + 8 * (position + 1)
            if position and offset in (self._size, self._size - data_start) and offset >= previous:
                return position
            if offset < previous:
                return None
            previous = offset
        return None

    def _read_table(self, stream: BinaryIO, table: int) -> tuple[list[int], list[int], int]:
        """Start and end of every face in the file, and where the data begins."""
        count = len(self.entries)
        data_start = table + 8 * (count + 1)
        if data_start > self._size:
            raise self._damaged(f"it ends before the first of its {count} faces")
        stream.seek(table)
        offsets = np.frombuffer(stream.read(8 * (count + 1)), dtype="<u8").tolist()
        starts = [data_start + offset for offset in offsets[:-1]]
        last = offsets[-1]
        is_relative = data_start + last == self._size or (bool(starts) and last < starts[-1])
        return starts, [*starts[1:], data_start + last if is_relative else last][:count], data_start

    def read(self, position: int) -> bytes | None:
        """The JPEG file of one face by its place in :attr:`entries`; None when it is not whole."""
        start, end = self._starts[position], self._ends[position]
        if not self._data_start <= start < end <= self._size or end - start > MAX_FACE_BYTES:
            return None
        with translate_read_errors(self.path), open(self.path, "rb") as stream:
            stream.seek(start)
            data = stream.read(end - start)
        return data if len(data) == end - start and data.startswith(b"\xff\xd8") else None

    def _damaged(self, what: str) -> DataCorrupt:
        return DataCorrupt(
            f"{self.path} is truncated or damaged: {what}; no face can be read from it. Copy the file again.",
            reason="PAK_TRUNCATED",
            path=self.path,
        )


class PakWriter:
    """Collects faces and writes the file when closed without an error; until then there is no file.

    Args:
        path: the file to be; one that exists is replaced.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._sizes: list[int] = []
        self._is_abandoned = False
        with translate_disk_errors(self.path), contextlib.ExitStack() as held:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._index = held.enter_context(tempfile.TemporaryFile(dir=self.path.parent))
            self._data = held.enter_context(tempfile.TemporaryFile(dir=self.path.parent))
            self._index.write(b"\x80\x04]")
            self._held = held.pop_all()

    def __enter__(self) -> PakWriter:
        return self

    def add(self, packed: PackedFace, face: LegacyFace) -> None:
        """Append one face.

        Args:
            packed: the JPEG with its metadata inside.
            face: that metadata, repeated in the index.

        Raises:
            ResourceExhausted: the disk is full.
        """
        with translate_disk_errors(self.path):
            self._data.write(packed.jpeg)
            self._index.write(write_bare_value(_index_values(packed, face)) + b"a")
        self._sizes.append(len(packed.jpeg))

    def abandon(self) -> None:
        """Write no file after all."""
        self._is_abandoned = True

    def __exit__(self, kind: object, *_: object) -> None:
        with self._held:
            if kind is None and not self._is_abandoned:
                self._index.write(b".")
                self._assemble()

    def _assemble(self) -> None:
        index_bytes = self._index.tell()
        offsets = np.concatenate([[0], np.cumsum(self._sizes)]).astype("<u8")
        data_start = _HEADER_BYTES + index_bytes + 8 * len(offsets)
        offsets[-1] += np.uint64(data_start)  # the reference counts the last one from the start of the file
        with atomic_path(self.path) as temporary, open(temporary, "wb") as out:
            out.write(struct.pack("<QQ", PAK_VERSION, index_bytes))
            self._index.seek(0)
            shutil.copyfileobj(self._index, out, 1 << 20)
            out.write(offsets.tobytes())
            self._data.seek(0)
            shutil.copyfileobj(self._data, out, 1 << 20)


def _entry(item: Value, position: int) -> FaceEntry:
    """Name and person; a face without a name gets one."""
    values = item if isinstance(item, dict) else {}
    name, person = values.get("filename"), values.get("person_name")
    if not isinstance(name, str) or not name:
        name = f"face_{position + 1:06d}.jpg"
    return FaceEntry(name[:1024], person[:1024] if isinstance(person, str) else "")


def _index_values(packed: PackedFace, face: LegacyFace) -> dict[str, Value]:
    width, height = face.size
    mask = face.mask_image
    return {
        "sample_type": EnumCall(
            "samplelib.Sample", "SampleType", _SAMPLE_FACE_PERSON if packed.person else _SAMPLE_FACE
        ),
        "filename": packed.name,
        "face_type": EnumCall("facelib.FaceType", "FaceType", FACE_TYPE_NUMBERS[face.face_type]),
        "shape": (height, width, 3),
        "landmarks": face.landmarks.tolist(),
        "seg_ie_polys": polygon_values(face.polygons),
        "xseg_mask": None,
        "xseg_mask_compressed": None if mask is None else np.frombuffer(mask, dtype=np.uint8).reshape(-1, 1),
        "eyebrows_expand_mod": face.eyebrows_expand_mod,
        "source_filename": face.source_filename,
        "person_name": packed.person or None,
    }
