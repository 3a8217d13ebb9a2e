"""All images of a faceset in one file, read at random: ``faces.pack``, an ordinary ZIP whose members are stored as is.

Any tool that opens ZIP files opens a pack. Ours reads no more of ZIP than it writes: members stored uncompressed, plain
file names, nothing that overlaps or points outside. What is in the pack and what lies loose in the folder are one
faceset; a loose image of the same name is the newer one.

Members keep the time their file was changed to the nanosecond, in an extra field that other tools pass over: what was
measured of an image stays valid in the pack and after unpacking.

A packed face cannot be deleted by hand. It is put aside by listing its name in ``faces.trash`` (UTF-8, one name per
line) and brought back by taking it off that list; the pack itself is never changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.atomic import translate_disk_errors, write_text

PACK_NAME = "faces.pack"
TRASH_LIST_NAME = "faces.trash"
MAX_NAME_BYTES = 255

_IMAGE_NAME = re.compile(r"""[^./\\:*?"<>|][^/\\:*?"<>|]*\.(?:png|jpe?g|exr|tiff?|webp|bmp)""", re.IGNORECASE)
"""What a member may be called: nothing a pack unpacks to can replace an index or another file of ours."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 0xFFFF
_ENCRYPTED, _UTF8 = 0x1, 0x800
_IN_EXTRA = 0xFFFFFFFF
_ZIP64_EXTRA = 1
_TIME_EXTRA = struct.Struct("<2Hq")
_TIME_ID = 0x7464
"""Not among the ids ZIP's specification lists; then length 8 and nanoseconds since 1970."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of all members, so that packs do not depend on the time zone; ZIP knows no earlier date."""


class _Member(NamedTuple):
    header: int
    """Where the member's own header begins."""
    limit: int
    """Where the next member, or the directory, begins."""
    size: int
    crc: int
    mtime_ns: int


def is_image_name(name: str) -> bool:
    """A plain file name of an image: no folder, not hidden, no control characters, of a length disks take."""
    return (
        _IMAGE_NAME.fullmatch(name) is not None
        and name.isprintable()
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
    )


