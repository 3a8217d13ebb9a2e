# SPDX-License-Identifier: GPL-3.0-or-later
"""EXR files of one named layer made plain, for sequencers that open no layers. Nothing of the pixels is read."""

from __future__ import annotations

import os
import struct

from ._dflhost.errors import HostError

_MAGIC, _TILED_OR_PARTS = 20000630, 0x200 | 0x800 | 0x1000
_ROWS = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16}
"""Compression → rows of a block, as the format's description has them; others pack a channel by its name."""


def sibling_pattern(pattern: str, name: str) -> str:
    """``…/a_swap.####.exr`` → ``…/a_swap_matte.####.exr``, as the daemon names the sequences of its flat profile."""
    folder, file = os.path.split(pattern)
    stem, dot, rest = file.partition(".#")
    return os.path.join(folder, f"{stem}_{name}{dot}{rest}")


def flatten_channel(path: str) -> None:
    """Call the only channel of a file ``Y``, a picture in grey; the file is replaced whole.

    Raises:
        HostError: it is no EXR of one channel in one part (``FILE_NOT_READABLE``), or cannot be written.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        changed = _with_plain_name(data)
        with open(f"{path}.part", "wb") as file:
            file.write(changed)
        os.replace(f"{path}.part", path)
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        raise HostError(
            f"{path} cannot be made a plain picture: {error}.",
            reason="FILE_NOT_READABLE",
            category="DATA_CORRUPT",
            details={"path": path},
        ) from error


def _with_plain_name(data: bytes) -> bytes:
    magic, flags = struct.unpack_from("<II", data)
    if magic != _MAGIC or flags & _TILED_OR_PARTS:
        raise ValueError("it is no EXR of scan lines in one part")
    place, header, rows, height = 8, data[:8], 0, 0
    while data[place]:
        name, place = _text(data, place)
        kind, place = _text(data, place)
        (size,) = struct.unpack_from("<i", data, place)
        value = data[place + 4 : place + 4 + size]
        place += 4 + size
        if name == b"channels":
            _, rest = _text(value, 0)
            if len(value) != rest + 17:
                raise ValueError("it has more than one channel")
            value = b"Y\0" + value[rest:]
        elif name == b"compression":
            if value[0] not in _ROWS:
                raise ValueError("its compression goes by the channel's name")
            rows = _ROWS[value[0]]
        elif name == b"dataWindow":
            _, top, _, bottom = struct.unpack("<4i", value)
            height = bottom - top + 1
        header += name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
    place += 1
    count = -(-height // rows)
    header += b"\0"
    shift = len(header) - place
    offsets = [offset + shift for offset in struct.unpack_from(f"<{count}Q", data, place)]
    return header + struct.pack(f"<{count}Q", *offsets) + data[place + 8 * count :]


def _text(data: bytes, place: int) -> tuple[bytes, int]:
    end = data.index(b"\0", place)
    return data[place:end], end + 1
