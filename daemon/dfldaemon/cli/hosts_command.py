"""``dfl hosts``: integrations are put into hosts by a process of its own; the daemon's code knows no host."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys

from dflcore.errors import Unsupported
from dfldaemon.cli.session import CliSession

INSTALLER = "dflinstall"
INSTALL_COMMAND = "pip install 'dfl-compositor[hosts]'"


def hosts(session: CliSession, options: argparse.Namespace) -> int:
    """Hand the flags to the process that installs; its exit code is the answer.

    Raises:
        Unsupported: the installer is not there.
    """
    if importlib.util.find_spec(INSTALLER) is None:
        raise Unsupported(
            f"The part that installs into hosts is not here; run `{INSTALL_COMMAND}`, or `make` in a checkout.",
            reason="NOT_INSTALLED",
        )
    flags = [*(["--json"] if session.output.is_json else []), *(["--quiet"] if session.output.is_quiet else [])]
    environ = dict(session.environ)
    if session.address:
        environ["DFL_ADDRESS"] = session.address
    command = [sys.executable, "-P", "-m", INSTALLER, *options.arguments, *flags]
    return subprocess.call(command, env=environ)
