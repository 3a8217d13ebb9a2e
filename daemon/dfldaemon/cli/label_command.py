"""``dfl labels edit``: the label editor, in a process of its own that reads pictures."""

from __future__ import annotations

import argparse
import subprocess
import sys

from dfldaemon.cli.session import CliSession


def edit(session: CliSession, options: argparse.Namespace) -> int:
    """Serve the editor until it is closed; its exit code is ours."""
    command = [sys.executable, "-m", "dfldaemon.label_editor", "--faceset", session.absolute(options.faceset)]
    command += ["--port", str(options.port), "--idle-minutes", str(options.idle_minutes)]
    command += ["--view", options.view] if options.view else []
    command += ["--no-browser"] if options.no_browser else []
    command += ["--stay"] if options.stay else []
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the editor got it too, and ends in order
        return process.wait()
