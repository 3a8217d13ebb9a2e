"""Files that are either whole or not there: write beside, flush to disk, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from dflcore.errors import InvalidInput, ResourceExhausted

TEMPORARY_MARK = ".partial-"
"""Part of every temporary name; a leftover with it in its name may be deleted at any time."""


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder and with the same suffix; on success it takes the final name.

    The file is flushed to disk before the rename and the folder after it, so a power cut leaves the old file or the
    new one. The folder is created if needed. On any error the temporary file is removed.

    Raises:
        ResourceExhausted: the disk is full.
        InvalidInput: the folder cannot be written.
    """
    temporary = final.with_name(f".{final.stem}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}{final.suffix}")
    try:
        with translate_disk_errors(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync_file(temporary)
            os.replace(temporary, final)
            sync_folder(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(final: Path, data: bytes) -> None:
    """Atomic replacement for ``Path.write_bytes``. Raises as :func:`atomic_path`."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(data)


def write_text(final: Path, text: str) -> None:
    """Atomic replacement for ``Path.write_text`` in UTF-8. Raises as :func:`atomic_path`."""
    write_bytes(final, text.encode())


def sync_file(path: Path) -> None:
    """Flush a closed file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk; a system without that (Windows) is left alone."""
    if os.name != "posix":
        return
    sync_file(path)


@contextlib.contextmanager
def translate_disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted(
                f"The disk is full while writing {path}. Free some space and run again; finished work is kept.",
                reason="DISK_FULL",
                path=path,
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InvalidInput(
                f"Cannot write {path}: {error.strerror}. Choose a folder you may write to.",
                reason="NOT_WRITABLE",
                path=path,
            ) from error
        raise
