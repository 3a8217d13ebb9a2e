"""Files that jobs have made, read piece by piece for clients that see none of this machine's disks."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import InvalidInput, NotFound
from dfldaemon.submission import check_path

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".exr"})
"""Readable wherever requests may name paths; other files only where jobs of distant clients make theirs."""
MAX_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a file; ``stamp`` is another one once the file is."""

    data: bytes
    size: int
    stamp: str


def read_piece(path: str, offset: int, allowed: Sequence[str], made: Path) -> Piece:
    """The bytes at an offset: 4 MiB, or what is left.

    Raises:
        InvalidInput: it may not be read by distant clients (``NOT_FOR_CLIENTS``), or as :func:`check_path`.
        NotFound: there is no such file.
    """
    real = os.path.realpath(check_path(path, "path", allowed))
    is_made = real.startswith(f"{made}{os.sep}")
    if not is_made and Path(real).suffix.lower() not in PICTURES:
        raise InvalidInput(
            f"{path} is neither a picture nor in {made}; other files are not read out to clients.",
            reason="NOT_FOR_CLIENTS",
            field="path",
        )
    if offset < 0:
        raise InvalidInput(f"offset_bytes = {offset} is before the file.", reason="BAD_CHUNK", field="offset_bytes")
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _not_there(path, error.strerror or str(error)) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise _not_there(path, "it is no file")
        data = os.pread(descriptor, MAX_CHUNK_BYTES, offset)
    except OSError as error:
        raise _not_there(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)
    return Piece(data, about.st_size, f"{about.st_ino}-{about.st_mtime_ns}-{about.st_size}")


def _not_there(path: str, why: str) -> NotFound:
    return NotFound(f"{path} cannot be read: {why}.", reason="FILE_NOT_FOUND", path=path)
