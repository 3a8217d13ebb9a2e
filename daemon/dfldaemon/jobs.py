"""What a job is, the states it goes through, and the one table of legal moves.

::

    QUEUED    → RUNNING (start), PAUSED (pause), CANCELLED (cancel)
    RUNNING   → SUCCEEDED (succeed), FAILED (fail), CANCELLED (cancel), PAUSED (pause),
                QUEUED (requeue: the daemon ended, or the worker was lost and may try again)
    PAUSED    → QUEUED (resume), CANCELLED (cancel)
    FAILED    → QUEUED (retry)
    CANCELLED → QUEUED (retry)

The same words stand in the protocol, the log, user interfaces and tests.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from dflcore.errors import ERROR_CLASSES, Conflict, DflError, Internal
from dflcore.progress import Event, FrameProgress, StopRequest, TrainProgress


class JobState(enum.Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Nothing happens any more unless a person retries the job."""
        return self in ENDED_STATES


ENDED_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobKind(enum.Enum):
    """What kind of work a job is."""

    EXTRACT = "extract"
    TRAIN = "train"
    MERGE = "merge"
    CURATE = "curate"
    TRAIN_MASK = "train_mask"
    TRAIN_DETAIL = "train_detail"
    IMPORT_MODEL = "import_model"
    EXPORT_MODEL = "export_model"
    QC = "qc"


class Verb(enum.Enum):
    """What moves a job from one state to another."""

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    REQUEUE = "requeue"


MOVES: Mapping[Verb, tuple[frozenset[JobState], JobState]] = {
    Verb.START: (frozenset({JobState.QUEUED}), JobState.RUNNING),
    Verb.SUCCEED: (frozenset({JobState.RUNNING}), JobState.SUCCEEDED),
    Verb.FAIL: (frozenset({JobState.RUNNING}), JobState.FAILED),
    Verb.CANCEL: (frozenset({JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}), JobState.CANCELLED),
    Verb.PAUSE: (frozenset({JobState.QUEUED, JobState.RUNNING}), JobState.PAUSED),
    Verb.RESUME: (frozenset({JobState.PAUSED}), JobState.QUEUED),
    Verb.RETRY: (frozenset({JobState.FAILED, JobState.CANCELLED}), JobState.QUEUED),
    # The daemon ended, or the worker was lost and may try again.
    Verb.REQUEUE: (frozenset({JobState.RUNNING}), JobState.QUEUED),
}
"""Verb → the states it may start from, and the state it leads to. Everything else is a Conflict."""


