"""A process of a training group: where it comes from, whom it answers to, and how it ends.

Started by our launcher or by its agent it has a channel: its task comes from there, and its events and its end go
there. Started by torchrun it has none: its task comes from its own command line, and what it says goes to its log.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dflcore.errors import DflError, Internal, ResourceExhausted
from dflcore.progress import Event, LoggedRun, Notice, RunControl, StopRequest, TrainProgress
from dflcore.train.parallel.lost import GROUP_LOST
from dflcore.train.parallel.place import STORE_VARIABLE
from dflcore.train.parallel.wire import decode_line, encode_line, error_to_json, event_to_json

logger = logging.getLogger(__name__)

CHANNEL_FLAG = "--channel="
"""A descriptor, or the path of the launcher's socket where an agent stands between."""
EXIT_FAILED = 1
EXIT_LEFT = 3
"""It saved and left before the training was over; an agent starts it anew."""
EXIT_ORPHANED = 16
UNEXPECTED = "UNEXPECTED"
"""Reason of an error that nobody raised on purpose."""
ASKED_INTERVAL_S = 0.25
"""The launcher is told this rarely that the work is between two steps."""
_PR_SET_PDEATHSIG = 1
"""prctl(2), Linux."""

Work = Callable[[Mapping[str, Any], RunControl], Mapping[str, object]]
"""The task's plain values → the result's."""


class ChannelControl:
    """The work's :class:`RunControl` over a launcher's channel.

    Only the lead is asked to stop, and only its events are told; from the others only notices are, of faces that only
    they have seen.
    """

    def __init__(self, channel: socket.socket, *, is_lead: bool) -> None:
        self._channel = channel
        self._is_lead = is_lead
        self._lines = channel.makefile("rb")
        self._sending = threading.Lock()
        self._request: StopRequest | None = None
        self._last_asked = 0.0
        self._is_finished = False

    def save_when_terminated(self) -> None:
        """From now on SIGTERM, by which an agent begins another group, has the lead save, and all leave with it.

        The others wait for its word: a step takes all of them. Until here the signal ends the process at once.
        """
        signal.signal(signal.SIGTERM, self._terminate if self._is_lead else signal.SIG_IGN)

    def receive_task(self) -> Mapping[str, Any]:
        """The first line; from then on the channel is watched. The process ends with whoever started it."""
        line = self._lines.readline()
        if not line:
            os._exit(EXIT_ORPHANED)
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        task: Mapping[str, Any] = decode_line(line)["task"]
        return task

    def greet(self) -> None:
        """Say which process this is, to a launcher that did not start it itself."""
        group = Path(os.environ.get(STORE_VARIABLE, "")).name
        self._send({"type": "hello", "rank": int(os.environ.get("RANK", "0")), "group": group})

    def emit(self, event: Event) -> None:
        if self._is_lead or isinstance(event, Notice):
            self._send({"type": "event", "event": event_to_json(event)})

    def stop_requested(self) -> StopRequest | None:
        now = time.monotonic()
        if self._is_lead and now - self._last_asked > ASKED_INTERVAL_S:
            self._last_asked = now
            self._send({"type": "asked"})
        return self._request

    def finish(self, message: Mapping[str, object]) -> None:
        """The last line."""
        self._is_finished = True
        self._send(message)

    def _send(self, message: Mapping[str, object]) -> None:
        try:
            with self._sending:
                self._channel.sendall(encode_line(message))
        except OSError:  # the thread that listens ends the process
            return

    def _terminate(self, *_: object) -> None:
        self._request = self._request or StopRequest.SHUTDOWN

    def _listen(self) -> None:
        try:
            while line := self._lines.readline():
                message = decode_line(line)
                if message["type"] == "stop":
                    self._request = StopRequest(message["request"])
        except OSError:
            logger.debug("the channel broke")
        if not self._is_finished:
            os._exit(EXIT_ORPHANED)


class SignalControl(LoggedRun):
    """A run without a launcher of ours: it logs, and SIGTERM or SIGINT ask it to save and leave."""

    def __init__(self) -> None:
        self._request: StopRequest | None = None
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def emit(self, event: Event) -> None:
        if isinstance(event, TrainProgress):
            losses = "  ".join(f"{name} {value:.4f}" for name, value in event.losses.items())
            logger.info("iteration %d  %s  %.0f ms", event.iteration, losses, event.step_ms)
        else:
            super().emit(event)

    def stop_requested(self) -> StopRequest | None:
        return self._request

    def _stop(self, *_: object) -> None:
        self._request = StopRequest.SHUTDOWN


def run_member(work: Work, arguments: Sequence[str]) -> int:
    """Do the work the launcher sends; answers with the exit code. Every error ends here.

    Args:
        arguments: of the command line; ``--channel=`` is among them, see :data:`CHANNEL_FLAG`.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the launcher asks the lead to stop
    where = next(one for one in arguments if one.startswith(CHANNEL_FLAG)).removeprefix(CHANNEL_FLAG)
    has_agent = not where.isdecimal()
    control = ChannelControl(_channel(where), is_lead=os.environ.get("RANK", "0") == "0")
    if has_agent:
        control.greet()
    task = control.receive_task()
    try:
        result = work(task, control)
    except DflError as error:
        if error.reason == GROUP_LOST:
            logger.warning("%s (%s)", error.message, error.details.get("cause"))
        else:
            logger.exception("a training process failed")
        control.finish({"type": "failed", "error": error_to_json(error)})
        return EXIT_FAILED
    except (Exception, MemoryError) as error:
        logger.exception("a training process failed")
        control.finish({"type": "failed", "error": error_to_json(explain(error))})
        return EXIT_FAILED
    control.finish({"type": "done", "result": dict(result)})
    return EXIT_LEFT if has_agent and result.get("stopped") else 0


def _channel(where: str) -> socket.socket:
    """The launcher's, by its descriptor or path; without a launcher the process ends."""
    if where.isdecimal():
        os.set_inheritable(int(where), False)
        return socket.socket(fileno=int(where))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(where)
    except OSError:
        os._exit(EXIT_ORPHANED)
    return channel


def explain(error: BaseException) -> DflError:
    """What an exception that nobody raised on purpose means to a person."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return ResourceExhausted(
            "A training process ran out of memory. Lower batch_size or resolution, or train with fewer processes.",
            reason="OUT_OF_MEMORY",
            field="batch_size",
        )
    return Internal(
        f"A training process failed in an unexpected way ({type(error).__name__}: {error}). The log has the details; "
        "please report it.",
        reason=UNEXPECTED,
        exception=type(error).__name__,
    )


def die_with_parent() -> None:
    """Be killed when the launcher dies, however it dies. Elsewhere than on Linux the closed channel does it."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died between the two lines
        os._exit(EXIT_ORPHANED)


def leave(exit_code: int) -> None:
    """End now: everything is written, and taking a group down whose processes end one by one may hang."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
