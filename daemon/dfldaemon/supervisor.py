"""One worker process from its start to its end: what it reports, how it is asked to stop, and why it was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from dflcore.errors import DflError, Internal, ResourceExhausted
from dflcore.progress import Event, StopRequest
from dfldaemon.jobs import ErrorReport, JobKind, StateChange, Work, memory_advice
from dfldaemon.worker_protocol import (
    EXIT_TERMINATED,
    MAX_LINE_BYTES,
    WorkerLimits,
    decode_line,
    encode_line,
    event_from_json,
    work_to_json,
)

logger = logging.getLogger(__name__)

TERMINATE_GRACE_S = 5.0
"""Between SIGTERM and SIGKILL."""
EXIT_GRACE_S = 20.0
"""For a worker to leave after it closed its channel."""
DRAIN_S = 2.0
"""To read what a worker wrote before it left."""
MAX_LOG_BYTES = 20 * 1024 * 1024
"""A job's log that is longer is started anew with the next attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How workers are run.

    Attributes:
        command: program and arguments; ``--channel=<descriptor>`` is added.
        stop_grace_s: to save when asked to stop.
        hang_timeout_s: without any line. stall_timeout_s: without a finished frame or step.
    """

    command: Sequence[str]
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    stop_grace_s: float = 60.0
    hang_timeout_s: float = 300.0
    stall_timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It did all that was asked."""

    result: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stopped:
    """It left because it was asked to; ``forced`` when it had to be ended and may not have saved."""

    forced: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """It reported an error; trying again would end the same way."""

    error: ErrorReport


@dataclass(frozen=True, slots=True)
class Lost:
    """It was killed, crashed or hung; what it saved is good, and it may go on from there."""

    error: ErrorReport


Outcome = Succeeded | Stopped | Failed | Lost


