"""Where pixels wait to be fetched: folders of this user's and of one daemon, gone when it is."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dflcore.errors import Conflict, InvalidInput
from dfldaemon.folders import private_folder

MEMORY_FOLDER = Path("/dev/shm")
"""A file system in memory, where there is one."""
FALLBACK_NAME = "frames"
_TRIES = 5


@contextlib.contextmanager
def pixel_folders(state: Path, memory: Path = MEMORY_FOLDER) -> Iterator[tuple[Path, ...]]:
    """Folders for pixels, best first: in memory where there is a file system for it, and beside the daemon's state.

    They are held while inside and removed afterwards. Memory is also freed of what killed daemons left there.

    Args:
        state: of a daemon that holds its lock.

    Raises:
        InvalidInput: a folder belongs to somebody else, or cannot be made.
        Conflict: another process holds it.
    """
    fallback = state / FALLBACK_NAME
    with contextlib.ExitStack() as stack:
        folders = [fallback]
        stack.callback(shutil.rmtree, fallback, ignore_errors=True)
        _refuse_link(fallback)
        empty_folder(private_folder(fallback))
        if memory.is_dir() and os.access(memory, os.W_OK):
            prefix = f"dfl-{os.geteuid()}-"
            digest = hashlib.sha256(os.fsencode(os.path.realpath(state))).hexdigest()[:12]
            _sweep(memory, prefix)
            folder = memory / f"{prefix}{digest}"
            stack.enter_context(_held(folder))
            folders.insert(0, folder)
        yield tuple(folders)


def empty_folder(folder: Path) -> None:
    """Remove what is in a folder of pixels; whoever has a file mapped keeps what is in it."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder, empty, ours alone, and locked: who finds it unlocked knows that its daemon is gone."""
    for _ in range(_TRIES):
        _refuse_link(folder)
        private_folder(folder).chmod(0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if _lock(descriptor) and _is_still(descriptor, folder):
                empty_folder(folder)
                try:
                    yield
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                return
        finally:
            os.close(descriptor)
    raise Conflict(f"Another process holds {folder}.", reason="FOLDER_HELD", path=folder)


def _sweep(memory: Path, prefix: str) -> None:
    """Remove folders of this user's daemons that are gone."""
    for entry in memory.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid() and _lock(descriptor):
                    shutil.rmtree(entry, ignore_errors=True)
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """The system drops the lock when the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(descriptor: int, folder: Path) -> bool:
    """Nobody swept it away between making and locking it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise InvalidInput(
            f"{folder} is a link, which may lead anywhere; remove it.", reason="FOLDER_NOT_PRIVATE", path=folder
        )
