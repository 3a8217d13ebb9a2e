"""The worker's end of its channel to the daemon, and what binds its life to the daemon's. Standard library only."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from dfldaemon.worker_protocol import EXIT_ORPHANED, decode_line, encode_line

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
"""prctl(2), Linux."""


class Channel:
    """Lines to and from the daemon; sending is safe from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._sending = threading.Lock()

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Channel:
        """The channel named by ``--channel=<descriptor>``; processes started from here do not inherit it."""
        parser = argparse.ArgumentParser(description="A worker of the dfl daemon; the daemon starts it.")
        parser.add_argument("--channel", type=int, required=True, help="descriptor of a connected socket")
        descriptor = parser.parse_args(arguments).channel
        os.set_inheritable(descriptor, False)
        return cls(socket.socket(fileno=descriptor))

    def send(self, message: Mapping[str, object]) -> None:
        """One line. A daemon that is gone is not an error here: whoever reads the channel ends the process."""
        line = encode_line(message)
        try:
            with self._sending:
                self._connection.sendall(line)
        except OSError:
            return

    def receive(self) -> dict[str, Any] | None:
        """The next line, or None when the daemon is gone."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return decode_line(line) if line else None

    def finish(self) -> None:
        """Nothing more will be sent."""
        with self._sending:
            try:
                self._connection.shutdown(socket.SHUT_WR)
            except OSError:
                return


def die_with_parent() -> None:
    """Be killed when the daemon dies, however it dies. Elsewhere than on Linux the closed channel does it."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died between the two lines
        os._exit(EXIT_ORPHANED)


def name_process(name: str) -> None:
    """What ``ps`` and ``top`` show."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
