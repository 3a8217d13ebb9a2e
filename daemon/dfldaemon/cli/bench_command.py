"""``dfl bench``: benchmarks run in a process of their own, which may load torch."""

from __future__ import annotations

import argparse
import subprocess
import sys

from dfldaemon.cli.session import CliSession


def bench(session: CliSession, options: argparse.Namespace) -> int:
    """Hand the flags to the process that measures; its exit code is the answer."""
    json_flag = ["--json"] if session.output.is_json else []
    passed = [flag for flag in options.arguments if flag != "--quiet"]  # figures are results: nothing to leave out
    command = [sys.executable, "-P", "-m", "dfldaemon.bench", *json_flag, *passed]
    return subprocess.call(command, env=dict(session.environ))
