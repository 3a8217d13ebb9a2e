"""A job of the daemon as a host holds it: submitted, watched and cancelled without making the interface wait."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .calls import Answers, Caller, error_of_message
from .errors import HostError
from .events import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    QUEUED,
    RUNNING,
    SENDING,
    ConnectionChanged,
    Event,
    Note,
    PreviewReady,
    StateChanged,
    event_of,
    result_of,
    state_of,
)
from .feed import Feed, JobStatus
from .paths import PathMap
from .tasks import Task

__all__ = ["Job", "JobStatus", "status_of_job"]
EXTRACT, TRAIN, MERGE, CURATE, TRAIN_MASK, TRAIN_DETAIL, IMPORT_MODEL, EXPORT_MODEL, QC = (
    "extract",
    "train",
    "merge",
    "curate",
    "train_mask",
    "train_detail",
    "import_model",
    "export_model",
    "qc",
)
"""Kinds of jobs, as the fields of ``JobSpec`` are called."""
QUEUE_POLL_S = 2.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 5.0
_LOST_CODES = frozenset({1, 14, 16})
"""Of a watch that may go on: CANCELLED, UNAVAILABLE, UNAUTHENTICATED (the daemon was restarted)."""


class Job(Feed):
    """A job. Made by a session's ``submit_*`` and ``attach``; a thread of its own submits and watches it.

    Nothing here waits but :meth:`next_event`, :meth:`follow` and :meth:`wait`, which are for scripts and tests. Events
    survive a lost connection and a restarted daemon: none is lost or told twice. Closing the host does not touch the
    job; store :attr:`reference` in the scene and ``session.attach`` finds it again.

    Args:
        caller: of the session. paths: workstation ↔ daemon. reconnect_s: see ``ConnectionSettings``.
        spec: of a job to be submitted, as a ``JobSpec``; None for one the daemon has.
        job_id, after_sequence: of one it has, and the last event seen.
        bring: copies a picture of a daemon on another machine; answers with its path here. May wait.
    """

    def __init__(
        self,
        caller: Caller,
        paths: PathMap,
        *,
        kind: str = "",
        spec: Mapping[str, Any] | None = None,
        request_id: str = "",
        job_id: str = "",
        after_sequence: int = 0,
        reconnect_s: float = 20.0,
        deadline_s: float = 10.0,
        bring: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(JobStatus(kind, job_id, SENDING if spec is not None else QUEUED))
        self._caller = caller
        self._paths = paths
        self._spec = spec
        self._request_id = request_id or uuid.uuid4().hex
        self._sequence = after_sequence
        self._reconnect_s = reconnect_s
        self._deadline_s = deadline_s
        self._bring = bring
        self._is_detached = threading.Event()
        self._wants_cancel = False
        self._answers: Answers | None = None
        self._tasks: list[Task[None]] = []
        self._next_poll = 0.0
        self._thread = self._start()

    @property
    def id(self) -> str:
        """Given by the daemon; empty until it has answered."""
        return self._status.id

    @property
    def kind(self) -> str:
        """``extract``, ``train``, ``merge``..."""
        return self._status.kind

    @property
    def request_id(self) -> str:
        """Ours; a submission that is sent again with it does not double the job."""
        return self._request_id

    @property
    def reference(self) -> str:
        """What to store in the scene: id and the last event seen; empty until the daemon has answered."""
        return f"{self.id}@{self._sequence}" if self.id else ""

    def events(self) -> list[Event]:
        """What has happened since the last time, oldest first; empty when nothing has. Never waits.

        Called by the host's timer. The last one of an ended job is a ``StateChanged``.
        """
        taken = super().events()
        self._ask_for_place()
        return taken

    def cancel(self) -> None:
        """Ask it to stop at the next frame or step; what is finished is kept. Returns at once.

        A job that was not yet sent is not sent. What the daemon answers comes as an event.
        """
        with self._changed:
            self._wants_cancel = True
            if not self._status.is_ended:
                self._status = replace(self._status, is_stopping=True)
        if self.id and not self._status.is_ended:
            self._command("CancelJob")

    def pause(self) -> None:
        """Ask it to save and give the device free. Returns at once."""
        if self.id:
            self._command("PauseJob")

    def resume(self) -> None:
        """Put a paused job back into the queue. Returns at once."""
        if self.id:
            self._command("ResumeJob")

    def retry(self) -> None:
        """Put a failed or cancelled job back into the queue; finished frames are kept. Returns at once."""
        if self.id:
            with self._changed:
                self._wants_cancel = self._is_quiet = False
            self._command("RetryJob")

    def detach(self) -> None:
        """Stop watching; the job goes on in the daemon. Returns at once."""
        self._is_detached.set()
        answers = self._answers
        if answers is not None:
            answers.cancel()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for this job's threads, after :meth:`detach`."""
        self._thread.join(timeout_s)
        for task in list(self._tasks):
            task.join(timeout_s)

    # What runs in the job's own threads.

    def _start(self) -> threading.Thread:
        self._is_quiet = False
        thread = threading.Thread(target=self._run, name="dflhost-job", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            if not self.id:
                self._submit()
            if self.id:
                self._watch()
        except HostError as error:
            if not self._is_detached.is_set():
                self._put(StateChanged(FAILED, error))
        except Exception as error:
            text = f"The integration met an error of its own ({type(error).__name__}: {error}); please report it."
            self._put(StateChanged(FAILED, HostError(text, reason="UNEXPECTED_ERROR")))
        finally:
            self._be_quiet()

    def _submit(self) -> None:
        if self._wants_cancel:
            self._put(StateChanged(CANCELLED))
            return
        request = {"spec": self._spec, "request_id": self._request_id}
        answer = self._caller.call("JobService", "SubmitJob", request, deadline_s=self._deadline_s, attempts=2)
        self._take_job(answer["job"])
        if self._wants_cancel:
            self._command("CancelJob")

    def _watch(self) -> None:
        """Until the job has ended or nobody wants to know. Raises HostError for what another try would not mend."""
        if not self.kind:
            self._take_job(self._ask("GetJob")["job"])
        lost_at: float | None = None
        pause = FIRST_PAUSE_S
        while not self._is_detached.is_set():
            try:
                for event in self._stream():
                    lost_at, pause = None, FIRST_PAUSE_S
                    self._tell_connected()
                    self._put(self._brought(event))
                if self._is_detached.is_set() or self._has_ended():
                    return
                failure = None
            except HostError as error:
                if error.code not in _LOST_CODES and not error.is_unreachable:
                    raise
                failure = error
            if failure is not None and not self._is_detached.is_set():
                lost_at = time.monotonic() if lost_at is None else lost_at
                if time.monotonic() - lost_at >= self._reconnect_s and self._status.connection_error is None:
                    self._put(ConnectionChanged(False, failure))
            self._is_detached.wait(pause)
            pause = min(pause * 1.6, MAX_PAUSE_S)
            self._caller.renew()

    def _stream(self) -> Iterator[Event]:
        """Events after the last one seen, as far as this client knows them."""
        request = {"id": self.id, "after_sequence": self._sequence}
        answers = self._answers = self._caller.stream("JobService", "WatchJob", request)
        try:
            if self._is_detached.is_set():
                return
            for answer in answers:
                message = answer["event"]
                event = event_of(message, self._paths)
                if event is not None and message["sequence"] > self._sequence:
                    yield event
                self._sequence = max(self._sequence, message["sequence"])
        finally:
            self._answers = None
            answers.cancel()

    def _brought(self, event: Event) -> Event:
        """With a picture that this workstation can open, where the daemon gives it."""
        if self._bring is not None and isinstance(event, PreviewReady):
            with contextlib.suppress(HostError):  # the next preview comes
                return replace(event, path=self._bring(event.path))
        return event

    def _has_ended(self) -> bool:
        """After a stream that ended in order; tells the end where the stream did not."""
        if self._status.is_ended:
            return True
        job = self._ask("GetJob")["job"]
        state = state_of(job["state"])
        if state not in ENDED_STATES:
            return False
        self._take_job(job, is_told=False)
        error = error_of_message(job["error"]) if "error" in job else None
        self._put(StateChanged(state, error, result_of(job["result"], self._paths), self._sequence))
        return True

    def _ask(self, method: str) -> dict[str, Any]:
        return self._caller.call("JobService", method, {"id": self.id}, deadline_s=self._deadline_s, attempts=2)

    def _tell_connected(self) -> None:
        if self._status.connection_error is not None:
            self._put(ConnectionChanged(True))

    def _command(self, method: str) -> None:
        """Ask the daemon something in a thread of its own; a refusal becomes a note."""

        def work() -> None:
            try:
                job = self._ask(method)["job"]
            except HostError as error:
                is_too_late = method == "CancelJob" and error.reason == "WRONG_JOB_STATE"
                if not is_too_late and not self._is_detached.is_set() and error.reason != "SESSION_CLOSED":
                    self._put(Note(error.reason, error.message, "warning", error.details))
                if method == "RetryJob" and not self._thread.is_alive():
                    self._be_quiet()
                return
            if method == "RetryJob":
                self._watch_again(job)
            elif method != "GetJob" or self._status.state == QUEUED:
                self._take_job(job)

        self._tasks = [task for task in self._tasks if not task.is_done]
        self._tasks.append(Task(work, name="dflhost-command"))

    def _watch_again(self, job: Mapping[str, Any]) -> None:
        self._thread.join()
        self._take_job(job)
        if not self._is_detached.is_set():
            self._thread = self._start()

    def _ask_for_place(self) -> None:
        """Of a job that waits: how many go before it; no event tells that."""
        now = time.monotonic()
        if self._status.state == QUEUED and self.id and now >= self._next_poll and not self._is_detached.is_set():
            if self._next_poll:
                self._command("GetJob")
            self._next_poll = now + QUEUE_POLL_S

    def _take_job(self, job: Mapping[str, Any], *, is_told: bool = True) -> None:
        """The daemon's own account; ``is_told``: the end of a job comes as an event, whatever this says."""
        status = status_of_job(job, self._paths)
        with self._changed:
            if is_told and status.is_ended:
                status = replace(status, state=RUNNING, error=None, result={})
            if is_told and self._status.is_ended and status.state == RUNNING and status.id == self._status.id:
                return  # a late answer
            self._status = replace(status, is_stopping=status.is_stopping or self._wants_cancel)


def status_of_job(job: Mapping[str, Any], paths: PathMap) -> JobStatus:
    """A decoded ``Job``."""
    frames, training = job.get("frame_progress") or {}, job.get("train_progress") or {}
    kind = str(job["kind"]).replace("JOB_KIND_", "").lower()
    return JobStatus(
        kind=kind,
        id=job["id"],
        state=state_of(job["state"]),
        done=frames.get("done_count", 0) or training.get("iteration", 0),
        total=frames.get("total_count", 0) or training.get("target_iterations", 0),
        elapsed_s=training.get("elapsed_s", 0.0),
        target_s=training.get("target_s", 0.0),
        stage=frames.get("stage", ""),
        ahead=job["ahead_count"],
        frame=frames.get("frame"),
        losses=training.get("losses", {}),
        error=error_of_message(job["error"]) if "error" in job else None,
        result=result_of(job["result"], paths),
        is_stopping=job["stop_requested"],
    )
