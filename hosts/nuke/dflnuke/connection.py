"""One connection to the daemon for all nodes of a Nuke. Everything here waits: never from the main thread."""

from __future__ import annotations

import os
import threading

from dflhost.discovery import ConnectionSettings, start_daemon
from dflhost.session import DaemonSession, ServerInfo, connect

from . import prefs, watch

_lock = threading.Lock()
_held: list[DaemonSession] = []


def settings() -> ConnectionSettings:
    """The artist's preferences, and the studio's variables where those say nothing.

    Raises:
        HostError: either cannot be read (``BAD_PATH_MAP``, ``BAD_COMMAND``).
    """
    return prefs.load().connection()


def session() -> DaemonSession:
    """The connection, made where there is none.

    Raises:
        HostError: the daemon cannot be reached.
    """
    with _lock:
        if not _held or _held[0].is_closed:
            _held[:] = [connect(settings())]
        return _held[0]


def server() -> ServerInfo | None:
    """What the daemon said about itself when it was last reached. Never waits."""
    return _held[0].server if _held else None


def start() -> DaemonSession:
    """Start the daemon of this computer, and connect.

    Raises:
        HostError: it does not come up.
    """
    start_daemon(settings(), os.environ)
    return session()


def drop(*, is_watched: bool = False) -> None:
    """Forget the connection, so that the next call looks for the daemon anew; jobs go on.

    Args:
        is_watched: jobs are still told about through it, so that it is left open.
    """
    if not is_watched:
        watch.forget()
    with _lock:
        for held in () if is_watched else _held:
            held.close()
        _held.clear()