class Supervisor:
    """Runs one worker.

    Args:
        options: how.
        work: what it is told to do.
        log_path: file for what it prints; it is appended to.
        on_event: told of every event, in the event loop.
    """

    def __init__(self, options: WorkerOptions, work: Work, log_path: Path, on_event: Callable[[Event], None]) -> None:
        self._options = options
        self._work = work
        self._log_path = log_path
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._last_sign = self._last_step = time.monotonic()
        self._stop: StopRequest | None = None
        self._stop_deadline: float | None = None
        self._was_ended = False
        self._doom: DflError | None = None
        self._last_line: dict[str, Any] | None = None

    @property
    def stop_request(self) -> StopRequest | None:
        """What the worker was asked for."""
        return self._stop

    def stop(self, request: StopRequest) -> None:
        """Ask the worker to save and leave; a later request replaces an earlier one, the grace runs from the first."""
        self._stop = request
        if self._stop_deadline is None:
            self._stop_deadline = time.monotonic() + self._options.stop_grace_s
        if self._writer is not None:
            self._send({"type": "stop", "request": request.value})

    async def run(self) -> Outcome:
        """Start the worker and stay with it until it is gone."""
        try:
            reader = await self._start()
        except OSError as error:
            reason = f"A worker process could not be started: {error}."
            return Failed(ErrorReport.of(ResourceExhausted(reason, reason="WORKER_NOT_STARTED")))
        assert self._process is not None
        watchdog = asyncio.create_task(self._watch())
        reading = asyncio.create_task(self._read(reader))
        leaving = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({reading}, timeout=DRAIN_S)  # its children may hold the channel open
            await asyncio.wait({leaving}, timeout=EXIT_GRACE_S)
        finally:
            watchdog.cancel()
            self._signal(signal.SIGKILL)  # also whatever it started and left behind
            await leaving
            reading.cancel()
            await self._close()
        return self._outcome(self._process.returncode or 0)

    async def _start(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        with theirs, _open_log(self._log_path) as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._options.command,
                    f"--channel={theirs.fileno()}",
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        self._last_sign = self._last_step = time.monotonic()
        self._send({"type": "start", "work": work_to_json(self._work), "limits": asdict(self._options.limits)})
        if self._stop is not None:
            self._send({"type": "stop", "request": self._stop.value})
        return reader

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Lines until the worker closes its end."""
        try:
            while line := await reader.readline():
                self._last_sign = time.monotonic()
                self._take(decode_line(line))
        except (DflError, KeyError, ValueError) as error:  # ValueError: the line is too long
            logger.exception("a worker sent nonsense", extra={"pid": self._process and self._process.pid})
            self._doom = Internal(f"The worker process sent something unreadable: {error}.", reason="BAD_WORKER_LINE")
            self._signal(signal.SIGKILL)
        except ConnectionError:
            logger.debug("a worker dropped its channel")

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "event":
            body = event_from_json(message["event"])
            if isinstance(body, StateChange):
                raise Internal("A worker cannot change the state of its job.", reason="BAD_EVENT")
            self._last_step = time.monotonic()
            self._on_event(body)
        elif kind == "heartbeat":
            self._last_step = max(self._last_step, time.monotonic() - float(message["idle_s"]))
        else:
            self._last_line = message

    async def _watch(self) -> None:
        """End a worker that hangs, stalls, or does not stop in time."""
        pause = min(1.0, self._options.hang_timeout_s / 4, self._options.stop_grace_s / 4)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            if self._stop_deadline is not None and now > self._stop_deadline:
                self._was_ended = True
                await self._end()
            elif now - self._last_sign > self._options.hang_timeout_s:
                await self._end_lost("gave no sign of life", "WORKER_HUNG", self._options.hang_timeout_s)
            elif now - self._last_step > self._options.stall_timeout_s:
                await self._end_lost("finished no frame or step", "WORKER_STALLED", self._options.stall_timeout_s)

    async def _end_lost(self, what: str, reason: str, seconds: float) -> None:
        self._doom = Internal(f"The worker process {what} for {seconds:g} s and was ended.", reason=reason)
        await self._end()

    async def _end(self) -> None:
        self._signal(signal.SIGTERM)
        await asyncio.sleep(TERMINATE_GRACE_S)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """To the worker and everything it started: it leads a process group of its own."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _send(self, message: Mapping[str, object]) -> None:
        assert self._writer is not None
        if not self._writer.is_closing():
            self._writer.write(encode_line(message))

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _outcome(self, exit_code: int) -> Outcome:
        """The worker's last line is the truth; without one, the way it ended."""
        last = self._last_line or {}
        if last.get("type") == "succeeded":
            return Succeeded({str(name): str(value) for name, value in last.get("result", {}).items()})
        if last.get("type") == "stopped" and self._stop is not None:
            return Stopped()
        if last.get("type") == "failed":
            report = ErrorReport(**last["error"])
            return Failed(self._with_log(report) if report.category == Internal.default_reason else report)
        if self._was_ended:
            return Stopped(forced=True)
        if self._doom is not None:
            return Lost(self._with_log(ErrorReport.of(self._doom)))
        error = self._with_log(ErrorReport.of(explain_exit(exit_code, self._work.kind)))
        return Lost(error) if exit_code < 0 or exit_code == EXIT_TERMINATED else Failed(error)

    def _with_log(self, report: ErrorReport) -> ErrorReport:
        return replace(report, details={**report.details, "log_path": str(self._log_path)})


def explain_exit(exit_code: int, kind: JobKind) -> DflError:
    """What an exit code means to a person, for a worker that left without saying why."""
    if exit_code == -signal.SIGKILL:
        return ResourceExhausted(
            f"The worker process was killed, probably because the machine ran out of memory. {memory_advice(kind)}.",
            reason="WORKER_KILLED",
            exit_code=exit_code,
        )
    if exit_code == EXIT_TERMINATED:
        return ResourceExhausted(
            "The worker process was told to end by another program (SIGTERM), perhaps one that guards the memory. "
            f"{memory_advice(kind)}.",
            reason="WORKER_TERMINATED",
        )
    if exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else str(-exit_code)
        return Internal(
            f"The worker process crashed ({name}). Its log says what it did last; please report it.",
            reason="WORKER_CRASHED",
            exit_code=exit_code,
        )
    return Internal(
        f"The worker process ended with code {exit_code} and did not say why; see its log.",
        reason="WORKER_FAILED",
        exit_code=exit_code,
    )


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_long = path.exists() and path.stat().st_size > MAX_LOG_BYTES
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if is_long else os.O_APPEND)
    return os.fdopen(os.open(path, flags, 0o600), "wb")
