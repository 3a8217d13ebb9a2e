"""The daemon of one session of a farm worker: started when the session begins, always ended with it.

Where the site runs a daemon of its own on every host (``DFL_ADDRESS`` says where), the session uses that one and
leaves it alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from dflcore.errors import DflError, InvalidInput
from dfldaemon.client import DaemonClient, session_endpoint, start_daemon, stop_and_wait
from dfldaemon.discovery import process_identity, read_session

STATE_NAME = "dfl"
STARTING_NAME = "starting"
"""File with the process that was started last and its identity."""
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
    start_daemon(
        state,
        environ=own,
        idle_exit_s=IDLE_EXIT_S,
        deadline_s=START_DEADLINE_S,
        announce=lambda pid: _announce(state, pid),
    ).close()
    return variables


def leave_session(folder: Path) -> bool:
    """End the daemon of a session, by force where it does not leave by itself; harmless when there is none.

    One that is still starting, because the session ended meanwhile, ends too.

    Returns:
        Whether it left in order, or there was none.
    """
    state = folder / STATE_NAME
    try:
        session = read_session(state)
    except DflError:
        _end_starting(state)
        return True
    with contextlib.suppress(DflError), contextlib.closing(DaemonClient(lambda: session_endpoint(state))) as client:
        stop_and_wait(client)
    is_gone = _wait_until(lambda: not session.is_alive, END_S)
    if not is_gone:
        _kill(session.pid, lambda: session.is_alive)
    _end_starting(state)
    return is_gone


def _announce(state: Path, pid: int) -> None:
    """Note the process before it can say anything itself: a farm may end the one that waits for it at any moment."""
    (state / STARTING_NAME).write_text(f"{pid} {process_identity(pid)}", encoding="ascii")


def _end_starting(state: Path) -> None:
    """End the process that was started last, if it lives: nobody else will."""
    try:
        number, _, identity = (state / STARTING_NAME).read_text(encoding="ascii").partition(" ")
        pid = int(number)
    except (OSError, ValueError):
        return
    if identity:  # without one, another process may have the number by now
        _kill(pid, lambda: process_identity(pid) == identity)


def _wait_until(is_so: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _kill(pid: int, is_alive: Callable[[], bool]) -> None:
    """End a daemon that does not answer; its workers end with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if is_alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
            _wait_until(lambda: not is_alive(), 5.0)
