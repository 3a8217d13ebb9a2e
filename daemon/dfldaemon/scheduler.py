"""Which job runs when: first come, first served, one at a time, and what becomes of a job when its worker is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.errors import Conflict, DflError, Internal
from dflcore.progress import Event, FrameProgress, Notice, Saved, StopRequest, TrainProgress
from dfldaemon.convert import work_from_stored
from dfldaemon.jobs import ErrorReport, EventBody, Job, JobEvent, JobKind, JobState, StateChange, Verb, Work
from dfldaemon.store import Draft, JobStore, StoreThread
from dfldaemon.submission import check_work_paths
from dfldaemon.supervisor import Failed, Lost, Outcome, Stopped, Succeeded, Supervisor, WorkerOptions
from dfldaemon.watching import Watchers

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.2
"""Events reach the store and their watchers at most so much later."""
KEPT_PROGRESS_INTERVAL_S = 0.5
"""Of progress, the store keeps at most one event in this time; watchers get all of it."""
RECOVERY_PAUSE_S = 0.5
"""After the store failed, before the next try; doubled with every failure up to :data:`MAX_RECOVERY_PAUSE_S`."""
MAX_RECOVERY_PAUSE_S = 30.0
LAST_TRIES = 3
"""To store how a job ended, once the daemon is told to end; then the next daemon takes the job up."""

STOP_VERBS: Mapping[StopRequest, Verb] = {
    StopRequest.CANCEL: Verb.CANCEL,
    StopRequest.PAUSE: Verb.PAUSE,
    StopRequest.SHUTDOWN: Verb.REQUEUE,
}
"""What becomes of a running job that was asked to stop and did."""
_MOVED_ALREADY = frozenset({"WRONG_JOB_STATE", "JOB_NOT_FOUND"})
"""A move that reported an error may have been stored all the same; this is what the next try says then."""
_NO_WORK = Work(kind=JobKind.EXTRACT, paths={}, frames="", settings={})
"""Of a job that may not run; no worker is told."""
_WEIGHT = {StopRequest.SHUTDOWN: 0, StopRequest.PAUSE: 1, StopRequest.CANCEL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """How the queue is run.

    Attributes:
        job_logs: folder for what workers print.
        roots: resolved folders that paths may lie in; they may be fewer than when a job was submitted.
        max_attempts: how often a job is started when the daemon is lost. worker_retries: when its worker is
            lost before it saved anew.
    """

    job_logs: Path
    worker: WorkerOptions
    roots: Sequence[str] = ("/",)
    max_attempts: int = 3
    worker_retries: int = 1
    max_queued: int = 10_000


@dataclass(slots=True)
class _Recorder:
    """Events of a running job on their way to the store. ``has_saved``: a save was among them."""

    waiting: list[tuple[float, Event]] = field(default_factory=list)
    last_kept: float = 0.0
    has_saved: bool = False

    def add(self, event: Event) -> None:
        self.has_saved |= isinstance(event, Saved)
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

    def put_back(self, drafts: Sequence[Draft]) -> None:
        """After a take that could not be stored. Of progress only the newest comes back: an outage may be long."""
        newest = max((place for place, draft in enumerate(drafts) if _is_progress(draft.body)), default=-1)
        self.waiting[:0] = [
            (draft.time, draft.body)
            for place, draft in enumerate(drafts)
            if not isinstance(draft.body, StateChange) and (place == newest or not _is_progress(draft.body))
        ]
        self.last_kept = 0.0


@dataclass(frozen=True, slots=True)
class _Running:
    """The one job that has a worker."""

    job: Job
    supervisor: Supervisor
    recorder: _Recorder
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Scheduler:
    """The queue. All its methods belong to one event loop.

    Args:
        make_room: awaited before a worker starts: gives device and memory free; raises nothing.
    """

    def __init__(
        self,
        store: StoreThread,
        watchers: Watchers,
        options: SchedulerOptions,
        *,
        make_room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._make_room = make_room
        self._watchers = watchers
        self._options = options
        self._moving = asyncio.Lock()
        self._wake = asyncio.Event()
        self._running: _Running | None = None
        self._stopping = asyncio.Event()
        self._may_have_ghost = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what the last daemon left, then run the queue."""
        await self._recover()
        self._task = asyncio.create_task(self._run_queue())
        self._task.add_done_callback(_report_death)

    async def stop(self) -> None:
        """Ask the worker to save; its job goes back to its place in the queue, and the next daemon runs it."""
        self._stopping.set()
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
        pause = RECOVERY_PAUSE_S
        while not self._stopping.is_set():
            try:
                self._wake.clear()
                await self._lay_ghost()
                job = await self._store.run(JobStore.next_queued)
                if job is None:
                    await self._wake.wait()
                else:
                    await self._run(job)
                pause = RECOVERY_PAUSE_S
            except Exception:
                logger.exception("the queue stumbled; it goes on in a moment")
                pause = await self._rest(pause)

    async def _rest(self, pause: float) -> float:
        """Wait after a failure, unless the daemon ends; answers with the next, longer pause."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)
        return min(2.0 * pause, MAX_RECOVERY_PAUSE_S)

    async def _lay_ghost(self) -> None:
        """A start that failed may be in the store all the same; nothing ran, so that job goes back to its place."""
        if not self._may_have_ghost:
            return
        async with self._moving:
            for job in await self._store.run(JobStore.list_jobs, states=[JobState.RUNNING]):
                await self._move(job.id, Verb.REQUEUE)
            self._may_have_ghost = False

    async def _run(self, queued: Job) -> None:
        """One job from QUEUED to wherever its worker takes it."""
        work = await self._read_work(queued)
        if self._make_room is not None:
            await self._make_room()
        async with self._moving:
            if self._stopping.is_set():
                return
            try:
                job = await self._move(queued.id, Verb.START)
            except Conflict as error:
                if error.reason != "WRONG_JOB_STATE":
                    self._may_have_ghost = True
                    raise
                return  # cancelled or paused a moment ago
            except Exception:
                self._may_have_ghost = True
                raise
            recorder = _Recorder()
            log_path = self._options.job_logs / f"{job.id}.log"
            told = work if isinstance(work, Work) else _NO_WORK
            supervisor = Supervisor(self._options.worker, told, log_path, recorder.add)
            self._running = running = _Running(job, supervisor, recorder)
            if self._stopping.is_set():
                supervisor.stop(StopRequest.SHUTDOWN)
        logger.info("job started", extra={"job": job.id, "attempt": job.attempt_count})
        outcome = await self._work(running) if isinstance(work, Work) else work
        await self._settle_until_stored(running, outcome)

    async def _read_work(self, job: Job) -> Work | Failed:
        """What a job is to do, or why it may not any more: its settings or the roots have changed since."""
        try:
            work = work_from_stored(job.spec)
            await asyncio.to_thread(check_work_paths, work, self._options.roots)
        except DflError as error:
            return Failed(ErrorReport.of(error))
        except Exception as error:  # else it would hold up every job behind it
            logger.exception("the work of a job cannot be read", extra={"job": job.id})
            text = f"What the job is to do cannot be read ({type(error).__name__}: {error}); please report it."
            return Failed(ErrorReport.of(Internal(text, reason="UNEXPECTED")))
        return work

    async def _work(self, running: _Running) -> Outcome:
        """Stay with the worker until it is gone, storing what it tells."""
        flusher = asyncio.create_task(self._flush_regularly(running))
        try:
            return await running.supervisor.run()
        except Exception as error:
            logger.exception("the worker could not be watched", extra={"job": running.job.id})
            text = f"The daemon lost hold of the worker ({type(error).__name__}: {error}); please report it."
            return Failed(ErrorReport.of(Internal(text, reason="WORKER_FAILED")))
        finally:
            async with running.lock:  # not between taking events and publishing them
                flusher.cancel()

    async def _settle_until_stored(self, running: _Running, outcome: Outcome) -> None:
        """No other job starts before it is on disk where this one went; a full disk is waited out."""
        pause, last_tries = RECOVERY_PAUSE_S, LAST_TRIES
        while True:
            try:
                async with self._moving, running.lock:
                    await self._settle(running, outcome)
                    self._running = None
                return
            except Exception as error:
                if isinstance(error, DflError) and error.reason in _MOVED_ALREADY:
                    logger.warning("job had left its worker already", extra={"job": running.job.id})
                    self._watchers.send_to_store(running.job.id)
                    self._running = None
                    return
                logger.exception("the end of a job could not be stored", extra={"job": running.job.id})
            if self._stopping.is_set():
                last_tries -= 1
                if last_tries <= 0:
                    logger.error(
                        "the end of a job is given up; the next daemon runs it again", extra={"job": running.job.id}
                    )
                    self._running = None
                    return
                await asyncio.sleep(RECOVERY_PAUSE_S)
            else:
                pause = await self._rest(pause)

    async def _settle(self, running: _Running, outcome: Outcome) -> None:
        """Where a job goes when its worker is gone. May be called again after it failed."""
        job, request = running.job, running.supervisor.stop_request
        if isinstance(outcome, Succeeded):
            await self._end(running, Verb.SUCCEED, result=outcome.result)
        elif isinstance(outcome, Failed):
            await self._end(running, Verb.FAIL, error=outcome.error)
        elif request is not None:
            is_unsaved = isinstance(outcome, Lost) or outcome.forced
            await self._end(running, STOP_VERBS[request], notice=_unsaved_notice(request) if is_unsaved else None)
        elif isinstance(outcome, Stopped):
            defect = Internal("The worker left as if asked to; please report it.", reason="WORKER_FAILED")
            await self._end(running, Verb.FAIL, error=ErrorReport.of(defect))
        elif (0 if running.recorder.has_saved else job.worker_losses) < self._options.worker_retries:
            await self._end(running, Verb.REQUEUE, lost="worker", notice=_retry_notice(outcome.error))
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
        notice: Notice | None = None,
    ) -> None:
        drafts = running.recorder.take(is_last=True)
        told = drafts if notice is None else [*drafts, Draft(time.time(), notice)]
        try:
            job = await self._move(running.job.id, verb, drafts=told, error=error, result=result, lost=lost)
        except Exception:
            running.recorder.put_back(drafts)
            raise
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
        pause = FLUSH_INTERVAL_S
        while True:
            await asyncio.sleep(pause)
            async with running.lock:
                if not running.recorder.waiting:
                    continue
                drafts = running.recorder.take()
                try:
                    events = await self._store.run(JobStore.append, running.job.id, drafts)
                except Exception:
                    logger.exception("progress could not be stored", extra={"job": running.job.id})
                    running.recorder.put_back(drafts)
                    pause = min(2.0 * pause, MAX_RECOVERY_PAUSE_S)
                    continue
                pause = FLUSH_INTERVAL_S
                self._publish(running.job, events)

    def _publish(self, job: Job, events: Sequence[JobEvent]) -> None:
        if events:
            self._watchers.publish(job.id, events)


def _is_progress(event: EventBody) -> bool:
    return isinstance(event, FrameProgress | TrainProgress)


def _report_death(task: asyncio.Task[None]) -> None:
    """The queue's task never ends by an error; should it, that must not go unseen."""
    if not task.cancelled() and task.exception() is not None:
        logger.critical("the queue died; restart the daemon", exc_info=task.exception())


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
