"""Who takes part in a run, as torch's agents agree on it: a file on shared storage that no killed writer can spoil.

Torch's own file store grows with every sign of life, and a record that a killed writer left half done makes every
reader spin for ever, with the lock held. Here there are two slots, written in turn: one that is not whole does not
count.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import RendezvousBackend, Token

SLOT_BYTES = 1 << 18
"""The state of 64 machines takes a tenth of it."""
_HEADER = struct.Struct(">QI32s")
"""How many writes there were, length of the state, SHA-256 of both and of the state."""


class Roll(RendezvousBackend):
    """The state that agents share; who changes it says which state he saw, and learns when somebody was faster."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return "dfl-roll"

    def get_state(self) -> tuple[bytes, Token] | None:
        """The state and its token; None before the first.

        Raises:
            RendezvousConnectionError: the file cannot be read.
        """
        with self._locked(fcntl.LOCK_SH) as descriptor:
            return _newest(descriptor)

    def set_state(self, state: bytes, token: Token | None = None) -> tuple[bytes, Token, bool] | None:
        """Replace the state with that token, or make the first; answers with what is there now, and whether it is ours.

        Raises:
            RendezvousConnectionError: the file cannot be written.
        """
        with self._locked(fcntl.LOCK_EX) as descriptor:
            found = _newest(descriptor)
            if token != (None if found is None else found[1]):
                return None if found is None else (*found, False)
            count = (0 if found is None else int(str(found[1]))) + 1
            data = _HEADER.pack(count, len(state), _digest(count, state)) + state
            if len(data) > SLOT_BYTES:
                raise RendezvousConnectionError(f"{self._path}: the state of the machines is too large.")
            os.pwrite(descriptor, data, count % 2 * SLOT_BYTES)
            return state, count, True

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[int]:
        """Locking also makes a network file system look at what others wrote."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, kind)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RendezvousConnectionError(f"{self._path}: {error.strerror or error}.") from error


def _digest(count: int, state: bytes) -> bytes:
    return hashlib.sha256(struct.pack(">QI", count, len(state)) + state).digest()


def _newest(descriptor: int) -> tuple[bytes, Token] | None:
    """Of the slots that are whole. The token is the number of the write."""
    found: list[tuple[int, bytes]] = []
    for slot in range(2):
        data = os.pread(descriptor, SLOT_BYTES, slot * SLOT_BYTES)
        if len(data) < _HEADER.size:
            continue
        count, length, digest = _HEADER.unpack_from(data)
        state = data[_HEADER.size : _HEADER.size + length]
        if count and len(state) == length and _digest(count, state) == digest:
            found.append((count, state))
    if not found:
        return None
    count, state = max(found)
    return state, count
