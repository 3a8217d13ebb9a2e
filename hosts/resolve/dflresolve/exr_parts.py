"""Layered EXR frames that came over the network as the plain files Resolve and Fusion read: picture, face, matte.

Whole rows of channels are copied, no number is touched, so only uncompressed files of scanlines are taken apart (the
layout: https://openexr.com/en/latest/OpenEXRFileLayout.html). A face file is not premultiplied: its alpha is the matte.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from dflhost.errors import HostError
from dflhost.plates import frame_path, frames_on_disk

FACE, MATTE = "face", "matte"
LAYERS = ("beauty", "swap", "matte")
"""What to ask a frame for."""
_MAGIC = 20000630
_NOT_PLAIN = 0x200 | 0x800 | 0x1000
"""Tiles, deep pixels, several parts."""
_SIZES = {0: 4, 1: 2, 2: 4}
_PARTS: Mapping[str, Mapping[str, str]] = {
    "": {name: name for name in "ABGR"},
    FACE: {"A": "matte.A", "B": "swap.B", "G": "swap.G", "R": "swap.R"},
    MATTE: dict.fromkeys("ABGR", "matte.A"),
}
"""Sibling → its channels in the order of the file, and where they are taken from."""


@dataclass(frozen=True)
class _File:
    """``channels``: name → (offset in a row, bytes, the channel's entry without its name)."""

    before: bytes
    after: bytes
    channels: Mapping[str, tuple[int, int, bytes]]
    rows: list[tuple[bytes, bytes]]


def take_apart(pattern: str) -> None:
    """Every layered frame of a sequence; frames that are plain already stay.

    Raises:
        HostError: a file cannot be read or written (``NOT_WRITABLE``), or is another kind of EXR (``EXR_NOT_PLAIN``).
    """
    for frame in frames_on_disk(pattern):
        path = frame_path(pattern, frame)
        try:
            with open(path, "rb") as file:
                if b"matte.A\0" not in file.read(1 << 16):
                    continue
                file.seek(0)
                data = file.read()
            try:
                whole = _read(path, data)
            except (struct.error, ValueError, IndexError) as error:  # cut off
                raise _not_plain(path) from error
            for name in (FACE, MATTE, ""):  # the layered one is written over last: until then it can be begun again
                _write(path_of(path, name), whole, _PARTS[name])
        except OSError as error:
            raise HostError(
                f"{path} cannot be taken apart: {error.strerror}.",
                reason="NOT_WRITABLE",
                category="RESOURCE_EXHAUSTED",
                details={"path": path, "frame": str(frame)},
            ) from error


def path_of(path: str, sibling: str) -> str:
    """``…/shot_swap.1001.exr`` → ``…/shot_swap_matte.1001.exr``."""
    folder, name = os.path.split(path)
    stem, dot, rest = name.partition(".")
    return os.path.join(folder, f"{stem}_{sibling}{dot}{rest}" if sibling else name)


def _read(path: str, data: bytes) -> _File:
    magic, version = struct.unpack_from("<iI", data)
    place, found = 8, {}
    while magic == _MAGIC and data[place] != 0:
        name_end = data.index(b"\0", place)
        kind_end = data.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<i", data, kind_end + 1)
        found[data[place:name_end].decode("latin-1")] = (place, kind_end + 5, kind_end + 5 + size)
        place = kind_end + 5 + size
    needed = [found[name] for name in ("channels", "compression", "dataWindow") if name in found]
    if version & _NOT_PLAIN or len(needed) != 3 or data[needed[1][1]] != 0:
        raise _not_plain(path)
    begin, first, end = needed[0]
    left, top, right, bottom = struct.unpack_from("<4i", data, needed[2][1])
    width, height = right - left + 1, bottom - top + 1
    channels, offset = {}, 0
    at = first
    while data[at] != 0:
        name_end = data.index(b"\0", at)
        kind, _, *sampling = struct.unpack_from("<iI2i", data, name_end + 1)
        if sampling != [1, 1] or kind not in _SIZES:
            raise _not_plain(path)
        size = _SIZES[kind] * width
        channels[data[at:name_end].decode("latin-1")] = (offset, size, data[name_end + 1 : name_end + 17])
        offset, at = offset + size, name_end + 17
    rows = []
    for row in struct.unpack_from(f"<{height}Q", data, place + 1):
        (size,) = struct.unpack_from("<i", data, row + 4)
        if size != offset or row + 8 + size > len(data):
            raise _not_plain(path)
        rows.append((data[row : row + 4], data[row + 8 : row + 8 + size]))
    if not {source for part in _PARTS.values() for source in part.values()} - {"A"} <= set(channels):
        raise _not_plain(path)
    return _File(data[:begin], data[end : place + 1], channels, rows)


def _write(path: str, whole: _File, part: Mapping[str, str]) -> None:
    """The file appears whole."""
    kept = {name: whole.channels[source] for name, source in part.items() if source in whole.channels}
    listed = b"".join(name.encode() + b"\0" + entry for name, (_, _, entry) in kept.items()) + b"\0"
    header = whole.before + b"channels\0chlist\0" + struct.pack("<i", len(listed)) + listed + whole.after
    size = sum(one for _, one, _ in kept.values())
    begin = len(header) + 8 * len(whole.rows)
    offsets = struct.pack(f"<{len(whole.rows)}Q", *(begin + index * (size + 8) for index in range(len(whole.rows))))
    temporary = f"{path}.{secrets.token_hex(4)}.part"
    try:
        with open(temporary, "wb") as file:
            file.write(header + offsets)
            for number, row in whole.rows:
                pieces = [row[place : place + count] for place, count, _ in kept.values()]
                file.write(number + struct.pack("<i", size) + b"".join(pieces))
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _not_plain(path: str) -> HostError:
    return HostError(
        f"{path} cannot be taken apart, as it is compressed, damaged or no plain EXR file: make it again.",
        reason="EXR_NOT_PLAIN",
        category="UNSUPPORTED",
        details={"path": path},
    )
