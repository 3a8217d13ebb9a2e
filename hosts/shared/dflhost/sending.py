"""Plates, models and facesets on their way to a daemon that sees none of this workstation's disks.

Files are hashed, announced, and those that the daemon lacks are sent in chunks. What has come stays: sending the same
again, after a cancel or in another session, goes on where it stopped, and sends nothing that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .errors import HostError
from .events import CANCELLED, FAILED, RUNNING, SUCCEEDED, BytesSent, StateChanged
from .feed import Feed, JobStatus
from .plates import FrameSet, Plate, frame_path, frames_on_disk, sequence_pattern, split_view, with_view

CHUNK_BYTES = 1 << 20
CALL_DEADLINE_S = 120.0
"""Of one call: the other side may hash a large file again, or make room."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.2, 1.0
_AWAY = frozenset({"DAEMON_NOT_RUNNING", "DAEMON_GONE", "DAEMON_UNREACHABLE", "DAEMON_TIMEOUT", "TOKEN_NOT_FOUND"})
"""What may pass: the daemon is being started again."""
ATTEMPTS = 3
"""How often a set is announced that the daemon removed meanwhile."""
MODEL_LEAVES_OUT = ("backups",)
"""Folders of a model that nobody needs for merging."""
MAX_SET_NAME_BYTES = 100
_CONFIG_CHARACTERS = 1 << 23
_SEARCH_PATH = re.compile(r"^search_path:[ \t]*((?:.*)(?:\n[ \t]*-.*)*)", re.MULTILINE)

Call = Callable[..., "dict[str, Any]"]
"""``call(service, method, request, deadline_s=...)``, as :meth:`DaemonSession.call`."""
Progress = Optional[Callable[[BytesSent], None]]


@dataclass(frozen=True)
class LocalFile:
    """A file here, and its name in the set: ``/`` between folders."""

    name: str
    path: str


@dataclass(frozen=True)
class _Announced:
    file: LocalFile
    size: int
    sha256: bytes


