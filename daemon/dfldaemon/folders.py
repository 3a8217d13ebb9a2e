"""Folders of the daemon: its own, private to the user, and held by one daemon at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dflcore.errors import Conflict, InvalidInput
from dflcore.io.atomic import translate_disk_errors
from dfldaemon.discovery import LOCK_NAME

MADE_NAMES = ("models", "facesets")
MAX_SOCKET_PATH_BYTES = 103
"""Of a Unix socket: 107 on Linux, 103 on macOS."""


def private_folder(path: Path) -> Path:
    """A folder of this user that nobody else can write to; made with mode 0700 when it is not there.

    Raises:
        InvalidInput: it belongs to somebody else, others may write to it, or it cannot be made.
    """
    with translate_disk_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = path.stat()
    if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidInput(
            f"The folder {path} belongs to or can be written by somebody else; use a folder of your own (mode 0700).",
            reason="FOLDER_NOT_PRIVATE",
            path=path,
        )
    return path


def made_folders(path: Path) -> None:
    """The folder of what jobs of distant clients make, with one for each kind.

    Raises:
        InvalidInput, ResourceExhausted: it cannot be made.
    """
    for name in MADE_NAMES:
        with translate_disk_errors(path / name):
            (path / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def socket_path(runtime_dir: Path, state_dir: Path) -> Path:
    """Where the socket of a state folder's daemon lies: a folder that only this user can enter.

    A path too long for a socket falls back to a folder with a short name in the system's temporary folder; clients do
    not care, they read the address from the session file.

    Raises:
        InvalidInput: the folder is not private.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:12]
    path = runtime_dir / f"{digest}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        path = Path(tempfile.gettempdir()) / f"dfl-{os.geteuid()}" / f"{digest}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise InvalidInput(
            f"{path} is too long for a socket; set runtime_dir to a shorter folder, or listen to tcp.",
            reason="SOCKET_PATH_TOO_LONG",
            field="runtime_dir",
        )
    folder = private_folder(path.parent)
    if path.parent.is_symlink() or stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise InvalidInput(
            f"The socket's folder {folder} can be entered by others; give it mode 0700, or set runtime_dir to another.",
            reason="FOLDER_NOT_PRIVATE",
            field="runtime_dir",
            path=folder,
        )
    return path


@contextlib.contextmanager
def lock_state_folder(state_dir: Path) -> Iterator[None]:
    """Keep every other daemon out; the system drops the lock when this process ends, however it ends.

    Raises:
        Conflict: another daemon runs there.
    """
    descriptor = os.open(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise Conflict(
                f"A daemon runs for {state_dir} already (process {owner}); `dfl daemon status` shows it.",
                reason="DAEMON_ALREADY_RUNNING",
                path=state_dir,
                pid=owner,
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
