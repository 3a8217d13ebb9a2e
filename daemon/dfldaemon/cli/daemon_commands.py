"""``dfl daemon start|stop|status``."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time

from dflcore.errors import Conflict, DflError
from dfldaemon.cli.exit_codes import OK, UNREACHABLE
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.client import UNREACHABLE_REASONS, DaemonClient, start_daemon

STOP_DEADLINE_S = 90.0
"""A worker may take a minute to save."""


def start(session: CliSession, options: argparse.Namespace) -> int:
    """Start the daemon of the state folder unless it runs."""
    with contextlib.suppress(DflError), session.connect() as client:
        _report(session, client, "The daemon runs already")
        return OK
    if options.foreground:
        variables = {**session.environ, "DFL_STATE_DIR": str(session.state_dir)}
        if options.idle_exit_s is not None:
            variables["DFL_IDLE_EXIT_S"] = f"{options.idle_exit_s:g}"
        return subprocess.call([sys.executable, "-P", "-m", "dfldaemon"], env=variables)
    with start_daemon(session.state_dir, environ=session.environ, idle_exit_s=options.idle_exit_s) as client:
        _report(session, client, "The daemon runs")
    return OK


def stop(session: CliSession, options: argparse.Namespace) -> int:
    """Ask the daemon to end and wait until it has."""
    try:
        client = session.connect()
    except DflError as error:
        if error.reason not in UNREACHABLE_REASONS:
            raise
        session.output.event("daemon", running=False)
        session.output.result("No daemon runs.")
        return OK
    with client:
        stop_and_wait(client)
    session.output.event("daemon", running=False)
    session.output.result("The daemon has ended; unfinished jobs go on at the next start.")
    return OK


def status(session: CliSession, options: argparse.Namespace) -> int:
    """Say whether a daemon answers; the exit code says it too."""
    try:
        client = session.connect()
    except DflError as error:
        if error.reason not in UNREACHABLE_REASONS:
            raise
        session.output.event("daemon", running=False, reason=error.reason, message=error.message)
        session.output.result(error.message)
        return UNREACHABLE
    with client:
        _report(session, client, "The daemon runs")
    return OK


def stop_and_wait(client: DaemonClient) -> None:
    """End a daemon and wait until its process has left.

    Raises:
        DflError: it cannot be reached, or did not leave in time.
    """
    pid = client.server_info().pid
    client.shutdown()
    _wait_until_gone(client, pid)


def _wait_until_gone(client: DaemonClient, pid: int) -> None:
    """Raises Conflict when it still answers after the deadline."""
    end = time.monotonic() + STOP_DEADLINE_S
    while time.monotonic() < end:
        try:
            if client.server_info().pid != pid:
                return  # another one has taken its place
        except DflError as error:
            if error.reason in UNREACHABLE_REASONS:
                return
        time.sleep(0.1)
    raise Conflict(
        f"The daemon (process {pid}) still saves its work after {STOP_DEADLINE_S:g} s; look again with "
        "`dfl daemon status`.",
        reason="DAEMON_STILL_RUNNING",
        pid=pid,
    )


def _report(session: CliSession, client: DaemonClient, words: str) -> None:
    info = client.server_info()
    session.output.event("daemon", running=True, **message_values(info))
    jobs = f"{info.running_count} running, {info.queued_count} queued"
    session.output.result(f"{words}: {info.address} (process {info.pid}, dfl {info.version}; jobs: {jobs}).")
    session.output.result(f"Log: {info.log_path}")
