"""``python -m dfldaemon``: the server process. ``dfl daemon start`` runs it in the background.

Exit codes: 0 it ended in order, 1 it cannot start, 2 a setting is wrong, 3 another daemon has the state folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from dflcore.config.describe import describe_settings
from dflcore.errors import Conflict, DflError, InvalidInput
from dfldaemon.server import Daemon, serve
from dfldaemon.settings import DaemonSettings, daemon_settings

EXIT_CANNOT_START = 1
EXIT_BAD_SETTING = 2
EXIT_ALREADY_RUNNING = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, serve, end; answers with the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dfldaemon", description="The daemon of dfl.")
    for knob in describe_settings(DaemonSettings):
        name = knob.name.replace("_", "-")
        parser.add_argument(f"--{name}", dest=knob.name, default=None, help=f"{knob.help} {knob.allowed_text()}")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        settings = daemon_settings(given, os.environ)
    except InvalidInput as error:
        return _refuse(error, EXIT_BAD_SETTING)
    try:
        asyncio.run(serve(Daemon(settings)))
    except Conflict as error:
        return _refuse(error, EXIT_ALREADY_RUNNING)
    except DflError as error:
        return _refuse(error, EXIT_CANNOT_START)
    return 0


def _refuse(error: DflError, exit_code: int) -> int:
    sys.stderr.write(f"{error.message}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
