"""A daemon of one's own for a while: for the demo and the benchmark."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dflcore.errors import Conflict, DflError
from dfldaemon.client import STOP_DEADLINE_S, DaemonClient, start_daemon, stop_and_wait
from dfldaemon.folders import lock_state_folder
from dfldaemon.settings import ENVIRONMENT_PREFIX, DaemonSettings

KEPT_SETTINGS = frozenset({"weights"})
"""Of the user's daemon, what a private one takes over: where files are found, not what it may do or where it lives."""
IDLE_EXIT_S = 600.0
"""Should whoever started it be killed."""
START_DEADLINE_S = 30.0
"""The machine may be busy; who starts a private daemon can wait."""


def private_environ(environ: Mapping[str, str], runtime_dir: str) -> dict[str, str]:
    """The environment without the settings of the user's daemon."""
    left_out = {ENVIRONMENT_PREFIX + name.upper() for name in DaemonSettings.model_fields if name not in KEPT_SETTINGS}
    kept = {name: value for name, value in environ.items() if name not in left_out}
    return {**kept, "DFL_RUNTIME_DIR": runtime_dir, "DFL_LISTEN": "unix"}


@contextlib.contextmanager
def private_daemon(state_dir: Path, environ: Mapping[str, str]) -> Iterator[DaemonClient]:
    """A client of a daemon that is started now and has ended when this is left, whatever happens.

    Raises:
        DflError: it did not start.
    """
    # A socket's path may be about 100 characters long; the state folder's may be longer.
    with tempfile.TemporaryDirectory(prefix="dfl-run-") as runtime_dir:
        client = start_daemon(
            state_dir,
            environ=private_environ(environ, runtime_dir),
            idle_exit_s=IDLE_EXIT_S,
            deadline_s=START_DEADLINE_S,
        )
        try:
            yield client
        finally:
            with contextlib.suppress(DflError):
                stop_and_wait(client)
            client.close()
            _wait_until_unlocked(state_dir)


def _wait_until_unlocked(state_dir: Path) -> None:
    """A daemon that answers no more still closes its files; the lock of its folder is the last it lets go."""
    end = time.monotonic() + STOP_DEADLINE_S
    while time.monotonic() < end:
        try:
            with lock_state_folder(state_dir):
                return
        except Conflict:
            time.sleep(0.05)
