"""The jobs on disk: SQLite, one connection, one thread.

The connection locks the file for itself (``locking_mode=EXCLUSIVE``). That rules out the bug of SQLite before 3.51.3
that needs two connections to a write-ahead log, and needs no shared memory, so the file may lie in a home folder on a
network. State changes are flushed to the disk before anybody is told of them; progress may lose its last moment in a
power cut, but not when the daemon is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from dflcore.errors import Conflict, DataCorrupt, NotFound, ResourceExhausted
from dflcore.progress import FrameProgress, Saved, StopRequest, TrainProgress
from dfldaemon.jobs import (
    ErrorReport,
    EventBody,
    Job,
    JobEvent,
    JobKind,
    JobState,
    StateChange,
    Verb,
    next_state,
)
from dfldaemon.worker_protocol import STATE_KIND, event_from_json, event_kind, event_to_json

P = ParamSpec("P")
T = TypeVar("T")

STORE_NAME = "jobs.sqlite"
MAX_EVENTS_PER_JOB = 4000
"""Above it every second progress event is dropped, so that a long curve keeps its shape; then the oldest others."""
PROGRESS_KINDS = ("frame_progress", "train_progress")

MIGRATIONS = (
    """
    CREATE TABLE job (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, request_id TEXT UNIQUE, kind TEXT NOT NULL,
        state TEXT NOT NULL, spec BLOB NOT NULL, output TEXT NOT NULL, place INTEGER NOT NULL, created REAL NOT NULL,
        started REAL, ended REAL, attempt_count INTEGER NOT NULL, worker_losses INTEGER NOT NULL,
        daemon_losses INTEGER NOT NULL, stop TEXT, last_sequence INTEGER NOT NULL, progress TEXT, error TEXT,
        result TEXT NOT NULL) STRICT;
    CREATE INDEX job_by_place ON job (state, place);
    CREATE TABLE event (
        job INTEGER NOT NULL REFERENCES job (number) ON DELETE CASCADE, sequence INTEGER NOT NULL, time REAL NOT NULL,
        kind TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (job, sequence)) STRICT, WITHOUT ROWID;
    """,
)
"""Statements that lead from one ``user_version`` to the next; only ever appended to."""

_COLUMNS = (
    "number, id, kind, state, spec, output, created, started, ended, attempt_count, worker_losses, daemon_losses, "
    "stop, CASE state WHEN 'queued' THEN (SELECT count(*) FROM job AS other WHERE other.state = 'running' "
    "OR (other.state = 'queued' AND other.place < job.place)) ELSE 0 END, "
    "last_sequence, progress, error, result"
)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event on its way into the log. One that is not ``kept`` gets a number but no row: a newer one replaces it."""

    time: float
    body: EventBody
    kept: bool = True


