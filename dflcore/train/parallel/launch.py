"""Starts the processes of a training group on this machine, stays with them, and starts them anew when one is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dflcore.errors import DflError, Internal, ResourceExhausted
from dflcore.progress import Event, Notice, RunControl, Saved, StopRequest
from dflcore.train.parallel.lost import GROUP_LOST
from dflcore.train.parallel.member import CHANNEL_FLAG, UNEXPECTED
from dflcore.train.parallel.place import LOOPBACK, Place
from dflcore.train.parallel.wire import LineReader, encode_line, error_from_json, event_from_json

logger = logging.getLogger(__name__)

RESTARTS = 3
"""In a row, without a save between them."""
PATIENCE_S = 10.0
"""For the others to leave by themselves, after a save that was under way, once one process is lost."""
LEAVING_S = 3.0
"""Between a process closing its channel and its end."""
POLL_S = 0.1
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)


@dataclass(slots=True)
class _Member:
    """A process that was started."""

    rank: int
    process: subprocess.Popen[bytes]
    reader: LineReader
    result: dict[str, Any] | None = None
    error: DflError | None = None
    ended_at: float | None = None
    has_hung_up: bool = False

    @property
    def is_done(self) -> bool:
        return self.result is not None

    def is_lost(self) -> bool:
        """Whether it left, or is about to, without its work being done; remembers when that was first seen."""
        if not self.is_done and self.ended_at is None and self.process.poll() is not None:
            self.ended_at = time.monotonic()
        return self.error is not None or self.ended_at is not None


def run_processes(
    worker: Sequence[str],
    processes: int,
    task: Mapping[str, Any],
    control: RunControl,
    *,
    restarts: int = RESTARTS,
    threads: int | None = None,
) -> dict[str, Any]:
    """Run a group on this machine until its work is done; answers with the lead's result.

    A process that is killed or crashes takes the group down with it, which is then started anew and goes on from what
    it saved last. An error that a process reports would come again, so it ends the run.

    Args:
        worker: program and arguments of a process that calls :func:`dflcore.train.parallel.member.run_member`.
        processes: on this machine.
        task: plain values, sent to each.
        control: hears the lead's events, and is asked whether to stop as often as the lead's work asks.
        restarts: most in a row without a save between them.
        threads: of the CPU, for each process; by default those of this process are shared out.

    Returns:
        What the work of rank 0 returned.

    Raises:
        DflError: what a process reported.
        ResourceExhausted, Internal: a process was lost once too often.
    """
    lost_in_a_row = 0
    attempt = 0
    while True:
        with tempfile.TemporaryDirectory(prefix="dfl-group-") as folder:  # only the user can enter it
            places = _places(processes, Path(folder), attempt)
            group = _Group(worker, task, control, places, threads or fair_threads(processes))
            failure = group.run()
        if failure is None:
            return group.result
        if not failure.is_lost or group.stop is not None:
            raise failure.error
        lost_in_a_row = 1 if group.has_saved else lost_in_a_row + 1
        if lost_in_a_row > restarts:
            raise failure.error
        attempt += 1
        control.emit(
            Notice(
                message=f"{failure.error.message} Training goes on from the last save "
                f"(restart {lost_in_a_row} of {restarts}).",
                reason="TRAINING_RESTARTED",
                details={"restart": str(lost_in_a_row), "cause": failure.error.reason},
            )
        )


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a group ended; ``is_lost`` when another try may succeed."""

    error: DflError
    is_lost: bool


def _places(processes: int, folder: Path, attempt: int) -> list[Place]:
    return [
        Place(
            rank=rank,
            world=processes,
            local_rank=rank,
            local_world=processes,
            store_path=str(folder / "meeting"),
            address=LOOPBACK,
            attempt=attempt,
        )
        for rank in range(processes)
    ]


