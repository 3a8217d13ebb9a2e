import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dflcore.errors import Conflict, DataCorrupt, NotFound, ResourceExhausted
from dflcore.progress import FrameProgress, Notice, Saved, StopRequest, TrainProgress
from dfldaemon.jobs import MOVES, ErrorReport, Job, JobKind, JobState, StateChange, Verb
from dfldaemon.store import MAX_EVENTS_PER_JOB, MIGRATIONS, Draft, JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "jobs.sqlite")
    yield store
    store.close()


def submit(store: JobStore, *, request_id: str = "", output: str = "/out", now: float = 1.0, limit: int = 100) -> Job:
    job, _ = store.submit(
        kind=JobKind.MERGE, spec=b"spec", output=output, request_id=request_id, now=now, max_queued=limit
    )
    return job


def progress(done: int) -> Draft:
    return Draft(2.0, FrameProgress(done=done, total=9, frame=1000 + done), kept=False)


def test_a_job_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    job = submit(store, now=12.5)
    store.move(job.id, Verb.START, now=13.0)
    report = ErrorReport(category="NOT_FOUND", reason="GONE", message="Gone.", details={"frame": "7"})
    failed, _ = store.move(job.id, Verb.FAIL, now=14.0, drafts=[progress(3)], error=report)
    store.close()
    again = JobStore(tmp_path / "jobs.sqlite")
    stored = again.get(job.id)
    again.close()
    assert stored == failed
    assert (stored.created, stored.started, stored.ended) == (12.5, 13.0, 14.0)
    assert (stored.state, stored.error, stored.spec) == (JobState.FAILED, report, b"spec")
    assert stored.progress == FrameProgress(done=3, total=9, frame=1003)


