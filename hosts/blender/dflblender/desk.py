# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on between the scenes and the daemon, without a word of Blender's.

Everything here belongs to the interface's thread: it asks :meth:`Desk.tick` ten times a second to move on what waits,
and never waits itself. What waits runs in :class:`~._dflhost.tasks.Task` threads, which touch neither Blender nor this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._dflhost.discovery import ConnectionSettings
from ._dflhost.errors import HostError
from ._dflhost.events import CANCELLED, ENDED_STATES, FAILED, SUCCEEDED, FramesDone, Note, PreviewReady, StateChanged
from ._dflhost.feed import JobStatus
from ._dflhost.jobs import MERGE
from ._dflhost.messages import IDLE, NOT_CONNECTED
from ._dflhost.results import Result, read_result
from ._dflhost.session import DaemonSession, connect_task
from ._dflhost.tasks import Task
from ._dflhost.words import CONNECTING

Facts = MutableMapping[str, str]
"""What steps of a run leave for whoever places its result; texts only, so that a scene can keep them."""
STREAMED = "streamed"
"""The fact that names the files of a result that comes over the network, frame by frame."""


class StepJob(Protocol):
    """What a step starts: a job of the daemon's, or one that lives here: its ``reference`` is empty."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def status(self) -> JobStatus: ...
    def events(self) -> list[Any]: ...
    def cancel(self) -> None: ...
    def detach(self) -> None: ...
    def join(self, timeout_s: float | None = None) -> None: ...


Step = Callable[[DaemonSession, Facts], "StepJob | None"]
"""Submits one job, or decides that none is needed; it may wait, so it runs in a thread."""

LAST_WAIT_S = 5.0
"""For a thread that a closed connection sets free."""
WAITING, SUBMITTING, WATCHING, FETCHING, ENDED = "waiting", "submitting", "watching", "fetching", "ended"


@dataclass
class Run:
    """Work for one scene: jobs one after the other.

    Attributes:
        scene: its number in this Blender (``session_uid``).
        steps: those to come. facts: see :data:`Facts`.
        phase: where it stands: ``waiting`` for the connection, ``submitting``, ``watching``, ``fetching`` the result,
            ``ended``.
        outcome: of an ended run: ``SUCCEEDED``, ``FAILED`` or ``CANCELLED``.
        job: the newest. output, result: pattern and frames of a merge that succeeded.
        preview: the newest, until taken. notices: what a person should know.
        finished: frame → file, of those that came since they were taken.
        error: why it failed, or why its daemon cannot be asked at the moment.
    """

    scene: int
    steps: deque[Step]
    facts: Facts = field(default_factory=dict)
    phase: str = WAITING
    outcome: str = ""
    job: StepJob | None = None
    output: str = ""
    result: Result | None = None
    preview: PreviewReady | None = None
    finished: dict[int, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    error: HostError | None = None
    is_cancelled: bool = False
    task: Task[Any] | None = None

    @property
    def is_ended(self) -> bool:
        """Nothing more will come."""
        return self.phase == ENDED

    @property
    def text(self) -> str:
        """The state line, in the words that all hosts use."""
        if self.is_ended and self.outcome != SUCCEEDED:
            return "Cancelled" if self.outcome == CANCELLED else "Failed"
        if self.phase == WATCHING or self.is_ended:
            return self.job.status.text if self.job is not None else "Done"
        return {WAITING: f"{CONNECTING}…", SUBMITTING: "Sending plates…", FETCHING: "Reading the result…"}[self.phase]

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return self.job.status.fraction if self.job is not None else 0.0


@dataclass
class _Question:
    work: Callable[[DaemonSession], Any]
    then: Callable[[Any], None]
    failed: Callable[[HostError], None]
    task: Task[Any] | None = None


class Desk:
    """The connection, and the runs of all scenes.

    Args:
        settings: where the daemon is; asked anew for each connection.
        connect: as :func:`~._dflhost.session.connect_task`.

    Attributes:
        error: why there is no connection, None where there is one or none was asked for.
        runs: scene → its newest run.
    """

    def __init__(
        self,
        settings: Callable[[], ConnectionSettings],
        connect: Callable[..., Task[DaemonSession]] = connect_task,
    ) -> None:
        self._settings, self._connect = settings, connect
        self._session: DaemonSession | None = None
        self._connecting: Task[DaemonSession] | None = None
        self._questions: list[_Question] = []
        self._greeted: list[Callable[[], None]] = []
        self._dropped: list[Task[DaemonSession]] = []
        self.error: HostError | None = None
        self.runs: dict[int, Run] = {}

    # The connection.

    @property
    def session(self) -> DaemonSession | None:
        """The connection, where there is one."""
        return self._session

    @property
    def is_connecting(self) -> bool:
        """It is being looked for."""
        return self._connecting is not None

    @property
    def connection_text(self) -> str:
        """One line for preferences and panels."""
        if self._session is not None:
            return f"{IDLE}: daemon {self._session.server.version} at {self._session.server.address}"
        return f"{CONNECTING}…" if self.is_connecting else NOT_CONNECTED

    def on_connected(self, call: Callable[[], None]) -> None:
        """Call this after each connection."""
        self._greeted.append(call)

    def connect(self, *, start: bool = False) -> None:
        """Look for the daemon, unless it is there or being looked for. Returns at once."""
        if self._session is not None or self._connecting is not None:
            return
        self.error = None
        try:
            settings = self._settings()
        except HostError as error:
            self.error = error
            return
        self._connecting = self._connect(settings, start=start)

    def disconnect(self) -> None:
        """Drop the connection; jobs go on, and runs under way are attached again by the next connection."""
        if self._connecting is not None:
            self._dropped.append(self._connecting)
            self._connecting = None
        self.error = None
        session, self._session = self._session, None
        if session is None:
            return
        for run in self.runs.values():
            if run.phase != WATCHING or run.job is None:
                continue
            if run.job.reference:
                run.steps.appendleft(attach_step(run.job.reference))
                run.phase = WAITING
            else:
                run.job.detach()
                self._end(run, FAILED, _interrupted())
        session.close()

    # Work.

    @property
    def is_busy(self) -> bool:
        """Something will come: :meth:`tick` must go on being called."""
        return bool(
            self._connecting is not None
            or self._questions
            or self._dropped
            or any(not run.is_ended for run in self.runs.values())
        )

    def is_working(self, scene: int) -> bool:
        """A run of this scene has not ended."""
        run = self.runs.get(scene)
        return run is not None and not run.is_ended

    def start(self, scene: int, steps: Iterable[Step], facts: Facts | None = None) -> Run:
        """Do this for a scene; connects where there is no connection. Returns at once.

        Raises:
            HostError: the scene's last run has not ended (reason ``BUSY``).
        """
        if self.is_working(scene):
            raise HostError(
                "This scene's last job is still under way: wait for it, or cancel it.",
                reason="BUSY",
                category="CONFLICT",
            )
        run = self.runs[scene] = Run(scene, deque(steps), dict(facts or {}))
        self.connect()
        return run

    def cancel(self, scene: int) -> None:
        """Stop a scene's run after the frame being made. Returns at once."""
        run = self.runs.get(scene)
        if run is None or run.is_ended:
            return
        run.is_cancelled = True
        run.steps.clear()
        if run.phase == WAITING:
            run.phase, run.outcome = ENDED, CANCELLED
        elif run.job is not None:
            run.job.cancel()

    def forget(self, scene: int) -> None:
        """A run that has ended is no longer told about; another goes on."""
        if not self.is_working(scene):
            self.runs.pop(scene, None)

    def ask(
        self,
        work: Callable[[DaemonSession], Any],
        then: Callable[[Any], None],
        failed: Callable[[HostError], None] = lambda error: None,
    ) -> None:
        """Ask the daemon in a thread, and call ``then`` or ``failed`` in the interface's. Returns at once."""
        self._questions.append(_Question(work, then, failed))
        self.connect()

    def tick(self) -> list[Run]:
        """Move on what waited; answers with the runs in which something happened."""
        self._settle_connection()
        for question in list(self._questions):
            self._settle_question(question)
        return [run for run in list(self.runs.values()) if not run.is_ended and self._advance(run)]

    def close(self) -> None:
        """Stop everything here; jobs go on in the daemon. Waits for threads of ours, which end by their deadlines."""
        under_way: list[_Question | Run] = [*self._questions, *self.runs.values()]
        self.disconnect()
        for work in under_way:
            if work.task is not None:
                work.task.join(LAST_WAIT_S)
            if isinstance(work, Run) and work.job is not None and not work.job.reference:
                work.job.detach()
                work.job.join(LAST_WAIT_S)
        self._questions.clear()
        self._greeted.clear()
        self.runs.clear()
        for task in self._dropped:
            task.join(LAST_WAIT_S)
        self._drop_late_sessions()
        self._dropped.clear()

    def _drop_late_sessions(self) -> None:
        for task in [task for task in self._dropped if task.is_done]:
            self._dropped.remove(task)
            if task.error is None:
                task.result().close()

    def _settle_connection(self) -> None:
        self._drop_late_sessions()
        if self._connecting is None or not self._connecting.is_done:
            return
        task, self._connecting = self._connecting, None
        self.error = task.error
        if self.error is None:
            self._session = task.result()
            for call in self._greeted:
                call()

    def _settle_question(self, question: _Question) -> None:
        if question.task is None:
            if self._session is not None:
                session = self._session
                question.task = Task(lambda: question.work(session), "dfl-question")
            elif self._connecting is None:
                self._questions.remove(question)
                question.failed(self.error or _gone())
            return
        if not question.task.is_done:
            return
        self._questions.remove(question)
        error = question.task.error
        if error is None:
            question.then(question.task.result())
        else:
            self._doubt(error)
            question.failed(error)

    def _advance(self, run: Run) -> bool:
        """Answers whether something happened."""
        if run.phase == WAITING:
            return self._submit_next(run)
        if run.phase == SUBMITTING:
            return self._take_job(run)
        if run.phase == WATCHING:
            return self._take_events(run)
        return self._take_result(run)

    def _submit_next(self, run: Run) -> bool:
        if self._session is None:
            if self._connecting is not None:
                return False
            return self._end(run, FAILED, self.error or _gone())
        if not run.steps:
            return self._fetch(run) if run.output else self._end(run, SUCCEEDED)
        step, session, facts = run.steps.popleft(), self._session, run.facts
        run.task, run.phase = Task(lambda: step(session, facts), "dfl-submit"), SUBMITTING
        return True

    def _take_job(self, run: Run) -> bool:
        assert run.task is not None
        if not run.task.is_done:
            return False
        if run.task.error is not None:
            self._doubt(run.task.error)
            return self._end(run, FAILED, run.task.error)
        job = run.task.result()
        if job is None:
            run.phase = WAITING
            return self._end(run, CANCELLED) if run.is_cancelled else True
        run.job, run.phase = job, WATCHING
        if run.is_cancelled:
            job.cancel()
        return True

    def _take_events(self, run: Run) -> bool:
        assert run.job is not None
        events = run.job.events()
        last: StateChanged | None = None
        for event in events:
            if isinstance(event, PreviewReady):
                run.preview = event
            elif isinstance(event, FramesDone) and event.frame is not None and event.path:
                run.finished[event.frame] = event.path
            elif isinstance(event, Note):
                run.notices.append(event.message)
            elif isinstance(event, StateChanged):
                last = event
        status = run.job.status
        run.error = status.error or status.connection_error
        if last is None or last.state not in ENDED_STATES:
            return bool(events)
        if last.state != SUCCEEDED:
            return self._end(run, last.state, last.error or status.error)
        run.error, run.phase = None, WAITING
        if run.job.kind == MERGE:
            run.output = run.facts.get(STREAMED) or last.result.get("output", "")
        return True if run.steps else self._submit_next(run)

    def _fetch(self, run: Run) -> bool:
        """What came over the network is on this disk; of what the daemon wrote it knows more."""
        if self._session is None:
            return self._end(run, FAILED, self.error or _gone())
        pattern = run.output
        read = read_result if run.facts.get(STREAMED) else self._session.result
        run.task, run.phase = Task(lambda: read(pattern), "dfl-result"), FETCHING
        return True

    def _take_result(self, run: Run) -> bool:
        assert run.task is not None
        if not run.task.is_done:
            return False
        if run.task.error is not None:
            return self._end(run, FAILED, run.task.error)
        run.result = run.task.result()
        return self._end(run, SUCCEEDED)

    def _end(self, run: Run, outcome: str, error: HostError | None = None) -> bool:
        run.phase, run.outcome, run.error, run.task = ENDED, outcome, error, None
        return True

    def _doubt(self, error: HostError) -> None:
        """After a call that met no daemon, the next press looks for it anew; runs keep the connection they watch."""
        if error.is_unreachable and not any(run.phase == WATCHING for run in self.runs.values()):
            self.disconnect()


def attach_step(reference: str) -> Step:
    """A job that an earlier Blender submitted, by :attr:`Job.reference`."""
    return lambda session, facts: session.attach(reference)


def _interrupted() -> HostError:
    return HostError(
        "The connection was changed while frames or files were on their way. What has come is kept: press it again.",
        reason="TRANSFER_INTERRUPTED",
        category="CONFLICT",
    )


def _gone() -> HostError:
    return HostError("There is no connection to the face swap daemon.", reason="DAEMON_UNREACHABLE")
