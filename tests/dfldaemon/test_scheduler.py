"""The queue with real processes whose pipeline is pretended (``fake_worker.py``)."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dflcore.errors import Conflict, NotFound, ResourceExhausted
from dflcore.progress import FrameProgress, Notice
from dfldaemon import scheduler as scheduler_module
from dfldaemon import supervisor
from dfldaemon.convert import spec_from_work
from dfldaemon.jobs import Job, JobEvent, JobState, StateChange, Verb, Work
from dfldaemon.scheduler import Scheduler, SchedulerOptions
from dfldaemon.store import JobStore, StoreThread
from dfldaemon.supervisor import WorkerOptions
from dfldaemon.watching import Watchers

MakeWork = Callable[..., Work]
DEADLINE_S = 20.0


class Queue:
    """A scheduler with its store, as the server wires them."""

    def __init__(
        self, path: Path, command: tuple[str, ...], *, roots: tuple[str, ...] = ("/",), **options: float
    ) -> None:
        self.store = StoreThread(path / "jobs.sqlite")
        self.watchers = Watchers()
        scheduler_names = {"max_attempts", "worker_retries", "max_queued"}
        worker = {name: value for name, value in options.items() if name not in scheduler_names}
        self.scheduler = Scheduler(
            self.store,
            self.watchers,
            SchedulerOptions(
                job_logs=path / "logs",
                roots=roots,
                worker=WorkerOptions(command=command, **worker),
                **{name: int(value) for name, value in options.items() if name in scheduler_names},
            ),
        )

    async def submit(self, work: Work) -> Job:
        spec = spec_from_work(work).SerializeToString()
        return await self.scheduler.submit(kind=work.kind, spec=spec, output=work.output, request_id="")

    async def job(self, job_id: str) -> Job:
        return await self.store.run(JobStore.get, job_id)

    async def wait_for(self, job_id: str, *states: JobState) -> Job:
        return await self.until(job_id, lambda job: job.state in states)

    async def until(self, job_id: str, is_reached: Callable[[Job], Any]) -> Job:
        end = time.monotonic() + DEADLINE_S
        while True:
            job = await self.job(job_id)
            if is_reached(job):
                return job
            assert time.monotonic() < end, job
            await asyncio.sleep(0.02)

    async def events(self, job_id: str) -> list[JobEvent]:
        return (await self.store.run(JobStore.events_after, job_id, 0, 10_000))[1]

    async def notices(self, job_id: str) -> list[str]:
        return [event.body.reason for event in await self.events(job_id) if isinstance(event.body, Notice)]


@pytest.fixture
def run_queue(tmp_path: Path, worker_command: tuple[str, ...]) -> Callable[..., None]:
    """Run a coroutine function with a started queue."""

    @contextlib.asynccontextmanager
    async def opened(**options: float) -> AsyncIterator[Queue]:
        queue = Queue(tmp_path, worker_command, **options)
        await queue.scheduler.start()
        try:
            yield queue
        finally:
            await queue.scheduler.stop()
            queue.store.close()

    def run(body: Callable[[Queue], Awaitable[None]], **options: float) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), opened(**options) as queue:
                await body(queue)

        asyncio.run(main())

    return run


def done_frames(work: Work) -> list[int]:
    return [int(line) for line in (Path(work.output) / "done.txt").read_text().split()]


def test_a_job_runs_and_tells_what_it_did(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        job = await queue.submit(make_work("notice"))
        job = await queue.wait_for(job.id, JobState.SUCCEEDED)
        assert job.result == {"frames": "5"}
        assert job.attempt_count == 1
        assert job.progress == FrameProgress(done=5, total=5, frame=5, faces=1)
        events = await queue.events(job.id)
        states = [event.body.state for event in events if isinstance(event.body, StateChange)]
        assert states == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
        assert await queue.notices(job.id) == ["NO_FACE_FOUND"]
        kept = [event.body for event in events if isinstance(event.body, FrameProgress)]
        assert kept[-1].frame == 5

    run_queue(body)


def test_what_a_worker_prints_is_in_the_jobs_log(run_queue: Any, make_work: MakeWork, tmp_path: Path) -> None:
    async def body(queue: Queue) -> None:
        job = await queue.submit(make_work("bug"))
        job = await queue.wait_for(job.id, JobState.FAILED)
        log = (tmp_path / "logs" / f"{job.id}.log").read_text()
        assert "third parties print where they like" in log
        assert "ZeroDivisionError" in log
        assert job.error is not None
        assert job.error.reason == "UNEXPECTED"
        assert "Traceback" not in job.error.message

    run_queue(body)


def test_one_job_at_a_time_in_order(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        jobs = [await queue.submit(make_work(name, 3)) for name in ("good-a", "good-b", "good-c")]
        await queue.wait_for(jobs[-1].id, JobState.SUCCEEDED)
        spans = [await queue.job(job.id) for job in jobs]
        for earlier, later in itertools.pairwise(spans):
            assert earlier.ended is not None
            assert later.started is not None
            assert earlier.ended <= later.started

    run_queue(body)


def test_many_quick_events_reach_a_watcher_whole_and_the_store_thinned(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        work = make_work("chatty", 3000)
        spec = spec_from_work(work).SerializeToString()
        job, _ = await queue.store.run(
            JobStore.submit, kind=work.kind, spec=spec, output="", request_id="", now=1.0, max_queued=9
        )
        seen: list[JobEvent] = []
        with queue.watchers.watch(job.id) as watcher:
            queue.scheduler._wake.set()
            async for event in watcher.events(after=0):
                seen.append(event)
                if isinstance(event.body, StateChange) and event.body.state.is_ended:
                    break
        frames = [event.body.frame for event in seen if isinstance(event.body, FrameProgress)]
        assert frames == list(range(1, 3001))
        assert [event.sequence for event in seen] == list(range(2, 3004))
        stored = [event.body for event in await queue.events(job.id) if isinstance(event.body, FrameProgress)]
        assert len(stored) < 20
        newest = (await queue.job(job.id)).progress
        assert isinstance(newest, FrameProgress)
        assert newest.frame == 3000

    run_queue(body)


def test_cancel_waiting(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        running = await queue.submit(make_work("good-a", 500))
        waiting = await queue.submit(make_work("good-b"))
        assert (await queue.scheduler.cancel(waiting.id)).state is JobState.CANCELLED
        with pytest.raises(Conflict, match="cancelled"):
            await queue.scheduler.cancel(waiting.id)
        await queue.scheduler.cancel(running.id)
        await queue.wait_for(running.id, JobState.CANCELLED)

    run_queue(body)


def test_cancel_running_keeps_what_is_finished(run_queue: Any, make_work: MakeWork) -> None:
    work = make_work("good", 500)

    async def body(queue: Queue) -> None:
        job = await queue.submit(work)
        await queue.until(job.id, lambda job: job.progress)
        asked = await queue.scheduler.cancel(job.id)
        assert asked.state is JobState.RUNNING
        assert asked.stop is not None
        await queue.scheduler.cancel(job.id)  # asking twice is no error
        with pytest.raises(Conflict):
            await queue.scheduler.pause(job.id)
        job = await queue.wait_for(job.id, JobState.CANCELLED)
        assert job.stop is None
        assert job.progress is not None

    run_queue(body)
    assert 0 < len(done_frames(work)) < 500


def test_pause_and_resume_go_on_where_it_stopped(run_queue: Any, make_work: MakeWork) -> None:
    work = make_work("good", 40)

    async def body(queue: Queue) -> None:
        job = await queue.submit(work)
        await queue.until(job.id, lambda job: job.progress)
        await queue.scheduler.pause(job.id)
        job = await queue.wait_for(job.id, JobState.PAUSED)
        stopped_at = len(done_frames(work))
        assert 0 < stopped_at < 40
        other = await queue.submit(make_work("good-other", 2))
        await queue.wait_for(other.id, JobState.SUCCEEDED)
        await queue.scheduler.resume(job.id)
        job = await queue.wait_for(job.id, JobState.SUCCEEDED)
        assert job.attempt_count == 1

    run_queue(body)
    assert done_frames(work) == list(range(1, 41))


def test_pause_waiting_and_cancel_paused(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        running = await queue.submit(make_work("good-a", 500))
        waiting = await queue.submit(make_work("good-b"))
        assert (await queue.scheduler.pause(waiting.id)).state is JobState.PAUSED
        assert (await queue.scheduler.cancel(waiting.id)).state is JobState.CANCELLED
        with pytest.raises(Conflict):
            await queue.scheduler.resume(waiting.id)
        with pytest.raises(NotFound):
            await queue.scheduler.pause("nothing")
        await queue.scheduler.pause(running.id)
        await queue.scheduler.cancel(running.id)  # a stronger wish replaces a weaker one
        await queue.wait_for(running.id, JobState.CANCELLED)

    run_queue(body)


def test_a_typed_error_fails_the_job_and_a_retry_goes_on(run_queue: Any, make_work: MakeWork) -> None:
    work = make_work("missing")

    async def body(queue: Queue) -> None:
        job = await queue.submit(work)
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.error is not None
        assert (job.error.category, job.error.reason) == ("NOT_FOUND", "FRAME_NOT_FOUND")
        assert job.error.details == {"frame": "3", "path": "/plates/a.0003.exr"}
        assert job.attempt_count == 1
        await queue.scheduler.retry(job.id)
        job = await queue.wait_for(job.id, JobState.SUCCEEDED)
        assert job.attempt_count == 2

    run_queue(body)
    assert done_frames(work) == [1, 2, 3, 4, 5]


def test_a_killed_worker_is_tried_again_from_its_last_save(run_queue: Any, make_work: MakeWork) -> None:
    work = make_work("killedonce")

    async def body(queue: Queue) -> None:
        job = await queue.submit(work)
        job = await queue.wait_for(job.id, JobState.SUCCEEDED)
        assert job.attempt_count == 2
        assert await queue.notices(job.id) == ["WORKER_KILLED"]

    run_queue(body)
    assert done_frames(work) == [1, 2, 3, 4, 5]


def test_a_worker_may_be_lost_as_often_as_it_saved_in_between(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        work = make_work("weak", 30)  # dies in every third frame; tells of a save after each of the first seven
        job = await queue.submit(work)
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert done_frames(work) == list(range(1, 11))
        assert job.attempt_count == 5
        assert await queue.notices(job.id) == 4 * ["WORKER_KILLED"]
        assert job.error is not None
        assert job.error.reason == "WORKER_KILLED"

    run_queue(body)


@pytest.mark.parametrize(
    ("behaviour", "category", "reason"),
    [
        ("killed", "RESOURCE_EXHAUSTED", "WORKER_KILLED"),
        ("crash", "INTERNAL", "WORKER_CRASHED"),
        ("garbage", "INTERNAL", "BAD_WORKER_LINE"),
    ],
)
def test_a_worker_that_is_lost_again_fails_the_job_and_nothing_else(
    run_queue: Any, make_work: MakeWork, behaviour: str, category: str, reason: str
) -> None:
    async def body(queue: Queue) -> None:
        job = await queue.submit(make_work(behaviour, 30))
        other = await queue.submit(make_work("good-other", 2))
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.attempt_count == 2
        assert job.error is not None
        assert (job.error.category, job.error.reason) == (category, reason)
        assert Path(job.error.details["log_path"]).is_file()
        assert await queue.notices(job.id) == [reason]
        await queue.wait_for(other.id, JobState.SUCCEEDED)

    run_queue(body)


@pytest.mark.parametrize(
    ("behaviour", "category", "reason"),
    [
        ("memory", "RESOURCE_EXHAUSTED", "OUT_OF_MEMORY"),
        ("gpumemory", "RESOURCE_EXHAUSTED", "DEVICE_OUT_OF_MEMORY"),
        ("exit", "INTERNAL", "WORKER_FAILED"),
        ("bug", "INTERNAL", "UNEXPECTED"),
    ],
)
def test_a_fault_that_would_happen_again_is_not_tried_again(
    run_queue: Any, make_work: MakeWork, behaviour: str, category: str, reason: str
) -> None:
    async def body(queue: Queue) -> None:
        job = await queue.submit(make_work(behaviour))
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.attempt_count == 1
        assert job.error is not None
        assert (job.error.category, job.error.reason) == (category, reason)
        if category == "RESOURCE_EXHAUSTED":
            assert "detect_size" in job.error.message

    run_queue(body)


@pytest.mark.parametrize(
    ("behaviour", "reason", "options"),
    [("mute", "WORKER_HUNG", {"hang_timeout_s": 2.0}), ("stall", "WORKER_STALLED", {"stall_timeout_s": 2.0})],
)
def test_a_worker_that_hangs_is_ended(
    run_queue: Any,
    make_work: MakeWork,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    reason: str,
    options: dict[str, float],
) -> None:
    monkeypatch.setattr(supervisor, "TERMINATE_GRACE_S", 0.1)

    async def body(queue: Queue) -> None:
        job = await queue.submit(make_work(behaviour, 30))
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.error is not None
        assert job.error.reason == reason

    run_queue(body, worker_retries=0, **options)


def test_a_worker_that_does_not_stop_is_killed(
    run_queue: Any, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "TERMINATE_GRACE_S", 0.2)

    async def body(queue: Queue) -> None:
        job = await queue.submit(make_work("stubborn"))
        await queue.until(job.id, lambda job: job.progress)
        await queue.scheduler.cancel(job.id)
        job = await queue.wait_for(job.id, JobState.CANCELLED)
        assert await queue.notices(job.id) == ["WORKER_ENDED"]

    run_queue(body, stop_grace_s=0.5)


def test_a_worker_that_cannot_start_fails_its_job(tmp_path: Path, make_work: MakeWork) -> None:
    async def body() -> None:
        queue = Queue(tmp_path, (str(tmp_path / "no_such_program"),))
        await queue.scheduler.start()
        job = await queue.submit(make_work())
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.error is not None
        assert job.error.reason == "WORKER_NOT_STARTED"
        await queue.scheduler.stop()
        queue.store.close()

    asyncio.run(body())


def test_an_orderly_end_keeps_the_job_and_the_next_daemon_finishes_it(run_queue: Any, make_work: MakeWork) -> None:
    work = make_work("good", 60)
    ids: list[str] = []

    async def first(queue: Queue) -> None:
        ids.append((await queue.submit(work)).id)
        ids.append((await queue.submit(make_work("good-other", 2))).id)
        await queue.until(ids[0], lambda job: job.progress)

    async def second(queue: Queue) -> None:
        job = await queue.wait_for(ids[0], JobState.SUCCEEDED)
        assert (job.attempt_count, job.daemon_losses) == (1, 0)
        states = [event.body.state for event in await queue.events(job.id) if isinstance(event.body, StateChange)]
        assert states == [
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.SUCCEEDED,
        ]
        await queue.wait_for(ids[1], JobState.SUCCEEDED)

    run_queue(first)
    run_queue(second)
    assert done_frames(work) == list(range(1, 61))


def lose_daemon(path: Path, work: Work, *, stop: str = "", times: int = 1) -> str:
    """Leave a running job in the store, as a killed daemon does."""
    from dflcore.progress import StopRequest

    store = JobStore(path / "jobs.sqlite")
    job, _ = store.submit(
        kind=work.kind,
        spec=spec_from_work(work).SerializeToString(),
        output=work.output,
        request_id="",
        now=1.0,
        max_queued=9,
    )
    for place in range(times):
        store.move(job.id, Verb.START, now=2.0)
        if place < times - 1:
            store.move(job.id, Verb.REQUEUE, now=2.0, lost="daemon")
    if stop:
        store.set_stop(job.id, StopRequest(stop))
    store.close()
    return job.id


def test_a_lost_daemon_costs_an_attempt(run_queue: Any, make_work: MakeWork, tmp_path: Path) -> None:
    job_id = lose_daemon(tmp_path, make_work())

    async def body(queue: Queue) -> None:
        job = await queue.wait_for(job_id, JobState.SUCCEEDED)
        assert (job.attempt_count, job.daemon_losses) == (2, 1)
        assert await queue.notices(job_id) == ["DAEMON_LOST"]

    run_queue(body)


def test_a_job_that_takes_the_daemon_down_is_given_up(run_queue: Any, make_work: MakeWork, tmp_path: Path) -> None:
    job_id = lose_daemon(tmp_path, make_work(), times=3)

    async def body(queue: Queue) -> None:
        job = await queue.wait_for(job_id, JobState.FAILED)
        assert job.error is not None
        assert job.error.reason == "DAEMON_LOST"
        await queue.scheduler.retry(job_id)
        await queue.wait_for(job_id, JobState.SUCCEEDED)

    run_queue(body)


@pytest.mark.parametrize(("stop", "state"), [("cancel", JobState.CANCELLED), ("pause", JobState.PAUSED)])
def test_a_wish_outlives_the_daemon(
    run_queue: Any, make_work: MakeWork, tmp_path: Path, stop: str, state: JobState
) -> None:
    job_id = lose_daemon(tmp_path, make_work(), stop=stop)

    async def body(queue: Queue) -> None:
        assert (await queue.job(job_id)).state is state

    run_queue(body)


def test_a_spec_this_version_refuses_fails_only_its_job(run_queue: Any, make_work: MakeWork) -> None:
    async def body(queue: Queue) -> None:
        work = make_work()
        bad = Work(kind=work.kind, paths=work.paths, frames="", settings={"aligned_size": 1})
        job = await queue.submit(bad)
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.error is not None
        assert "aligned_size" in job.error.message
        job = await queue.submit(make_work("good-next", 2))
        await queue.wait_for(job.id, JobState.SUCCEEDED)

    run_queue(body)


def break_store(queue: Queue, monkeypatch: pytest.MonkeyPatch, breaks: Callable[..., BaseException | None]) -> None:
    """Let calls of the store fail: ``breaks`` says with what; an error marked ``late`` comes after it was stored."""
    monkeypatch.setattr(scheduler_module, "RECOVERY_PAUSE_S", 0.02)
    run = queue.store.run

    async def broken(method: Any, *args: Any, **kwargs: Any) -> Any:
        error = breaks(method, *args)
        if error is None:
            return await run(method, *args, **kwargs)
        if getattr(error, "late", False):
            await run(method, *args, **kwargs)
        raise error

    monkeypatch.setattr(queue.store, "run", broken)


FULL = ResourceExhausted("The disk is full.", reason="DISK_FULL")


@pytest.mark.parametrize("error", [FULL, RuntimeError("nobody foresaw this")])
def test_a_finished_job_is_not_run_again_when_its_end_cannot_be_stored(
    run_queue: Any, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    left = [error] * 4

    def breaks(method: Any, *args: Any) -> BaseException | None:
        return left.pop() if method is JobStore.move and args[1] is Verb.SUCCEED and left else None

    async def body(queue: Queue) -> None:
        break_store(queue, monkeypatch, breaks)
        first, second = await queue.submit(make_work("notice")), await queue.submit(make_work("good-b", 2))
        second = await queue.wait_for(second.id, JobState.SUCCEEDED)
        first = await queue.job(first.id)
        assert (first.state, first.attempt_count, first.daemon_losses) == (JobState.SUCCEEDED, 1, 0)
        assert await queue.notices(first.id) == ["NO_FACE_FOUND"]
        assert first.ended is not None
        assert second.started is not None
        assert first.ended <= second.started

    run_queue(body)
    assert not left


def test_what_a_worker_tells_while_the_disk_is_full_is_stored_later(
    run_queue: Any, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "FLUSH_INTERVAL_S", 0.01)
    failures: list[object] = []

    def breaks(method: Any, *_: Any) -> BaseException | None:
        if method is not JobStore.append:
            return None
        failures.append(method)
        return FULL

    async def body(queue: Queue) -> None:
        break_store(queue, monkeypatch, breaks)
        job = await queue.submit(make_work("notice", 10))
        job = await queue.wait_for(job.id, JobState.SUCCEEDED)
        assert await queue.notices(job.id) == ["NO_FACE_FOUND"]
        assert job.progress == FrameProgress(done=10, total=10, frame=10, faces=1)

    run_queue(body)
    assert failures


def test_an_end_that_was_stored_though_the_store_complained_is_believed(
    run_queue: Any, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = ResourceExhausted("The disk is full.", reason="DISK_FULL")
    late.late = True  # type: ignore[attr-defined]
    left = [late]

    def breaks(method: Any, *args: Any) -> BaseException | None:
        return left.pop() if method is JobStore.move and args[1] is Verb.SUCCEED and left else None

    async def body(queue: Queue) -> None:
        break_store(queue, monkeypatch, breaks)
        job = await queue.submit(make_work())
        await queue.wait_for(job.id, JobState.SUCCEEDED)
        other = await queue.submit(make_work("good-b", 2))
        await queue.wait_for(other.id, JobState.SUCCEEDED)
        assert (await queue.job(job.id)).attempt_count == 1

    run_queue(body)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_start_that_cannot_be_stored_leaves_no_ghost(
    run_queue: Any, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    error = RuntimeError("nobody foresaw this")
    error.late = is_late  # type: ignore[attr-defined]
    left = [error]

    def breaks(method: Any, *args: Any) -> BaseException | None:
        return left.pop() if method is JobStore.move and args[1] is Verb.START and left else None

    async def body(queue: Queue) -> None:
        break_store(queue, monkeypatch, breaks)
        job = await queue.submit(make_work())
        job = await queue.wait_for(job.id, JobState.SUCCEEDED)
        assert (job.attempt_count, job.daemon_losses) == (1, 0)

    run_queue(body)
    assert not left


def test_an_end_while_the_disk_stays_full_does_not_hang(
    run_queue: Any, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []

    def breaks(method: Any, *args: Any) -> BaseException | None:
        if method is not JobStore.move or args[1] is not Verb.SUCCEED:
            return None
        failures.append(method)
        return FULL

    async def body(queue: Queue) -> None:
        break_store(queue, monkeypatch, breaks)
        job = await queue.submit(make_work())
        await queue.until(job.id, lambda _: len(failures) > 1)
        assert queue.scheduler.is_busy

    run_queue(body)


def test_roots_that_were_narrowed_meanwhile_fail_the_job_before_it_starts(
    tmp_path: Path, worker_command: tuple[str, ...], make_work: MakeWork
) -> None:
    work = make_work()

    async def body() -> None:
        queue = Queue(tmp_path, worker_command, roots=("/srv/elsewhere",))
        await queue.scheduler.start()
        job = await queue.submit(work)
        job = await queue.wait_for(job.id, JobState.FAILED)
        assert job.error is not None
        assert job.error.reason == "PATH_OUTSIDE_ROOTS"
        await queue.scheduler.stop()
        queue.store.close()

    asyncio.run(body())
    assert not Path(work.output).exists()