def test_the_file_is_for_its_user_only(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    submit(store)
    for path in tmp_path.glob("jobs.sqlite*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()


def test_a_second_connection_is_kept_out(tmp_path: Path, store: JobStore) -> None:
    submit(store)
    with pytest.raises(Conflict, match="another process"):
        JobStore(tmp_path / "jobs.sqlite")


def test_first_come_first_served(store: JobStore) -> None:
    first, second, third = submit(store), submit(store), submit(store)
    assert [store.get(job.id).ahead_count for job in (first, second, third)] == [0, 1, 2]
    assert store.next_queued() == store.get(first.id)
    store.move(first.id, Verb.START, now=2.0)
    assert store.get(third.id).ahead_count == 2
    store.move(second.id, Verb.PAUSE, now=2.0)
    store.move(second.id, Verb.RESUME, now=2.0)
    assert [store.get(job.id).ahead_count for job in (third, second)] == [1, 2]


def test_an_interrupted_job_keeps_its_place_and_a_resumed_one_goes_last(store: JobStore) -> None:
    first, second = submit(store), submit(store)
    store.move(first.id, Verb.START, now=2.0)
    store.move(first.id, Verb.REQUEUE, now=2.0)
    queued = store.next_queued()
    assert queued is not None
    assert queued.id == first.id
    store.move(first.id, Verb.CANCEL, now=3.0)
    store.move(first.id, Verb.RETRY, now=3.0)
    queued = store.next_queued()
    assert queued is not None
    assert queued.id == second.id


def test_a_request_id_makes_one_job(store: JobStore) -> None:
    first, second = submit(store, request_id="a"), submit(store, request_id="a")
    assert first.id == second.id
    assert submit(store, request_id="b").id != first.id
    assert submit(store).id != submit(store).id
    assert store.find_request("a") == store.get(first.id)
    assert store.find_request("") is None


def test_the_queue_has_an_end(store: JobStore) -> None:
    submit(store, limit=2)
    submit(store, request_id="known", limit=2)
    with pytest.raises(ResourceExhausted):
        submit(store, limit=2)
    assert submit(store, request_id="known", limit=2)


def test_losses_are_counted_apart_and_forgotten_by_a_retry(store: JobStore) -> None:
    job = submit(store)
    for lost, counts in (("", (1, 0, 0)), ("worker", (2, 1, 0)), ("daemon", (3, 1, 1))):
        store.move(job.id, Verb.START, now=2.0)
        job, _ = store.move(job.id, Verb.REQUEUE, now=3.0, lost=lost)
        assert (job.attempt_count, job.worker_losses, job.daemon_losses) == counts
    store.move(job.id, Verb.CANCEL, now=4.0)
    job, _ = store.move(job.id, Verb.RETRY, now=5.0)
    assert (job.attempt_count, job.worker_losses, job.daemon_losses) == (4, 0, 0)


def test_a_save_ends_the_count_of_lost_workers(store: JobStore) -> None:
    saved = Draft(2.5, Saved(path="/m", iteration=9, generation=2))
    job = submit(store)
    counts = []
    for told in ([], [], [progress(1)], [saved], []):
        store.move(job.id, Verb.START, now=2.0)
        job, _ = store.move(job.id, Verb.REQUEUE, now=3.0, drafts=told, lost="worker")
        counts.append(job.worker_losses)
    assert counts == [1, 2, 3, 1, 2]  # the worker was lost after it had saved
    store.move(job.id, Verb.START, now=4.0)
    store.move(job.id, Verb.REQUEUE, now=5.0, lost="daemon")
    store.append(job.id, [saved])
    job = store.get(job.id)
    assert (job.attempt_count, job.worker_losses, job.daemon_losses) == (7, 0, 1)


def test_a_retry_starts_clean(store: JobStore) -> None:
    job = submit(store)
    store.move(job.id, Verb.START, now=2.0)
    store.move(job.id, Verb.FAIL, now=3.0, error=ErrorReport(category="INTERNAL", reason="X", message="x"))
    job, _ = store.move(job.id, Verb.RETRY, now=4.0)
    assert (job.error, job.ended, job.result) == (None, None, {})


def test_a_wanted_stop_outlives_the_daemon_and_ends_with_the_move(store: JobStore) -> None:
    job = submit(store)
    store.move(job.id, Verb.START, now=2.0)
    assert store.set_stop(job.id, StopRequest.PAUSE).stop is StopRequest.PAUSE
    job, _ = store.move(job.id, Verb.PAUSE, now=3.0)
    assert job.stop is None


def test_an_illegal_move_changes_nothing(store: JobStore) -> None:
    job = submit(store)
    with pytest.raises(Conflict, match="queued"):
        store.move(job.id, Verb.SUCCEED, now=2.0, drafts=[progress(1)])
    assert store.get(job.id) == job


def test_sequences_grow_and_unkept_progress_leaves_a_gap(store: JobStore) -> None:
    job = submit(store)
    told = store.append(job.id, [progress(1), progress(2), Draft(2.0, Notice(message="m", reason="R"))])
    assert [event.sequence for event in told] == [2, 3, 4]
    stored_job, stored = store.events_after(job.id, 0)
    assert [event.sequence for event in stored] == [1, 4]
    assert stored_job.last_sequence == 4
    assert stored_job.progress == FrameProgress(done=2, total=9, frame=1002)
    assert [event.sequence for event in store.events_after(job.id, 1)[1]] == [4]
    assert [event.sequence for event in store.events_after(job.id, 0, limit=1)[1]] == [1]


def test_every_kind_of_event_survives_the_store(store: JobStore) -> None:
    job = submit(store)
    bodies = [
        FrameProgress(done=1, total=2, frame=-3, path="/a b/ü.exr", faces=0),
        TrainProgress(
            iteration=5,
            target_iterations=None,
            elapsed_s=0.5,
            target_s=None,
            losses={"source": 0.1},
            step_ms=1.0,
            data_ms=0.0,
            learning_rate=1e-4,
        ),
        Saved(path="/m", iteration=5, generation=1),
        Notice(message="m", reason="R", severity="info", details={"a": "b"}),
        StateChange(state=JobState.SUCCEEDED, result={"frames": "2"}),
    ]
    store.append(job.id, [Draft(2.0, body) for body in bodies])
    assert [event.body for event in store.events_after(job.id, 1)[1]] == bodies


def test_a_long_log_keeps_its_shape_and_its_states(store: JobStore) -> None:
    job = submit(store)
    for start in range(0, 3 * MAX_EVENTS_PER_JOB, 1000):
        drafts = [Draft(1.0, FrameProgress(done=start + i, total=1)) for i in range(999)]
        store.append(job.id, [*drafts, Draft(1.0, Notice(message=str(start), reason="R"))])
    _, events = store.events_after(job.id, 0, limit=100_000)
    assert len(events) <= MAX_EVENTS_PER_JOB
    assert isinstance(events[0].body, StateChange)
    done = [event.body.done for event in events if isinstance(event.body, FrameProgress)]
    assert done == sorted(done)
    assert done[0] < 200
    assert len([event for event in events if isinstance(event.body, Notice)]) == 12
    assert store.get(job.id).last_sequence == 1 + 3 * MAX_EVENTS_PER_JOB


def test_a_log_of_notices_is_bounded_too(store: JobStore) -> None:
    job = submit(store)
    for _ in range(5):
        store.append(job.id, [Draft(1.0, Notice(message="m", reason="R"))] * 1000)
    _, events = store.events_after(job.id, 0, limit=100_000)
    assert len(events) <= MAX_EVENTS_PER_JOB
    assert isinstance(events[0].body, StateChange)


def test_listing_is_newest_first_in_pages(store: JobStore) -> None:
    jobs = [submit(store) for _ in range(5)]
    store.move(jobs[1].id, Verb.CANCEL, now=2.0)
    assert [job.id for job in store.list_jobs()] == [job.id for job in reversed(jobs)]
    page = store.list_jobs(limit=2)
    rest = store.list_jobs(before=page[-1].number, limit=9)
    assert [job.id for job in page + rest] == [job.id for job in reversed(jobs)]
    assert [job.id for job in store.list_jobs(states=[JobState.CANCELLED])] == [jobs[1].id]
    waiting = store.list_jobs(states=[JobState.QUEUED, JobState.RUNNING], before=jobs[4].number)
    assert [job.id for job in waiting] == [jobs[3].id, jobs[2].id, jobs[0].id]
    assert store.count(JobState.QUEUED) == 4


def test_outputs_are_awaited_until_their_job_ends(store: JobStore) -> None:
    job = submit(store, output="/out/a")
    assert store.is_awaited(JobKind.MERGE, "/out/a")
    assert not store.is_awaited(JobKind.TRAIN, "/out/a")
    store.move(job.id, Verb.CANCEL, now=2.0)
    assert not store.is_awaited(JobKind.MERGE, "/out/a")


def test_old_ended_jobs_are_forgotten_with_their_events(store: JobStore) -> None:
    old, recent, waiting = submit(store), submit(store), submit(store)
    store.move(old.id, Verb.CANCEL, now=10.0)
    store.move(recent.id, Verb.CANCEL, now=20.0)
    assert store.forget_ended(15.0) == [old.id]
    assert [job.id for job in store.list_jobs()] == [waiting.id, recent.id]
    with pytest.raises(NotFound):
        store.events_after(old.id, 0)


def test_unknown_jobs_are_not_found(store: JobStore) -> None:
    for call in (store.get, lambda job_id: store.move(job_id, Verb.CANCEL, now=1.0)):
        with pytest.raises(NotFound, match="nothing"):
            call("nothing")


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path, store: JobStore) -> None:
    store.close()
    database = sqlite3.connect(tmp_path / "jobs.sqlite")
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(Conflict, match="newer version"):
        JobStore(tmp_path / "jobs.sqlite")


def test_a_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"this is no database, whatever it says" * 100)
    with pytest.raises(DataCorrupt, match="move it away"):
        JobStore(tmp_path / "jobs.sqlite")


