"""``dfl info``: what is installed, what the machine has, what runs."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from typing import Any

from dflcore.environment import package_versions
from dflcore.errors import DflError
from dflcore.version import __version__
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.weights_commands import open_store, weight_values
from dfldaemon.cli.wire_json import message_values

PROBE_TIMEOUT_S = 60.0
# Loads torch, so it runs as a process of its own.
_PROBE = """
import json, os
import torch
devices = [{"name": "cpu", "threads": torch.get_num_threads(), "cores": os.cpu_count()}]
for index in range(torch.cuda.device_count()):
    properties = torch.cuda.get_device_properties(index)
    devices.append({"name": f"cuda:{index}", "model": properties.name, "memory_mb": properties.total_memory >> 20})
print(json.dumps(devices))
"""


def info(session: CliSession, options: argparse.Namespace) -> int:
    """Show everything a report of a fault should hold."""
    facts = gather_facts(session)
    session.output.event("info", **facts)
    if not session.output.is_json:
        _show(session, facts)
    return OK


def gather_facts(session: CliSession) -> dict[str, Any]:
    """The facts as plain values; what cannot be found out says why."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": package_versions(),
        "devices": _devices(session),
        "daemon": _daemon(session),
        "weights": [weight_values(status) for status in open_store(session).list()],
        "state_dir": str(session.state_dir),
        "ocio": session.color_config(),
    }


def _devices(session: CliSession) -> list[dict[str, Any]]:
    command = [sys.executable, "-P", "-c", _PROBE]
    try:
        answer = subprocess.run(
            command, env=dict(session.environ), capture_output=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        return list(json.loads(answer.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return [{"name": "none", "problem": "torch cannot be loaded; install the core extra of dfl-compositor"}]


def _daemon(session: CliSession) -> dict[str, Any]:
    try:
        with session.connect() as client:
            return {"running": True, **message_values(client.server_info())}
    except DflError as error:
        return {"running": False, "reason": error.reason, "message": error.message}


def _show(session: CliSession, facts: dict[str, Any]) -> None:
    show = session.output.result
    show(f"dfl {facts['version']}, Python {facts['python']}, {facts['system']}")
    show(
        "packages:  "
        + ", ".join(f"{name} {version or '(not installed)'}" for name, version in facts["packages"].items())
    )
    for device in facts["devices"]:
        show(
            "device:    "
            + ", ".join(f"{value}" if key == "name" else f"{key} {value}" for key, value in device.items())
        )
    daemon = facts["daemon"]
    show("daemon:    " + (f"{daemon['address']}, process {daemon['pid']}" if daemon["running"] else daemon["message"]))
    here = [weight["name"] for weight in facts["weights"] if weight["state"] != "missing"]
    absent = [weight["name"] for weight in facts["weights"] if weight["state"] == "missing"]
    show(f"weights:   {', '.join(here) or 'none'}" + (f" (not here: {', '.join(absent)})" if absent else ""))
    show(f"state:     {facts['state_dir']}")
    show(f"OCIO:      {facts['ocio'] or 'not set, the built-in config is used'}")
