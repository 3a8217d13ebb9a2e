"""``dfl bench``: benchmarks run in a process of their own, which may load torch."""

from __future__ import annotations

import argparse
import subprocess
import sys

from dfldaemon.cli.session import CliSession


def bench(session: CliSession, options: argparse.Namespace) -> int:
    """Hand the flags to ``python -m dflcore.bench`` and pass its exit code on."""
    arguments = [*(["--json"] if session.output.is_json else []), *options.arguments]
    return subprocess.call([sys.executable, "-P", "-m", "dflcore.bench", *arguments], env=dict(session.environ))