WRITER = """
import sys
from pathlib import Path
from dfldaemon.jobs import JobKind, Verb
from dfldaemon.store import JobStore
store = JobStore(Path(sys.argv[1]))
while True:
    job, _ = store.submit(kind=JobKind.TRAIN, spec=b"x", output="/o", request_id="", now=1.0, max_queued=10**9)
    store.move(job.id, Verb.START, now=2.0)
    print(job.id, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    acknowledged: list[str] = []
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(20)]
        writer.kill()
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait()
    store = JobStore(path)
    running = {job.id for job in store.list_jobs(states=[JobState.RUNNING], limit=100_000)}
    store.close()
    assert set(acknowledged) <= running
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


class JobMachine(RuleBasedStateMachine):
    """Any sequence of moves: the store agrees with the table, counts, numbers and remembers."""

    @initialize(folder=st.none())
    def open(self, folder: None) -> None:
        self.path = Path(os.environ["PYTEST_MACHINE_FOLDER"]) / f"{id(self)}.sqlite"
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()
        self.store = JobStore(self.path)
        self.states: dict[str, JobState] = {}
        self.sequences: dict[str, int] = {}

    @rule(request=st.sampled_from(["", "", "a", "b"]))
    def submit(self, request: str) -> None:
        job, _ = self.store.submit(
            kind=JobKind.EXTRACT, spec=b"", output="", request_id=request, now=1.0, max_queued=1000
        )
        self.states.setdefault(job.id, JobState.QUEUED)
        self.sequences.setdefault(job.id, 1)

    @rule(verb=st.sampled_from(list(Verb)), place=st.integers(0, 5), count=st.integers(0, 3))
    def move(self, verb: Verb, place: int, count: int) -> None:
        if not self.states:
            return
        job_id = sorted(self.states)[place % len(self.states)]
        allowed, target = MOVES[verb]
        drafts = [progress(done) for done in range(count)]
        if self.states[job_id] in allowed:
            job, events = self.store.move(job_id, verb, now=2.0, drafts=drafts)
            assert job.state is target
            assert len(events) == count + 1
            self.states[job_id] = target
            self.sequences[job_id] += count + 1
        else:
            with pytest.raises(Conflict):
                self.store.move(job_id, verb, now=2.0, drafts=drafts)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = JobStore(self.path)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        stored = {job.id: job for job in self.store.list_jobs(limit=1000)}
        assert {job_id: job.state for job_id, job in stored.items()} == self.states
        assert {job_id: job.last_sequence for job_id, job in stored.items()} == self.sequences
        assert all((job.ended is not None) == job.state.is_ended for job in stored.values())
        waiting = sorted(job.ahead_count for job in stored.values() if job.state is JobState.QUEUED)
        running = sum(job.state is JobState.RUNNING for job in stored.values())
        assert waiting == [running + place for place in range(len(waiting))]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


def test_any_life_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_MACHINE_FOLDER", str(tmp_path))
    from hypothesis.stateful import run_state_machine_as_test

    quick = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(JobMachine, settings=quick)
