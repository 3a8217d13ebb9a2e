"""The daemon of one session of a farm worker: started when the session begins, always ended with it.

Where the site runs a daemon of its own on every host (``DFL_ADDRESS`` says where), the session uses that one and
leaves it alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from dflcore.errors import DflError, InvalidInput
from dfldaemon.client import DaemonClient, session_endpoint, start_daemon, stop_and_wait
from dfldaemon.discovery import Session, read_session

STATE_NAME = "dfl"
IDLE_EXIT_S = 3600.0
"""Should the farm's agent be killed, nobody stops the daemon: then it leaves by itself."""
START_DEADLINE_S = 150.0
"""Farm workers start many things at once, from slow shares."""
END_S = 60.0


def enter_session(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Start a daemon for a session; one that runs there already stays.

    Args:
        folder: the session's working folder.

    Returns:
        What the session's tasks must have in their environment.

    Raises:
        DflError: it did not start.
    """
    state = folder / STATE_NAME
    try:
        state.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"The session's folder {folder} cannot be used: {error.strerror}.", reason="BAD_SESSION_FOLDER", path=folder
        ) from error
    # Folders of sessions are long; where a socket's path would be too long, the daemon finds a shorter one itself.
    variables = {"DFL_STATE_DIR": str(state), "DFL_RUNTIME_DIR": str(state / "run")}
    own = {**environ, **variables, "DFL_LISTEN": "unix"}
    start_daemon(state, environ=own, idle_exit_s=IDLE_EXIT_S, deadline_s=START_DEADLINE_S).close()
    return variables


def leave_session(folder: Path) -> bool:
    """End the daemon of a session, by force where it does not leave by itself; harmless when there is none.

    Returns:
        Whether it left in order, or there was none.
    """
    state = folder / STATE_NAME
    try:
        session = read_session(state)
    except DflError:
        return True
    with contextlib.suppress(DflError), contextlib.closing(DaemonClient(lambda: session_endpoint(state))) as client:
        stop_and_wait(client)
    is_gone = _wait_until_gone(session, END_S)
    if not is_gone:
        _kill(session)
    return is_gone


def _wait_until_gone(session: Session, limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while session.is_alive:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _kill(session: Session) -> None:
    """End a daemon that does not answer; its workers end with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if session.is_alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(session.pid, number)
            _wait_until_gone(session, 5.0)