class Sender:
    """Sends sets of files. One thread at a time; remembers the hashes of files that have not changed.

    Args:
        call: makes a call of the protocol.
        patience_s: how long a daemon that went away is looked for.
    """

    def __init__(self, call: Call, patience_s: float = 20.0) -> None:
        self._call = call
        self._patience_s = patience_s
        self._hashes: dict[tuple[str, int, int], bytes] = {}
        self._lock = threading.Lock()

    def send(
        self,
        name: str,
        files: Sequence[LocalFile],
        progress: Progress = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Send what the daemon lacks; answers with the set's folder there.

        Args:
            progress: told of every chunk. is_stopped: asked before every chunk.

        Raises:
            HostError: a file cannot be read (``FILE_NOT_READABLE``) or changed meanwhile (``FILE_CHANGED``); the other
                side has no room (``DISK_FULL``, ``INBOX_FULL``); it was stopped (``SENDING_STOPPED``); and as every
                call.
        """
        with self._lock:
            work = _Sending(self._ask, name, files, progress or _nobody, is_stopped)
            work.look(self._hashes)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return work.send()
                except HostError as error:
                    if error.reason != "SET_NOT_FOUND" or attempt == ATTEMPTS:
                        raise
        raise HostError("A set was sent with no attempts.", reason="NO_ATTEMPTS")

    def send_plate(
        self, plate: Plate, frames: Iterable[int], progress: Progress, is_stopped: Callable[[], bool]
    ) -> str:
        """A plate's pattern over there. Raises as :meth:`send` and :func:`plate_files`."""
        name, files, inside = plate_files(plate, frames)
        return f"{self.send(name, files, progress, is_stopped)}/{inside}"

    def send_folder(
        self, path: str, leave_out: Sequence[str], progress: Progress, is_stopped: Callable[[], bool]
    ) -> str:
        """A folder over there. Raises as :meth:`send` and :func:`folder_files`."""
        name, files = folder_files(path, leave_out)
        return self.send(name, files, progress, is_stopped)

    def send_config(self, path: str, progress: Progress, is_stopped: Callable[[], bool]) -> str:
        """A colour configuration over there. Raises as :meth:`send` and :func:`config_files`."""
        name, files = config_files(path)
        return f"{self.send(name, files, progress, is_stopped)}/{files[0].name}"

    def _ask(self, method: str, request: dict[str, Any], is_stopped: Callable[[], bool]) -> dict[str, Any]:
        """A call that may be made twice: a daemon that went away is looked for."""
        pause, end = FIRST_PAUSE_S, time.monotonic() + self._patience_s
        while True:
            try:
                return self._call("StorageService", method, request, deadline_s=CALL_DEADLINE_S)
            except HostError as error:
                if error.reason not in _AWAY or time.monotonic() > end:
                    raise
            _check(is_stopped)
            time.sleep(pause)
            pause = min(pause * 1.6, MAX_PAUSE_S)


class _Sending:
    """One set on its way."""

    def __init__(
        self,
        ask: Callable[[str, dict[str, Any], Callable[[], bool]], dict[str, Any]],
        name: str,
        files: Sequence[LocalFile],
        progress: Callable[[BytesSent], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._ask = ask
        self._name = name
        self._files = files
        self._progress = progress
        self._is_stopped = is_stopped
        self._announced: list[_Announced] = []
        self._total = self._sent = 0

    def look(self, hashes: dict[tuple[str, int, int], bytes]) -> None:
        """Size and hash of every file. Raises HostError."""
        keys = []
        for file in self._files:
            with _reading(file.path):
                about = os.stat(file.path)
            keys.append((file.path, about.st_size, about.st_mtime_ns))
        self._total = sum(size for _, size, _ in keys)
        read = 0
        for file, key in zip(self._files, keys):
            if key not in hashes:
                with _reading(file.path):
                    hashes[key] = self._hash(file.path)
            self._announced.append(_Announced(file, key[1], hashes[key]))
            read += key[1]
            self._progress(BytesSent(read, self._total, file.name, "reading"))

    def send(self) -> str:
        """Announce, and send what is missing. Raises HostError."""
        facts = [{"name": one.file.name, "size_bytes": one.size, "sha256": one.sha256} for one in self._announced]
        answer = self._ask("OpenSet", {"name": self._name, "files": facts}, self._is_stopped)
        missing = answer["missing"]
        left = sum(self._announced[one["index"]].size - one["received_bytes"] for one in missing)
        self._sent = self._total - left
        self._progress(BytesSent(self._sent, self._total))
        for one in missing:
            self._send_file(answer["set_id"], self._announced[one["index"]], one["received_bytes"])
        return str(answer["path"])

    def _send_file(self, set_id: str, announced: _Announced, place: int) -> None:
        name = announced.file.name
        with _reading(announced.file.path), open(announced.file.path, "rb") as file:
            while True:
                _check(self._is_stopped)
                file.seek(place)
                data = file.read(CHUNK_BYTES)
                if not data and place < announced.size:
                    raise _changed(announced.file.path)
                request = {"set_id": set_id, "name": name, "offset_bytes": place, "data": data}
                try:
                    answer = self._ask("PutChunk", request, self._is_stopped)
                except HostError as error:
                    if error.reason in ("HASH_DIFFERS", "FILE_TOO_LARGE"):
                        raise _changed(announced.file.path) from error
                    raise
                self._sent += answer["received_bytes"] - place
                place = answer["received_bytes"]
                self._progress(BytesSent(self._sent, self._total, name))
                if answer["complete"]:
                    return

    def _hash(self, path: str) -> bytes:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while True:
                block = file.read(CHUNK_BYTES)
                if not block:
                    return digest.digest()
                digest.update(block)
                _check(self._is_stopped)


class Sending(Feed):
    """Files on their way in a thread of their own, as a host shows a job. Its result has the ``path`` over there.

    Args:
        work: does it, told where to report and when to stop; answers with the path.
    """

    kind = "send"
    id = reference = request_id = ""

    def __init__(self, work: Callable[[Callable[[BytesSent], None], Callable[[], bool]], str]) -> None:
        super().__init__(JobStatus(self.kind, "", RUNNING))
        self._work = work
        self._is_stopped = threading.Event()
        self._is_detached = False
        self._thread = threading.Thread(target=self._run, name="dflhost-sending", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the chunk that is on its way; what has come is kept. Returns at once."""
        self._is_stopped.set()

    def detach(self) -> None:
        """As :meth:`cancel`: nobody else goes on with it."""
        self._is_detached = True
        self.cancel()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            path = self._work(self._put, self._is_stopped.is_set)
            self._put(StateChanged(SUCCEEDED, None, {"path": path}))
        except HostError as error:
            if error.reason == "SENDING_STOPPED":
                self._put(StateChanged(CANCELLED))
            elif not self._is_detached:
                self._put(StateChanged(FAILED, error))
        except Exception as error:
            text = f"The integration met an error of its own ({type(error).__name__}: {error}); please report it."
            self._put(StateChanged(FAILED, HostError(text, reason="UNEXPECTED_ERROR")))
        finally:
            self._be_quiet()


def plate_files(plate: Plate, frames: Iterable[int] = ()) -> tuple[str, list[LocalFile], str]:
    """What to send of a plate: the set's name, the files, and the plate's name in the set.

    Args:
        frames: of a sequence; empty takes the plate's own, then all on disk. Of files with several views, all are
            sent; the plate's name over there asks for the same one.

    Raises:
        HostError: nothing is there (``PLATE_NOT_FOUND``), or a frame is not (``FRAME_NOT_FOUND``).
    """
    bare, view = split_view(plate.path)
    folder, name = _split(bare)
    if frame_path(bare, 0) == frame_path(bare, 1):  # a still or a movie
        if not os.path.isfile(bare):
            raise _not_there(bare, "PLATE_NOT_FOUND", "There is no plate")
        return set_name(folder, "plate"), [LocalFile(name, bare)], with_view(name, view)
    wanted = FrameSet.of(frames) or plate.frames or frames_on_disk(plate.path)
    files = []
    for frame in wanted:
        path = frame_path(plate.path, frame)
        if not os.path.isfile(path):
            raise _not_there(path, "FRAME_NOT_FOUND", f"Frame {frame} of the plate is not on disk:")
        files.append(LocalFile(_split(path)[1], path))
    if not files:
        raise _not_there(plate.path, "PLATE_NOT_FOUND", "No frame is on disk of the plate")
    return set_name(folder, "plate"), files, _split(sequence_pattern(plate.path))[1]


def folder_files(path: str, leave_out: Iterable[str] = ()) -> tuple[str, list[LocalFile]]:
    """What to send of a folder: the set's name, and all files but hidden ones; links to folders are not followed.

    Args:
        leave_out: names of folders directly in it that are not sent.

    Raises:
        HostError: there is no such folder (``FOLDER_NOT_FOUND``), or no file in it (``NOTHING_TO_SEND``).
    """
    if not os.path.isdir(path):
        raise _not_there(path, "FOLDER_NOT_FOUND", "There is no folder")
    path = os.path.abspath(path)
    left_out = set(leave_out)
    files = []
    for folder, below, names in os.walk(path):
        below[:] = sorted(one for one in below if not one.startswith(".") and (folder != path or one not in left_out))
        for name in sorted(names):
            full = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isfile(full):
                files.append(LocalFile(os.path.relpath(full, path).replace(os.sep, "/"), full))
    if not files:
        raise _not_there(path, "NOTHING_TO_SEND", "There is no file in")
    return set_name(path, "folder"), files


def config_files(path: str) -> tuple[str, list[LocalFile]]:
    """An OpenColorIO configuration and the tables that its text names, beside it and on its search path below it.

    Raises:
        HostError: it cannot be read (``FILE_NOT_READABLE``).
    """
    folder = os.path.dirname(os.path.abspath(path))
    with _reading(path), open(path, encoding="utf-8", errors="replace") as file:
        text = file.read(_CONFIG_CHARACTERS)
    files = {os.path.basename(path): path}
    for match in _SEARCH_PATH.finditer(text):
        for entry in re.split(r"[:\n,]", match[1]):
            below = os.path.normpath(entry.strip(" \t-[]\"'"))
            if os.path.isabs(below) or below.startswith("..") or below == ".":
                continue
            for parent, _, names in os.walk(os.path.join(folder, below)):
                files.update({os.path.relpath(os.path.join(parent, name), folder): os.path.join(parent, name)
                              for name in sorted(names) if name in text})  # fmt: skip
    for name in sorted(os.listdir(folder)):
        if name in text and os.path.isfile(os.path.join(folder, name)):
            files.setdefault(name, os.path.join(folder, name))
    return set_name(folder, "config"), [LocalFile(name.replace(os.sep, "/"), full) for name, full in files.items()]


def set_name(path: str, otherwise: str) -> str:
    """Last part of a path, as the daemon takes it for a folder."""
    name = _split(path.rstrip("/\\"))[1].lstrip(".").rstrip(":")
    name = "".join("_" if letter == "\\" or ord(letter) < 32 or ord(letter) == 127 else letter for letter in name)
    return name.encode("utf-8", "replace")[:MAX_SET_NAME_BYTES].decode("utf-8", "ignore") or otherwise


def _split(path: str) -> tuple[str, str]:
    place = max(path.rfind("/"), path.rfind("\\") if os.name == "nt" else -1) + 1
    return path[:place], path[place:]


def _nobody(event: BytesSent) -> None:
    """Nobody asked."""


def _check(is_stopped: Callable[[], bool]) -> None:
    if is_stopped():
        text = "Sending was stopped; what has come is kept, and sending again goes on from there."
        raise HostError(text, reason="SENDING_STOPPED", category="CANCELLED")


def _changed(path: str) -> HostError:
    text = f"{path} has changed while it was sent; send it again once nobody writes to it."
    return HostError(text, reason="FILE_CHANGED", category="CONFLICT", details={"path": path})


def _not_there(path: str, reason: str, words: str) -> HostError:
    return HostError(f"{words} {path}.", reason=reason, category="NOT_FOUND", details={"path": path})


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Around reading a file here: the system's refusal becomes a HostError."""
    try:
        yield
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}."
        raise HostError(text, reason="FILE_NOT_READABLE", category="INVALID_INPUT", details={"path": path}) from error
