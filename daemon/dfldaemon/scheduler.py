"""Which job runs when: first come, first served, one at a time, and what becomes of a job when its worker is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.errors import Conflict, DflError, Internal
from dflcore.progress import Event, FrameProgress, Notice, StopRequest, TrainProgress
from dfldaemon.convert import work_from_stored
from dfldaemon.jobs import ErrorReport, Job, JobEvent, JobKind, JobState, Verb
from dfldaemon.store import Draft, JobStore, StoreThread
from dfldaemon.supervisor import Failed, Lost, Outcome, Stopped, Succeeded, Supervisor, WorkerOptions
from dfldaemon.watching import Watchers

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.2
"""Events reach the store and their watchers at most so much later."""
KEPT_PROGRESS_INTERVAL_S = 0.5
"""Of progress, the store keeps at most one event in this time; watchers get all of it."""
RECOVERY_PAUSE_S = 5.0
"""After the store failed, before the next try."""

STOP_VERBS: Mapping[StopRequest, Verb] = {
    StopRequest.CANCEL: Verb.CANCEL,
    StopRequest.PAUSE: Verb.PAUSE,
    StopRequest.SHUTDOWN: Verb.REQUEUE,
}
"""What becomes of a running job that was asked to stop and did."""
_WEIGHT = {StopRequest.SHUTDOWN: 0, StopRequest.PAUSE: 1, StopRequest.CANCEL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """How the queue is run.

    Attributes:
        job_logs: folder for what workers print.
        max_attempts: how often a job is started when the daemon is lost. worker_retries: when its worker is lost.
    """

    job_logs: Path
    worker: WorkerOptions
    max_attempts: int = 3
    worker_retries: int = 1
    max_queued: int = 10_000


@dataclass(slots=True)
class _Recorder:
    """Events of a running job on their way to the store."""

    waiting: list[tuple[float, Event]] = field(default_factory=list)
    last_kept: float = 0.0

    def add(self, event: Event) -> None:
        self.waiting.append((time.time(), event))

    def take(self, *, is_last: bool = False) -> list[Draft]:
        """All waiting events; of progress only the newest is kept, and not too often unless it is the last."""
        waiting, self.waiting = self.waiting, []
        newest = max((place for place, (_, event) in enumerate(waiting) if _is_progress(event)), default=-1)
        is_due = is_last or time.monotonic() - self.last_kept >= KEPT_PROGRESS_INTERVAL_S
        if newest >= 0 and is_due:
            self.last_kept = time.monotonic()
        return [
            Draft(at, event, kept=not _is_progress(event) or (place == newest and is_due))
            for place, (at, event) in enumerate(waiting)
        ]


@dataclass(frozen=True, slots=True)
class _Running:
    """The one job that has a worker."""

    job: Job
    supervisor: Supervisor
    recorder: _Recorder
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Scheduler:
    """The queue. All its methods belong to one event loop."""

    def __init__(self, store: StoreThread, watchers: Watchers, options: SchedulerOptions) -> None:
        self._store = store
        self._watchers = watchers
        self._options = options
        self._moving = asyncio.Lock()
        self._wake = asyncio.Event()
        self._running: _Running | None = None
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what the last daemon left, then run the queue."""
        await self._recover()
        self._task = asyncio.create_task(self._run_queue())

    async def stop(self) -> None:
        """Ask the worker to save; its job goes back to its place in the queue, and the next daemon runs it."""
        self._is_stopping = True
        self._wake.set()
        if self._running is not None and self._running.supervisor.stop_request is None:
            self._running.supervisor.stop(StopRequest.SHUTDOWN)
        if self._task is not None:
            await self._task

    @property
    def is_busy(self) -> bool:
        """A worker runs."""
        return self._running is not None

    async def submit(self, *, kind: JobKind, spec: bytes, output: str, request_id: str) -> Job:
        """Put a job into the queue. Raises ResourceExhausted when the queue is full."""
        job, events = await self._store.run(
            JobStore.submit,
            kind=kind,
            spec=spec,
            output=output,
            request_id=request_id,
            now=time.time(),
            max_queued=self._options.max_queued,
        )
        self._publish(job, events)
        self._wake.set()
        return job

    async def cancel(self, job_id: str) -> Job:
        """End a job for good: at once when it waits, at its next frame or step when it runs.

        Raises:
            NotFound, Conflict: no such job, or it has ended.
        """
        return await self._leave(job_id, StopRequest.CANCEL)

    async def pause(self, job_id: str) -> Job:
        """Lay a job aside, saved. Raises as :meth:`cancel`."""
        return await self._leave(job_id, StopRequest.PAUSE)

    async def resume(self, job_id: str) -> Job:
        """Put a paused job at the end of the queue. Raises NotFound, Conflict."""
        return await self._requeue(job_id, Verb.RESUME)

    async def retry(self, job_id: str) -> Job:
        """Put a failed or cancelled job at the end of the queue. Raises NotFound, Conflict."""
        return await self._requeue(job_id, Verb.RETRY)

    async def _requeue(self, job_id: str, verb: Verb) -> Job:
        async with self._moving:
            job = await self._move(job_id, verb)
        self._wake.set()
        return job

    async def _leave(self, job_id: str, request: StopRequest) -> Job:
        async with self._moving:
            running = self._running
            if running is None or running.job.id != job_id:
                return await self._move(job_id, STOP_VERBS[request])
            present = running.supervisor.stop_request
            if present is not None and _WEIGHT[present] > _WEIGHT[request]:
                raise Conflict(
                    f"Cannot {request.value} job {job_id}: it is being cancelled.", reason="WRONG_JOB_STATE", job=job_id
                )
            job = await self._store.run(JobStore.set_stop, job_id, request)
            running.supervisor.stop(request)
            return job

    async def _run_queue(self) -> None:
        while not self._is_stopping:
            try:
                self._wake.clear()
                job = await self._store.run(JobStore.next_queued)
                if job is None:
                    await self._wake.wait()
                else:
                    await self._run(job.id)
            except Exception:
                logger.exception("the queue stumbled; it goes on in a moment")
                self._running = None
                await asyncio.sleep(RECOVERY_PAUSE_S)
                with contextlib.suppress(DflError):
                    await self._recover()

    async def _run(self, job_id: str) -> None:
        """One job from QUEUED to wherever its worker takes it."""
        async with self._moving:
            if self._is_stopping:
                return
            try:
                job = await self._move(job_id, Verb.START)
            except Conflict:
                return  # cancelled or paused a moment ago
            try:
                work = work_from_stored(job.spec)
            except DflError as error:
                await self._move(job_id, Verb.FAIL, error=ErrorReport.of(error))
                return
            recorder = _Recorder()
            log_path = self._options.job_logs / f"{job.id}.log"
            supervisor = Supervisor(self._options.worker, work, log_path, recorder.add)
            self._running = running = _Running(job, supervisor, recorder)
            if self._is_stopping:
                supervisor.stop(StopRequest.SHUTDOWN)
        logger.info("job started", extra={"job": job.id, "attempt": job.attempt_count})
        flusher = asyncio.create_task(self._flush_regularly(running))
        try:
            outcome = await supervisor.run()
        finally:
            async with running.lock:  # not between taking events and publishing them
                flusher.cancel()
        async with self._moving, running.lock:
            await self._settle(running, outcome)
            self._running = None

    async def _settle(self, running: _Running, outcome: Outcome) -> None:
        """Where a job goes when its worker is gone."""
        job, request = running.job, running.supervisor.stop_request
        if isinstance(outcome, Succeeded):
            await self._end(running, Verb.SUCCEED, result=outcome.result)
        elif isinstance(outcome, Failed):
            await self._end(running, Verb.FAIL, error=outcome.error)
        elif request is not None:
            if isinstance(outcome, Lost) or outcome.forced:
                running.recorder.add(_unsaved_notice(request))
            await self._end(running, STOP_VERBS[request])
        elif isinstance(outcome, Stopped):
            defect = Internal("The worker left as if asked to; please report it.", reason="WORKER_FAILED")
            await self._end(running, Verb.FAIL, error=ErrorReport.of(defect))
        elif job.worker_losses < self._options.worker_retries:
            running.recorder.add(_retry_notice(outcome.error))
            await self._end(running, Verb.REQUEUE, lost="worker")
        else:
            await self._end(running, Verb.FAIL, error=outcome.error)

    async def _end(
        self,
        running: _Running,
        verb: Verb,
        *,
        error: ErrorReport | None = None,
        result: Mapping[str, str] | None = None,
        lost: str = "",
    ) -> None:
        drafts = running.recorder.take(is_last=True)
        job = await self._move(running.job.id, verb, drafts=drafts, error=error, result=result, lost=lost)
        fields = {"job": job.id, "state": job.state.value, "reason": error.reason if error else ""}
        logger.info("job left its worker", extra=fields)

    async def _recover(self) -> None:
        """Jobs that a lost daemon left running go back to the queue, unless that happened too often."""
        for job in await self._store.run(JobStore.list_jobs, states=[JobState.RUNNING]):
            if job.stop is not None:
                await self._move(job.id, STOP_VERBS[job.stop])
            elif job.daemon_losses + 1 >= self._options.max_attempts:
                lost = Internal(
                    f"The daemon was lost {job.daemon_losses + 1} times while this job ran. "
                    "If it is not to blame, retry the job; finished work is kept.",
                    reason="DAEMON_LOST",
                )
                await self._move(job.id, Verb.FAIL, error=ErrorReport.of(lost))
            else:
                text = "The daemon was lost while this job ran; it goes on from its last save."
                draft = Draft(time.time(), Notice(message=text, reason="DAEMON_LOST"))
                await self._move(job.id, Verb.REQUEUE, drafts=[draft], lost="daemon")

    async def _move(
        self,
        job_id: str,
        verb: Verb,
        *,
        drafts: Sequence[Draft] = (),
        error: ErrorReport | None = None,
        result: Mapping[str, str] | None = None,
        lost: str = "",
    ) -> Job:
        job, events = await self._store.run(
            JobStore.move, job_id, verb, now=time.time(), drafts=drafts, error=error, result=result, lost=lost
        )
        self._publish(job, events)
        return job

    async def _flush_regularly(self, running: _Running) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            async with running.lock:
                if not running.recorder.waiting:
                    continue
                try:
                    events = await self._store.run(JobStore.append, running.job.id, running.recorder.take())
                except DflError:
                    logger.exception("progress could not be stored", extra={"job": running.job.id})
                    continue
                self._publish(running.job, events)

    def _publish(self, job: Job, events: Sequence[JobEvent]) -> None:
        if events:
            self._watchers.publish(job.id, events)


def _is_progress(event: Event) -> bool:
    return isinstance(event, FrameProgress | TrainProgress)


def _retry_notice(error: ErrorReport) -> Notice:
    return Notice(
        message=f"{error.message} It is tried once more, from the last save.",
        reason=error.reason,
        details=dict(error.details),
    )


def _unsaved_notice(request: StopRequest) -> Notice:
    return Notice(
        message=f"The worker did not save in time when it was asked to {request.value} and was ended; "
        "work since the last save is lost.",
        reason="WORKER_ENDED",
    )
