"""One writer at a time: an advisory lock that the system drops when its process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path

from dflcore.errors import Conflict
from dflcore.io.atomic import translate_disk_errors


def take_lock(path: Path, busy: Conflict) -> int:
    """Lock a file, making it when needed; closing the descriptor that is returned lets go of it.

    Args:
        busy: raised when another process holds the lock.

    Raises:
        Conflict: ``busy``.
        InvalidInput, ResourceExhausted: the file cannot be made.
    """
    import fcntl

    with translate_disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise busy from error
    return descriptor