class JobStore:
    """Jobs and their events. Every method is one transaction; call them from one thread only.

    Raises:
        Conflict: another process has the file open, or a newer version of the daemon wrote it.
        DataCorrupt: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _translated(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            try:
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA foreign_keys = ON")
                self._migrate()
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        self._database.close()

    def submit(
        self,
        *,
        kind: JobKind,
        spec: bytes,
        output: str,
        request_id: str,
        now: float,
        max_queued: int,
    ) -> tuple[Job, list[JobEvent]]:
        """Add a job to the end of the queue; a known ``request_id`` answers with its job and no event.

        Raises:
            ResourceExhausted: too many jobs wait already.
        """
        with self._transaction(durable=True):
            known = self.find_request(request_id)
            if known is not None:
                return known, []
            (queued,) = self._database.execute("SELECT count(*) FROM job WHERE state = 'queued'").fetchone()
            if queued >= max_queued:
                raise ResourceExhausted(
                    f"{queued} jobs wait already, which is the limit; cancel some or wait.", reason="QUEUE_FULL"
                )
            job_id = self._new_id(kind)
            self._database.execute(
                "INSERT INTO job (id, request_id, kind, state, spec, output, place, created, attempt_count, "
                "worker_losses, daemon_losses, last_sequence, result) "
                f"VALUES (?, ?, ?, 'queued', ?, ?, {_NEXT_PLACE}, ?, 1, 0, 0, 0, '{{}}')",
                (job_id, request_id or None, kind.value, spec, output, now),
            )
            return self._log(job_id, [Draft(now, StateChange(state=JobState.QUEUED))])

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        row = self._database.execute(f"SELECT {_COLUMNS} FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise NotFound(f"There is no job {job_id!r}; `dfl job list` shows all.", reason="JOB_NOT_FOUND", job=job_id)
        return _job(row)

    def find_request(self, request_id: str) -> Job | None:
        """The job that an earlier submission with this id made."""
        known = self._database.execute("SELECT id FROM job WHERE request_id = ?", (request_id,)).fetchone()
        return self.get(known[0]) if known else None

    def list_jobs(self, *, states: Sequence[JobState] = (), before: int | None = None, limit: int = 100) -> list[Job]:
        """Newest first: jobs in these states (all when empty) with a number below ``before``."""
        marks = ",".join("?" * len(states))
        where = [f"state IN ({marks})"] * bool(states) + ["number < ?"] * (before is not None)
        values: list[object] = [state.value for state in states]
        values += [before] * (before is not None) + [limit]
        clause = f"WHERE {' AND '.join(where)} " if where else ""
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM job {clause}ORDER BY number DESC LIMIT ?", values)
        return [_job(row) for row in rows]

    def next_queued(self) -> Job | None:
        """The job whose turn it is."""
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM job WHERE state = 'queued' ORDER BY place LIMIT 1"
        ).fetchone()
        return _job(row) if row else None

    def count(self, state: JobState) -> int:
        (number,) = self._database.execute("SELECT count(*) FROM job WHERE state = ?", (state.value,)).fetchone()
        return int(number)

    def is_awaited(self, kind: JobKind, output: str) -> bool:
        """A job that has not ended will write ``output``."""
        found = self._database.execute(
            "SELECT 1 FROM job WHERE kind = ? AND output = ? AND state IN ('queued', 'running', 'paused') LIMIT 1",
            (kind.value, output),
        ).fetchone()
        return found is not None

    def move(
        self,
        job_id: str,
        verb: Verb,
        *,
        now: float,
        drafts: Sequence[Draft] = (),
        error: ErrorReport | None = None,
        result: Mapping[str, str] | None = None,
        lost: str = "",
    ) -> tuple[Job, list[JobEvent]]:
        """Change a job's state and log it, after the events that came before it.

        Args:
            job_id, verb: what happens to which job.
            now: time of the change.
            drafts: events of the job not logged yet.
            error: why it failed.
            result: what it made.
            lost: for REQUEUE: ``worker`` or ``daemon`` when it was lost, empty when it ended in order.

        Raises:
            NotFound: no such job.
            Conflict: the move is not legal.
        """
        with self._transaction(durable=True):
            state = next_state(job_id, self.get(job_id).state, verb)
            _, before = self._log(job_id, drafts)
            changes = _changes(verb, lost)
            assignments = ", ".join(["state = :state", *(f"{name} = {value}" for name, value in changes.items())])
            values = {
                "state": state.value,
                "id": job_id,
                "now": now,
                "error": json.dumps(asdict(error)) if error else None,
                "result": json.dumps(dict(result or {})),
            }
            self._database.execute(f"UPDATE job SET {assignments} WHERE id = :id", values)
            change = StateChange(state=state, error=error, result=dict(result or {}))
            job, changed = self._log(job_id, [Draft(now, change)])
            return job, before + changed

    def set_stop(self, job_id: str, request: StopRequest) -> Job:
        """Remember what a running job was asked for, should the daemon be lost before it happens."""
        with self._transaction(durable=True):
            self._database.execute("UPDATE job SET stop = ? WHERE id = ?", (request.value, job_id))
            return self.get(job_id)

    def append(self, job_id: str, drafts: Sequence[Draft]) -> list[JobEvent]:
        """Number events and keep those that are to be kept; the newest progress is always remembered.

        A save ends the count of lost workers: what it takes to get that far need not be done again.
        """
        with self._transaction(durable=False):
            return self._log(job_id, drafts)[1]

    def events_after(self, job_id: str, sequence: int, limit: int = 500) -> tuple[Job, list[JobEvent]]:
        """A job and its kept events with a greater sequence number, oldest first. Raises NotFound."""
        job = self.get(job_id)
        rows = self._database.execute(
            "SELECT sequence, time, body FROM event WHERE job = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (job.number, sequence, limit),
        )
        return job, [JobEvent(number, time, event_from_json(json.loads(body))) for number, time, body in rows]

    def forget_ended(self, before: float) -> list[str]:
        """Delete jobs that ended before a time; answers with their ids."""
        with self._transaction(durable=False):
            rows = self._database.execute(
                "DELETE FROM job WHERE state IN ('succeeded', 'failed', 'cancelled') AND ended < ? RETURNING id",
                (before,),
            ).fetchall()
            return [job_id for (job_id,) in rows]

    def _log(self, job_id: str, drafts: Sequence[Draft]) -> tuple[Job, list[JobEvent]]:
        job = self.get(job_id)
        events = [JobEvent(job.last_sequence + place, draft.time, draft.body) for place, draft in enumerate(drafts, 1)]
        rows = [
            (job.number, event.sequence, event.time, event_kind(event.body), json.dumps(event_to_json(event.body)))
            for event, draft in zip(events, drafts, strict=True)
            if draft.kept
        ]
        self._database.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", rows)
        progress = [json.dumps(event_to_json(event.body)) for event in events if _is_progress(event.body)]
        self._database.execute(
            "UPDATE job SET last_sequence = ?, progress = coalesce(?, progress) WHERE number = ?",
            (job.last_sequence + len(events), progress[-1] if progress else None, job.number),
        )
        if any(isinstance(event.body, Saved) for event in events):
            self._database.execute("UPDATE job SET worker_losses = 0 WHERE number = ?", (job.number,))
        self._thin(job.number)
        return self.get(job_id), events

    def _thin(self, number: int) -> None:
        (count,) = self._database.execute("SELECT count(*) FROM event WHERE job = ?", (number,)).fetchone()
        if count <= MAX_EVENTS_PER_JOB:
            return
        kinds = ",".join(f"'{kind}'" for kind in PROGRESS_KINDS)
        dropped = self._database.execute(
            "DELETE FROM event WHERE job = ?1 AND sequence IN "
            "(SELECT sequence FROM (SELECT sequence, row_number() OVER "
            f"(ORDER BY sequence) AS place FROM event WHERE job = ?1 AND kind IN ({kinds})) WHERE place % 2 = 1)",
            (number,),
        ).rowcount
        if dropped < count - MAX_EVENTS_PER_JOB:
            self._database.execute(
                "DELETE FROM event WHERE job = ?1 AND sequence IN "
                "(SELECT sequence FROM event WHERE job = ?1 AND kind != ?2 ORDER BY sequence LIMIT ?3)",
                (number, STATE_KIND, MAX_EVENTS_PER_JOB // 4),
            )

    def _new_id(self, kind: JobKind) -> str:
        """Short enough to type: ``train-3f9a2c``."""
        while True:
            job_id = f"{kind.value}-{secrets.token_hex(3)}"
            if self._database.execute("SELECT 1 FROM job WHERE id = ?", (job_id,)).fetchone() is None:
                return job_id

    def _migrate(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise Conflict(
                f"The jobs in {self.path} were written by a newer version (schema {version}, this one knows "
                f"{len(MIGRATIONS)}). Install that version, or use another state folder.",
                reason="STORE_IS_NEWER",
                path=self.path,
            )
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            with self._transaction(durable=True):
                for statement in filter(str.strip, statements.split(";")):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {number}")

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with _translated(self.path):
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


class StoreThread:
    """The thread the store lives in; coroutines call its methods with :meth:`run`."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            self._store = self._thread.submit(JobStore, path).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def run(self, method: Callable[Concatenate[JobStore, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the store in its thread; a cancelled caller does not undo it."""
        future = self._thread.submit(method, self._store, *args, **kwargs)
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """Finish what was asked for and close the file."""
        self._thread.submit(self._store.close).result()
        self._thread.shutdown()


