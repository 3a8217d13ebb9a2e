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
"""Part of every temporary name."""
MAX_STEM_BYTES = 150
"""Of a temporary name: file systems take 255 bytes in all."""
LEFTOVER_AGE_S = 3600.0
"""A temporary file this old belongs to nobody any more: its writer was killed."""


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder and with the same suffix; on success it takes the final name.

    The file is flushed to disk before the rename and the folder after it, so a power cut leaves the old file or the
    new one. The folder is created if needed. On any error the temporary file is removed.

    Raises:
        ResourceExhausted: the disk is full.
        InvalidInput: the folder cannot be written.
    """
    stem = final.stem.encode()[:MAX_STEM_BYTES].decode(errors="ignore")  # the mark must not make the name too long
    temporary = final.with_name(f".{stem}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}{final.suffix}")
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


def remove_leftovers(folder: Path, older_than_s: float = LEFTOVER_AGE_S) -> int:
    """Delete temporary files that killed writers left in a folder; say how many. Younger ones may still be in use.

    Their age is by the clock that dates the folder's files: a machine whose own is wrong must not take another's files
    away while they are written.
    """
    removed = 0
    found = list(folder.glob(f".*{TEMPORARY_MARK}*"))
    now = _time_of_files(folder) if found else 0.0
    for path in found:
        with contextlib.suppress(FileNotFoundError):  # another process cleans up too
            if now - path.stat().st_mtime > older_than_s:
                path.unlink()
                removed += 1
    return removed


def _time_of_files(folder: Path) -> float:
    """What a file written there now is dated; the beginning of time where none can be written."""
    probe = folder / f".now{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


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
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidInput(
                f"The name {path.name} is too long for the file system; choose a shorter one.",
                reason="NAME_TOO_LONG",
                path=path,
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InvalidInput(
                f"Cannot write {path}: {error.strerror}. Choose a folder you may write to.",
                reason="NOT_WRITABLE",
                path=path,
            ) from error
        raise
