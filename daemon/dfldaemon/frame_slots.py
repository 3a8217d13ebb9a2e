"""Pixels in files that two processes map into their memory: written by the frame worker, read by daemon and clients.

A slot is a file that begins with its generation, a little-endian 64-bit number; the bytes begin at ``offset``. While
bytes are written the generation is 0; then it is a number no other answer has. Who has copied them reads the generation
again: if it has changed, so have the bytes. Every client has two slots that take turns, so that an answer outlives the
next request but not the one after it. Files are used again, since fresh memory costs more than the copy itself.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import stat
import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.errors import Cancelled, InvalidInput, NotFound, ResourceExhausted

OFFSET = 4096
"""Where the bytes begin: a page of its own for the generation."""
_GENERATION = struct.Struct("<Q")
_GRANULE = 1 << 20
_TURNS = 2
MAX_CLIENTS = 4
"""Clients that have slots; of a further one, those of whoever asked longest ago go."""
_SPARE_SHARE = 0.1
_SPARE_BYTES = 1 << 30
"""Left free for others: a tenth of a small file system (memory), a gibibyte of a large one (a well filled disk)."""


@dataclass(frozen=True, slots=True)
class SlotReference:
    """Where an answer's bytes lie."""

    path: str
    offset: int
    size: int
    generation: int


@dataclass(slots=True)
class _Slot:
    path: Path
    memory: mmap.mmap
    capacity: int


@dataclass(slots=True)
class _Client:
    slots: list[_Slot | None] = field(default_factory=lambda: [None] * _TURNS)
    turn: int = 0


class FrameSlots:
    """The slots of one worker process. One thread at a time.

    Args:
        folders: where files may be made, best first: memory, then a disk; private to this user.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._last_generation = 0

    def write(self, client: str, parts: Sequence[bytes | memoryview]) -> SlotReference:
        """Put bytes, one part after the other, into the client's next slot.

        Raises:
            ResourceExhausted: no folder has room.
        """
        views = [memoryview(part).cast("B") for part in parts]
        size = sum(view.nbytes for view in views)
        slot = self._slot(client, OFFSET + size)
        _GENERATION.pack_into(slot.memory, 0, 0)
        position = OFFSET
        target = memoryview(slot.memory)
        try:
            for view in views:
                target[position : position + view.nbytes] = view
                position += view.nbytes
        finally:
            target.release()
        self._last_generation += 1
        _GENERATION.pack_into(slot.memory, 0, self._last_generation)
        return SlotReference(str(slot.path), OFFSET, size, self._last_generation)

    def forget(self, client: str) -> None:
        """Remove a client's files; whoever has one mapped keeps what is in it."""
        known = self._clients.pop(client, None)
        for slot in known.slots if known else ():
            _remove(slot)

    def scratch_folder(self, size: int) -> Path:
        """Where a file of about that many bytes may lie for a moment."""
        return next((folder for folder in self._folders if _has_room(folder, size)), self._folders[-1])

    def close(self) -> None:
        for client in list(self._clients):
            self.forget(client)

    def _slot(self, name: str, size: int) -> _Slot:
        client = self._clients.setdefault(name, _Client())
        self._clients.move_to_end(name)
        while len(self._clients) > MAX_CLIENTS:
            self.forget(next(iter(self._clients)))
        client.turn = (client.turn + 1) % _TURNS
        slot = client.slots[client.turn]
        if slot is None or slot.capacity < size:
            _remove(slot)
            client.slots[client.turn] = None
            slot = client.slots[client.turn] = self._make(size)
        return slot

    def _make(self, size: int) -> _Slot:
        capacity = -(-size // _GRANULE) * _GRANULE
        for folder in self._folders:
            path = folder / f"{os.getpid()}-{secrets.token_hex(8)}.slot"
            try:
                if _has_room(folder, capacity):
                    return _Slot(path, _allocate(path, capacity), capacity)
            except OSError as error:
                path.unlink(missing_ok=True)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
                    raise
        raise ResourceExhausted(
            f"There is no room for a picture of {size >> 20} MiB in {' or '.join(map(str, self._folders))}; ask for a "
            "smaller one, or free memory.",
            reason="NO_ROOM_FOR_PIXELS",
            path=self._folders[0],
        )


def read_slot(reference: SlotReference, into: bytearray | None = None) -> memoryview:
    """Copy an answer's bytes out of its slot.

    Args:
        into: memory to use again where it is large enough: fresh memory costs more than the copy itself.

    Raises:
        NotFound: the file is not there: another machine's, or gone with its worker.
        InvalidInput: it is another user's, or no slot.
        Cancelled: a later answer has been written over them.
    """
    view = room_for(reference.size, into)
    with _opened(reference.path) as descriptor:
        before = _generation(descriptor)
        position = 0
        while count := os.preadv(descriptor, [view[position:]], reference.offset + position):
            position += count
        after = _generation(descriptor)
    if before != reference.generation or after != reference.generation or position != reference.size:
        raise Cancelled("A later picture has taken the place of this one.", reason="SUPERSEDED", path=reference.path)
    return view


def room_for(size: int, into: bytearray | None = None) -> memoryview:
    """So many bytes of ``into``, or of new memory where that is too small."""
    return memoryview(into if into is not None and len(into) >= size else bytearray(size))[:size]


def iterate_slot(reference: SlotReference, chunk_bytes: int) -> Iterator[bytes]:
    """An answer's bytes in pieces. Raises as :func:`read_slot`, but for Cancelled: that is the caller's to know."""
    with _opened(reference.path) as descriptor:
        end = reference.offset + reference.size
        for position in range(reference.offset, end, chunk_bytes):
            yield os.pread(descriptor, min(chunk_bytes, end - position), position)


def _generation(descriptor: int) -> int:
    return int(_GENERATION.unpack(os.pread(descriptor, _GENERATION.size, 0))[0])


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise NotFound(
            f"The picture's memory {path} cannot be opened ({error.strerror}); is the daemon on this machine? Ask for "
            "a stream instead.",
            reason="SHARED_MEMORY_NOT_FOUND",
            path=path,
        ) from error
    try:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid() or not stat.S_ISREG(about.st_mode) or about.st_size < OFFSET:
            raise InvalidInput(
                f"{path} is not memory of this user's daemon.", reason="SHARED_MEMORY_NOT_OURS", path=path
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _allocate(path: Path, capacity: int) -> mmap.mmap:
    """A new file with all its room taken, so that touching it later cannot fail."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, capacity)
        else:
            os.ftruncate(descriptor, capacity)
        return mmap.mmap(descriptor, capacity)
    finally:
        os.close(descriptor)


def _has_room(folder: Path, size: int) -> bool:
    about = os.statvfs(folder)
    total, free = about.f_blocks * about.f_frsize, about.f_bavail * about.f_frsize
    return free - size > min(_SPARE_SHARE * total, _SPARE_BYTES)


def _remove(slot: _Slot | None) -> None:
    if slot is not None:
        slot.memory.close()
        slot.path.unlink(missing_ok=True)
