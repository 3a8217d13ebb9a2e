"""``dfl bench``: benchmarks run in a process of their own, which may load torch."""

from __future__ import annotations

import argparse
import subprocess
import sys

from dfldaemon.cli.session import CliSession

MODULES = {"rpc": ("dfldaemon.bench",), "all": ("dflcore.bench", "dfldaemon.bench")}
"""Stage → modules that measure it; every other stage is the core's."""


def bench(session: CliSession, options: argparse.Namespace) -> int:
    """Hand the flags to the modules that measure, one after the other; the first failure's exit code is the answer."""
    arguments = list(options.arguments)
    stage = arguments[0] if arguments and not arguments[0].startswith("-") else "all"
    for module in MODULES.get(stage, ("dflcore.bench",)):
        passed = arguments if module == "dflcore.bench" else arguments[1:] if stage == "rpc" else []
        json_flag = ["--json"] if session.output.is_json else []
        code = subprocess.call([sys.executable, "-P", "-m", module, *json_flag, *passed], env=dict(session.environ))
        if code:
            return code
    return 0
