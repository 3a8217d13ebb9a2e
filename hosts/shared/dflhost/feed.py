"""How a job stands, and the queue between whoever watches it and the interface."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .errors import HostError
from .events import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    PAUSED,
    QUEUED,
    RUNNING,
    SENDING,
    SUCCEEDED,
    BytesSent,
    ConnectionChanged,
    Event,
    FramesDone,
    StateChanged,
    TrainingStep,
)

MAX_EVENTS = 10_000
"""Events kept for a host that takes none; beyond it the oldest that change no state are forgotten."""
_VERBS = {
    "extract": "Extracting",
    "train": "Training",
    "merge": "Merging",
    "train_mask": "Training",
    "train_detail": "Training",
    "import_model": "Importing",
    "export_model": "Exporting",
    "qc": "Measuring",
    "send": "Sending",
}
_WORDS = {SENDING: "Sending", SUCCEEDED: "Done", FAILED: "Failed", CANCELLED: "Cancelled"}


@dataclass(frozen=True)
class JobStatus:
    """A job as it stood when this was asked for.

    Attributes:
        state: one of :mod:`dflhost.events`'s: ``SENDING``, ``QUEUED``, ``RUNNING``, ``PAUSED``, ``SUCCEEDED``,
            ``FAILED``, ``CANCELLED``.
        done, total: frames, or iterations of a training, or MB of files that are sent; total 0 where it has no end.
        elapsed_s, target_s: of a training; target 0 where it has no such end.
        stage: what is done to the frames, where a job goes over them more than once.
        ahead: jobs that go before it while it waits.
        frame: last finished frame.
        losses: of a training, the latest.
        error: why it failed. connection_error: why the daemon cannot be asked at the moment.
        result: counts and paths once it has succeeded, the workstation's: ``output`` is the pattern of merged frames
            with the version filled in, ``manifest`` the file beside them.
        is_stopping: a cancel or pause is on its way.
    """

    kind: str
    id: str
    state: str
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0
    target_s: float = 0.0
    stage: str = ""
    ahead: int = 0
    frame: int | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    error: HostError | None = None
    connection_error: HostError | None = None
    result: Mapping[str, str] = field(default_factory=dict)
    is_stopping: bool = False

    @property
    def is_ended(self) -> bool:
        """It succeeded, failed or was cancelled."""
        return self.state in ENDED_STATES

    @property
    def fraction(self) -> float:
        """0 to 1 for a progress bar; 0 where the end is unknown."""
        if self.state == SUCCEEDED:
            return 1.0
        shares = [self.done / self.total] if self.total else []
        shares += [self.elapsed_s / self.target_s] if self.target_s else []
        return min(max(shares, default=0.0), 1.0)

    @property
    def text(self) -> str:
        """What to show, the same in all hosts: ``Queued (2 ahead)``, ``Merging 12/48``, ``Done``, ``Failed``..."""
        if self.state in _WORDS:
            return _WORDS[self.state]
        words = f"Queued ({self.ahead} ahead)" if self.ahead else "Queued"
        if self.state in (RUNNING, PAUSED):
            verb = _VERBS.get(self.kind, "Working")
            verb = "Paused" if self.state == PAUSED else "Stopping" if self.is_stopping else verb
            count = f" {self.done}/{self.total}" if self.total else f" {self.done}" if self.done else ""
            words = verb + count + (f" ({self.stage})" if self.stage else "")
        return f"{words}, not connected" if self.connection_error is not None else words


class Feed:
    """A status and a queue of events: one side puts, the interface takes. Any thread may use it."""

    def __init__(self, status: JobStatus) -> None:
        self._status = status
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._is_quiet = False

    @property
    def status(self) -> JobStatus:
        """How it stands. Never waits."""
        return self._status

    def events(self) -> list[Event]:
        """What has happened since the last time, oldest first; empty when nothing has. Never waits.

        Called by the host's timer. The last one of an ended job is a ``StateChanged``.
        """
        with self._changed:
            taken = list(self._events)
            self._events.clear()
        return taken

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None when none came in time, or no more will come."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._events:
                left = None if end is None else end - time.monotonic()
                if self._is_quiet or (left is not None and left <= 0):
                    return None
                self._changed.wait(left)
            return self._events.popleft()

    def follow(self) -> Iterator[Event]:
        """All events until the job has ended or is detached; waits for each."""
        while True:
            event = self.next_event()
            if event is None:
                return
            yield event

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until it has ended, and say how; as it stands when the time is over. Events stay in the queue."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_quiet, timeout_s)
            return self._status

    def _put(self, event: Event) -> None:
        with self._changed:
            self._status = _after(self._status, event)
            self._events.append(event)
            if len(self._events) > MAX_EVENTS:
                oldest = next((one for one in self._events if not isinstance(one, StateChanged)), None)
                if oldest is not None:
                    self._events.remove(oldest)
            self._changed.notify_all()

    def _be_quiet(self) -> None:
        """No more events will come."""
        with self._changed:
            self._is_quiet = True
            self._changed.notify_all()


def _after(status: JobStatus, event: Event) -> JobStatus:
    """The status once an event has happened."""
    if isinstance(event, StateChanged):
        stops = status.is_stopping and event.state == RUNNING
        ahead = status.ahead if event.state == QUEUED else 0
        return replace(
            status, state=event.state, error=event.error, result=event.result, is_stopping=stops, ahead=ahead
        )
    if isinstance(event, FramesDone):
        frame = status.frame if event.frame is None else event.frame
        return replace(status, done=event.done, total=event.total, stage=event.stage, frame=frame)
    if isinstance(event, BytesSent):
        return _after_bytes(status, event)
    if isinstance(event, TrainingStep):
        return replace(
            status,
            done=event.iteration,
            total=event.target_iterations or 0,
            elapsed_s=event.elapsed_s,
            target_s=event.target_s or 0.0,
            losses=event.losses,
        )
    if isinstance(event, ConnectionChanged):
        return replace(status, connection_error=event.error)
    return status


def _after_bytes(status: JobStatus, event: BytesSent) -> JobStatus:
    """Of files that are sent for their own sake the count is MB; before a job's first frame they are a stage of it."""
    done, total = event.done_bytes // 1_000_000, max(-(-event.total_bytes // 1_000_000), 1)
    if status.kind != "send":
        return replace(status, stage=f"{event.stage} {done} of {total} MB")
    return replace(status, done=done, total=total, stage="MB" if event.stage == "sending" else event.stage)
