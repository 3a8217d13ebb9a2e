"""The real daemon with pretended workers, as a process of its own: ``fake_daemon.py <setting>=<value>...``."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from dflcore.errors import DflError
from dfldaemon.server import Daemon, serve
from dfldaemon.settings import daemon_settings

WORKER = Path(__file__).with_name("fake_worker.py")
FRAME_WORKER = Path(__file__).with_name("fake_frame_worker.py")

if __name__ == "__main__":
    settings = daemon_settings(dict(argument.split("=", 1) for argument in sys.argv[1:]), os.environ)
    try:
        commands = ((sys.executable, "-P", str(program)) for program in (WORKER, FRAME_WORKER))
        asyncio.run(serve(Daemon(settings, **dict(zip(("worker_command", "frame_command"), commands, strict=True)))))
    except DflError as error:
        sys.exit(error.message)