def next_state(job_id: str, state: JobState, verb: Verb) -> JobState:
    """The state a job is in after a move.

    Raises:
        Conflict: the move is not in the table; the message names the state.
    """
    allowed, target = MOVES[verb]
    if state not in allowed:
        names = " or ".join(sorted(one.value for one in allowed))
        raise Conflict(
            f"Cannot {verb.value} job {job_id}: it is {state.value}, and only a job that is {names} can be.",
            reason="WRONG_JOB_STATE",
            job=job_id,
            state=state.value,
        )
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a worker is told to do: plain values, ready for JSON.

    Attributes:
        paths: ``plate``, ``faceset``, ``model``, ``source``, ``target``, ``output``, ``other``, ``legacy``, ``result``:
            those that the kind needs; of several facesets ``faceset_000``, ``faceset_001``...
        frames: frame range text of the plate, empty for every frame on disk.
        settings: all fields of the kind's settings class, as resolved when the job was submitted.
        operation: what is done to a faceset, by the name of its field in ``CurateSpec``; of a curate job only.
    """

    kind: JobKind
    paths: Mapping[str, str]
    frames: str
    settings: Mapping[str, object]
    operation: str = ""

    @property
    def facesets(self) -> list[str]:
        """Folders of a job that takes several facesets, in order; of a training, those of further sources."""
        return [path for name, path in sorted(self.paths.items()) if name.startswith(FACESET_PREFIX)]

    @property
    def output(self) -> str:
        """The folder or pattern the work writes to."""
        return self.paths[OUTPUT_PATHS[self.kind]]


OUTPUT_PATHS: Mapping[JobKind, str] = {
    JobKind.EXTRACT: "faceset",
    JobKind.TRAIN: "model",
    JobKind.MERGE: "output",
    JobKind.CURATE: "faceset",
    JobKind.TRAIN_MASK: "model",
    JobKind.TRAIN_DETAIL: "model",
    JobKind.IMPORT_MODEL: "model",
    JobKind.EXPORT_MODEL: "output",
    JobKind.QC: "output",
}
"""Which of its paths a job of a kind produces."""
FACESET_PREFIX = "faceset_"
SEVERAL_FACESETS: Mapping[JobKind, str] = {
    JobKind.TRAIN: "more_source_paths",
    JobKind.TRAIN_MASK: "faceset_paths",
    JobKind.TRAIN_DETAIL: "faceset_paths",
}
"""Kinds that take any number of facesets, and the field of their spec that lists them."""
INSTALL_COMMAND = "pip install 'dfl-compositor[core,daemon]'"
"""What a person does about a library that is not there."""
SETTINGS_TO_LOWER: Mapping[JobKind, str] = {
    JobKind.EXTRACT: "detect_size or max_faces",
    JobKind.TRAIN: "batch_size, resolution or cache_mb",
    JobKind.MERGE: "the number of layers",
    JobKind.CURATE: "threads or batch_size",
    JobKind.TRAIN_MASK: "batch_size or resolution",
    JobKind.TRAIN_DETAIL: "batch_size or cache_mb",
}
"""What needs less memory when it is lower; kinds without such settings are left out."""


def memory_advice(kind: JobKind) -> str:
    """What a person can do about memory that ran out, as the beginning of a sentence."""
    settings = SETTINGS_TO_LOWER.get(kind)
    return f"Lower {settings}, or close other programs" if settings else "Close other programs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """An error as plain values, for the store and the worker's pipe. ``category`` is the class's default reason."""

    category: str
    reason: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: DflError) -> ErrorReport:
        return cls(
            category=error_category(type(error)),
            reason=error.reason,
            message=error.message,
            details=dict(error.details),
        )

    def error(self) -> DflError:
        """The exception again; an unknown category becomes Internal."""
        classes = {error_class.default_reason: error_class for error_class in ERROR_CLASSES}
        details: dict[str, object] = {key: value for key, value in self.details.items() if key not in _ARGUMENT_NAMES}
        return classes.get(self.category, Internal)(self.message, reason=self.reason, **details)


_ARGUMENT_NAMES = frozenset({"self", "message", "reason"})


def error_category(error_class: type[DflError]) -> str:
    """``INVALID_INPUT``, ``NOT_FOUND``...: the default reason of the class of the tree an error belongs to."""
    for known in ERROR_CLASSES:
        if issubclass(error_class, known):
            return known.default_reason
    return Internal.default_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """The job changed its state; ``error`` when it failed, ``result`` when it succeeded."""

    state: JobState
    error: ErrorReport | None = None
    result: Mapping[str, str] = field(default_factory=dict)


EventBody = Event | StateChange
"""What an entry of a job's log says."""
Progress = FrameProgress | TrainProgress


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One numbered entry of a job's log. ``time`` is in seconds since the epoch, UTC."""

    sequence: int
    time: float
    body: EventBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is stored. Times are in seconds since the epoch, UTC.

    Attributes:
        number: counts up with every job ever submitted; the newest has the greatest.
        spec: serialized ``dflproto.v1.JobSpec`` with resolved settings.
        output: what it writes to; a later job may wait for it.
        attempt_count: 1 for the first run; a retry and a lost worker or daemon add one.
        worker_losses, daemon_losses: since it was last put into the queue by a person; a save ends the count of the
            first, so that a training of weeks outlives a crash a day.
        stop: what the worker was asked for and has not done yet.
        ahead_count: jobs that go before it when it is queued, the running one included.
        progress: the latest, if any.
    """

    number: int
    id: str
    kind: JobKind
    state: JobState
    spec: bytes
    output: str
    created: float
    started: float | None
    ended: float | None
    attempt_count: int
    worker_losses: int
    daemon_losses: int
    stop: StopRequest | None
    ahead_count: int
    last_sequence: int
    progress: Progress | None
    error: ErrorReport | None
    result: Mapping[str, str]
