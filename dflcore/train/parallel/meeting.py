"""Where machines that train one model together meet: a folder beside the model, on storage that all of them see.

    my_model.nodes/        of the user alone, mode 0700: what lies here is trusted, and unpickled by torch
        door               held for a moment by whoever comes or leaves
        present            held, shared, by every machine for as long as it takes part
        run.json           what is trained, by whom it was begun, and the run's name
        roll-...           of torch's elastic agents: who takes part
        store-...          of theirs too: what a group needs to know, written only when one is formed
        group-...          where the processes of one group meet; a new one whenever machines come or leave

The system drops the locks of a machine however it ends, so nobody present means that everything else is rubbish of a
run that is over. Who finds that clears it, and nobody can come meanwhile: the door is held. The last to leave removes
the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import Conflict, InvalidInput, Unsupported
from dflcore.io.atomic import translate_disk_errors, write_text

DOOR, PRESENT, RUN = "door", "present", "run.json"
DOOR_TIMEOUT_S = 60.0
"""The door is held for as long as it takes to read or remove some small files."""
_DOOR_POLL_S = 0.05
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
Facts = Mapping[str, str]
"""What has to be the same on all machines: name → value, both as a person knows them."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting that this machine takes part in.

    Attributes:
        folder: where. run: its name; another one once everybody has left, or the run was over.
    """

    folder: Path
    run: str

    @property
    def roll_path(self) -> Path:
        """Where the agents keep who takes part, see :mod:`dflcore.train.parallel.roll`."""
        return self.folder / f"roll-{self.run}"

    @property
    def store_path(self) -> Path:
        """Where the agents tell each other what a group needs to know."""
        return self.folder / f"store-{self.run}"


def meeting_folder(model: Path) -> Path:
    """Where the machines that train a model meet."""
    path = Path(os.path.realpath(model))
    return path.with_name(f"{path.name}.nodes")


@contextlib.contextmanager
def take_part(model: Path, facts: Facts, *, over: str = "") -> Iterator[Meeting]:
    """Come to the meeting of a model, and leave it at the end.

    Args:
        facts: what the others must have been told as well.
        over: a run that is over; a new one is begun in its place, unless somebody was faster.

    Raises:
        Conflict: the others were told something else, reason NODES_DIFFER.
        InvalidInput: the folder is not this user's alone, or cannot be made.
        Unsupported: the file system has no locks.
    """
    folder = meeting_folder(model)
    descriptor, run = _enter(folder, facts, over)
    try:
        yield Meeting(folder, run)
    finally:
        try:
            with contextlib.suppress(OSError, Conflict, InvalidInput), _door(folder):
                if _try_lock(descriptor, fcntl.LOCK_EX, folder):
                    _clear(folder, and_remove=True)
        finally:
            os.close(descriptor)


def is_met(model: Path) -> bool:
    """Whether machines train this model together right now, as far as this user can know."""
    folder = meeting_folder(model)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with _door(folder):
            descriptor = _open(folder / PRESENT)
            try:
                is_empty = _try_lock(descriptor, fcntl.LOCK_EX, folder)
                if is_empty:
                    _clear(folder, and_remove=True)
                return not is_empty
            finally:
                os.close(descriptor)
    except (InvalidInput, Unsupported, OSError):  # nobody can meet there
        return False


def _enter(folder: Path, facts: Facts, over: str) -> tuple[int, str]:
    """The descriptor that holds ``present``, and the run's name."""
    with translate_disk_errors(folder), _door(folder):
        descriptor = _open(folder / PRESENT)
        try:
            run = None
            if _try_lock(descriptor, fcntl.LOCK_EX, folder):
                _clear(folder)
            else:
                run = _read_run(folder)
            if run is not None:
                _check_facts(folder, run, facts)
            if run is None or run["name"] == over:
                run = {"name": secrets.token_hex(8), "host": socket.gethostname(), "facts": dict(facts)}
                write_text(folder / RUN, json.dumps(run))
            if not _try_lock(descriptor, fcntl.LOCK_SH, folder):  # nobody keeps it to himself outside the door
                raise Conflict(f"{folder} is held by something else than a training.", reason="NODES_BUSY", path=folder)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor, str(run["name"])


def _check_facts(folder: Path, run: Mapping[str, object], facts: Facts) -> None:
    known = run["facts"]
    assert isinstance(known, dict)
    faults = [
        f"{name} is {facts.get(name, 'not said')!s} here and {known.get(name, 'not said')!s} on {run['host']}"
        for name in sorted({*facts, *known})
        if facts.get(name) != known.get(name)
    ]
    if faults:
        raise Conflict(
            f"The machines that train {folder.with_suffix('')} together were told different things: "
            f"{'; '.join(faults)}. Tell all the same, or wait until the others have ended.",
            reason="NODES_DIFFER",
            path=folder,
        )


def _read_run(folder: Path) -> dict[str, object] | None:
    """None when it was never written: whoever was to write it was killed, and holds nothing any more."""
    try:
        run = json.loads((folder / RUN).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return run if isinstance(run, dict) and isinstance(run.get("facts"), dict) and "name" in run else None


@contextlib.contextmanager
def _door(folder: Path) -> Iterator[None]:
    """Nobody else comes or leaves meanwhile."""
    deadline = time.monotonic() + DOOR_TIMEOUT_S
    while True:
        try:
            _make_private(folder)
            descriptor = _open(folder / DOOR)
        except FileNotFoundError:  # the last one has just removed the folder
            continue
        try:
            if _try_lock(descriptor, fcntl.LOCK_EX, folder) and _is_still(descriptor, folder / DOOR):
                yield
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > deadline:
            raise Conflict(
                f"Another machine holds {folder / DOOR} and does not let go; see that no machine hangs, and retry.",
                reason="NODES_BUSY",
                path=folder,
            )
        time.sleep(_DOOR_POLL_S)


def _make_private(folder: Path) -> None:
    with translate_disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
        raise InvalidInput(
            f"The machines of this training would meet in {folder}, which belongs to or is open to somebody else. "
            "Train as one user on all machines, and remove that folder or give it mode 0700.",
            reason="FOLDER_NOT_PRIVATE",
            path=folder,
        )


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _try_lock(descriptor: int, kind: int, folder: Path) -> bool:
    """Raises Unsupported where there are no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise Unsupported(
            f"The file system of {folder} has no locks, without which machines cannot train together; put the model on "
            "one that has (NFS with its lock service), or train on one machine.",
            reason="NO_LOCKS",
            path=folder,
        ) from error
    return True


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file that was opened is the one of that name: it may have been removed, and made anew, meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _clear(folder: Path, *, and_remove: bool = False) -> None:
    """Remove what dead runs left. Call it behind the door, when nobody is present."""
    kept = () if and_remove else (DOOR, PRESENT)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == DOOR):  # the door is the last to go
        if entry.name not in kept:
            with contextlib.suppress(OSError):
                entry.unlink()
    if and_remove:
        with contextlib.suppress(OSError):
            folder.rmdir()