@dataclass(slots=True)
class _Group:
    """One attempt: its processes from start to end."""

    worker: Sequence[str]
    task: Mapping[str, Any]
    control: RunControl
    places: Sequence[Place]
    threads: int
    stop: StopRequest | None = None
    has_saved: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    _members: list[_Member] = field(default_factory=list)
    _is_lead_awake: bool = False
    _told: set[tuple[str, str]] = field(default_factory=set)

    def run(self) -> _Failure | None:
        """Stay with the processes until all are gone; None when the work is done."""
        try:
            self._start()
            with selectors.DefaultSelector() as selector:
                for member in self._members:
                    selector.register(member.reader.channel, selectors.EVENT_READ, member)
                self._watch(selector)
        except OSError as error:
            reason = f"A training process could not be started: {error}."
            return _Failure(ResourceExhausted(reason, reason="WORKER_NOT_STARTED"), is_lost=False)
        finally:
            self._end()
        return self._failure()

    def _start(self) -> None:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(self.threads))}
        for place in self.places:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    process = subprocess.Popen(
                        [*self.worker, f"{CHANNEL_FLAG}{theirs.fileno()}"],
                        env={**environment, **place.environment()},
                        pass_fds=(theirs.fileno(),),
                        stdin=subprocess.DEVNULL,
                    )
                except OSError:
                    ours.close()
                    raise
            self._members.append(_Member(place.rank, process, LineReader(ours)))
            with contextlib.suppress(OSError):  # it died at once; its exit code says why
                ours.sendall(encode_line({"type": "start", "task": dict(self.task)}))
            ours.setblocking(False)

    def _watch(self, selector: selectors.BaseSelector) -> None:
        """Until all processes are gone, or one is lost and the others had time to leave."""
        deadline: float | None = None
        open_channels = len(self._members)
        while open_channels:
            for key, _ in selector.select(POLL_S):
                if not self._read(key.data):
                    selector.unregister(key.fileobj)
                    key.data.has_hung_up = True
                    open_channels -= 1
            self._pass_stop_on()
            now = time.monotonic()
            lost = [member for member in self._members if member.is_lost()]  # looks at each, to remember when
            if lost and deadline is None:
                deadline = now + PATIENCE_S
            if deadline is not None and now > deadline:
                return

    def _read(self, member: _Member) -> bool:
        """Take what a process sent; False at the end."""
        try:
            messages, is_here = member.reader.read()
            for message in messages:
                self._take(member, message)
        except DflError as error:
            member.error = error
            return False
        return is_here

    def _take(self, member: _Member, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "event":
            self._pass_event_on(event_from_json(message["event"]))
        elif kind == "asked":
            self._is_lead_awake = True
        elif kind == "done":
            member.result = message["result"]
            if member.rank == 0:
                self.result = message["result"]
        elif kind == "failed":
            member.error = error_from_json(message["error"])

    def _pass_event_on(self, event: Event) -> None:
        if isinstance(event, Saved):
            self.has_saved = True
        if isinstance(event, Notice):
            if (event.reason, event.message) in self._told:  # every process may have noticed it
                return
            self._told.add((event.reason, event.message))
        self.control.emit(event)

    def _pass_stop_on(self) -> None:
        """Ask only as often as the lead asks: whoever runs us takes the question for a sign that steps are done."""
        if self.stop is not None or not self._is_lead_awake:
            return
        self._is_lead_awake = False
        self.stop = self.control.stop_requested()
        if self.stop is not None:
            with contextlib.suppress(OSError):
                self._members[0].reader.channel.sendall(encode_line({"type": "stop", "request": self.stop.value}))

    def _end(self) -> None:
        """Nobody is left behind, whatever happened."""
        for member in self._members:
            if member.has_hung_up and not member.is_done:  # it is on its way out, and its exit code tells why
                with contextlib.suppress(subprocess.TimeoutExpired):
                    member.process.wait(LEAVING_S)
            if not member.is_done:
                member.is_lost()
                member.process.kill()
        for member in self._members:
            with contextlib.suppress(subprocess.TimeoutExpired):
                member.process.wait(PATIENCE_S)  # one that is done only has to leave
            member.process.kill()
            member.process.wait()
            member.reader.channel.close()

    def _failure(self) -> _Failure | None:
        """The cause among what the processes say: their fellows' end is only a consequence."""
        if all(member.is_done for member in self._members):
            return None
        reported = [member.error for member in self._members if member.error is not None]
        causes = [error for error in reported if error.reason not in (GROUP_LOST, UNEXPECTED)]
        if causes:
            return _Failure(causes[0], is_lost=False)
        silent = [member for member in self._members if not member.is_done and member.ended_at is not None]
        silent = [member for member in silent if member.error is None]
        if silent:
            first = min(silent, key=lambda member: member.ended_at or 0.0)
            return _Failure(_explain_exit(first, len(self.places)), is_lost=True)
        defects = [error for error in reported if error.reason == UNEXPECTED]
        if defects:
            return _Failure(defects[0], is_lost=False)
        return _Failure(reported[0], is_lost=True)


def _explain_exit(member: _Member, count: int) -> DflError:
    """What an exit code means to a person, for a process that left without saying why."""
    who = f"Training process {member.rank + 1} (of {count} on this machine)"
    code = member.process.returncode
    if code in _KILLED:
        return ResourceExhausted(
            f"{who} was killed, perhaps because the machine ran out of memory.",
            reason="WORKER_KILLED",
            rank=member.rank,
            exit_code=code,
        )
    how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code} and did not say why"
    return Internal(f"{who} {how}; the log says more.", reason="WORKER_CRASHED", rank=member.rank, exit_code=code)


def fair_threads(processes: int) -> int:
    """The CPU's threads, or those that this process was allowed, shared out evenly."""
    for variable in THREAD_VARIABLES:
        if os.environ.get(variable, "").isdecimal():
            allowed = int(os.environ[variable])
            break
    else:
        allowed = len(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else os.cpu_count() or 1
    return max(1, allowed // processes)