_NEXT_PLACE = "(SELECT coalesce(max(place), 0) + 1 FROM job)"


def _changes(verb: Verb, lost: str) -> dict[str, str]:
    """Column → SQL expression: what a move changes beside the state."""
    ended = {"ended": ":now", "stop": "NULL", "error": ":error", "result": ":result"}
    requeued = {"place": _NEXT_PLACE, "worker_losses": "0", "daemon_losses": "0", "stop": "NULL"}
    changes: dict[Verb, dict[str, str]] = {
        Verb.START: {"started": ":now", "ended": "NULL", "stop": "NULL"},
        Verb.SUCCEED: ended,
        Verb.FAIL: ended,
        Verb.CANCEL: ended,
        Verb.PAUSE: {"stop": "NULL"},
        Verb.RESUME: requeued,
        Verb.RETRY: {
            **requeued,
            "attempt_count": "attempt_count + 1",
            "ended": "NULL",
            "error": "NULL",
            "result": "'{}'",
        },
        # It keeps its place, so it is the next to run.
        Verb.REQUEUE: {"stop": "NULL"},
    }
    if verb is Verb.REQUEUE and lost:
        return {**changes[verb], "attempt_count": "attempt_count + 1", f"{lost}_losses": f"{lost}_losses + 1"}
    return changes[verb]


def _is_progress(body: EventBody) -> bool:
    return isinstance(body, FrameProgress | TrainProgress)


def _job(row: tuple[Any, ...]) -> Job:
    progress = event_from_json(json.loads(row[15])) if row[15] else None
    return Job(
        number=row[0],
        id=row[1],
        kind=JobKind(row[2]),
        state=JobState(row[3]),
        spec=row[4],
        output=row[5],
        created=row[6],
        started=row[7],
        ended=row[8],
        attempt_count=row[9],
        worker_losses=row[10],
        daemon_losses=row[11],
        stop=StopRequest(row[12]) if row[12] else None,
        ahead_count=row[13],
        last_sequence=row[14],
        progress=progress if isinstance(progress, FrameProgress | TrainProgress) else None,
        error=ErrorReport(**json.loads(row[16])) if row[16] else None,
        result=json.loads(row[17]),
    )


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's complaints as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text:
            raise Conflict(
                f"The job store {path} is open in another process.", reason="STORE_BUSY", path=path
            ) from error
        if "full" in text:
            raise ResourceExhausted(
                f"The disk is full while writing {path}; free some space.", reason="DISK_FULL", path=path
            ) from error
        raise DataCorrupt(f"The job store {path} failed: {error}.", reason="STORE_FAILED", path=path) from error
    except sqlite3.DatabaseError as error:
        raise DataCorrupt(
            f"The job store {path} is damaged ({error}); move it away and start the daemon again. "
            "Facesets, models and frames are not touched by that.",
            reason="STORE_DAMAGED",
            path=path,
        ) from error
