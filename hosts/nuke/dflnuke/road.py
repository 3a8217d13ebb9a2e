"""The way of files to the daemon and back: none where both see the same disks, else through the connection."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

from dflhost.errors import HostError
from dflhost.events import BytesSent
from dflhost.knobs import Value
from dflhost.places import MODEL
from dflhost.plates import Plate
from dflhost.sending import MODEL_LEAVES_OUT
from dflhost.session import DaemonSession

TOLD_EVERY_S = 0.3
MB = 1_000_000


class Road:
    """Of one press of a button. Everything waits: not for the main thread.

    Args:
        is_forced: the daemon sees none of this machine's disks, whatever its address says: a tunnel's seems near.
        tell: told what is being sent, in words.
        is_stopped: asked before every piece.
    """

    def __init__(
        self,
        session: DaemonSession,
        *,
        is_forced: bool = False,
        tell: Callable[[str], None] = lambda text: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.session = session
        self._is_far = is_forced or session.settings.is_remote
        self._places = session.places(self._is_far)
        self._tell, self._is_stopped = tell, is_stopped
        self._told_at = 0.0

    def is_apart(self, folder: str) -> bool:
        """What the daemon writes to this folder would not be seen here."""
        return self._is_far and self.session.path_map.to_daemon(folder) == folder

    def plate(self, plate: Plate, frames: Iterable[int] = ()) -> Plate:
        """The plate as the daemon can open it, sent where it must be."""
        return self._places.plate(plate, frames, self._progress, self._is_stopped)

    def model(self, path: str) -> str:
        """A model's folder, sent where it must be."""
        return self._places.folder(path, MODEL_LEAVES_OUT, self._progress, self._is_stopped)

    def faceset(self, path: str) -> str:
        """A faceset's folder, sent where it must be."""
        return self._places.folder(path, (), self._progress, self._is_stopped)

    def is_only_here(self, path: str) -> bool:
        """It lies on this machine, and the daemon has no name for it."""
        return self.is_apart(path) and os.path.isdir(path)

    def settings(self, settings: Mapping[str, Value]) -> dict[str, Value]:
        """Settings whose files the daemon can open, sent where they must be."""
        return dict(self._places.settings(settings, self._progress, self._is_stopped))

    def place(self, kind: str, path: str) -> str:
        """Where a job writes what the artist calls ``path``."""
        return self._places.for_made(kind, path, self.session.server.made_path, lambda one: self._has(kind, one))

    def _has(self, kind: str, path: str) -> bool:
        try:
            self.session.model(path) if kind == MODEL else self.session.faceset(path)
        except HostError as error:
            if error.category not in ("NOT_FOUND", "INVALID_INPUT") or error.is_unreachable:
                raise
            return False
        return True

    def _progress(self, event: BytesSent) -> None:
        now = time.monotonic()
        if now - self._told_at > TOLD_EVERY_S:
            self._told_at = now
            total = max(-(-event.total_bytes // MB), 1)
            self._tell(f"{event.stage.capitalize()} {event.done_bytes // MB} of {total} MB")
