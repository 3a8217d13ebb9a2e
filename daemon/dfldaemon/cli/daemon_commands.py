"""``dfl daemon start|stop|status``."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys

from dflcore.errors import DflError
from dfldaemon.cli.exit_codes import OK, UNREACHABLE
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.client import DaemonClient, start_daemon, stop_and_wait
from dfldaemon.discovery import REMOTE_TOKEN_NAME, UNREACHABLE_REASONS, find_session
from dfldaemon.settings import daemon_settings


def start(session: CliSession, options: argparse.Namespace) -> int:
    """Start the daemon of the state folder unless it runs."""
    with contextlib.suppress(DflError), session.connect() as client:
        _report(session, client, "The daemon runs already")
        if options.listen or options.new_token:
            session.output.result("It listens as it was told to when it started; to change that, stop it first.")
        return OK
    environ = {**session.environ, **_listening_variables(options)}
    daemon_settings({"state_dir": str(session.state_dir)}, environ)  # a wrong one is said here, not in a log
    if options.new_token:
        (session.state_dir / REMOTE_TOKEN_NAME).unlink(missing_ok=True)
    if options.foreground:
        variables = {**environ, "DFL_STATE_DIR": str(session.state_dir)}
        if options.idle_exit_s is not None:
            variables["DFL_IDLE_EXIT_S"] = f"{options.idle_exit_s:g}"
        return subprocess.call([sys.executable, "-P", "-m", "dfldaemon"], env=variables)
    with start_daemon(session.state_dir, environ=environ, idle_exit_s=options.idle_exit_s) as client:
        _report(session, client, "The daemon runs")
    return OK


def _listening_variables(options: argparse.Namespace) -> dict[str, str]:
    """Where to listen, as the daemon's variables; files are found from here."""
    given = {"DFL_LISTEN": options.listen}
    for name in ("tls_certificate", "tls_key", "tls_client_ca"):
        path = getattr(options, name)
        given[f"DFL_{name.upper()}"] = os.path.abspath(path) if path else None
    return {name: value for name, value in given.items() if value}


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


def _report(session: CliSession, client: DaemonClient, words: str) -> None:
    info = client.server_info()
    session.output.event("daemon", running=True, **message_values(info))
    jobs = f"{info.running_count} running, {info.queued_count} queued"
    session.output.result(f"{words}: {info.address} (process {info.pid}, dfl {info.version}; jobs: {jobs}).")
    with contextlib.suppress(DflError):  # another machine's daemon has no session file here
        known = find_session(session.state_dir)
        if known.pid == info.pid and known.remote_address:
            session.output.result(f"It also listens at {known.remote_address}; token: {known.remote_token_path}")
    session.output.result(f"Log: {info.log_path}")
