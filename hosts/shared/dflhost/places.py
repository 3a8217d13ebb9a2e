"""Where things lie for a daemon on another machine: what it must be sent first, and where its jobs write.

A daemon on this machine, or one that a path map leads to, opens the artist's own files; then every path stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .discovery import ConnectionSettings, older_daemon
from .errors import HostError
from .events import BytesSent
from .frames import FrameRequest
from .paths import is_absolute, with_paths
from .plates import FrameSet, Plate, frames_on_disk, split_view
from .sending import MODEL_LEAVES_OUT, Progress, set_name

MODEL, FACESET = "model", "faceset"
KINDS = (MODEL, FACESET)
MARK_DIGITS = 8
_UNEASY = re.compile(r"[^\w .()+-]")
"""What patterns, path maps or a cast read as something else."""
Progressing = Callable[[BytesSent], None]


class Places:
    """Names the daemon's side of what an artist names here.

    Args:
        settings: of the connection.
        send_plate, send_folder: of a session.
        is_far: take the daemon for one on another machine; None goes by the address.
        send_config: of a :class:`~dflhost.sending.Sender`; without it a colour configuration goes without its tables.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        send_plate: Callable[..., str],
        send_folder: Callable[..., str],
        is_far: bool | None = None,
        send_config: Callable[..., str] | None = None,
    ) -> None:
        self._paths = settings.path_map
        self._is_far = settings.is_remote if is_far is None else is_far
        self._send_plate = send_plate
        self._send_folder = send_folder
        self._send_config = send_config

    def plate(self, plate: Plate, frames: Iterable[int], progress: Progress, is_stopped: Callable[[], bool]) -> Plate:
        """The plate as the daemon can open it. Raises as :meth:`DaemonSession.send_plate`."""
        if not self._is_only_here(plate.path):
            return plate
        there = self._send_plate(plate, frames, progress, is_stopped)
        return replace(plate, path=self._paths.to_workstation(there))

    def folder(self, path: str, leave_out: Sequence[str], progress: Progress, is_stopped: Callable[[], bool]) -> str:
        """A model or faceset as the daemon can open it. Raises as :meth:`DaemonSession.send_folder`."""
        if not self._is_only_here(path):
            return path
        return self._paths.to_workstation(self._send_folder(path, leave_out, progress, is_stopped))

    def settings(
        self, settings: Mapping[str, Any], progress: Progress, is_stopped: Callable[[], bool]
    ) -> dict[str, Any]:
        """Settings whose files and folders the daemon can open. Raises as :meth:`plate`."""

        def there(path: str) -> str:
            if not is_absolute(path) or not self._is_only_here(path):
                return path
            if os.path.isdir(path):
                return self.folder(path, MODEL_LEAVES_OUT, progress, is_stopped)
            if self._send_config is not None and path.lower().endswith(".ocio"):
                return self._paths.to_workstation(self._send_config(path, progress, is_stopped))
            return self.plate(Plate(path), (), progress, is_stopped).path

        return with_paths(settings, there)

    def inputs(
        self, request: FrameRequest, frames: FrameSet, progress: Progressing, is_stopped: Callable[[], bool]
    ) -> FrameRequest:
        """A frame's plate, model, faceset and settings as the daemon can open them. Raises as :meth:`plate`."""
        return replace(
            request,
            plate_path=self.plate(Plate(request.plate_path), frames, progress, is_stopped).path,
            model_path=self.folder(request.model_path, MODEL_LEAVES_OUT, progress, is_stopped),
            faceset_path=self.folder(request.faceset_path, (), progress, is_stopped),
            settings=self.settings(request.settings, progress, is_stopped),
        )

    def for_made(self, kind: str, name: str, made_path: str, is_there: Callable[[str], bool]) -> str:
        """Where a job writes what the artist calls ``name``: see :meth:`DaemonSession.place_for`.

        Args:
            made_path: the daemon's folder, as it names it. is_there: the daemon has one of this path.
        """
        if kind not in KINDS:
            raise HostError(f"There is no place for {kind!r}; known are model and faceset.", reason="BAD_KIND")
        if is_absolute(name) and not self._is_elsewhere(name, made_path, is_there):
            return name
        if not made_path:
            raise older_daemon("it has no folder for what its jobs make")
        return self._paths.to_workstation(f"{made_path}/{kind}s/{made_name(kind, name)}")

    def _is_elsewhere(self, path: str, made_path: str, is_there: Callable[[str], bool]) -> bool:
        """The artist's path means nothing to the daemon."""
        there = self._paths.to_daemon(path)
        if not self._is_far or there != path:
            return False
        if made_path and there.startswith(made_path.rstrip("/") + "/"):
            return False
        return os.path.lexists(path) or not is_there(path)

    def is_only_there(self, path: str) -> bool:
        """A path of the daemon's that means nothing here."""
        return self._is_far and self._paths.to_daemon(path) == path

    def _is_only_here(self, path: str) -> bool:
        if not self._is_far or not path or self._paths.to_daemon(path) != path:
            return False
        return os.path.exists(split_view(path)[0]) or bool(frames_on_disk(path))


def made_name(kind: str, name: str) -> str:
    """One safe part of a path for what this user of this workstation calls so, and for nothing else.

    The readable part is the last one of ``name``; the mark behind it is made from all of it, the kind, the workstation
    and the user's home, so that two folders of one name keep apart, and the same one is found again.
    """
    whole = unicodedata.normalize("NFC", name.strip().rstrip("/\\") if is_absolute(name) else name.strip())
    if not whole:
        raise HostError(f"A {kind} needs a name; write one.", reason="NAME_MISSING", category="INVALID_INPUT")
    facts = (kind, whole, socket.gethostname(), os.path.expanduser("~"))
    mark = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:MARK_DIGITS]
    last = whole.replace("\\", "/").rpartition("/")[2]
    return f"{_UNEASY.sub('_', set_name(last, kind)).strip()}-{mark}"
