"""Checks that every host has in common: our files, the daemon, the way to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dflcore.errors import DflError
from dflcore.version import __version__
from dflhost.discovery import ConnectionSettings, find_endpoint, installed_command
from dflhost.errors import HostError
from dflhost.messages import START_DAEMON, explain
from dflinstall.installed import compare, left_by_a_cut, read_list
from dflinstall.lines import NOTE, OK, WRONG, Line, Lines
from dflinstall.machine import Machine

DEADLINE_S = 5.0
NAMED_AT_MOST = 5


def check_files(folder: Path, host: str, command: str) -> Lines:
    """Whether a folder is as it was installed, and of this version."""
    again = f"Run `{command}`."
    cut_off = left_by_a_cut(folder)
    if cut_off and not folder.exists():
        said = f"An installation into {folder} was cut off and has left {names(tuple(map(str, cut_off)))}."
        yield Line(WRONG, "files", said, f"Run `{command}`: it begins with what was there before, and clears up.")
        return
    if cut_off:
        said = f"An installation into {folder} was cut off and has left {names(tuple(map(str, cut_off)))}."
        yield Line(NOTE, "files", said, f"Run `{command}`: it removes that.")
    try:
        installed = read_list(folder) if folder.is_dir() else None
        if installed is None or installed.host != host:
            yield Line(WRONG, "files", f"The integration is not installed in {folder}.", again)
            return
        difference = compare(folder, installed)
    except DflError as error:
        yield Line(WRONG, "files", error.message, again)
        return
    if difference.missing:
        yield Line(WRONG, "files", f"In {folder} there lack {names(difference.missing)}.", again)
    if difference.changed:
        said = f"In {folder} somebody changed {names(difference.changed)}."
        yield Line(NOTE, "files", said, "Installing again puts ours back and keeps a copy of them.")
    if installed.version != __version__:
        said = f"The integration in {folder} is version {installed.version}, this software {__version__}."
        yield Line(WRONG, "version", said, again)
    elif not difference.missing and not difference.changed:
        yield Line(OK, "files", f"All files of version {__version__} are in {folder}, as they were installed.")


def names(found: tuple[str, ...]) -> str:
    """Some names, and how many more."""
    more = len(found) - NAMED_AT_MOST
    return ", ".join(found[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def check_writable(folder: Path, about: str) -> Line:
    """Whether this user may write to a folder, or make it."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return Line(WRONG, about, f"{there} is a file, and a folder is needed.", "Move it away.")
    if not os.access(there, os.W_OK | os.X_OK):
        return Line(WRONG, about, f"You may not write to {there}.", "Change its permissions, or name a --target.")
    return Line(OK, about, f"You may write to {folder}.")


def check_program(machine: Machine, client: Path) -> Line:
    """Whether hosts can start the daemon: by the Python that installed them, else by ``dfl`` in the search path."""
    said = ""
    try:
        command = installed_command(client)
        if command:
            return Line(OK, "program", f"Hosts start the daemon by {command[0]}.")
    except HostError as error:
        said = error.message
    program = machine.program("dfl")
    if program:
        return Line(NOTE if said else OK, "program", f"{said} Hosts start the daemon by {program}.".strip())
    if said:
        return Line(WRONG, "program", f"Hosts cannot start the daemon: {said}")
    ours = Path(sys.executable).with_name("dfl")
    said = "The program `dfl` is not in the search path, so hosts cannot start the daemon."
    remedy = f"Install again, or link {ours} into a folder of the search path."
    return Line(NOTE, "program", said, remedy)


def check_daemon(machine: Machine, client: Path) -> Lines:
    """Whether the daemon can be started and found, its token read, and whether it answers in this version's protocol.

    One that does not run is no fault: the hosts start it.

    Args:
        client: folder of the installed client.
    """
    yield check_program(machine, client)
    settings = ConnectionSettings(call_deadline_s=DEADLINE_S)
    try:
        find_endpoint(settings, machine.environ)
        yield Line(OK, "token", "The daemon's address and token can be read.")
        yield _ask(settings, machine)
    except HostError as error:
        words = explain(error)
        state = NOTE if error.reason == "DAEMON_NOT_RUNNING" else WRONG
        remedy = words.remedy
        if words.action == START_DAEMON:
            remedy = "Press Start Daemon in the host, or run `dfl daemon start`."
        yield Line(state, "daemon", words.sentence, remedy)
    except ImportError as error:
        remedy = "Run `pip install 'dfl-compositor[hosts]'`."
        yield Line(WRONG, "daemon", f"The client's package {error.name} is not installed here.", remedy)


def _ask(settings: ConnectionSettings, machine: Machine) -> Line:
    from dflhost.session import connect  # needs the packages of the extra `hosts`

    with connect(settings, machine.environ) as session:
        info = session.server
    said = f"The daemon answers: version {info.version}, {info.running} jobs running, {info.queued} waiting."
    if info.version != __version__:
        return Line(NOTE, "daemon", said, f"This software is {__version__}; restart the daemon to have both the same.")
    return Line(OK, "daemon", said)
