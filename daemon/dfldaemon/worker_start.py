"""Starting a process that talks to the daemon over a socket of its own; its end is :mod:`dfldaemon.worker_channel`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence


async def start_worker(
    command: Sequence[str], *, limit: int
) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader, asyncio.StreamWriter]:
    """A process with a session of its own, and the daemon's end of its channel. What it prints is thrown away.

    Args:
        command: program and arguments; ``--channel=<descriptor>`` is added.
        limit: of a line, in bytes.

    Raises:
        OSError: it could not be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                f"--channel={theirs.fileno()}",
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=limit)
    return process, reader, writer