class FacePack:
    """A pack opened for reading; safe to read from several threads. Use :meth:`open`."""

    def __init__(self, path: Path, descriptor: int, members: dict[str, _Member]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._members = members

    @classmethod
    def open(cls, path: Path) -> FacePack:
        """Open a pack and check its directory; members are read and checked when asked for.

        Raises:
            NotFound: there is no such file.
            DataCorrupt: it is truncated, not one of ours, or made to do harm.
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise NotFound(f"There is no pack {path}.", reason="PACK_NOT_FOUND", path=path) from error
        try:
            return cls(path, descriptor, _read_directory(path, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def names(self) -> list[str]:
        """All members, those put aside included, in the order they were packed in."""
        return list(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __len__(self) -> int:
        return len(self._members)

    def size(self, name: str) -> int:
        """Bytes of a member. Raises NotFound."""
        return self._member(name).size

    def crc(self, name: str) -> int:
        """CRC-32 of a member as the directory states it. Raises NotFound."""
        return self._member(name).crc

    def mtime_ns(self, name: str) -> int:
        """When the image was changed, nanoseconds since 1970; 0 in a pack of another tool. Raises NotFound."""
        return self._member(name).mtime_ns

    def read(self, name: str) -> bytes:
        """The bytes of a member, its checksum compared.

        Raises:
            NotFound: no such member.
            DataCorrupt: the member is damaged.
        """
        member = self._member(name)
        header = _read_at(self._descriptor, member.header, _LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
            raise _damaged(self.path, f"the header of {name} is missing")
        *_, name_length, extra_length = _LOCAL.unpack(header)
        begin = member.header + _LOCAL.size + name_length + extra_length
        if begin + member.size > member.limit:
            raise _damaged(self.path, f"{name} overlaps what follows it")
        data = _read_at(self._descriptor, begin, member.size)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise _damaged(self.path, f"the checksum of {name} differs")
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FacePack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _member(self, name: str) -> _Member:
        try:
            return self._members[name]
        except KeyError:
            raise NotFound(f"The pack {self.path} has no {name!r}.", reason="FACE_NOT_FOUND", path=self.path) from None


def write_pack(path: Path, members: Iterable[tuple[str, bytes, int]]) -> None:
    """Write a pack straight to ``path``, which should be a temporary name.

    Args:
        members: name, content and time of change in nanoseconds since 1970.

    Raises:
        InvalidInput: a name no pack may hold.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name, data, mtime_ns in members:
            if not is_image_name(name):
                raise InvalidInput(
                    f"{name!r} cannot be packed: it is not the plain name of an image.", reason="BAD_NAME", path=path
                )
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.extra = _TIME_EXTRA.pack(_TIME_ID, 8, mtime_ns)
            archive.writestr(entry, data)


class FaceFiles:
    """The image files of a faceset wherever they are, loose or packed. Use :meth:`open`."""

    def __init__(self, folder: Path, pack: FacePack | None, trashed: frozenset[str]) -> None:
        self.folder = folder
        self.pack = pack
        self._trashed = trashed

    @classmethod
    def open(cls, folder: Path) -> FaceFiles:
        """Raises DataCorrupt for a damaged pack; a folder without a pack is nothing special."""
        try:
            pack = FacePack.open(Path(folder) / PACK_NAME)
        except NotFound:
            return cls(Path(folder), None, frozenset())
        try:
            return cls(Path(folder), pack, trashed_members(folder))
        except BaseException:
            pack.close()
            raise

    def names(self) -> set[str]:
        """Every file in the folder, ours or not, and every packed image that was not put aside."""
        present = {entry.name for entry in os.scandir(self.folder)}
        if self.pack is not None:
            present.update(name for name in self.pack.names() if name not in self._trashed)
        return present

    def read(self, name: str) -> bytes:
        """The bytes of one image as its file has them.

        Raises:
            NotFound: the image is gone, or put aside.
            DataCorrupt: the packed image is damaged.
        """
        path = self.folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if self.pack is not None and name in self.pack and name not in self._trashed:
                return self.pack.read(name)
            raise NotFound(f"The aligned face {path} is gone.", reason="FACE_NOT_FOUND", path=path) from error

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Size in bytes and time of change in nanoseconds, alike loose and packed; None for an image that is gone."""
        try:
            stat = (self.folder / name).stat()
        except FileNotFoundError:
            if self.pack is not None and name in self.pack and name not in self._trashed:
                return self.pack.size(name), self.pack.mtime_ns(name)
            return None
        return stat.st_size, stat.st_mtime_ns

    def stamps(self) -> dict[str, tuple[int, int]]:
        """:meth:`stamp` of everything in :meth:`names`, in one go."""
        found: dict[str, tuple[int, int]] = {}
        if self.pack is not None:
            for name in self.pack.names():
                if name not in self._trashed:
                    found[name] = (self.pack.size(name), self.pack.mtime_ns(name))
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # somebody deletes while we look
                    stat = entry.stat()
                    found[entry.name] = (stat.st_size, stat.st_mtime_ns)
        return found

    def close(self) -> None:
        if self.pack is not None:
            self.pack.close()

    def __enter__(self) -> FaceFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trashed_members(folder: Path) -> frozenset[str]:
    """Packed images that were put aside. Raises DataCorrupt when the list is not text."""
    path = Path(folder) / TRASH_LIST_NAME
    try:
        return frozenset(line for line in path.read_text(encoding="utf-8").split("\n") if line)
    except FileNotFoundError:
        return frozenset()
    except UnicodeDecodeError as error:
        raise DataCorrupt(
            f"The list {path} of packed faces put aside is not UTF-8 text; restore or delete it.",
            reason="TRASH_LIST_DAMAGED",
            path=path,
        ) from error


def trash_members(folder: Path, names: Iterable[str]) -> None:
    """Put packed images aside. Raises InvalidInput, ResourceExhausted when the list cannot be written."""
    _write_trash(folder, trashed_members(folder) | set(names))


def restore_members(folder: Path, names: Iterable[str]) -> None:
    """Bring packed images back. Raises as :func:`trash_members`."""
    _write_trash(folder, trashed_members(folder) - set(names))


def _write_trash(folder: Path, names: Iterable[str]) -> None:
    path = Path(folder) / TRASH_LIST_NAME
    text = "".join(f"{name}\n" for name in sorted(names))
    if text:
        write_text(path, text)
    else:
        with translate_disk_errors(path):
            path.unlink(missing_ok=True)


def _read_directory(path: Path, descriptor: int) -> dict[str, _Member]:
    """Every member by name, checked against each other and the size of the file."""
    count, begin, size = _find_directory(path, descriptor)
    directory = _read_at(descriptor, begin, size)
    entries = list(_directory_entries(path, directory, count))
    starts = sorted(entry[1] for entry in entries)
    if len(set(starts)) != len(starts):
        raise _damaged(path, "two members begin at the same place")
    following = dict(zip(starts, [*starts[1:], begin], strict=True))
    members: dict[str, _Member] = {}
    for name, header, length, crc, name_length, mtime_ns in entries:
        limit = following[header]
        if header + _LOCAL.size + name_length + length > limit:
            raise _damaged(path, f"{name!r} overlaps what follows it")
        if name in members:
            raise _damaged(path, f"{name!r} is in it twice")
        members[name] = _Member(header, limit, length, crc, mtime_ns)
    return members


def _find_directory(path: Path, descriptor: int) -> tuple[int, int, int]:
    """Number of members, and where their directory begins and how long it is."""
    file_size = os.fstat(descriptor).st_size
    tail_begin = max(file_size - _END.size - _MAX_COMMENT, 0)
    tail = _read_at(descriptor, tail_begin, file_size - tail_begin)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        raise _damaged(path, "its end is missing")
    _, disk, first_disk, _, count, size, begin, comment = _END.unpack_from(tail, found)
    end = tail_begin + found
    if end + _END.size + comment != file_size or disk or first_disk:
        raise _damaged(path, "its end is not where it should be")
    if count == 0xFFFF or _IN_EXTRA in (size, begin):
        end, count, size, begin = _find_directory64(path, descriptor, end)
    if begin + size > end or count * _CENTRAL.size > size:
        raise _damaged(path, "its directory does not fit")
    return count, begin, size


def _find_directory64(path: Path, descriptor: int, end: int) -> tuple[int, int, int, int]:
    """Where the large-file record begins, and count, size and place of the directory it states."""
    locator = _read_at(descriptor, max(end - _END64_LOCATOR.size, 0), _END64_LOCATOR.size)
    if len(locator) == _END64_LOCATOR.size and locator.startswith(b"PK\6\7"):
        _, _, place, _ = _END64_LOCATOR.unpack(locator)
        record = _read_at(descriptor, place, _END64.size) if place < end else b""
        if len(record) == _END64.size and record.startswith(b"PK\6\6"):
            *_, count, size, begin = _END64.unpack(record)
            return place, count, size, begin
    raise _damaged(path, "its large-file record is missing")


def _directory_entries(path: Path, directory: bytes, count: int) -> Iterator[tuple[str, int, int, int, int, int]]:
    """Name, place of the header, size, CRC, length of the stored name and time of change of each member."""
    place = 0
    for _ in range(count):
        if place + _CENTRAL.size > len(directory):
            raise _damaged(path, "its directory ends early")
        (
            signature,
            _,
            _,
            flags,
            method,
            _,
            _,
            crc,
            packed,
            size,
            name_length,
            extra_length,
            comment_length,
            *_,
            header,
        ) = _CENTRAL.unpack_from(directory, place)
        after_name = place + _CENTRAL.size + name_length
        after_extra = after_name + extra_length
        if signature != b"PK\1\2" or after_extra + comment_length > len(directory):
            raise _damaged(path, "its directory is garbled")
        raw = directory[after_name - name_length : after_name]
        name = _decode_name(path, raw, bool(flags & _UTF8))
        if _IN_EXTRA in (packed, size, header):
            size, packed, header = _large_fields(path, directory[after_name:after_extra], size, packed, header)
        if method != zipfile.ZIP_STORED or packed != size or flags & _ENCRYPTED:
            raise _damaged(path, f"{name!r} is compressed or encrypted, which members of a pack are not")
        mtime_ns = 0
        if extra_length >= _TIME_EXTRA.size:
            mtime_ns = _read_time(directory[after_name:after_extra])
        yield name, header, size, crc, name_length, mtime_ns
        place = after_extra + comment_length


def _decode_name(path: Path, raw: bytes, is_utf8: bool) -> str:
    try:
        name = raw.decode("utf-8" if is_utf8 else "ascii")
    except UnicodeDecodeError:
        raise _damaged(path, f"the name {raw!r} is not text") from None
    if not is_image_name(name):
        raise _damaged(path, f"{name!r} is not the plain name of an image")
    return name


def _large_fields(path: Path, extra: bytes, *fields: int) -> tuple[int, ...]:
    """Size, packed size and place, with those too large for 32 bits taken from the extra field."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == _ZIP64_EXTRA:
            wanted = sum(field == _IN_EXTRA for field in fields)
            if length < 8 * wanted or place + 4 + length > len(extra):
                break
            large = iter(struct.unpack_from(f"<{wanted}Q", extra, place + 4))
            return tuple(next(large) if field == _IN_EXTRA else field for field in fields)
        place += 4 + length
    raise _damaged(path, "a large-file field is missing")


def _read_time(extra: bytes) -> int:
    place = 0
    while place + _TIME_EXTRA.size <= len(extra):
        kind, length, mtime_ns = _TIME_EXTRA.unpack_from(extra, place)
        if kind == _TIME_ID and length == 8:
            return int(mtime_ns)
        place += 4 + int(length)
    return 0


def _read_at(descriptor: int, place: int, size: int) -> bytes:
    """Up to ``size`` bytes from a place in the file, without moving a shared position."""
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(descriptor, size, place)
        if not part:
            break
        parts.append(part)
        place, size = place + len(part), size - len(part)
    return b"".join(parts)


def _damaged(path: Path, what: str) -> DataCorrupt:
    return DataCorrupt(
        f"The pack {path} is damaged: {what}. Restore it from a backup, or extract the faces again.",
        reason="PACK_DAMAGED",
        path=path,
    )
