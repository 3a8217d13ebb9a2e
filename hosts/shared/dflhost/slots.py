"""Pixels that the daemon of this machine left in memory: the road ``shared_memory``.

A slot is a file of this user's that begins with its generation, a little-endian 64-bit number. Who has copied the bytes
reads the generation again: if it has changed, so have the bytes.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from typing import Any

from .errors import HostError

MENDED_BY_A_STREAM = frozenset({"SHARED_MEMORY_NOT_FOUND", "SHARED_MEMORY_NOT_OURS", "NO_ROOM_FOR_PIXELS"})
_GENERATION = struct.Struct("<Q")


def can_share_memory(address: str) -> bool:
    """Whether a daemon at this address is on this machine for sure; a port may lead anywhere."""
    return os.name == "posix" and address.startswith("unix:")


def read_slot(header: Mapping[str, Any]) -> memoryview:
    """A copy of the bytes that a decoded ``FrameHeader`` names.

    Raises:
        HostError: the file is not there (``SHARED_MEMORY_NOT_FOUND``: a container keeps its own), it is no memory of
            this user's daemon (``SHARED_MEMORY_NOT_OURS``), or a later picture is in it (``SUPERSEDED``).
    """
    path, place, size = str(header["path"]), int(header["offset_bytes"]), int(header["size_bytes"])
    try:
        opened = open(path, "rb", buffering=0, opener=_open)  # noqa: SIM115 (closed below)
    except (OSError, ValueError) as error:
        text = f"The picture's memory {path} cannot be opened here ({error})."
        raise HostError(text, reason="SHARED_MEMORY_NOT_FOUND", category="NOT_FOUND") from error
    with opened as file:
        descriptor = file.fileno()
        about = os.fstat(descriptor)
        is_ours = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()
        if not is_ours or place < _GENERATION.size or size < 0 or place + size > about.st_size:
            text = f"{path} is not memory of this user's daemon."
            raise HostError(text, reason="SHARED_MEMORY_NOT_OURS", category="INVALID_INPUT")
        data = bytearray(size)
        view = memoryview(data)
        before, read = _generation(descriptor), 0
        file.seek(place)
        while read < size:
            count = file.readinto(view[read:])
            if not count:
                break
            read += count
        after = _generation(descriptor)
    if {before, after} != {int(header["generation"])} or read != size:
        text = "A later picture has taken the place of this one."
        raise HostError(text, reason="SUPERSEDED", category="CANCELLED", details={"path": path})
    return view


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _generation(descriptor: int) -> int:
    start = os.pread(descriptor, _GENERATION.size, 0)
    return int(_GENERATION.unpack(start)[0]) if len(start) == _GENERATION.size else 0
