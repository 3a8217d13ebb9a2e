"""What goes on between the timeline and the daemon, moved on by whoever holds a timer.

Resolve is called by the thread that calls :meth:`Desk.tick` and by no other; what waits for the daemon runs in
:class:`~dflhost.tasks.Task` threads, which know nothing of Resolve.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.events import ENDED_STATES, SUCCEEDED, BytesSent, Note, StateChanged
from dflhost.jobs import Job
from dflhost.messages import EXTRACT, IDLE, NOT_CONNECTED, TRAIN
from dflhost.plates import FrameSet, Plate
from dflhost.results import Result, ResultKey, read_result
from dflhost.session import DaemonSession, connect_task
from dflhost.streamed import StreamedMerge
from dflhost.tasks import Task
from dflhost.words import CONNECTING, SENDING

from . import exr_parts, marks, orders, versions
from .clips import Clip, plate_of
from .host import Host
from .orders import QUEUE, Choices, FacesOrder, SwapOrder, TrainOrder, is_far
from .place import Placed, leave_setting, place_result
from .rendering import Render, next_render, rendered_plate

WAITING, RENDERING, PREPARING, EXTRACTING, SUBMITTING, WORKING, FETCHING, ENDED = (
    "waiting",
    "rendering",
    "preparing",
    "extracting",
    "submitting",
    "working",
    "fetching",
    "ended",
)
_UP_TO_DATE = "Nothing is out of date"
_MB = 1 << 20


@dataclass
class Run:
    """One clip's swap or extraction, or a training.

    Attributes:
        clip: None of a training that no clip is needed for.
        goal: see :mod:`dflresolve.orders`.
        attach: reference of a job to watch instead of submitting one. show: output to place without a job.
        phase: where it stands. outcome: first word of an ended run's state line.
        rendering: how Resolve rendered the plate. first: the plate's number of the clip's first frame.
        made_of: of a job that is attached, see :class:`~dflresolve.marks.Mark`.
        made: folder that a job other than a swap writes to, as the daemon's machine has it.
        placed: what was done in the project. notes: what a person should know. error: why it failed, or why the
            daemon cannot be asked at the moment.
    """

    clip: Clip | None
    choices: Choices
    only_stale: bool = False
    goal: str = orders.SWAP
    attach: str = ""
    show: str = ""
    phase: str = WAITING
    outcome: str = ""
    order: SwapOrder | None = None
    render: Render | None = None
    job: Job | StreamedMerge | None = None
    key: ResultKey | None = None
    made_of: str = ""
    rendering: str = ""
    first: int = -1
    whole: FrameSet = field(default_factory=FrameSet)
    made: str = ""
    sent: BytesSent | None = None
    is_cancelled: bool = False
    placed: Placed | None = None
    notes: list[str] = field(default_factory=list)
    error: HostError | None = None
    task: Task[Any] | None = None

    @property
    def name(self) -> str:
        """Of the clip."""
        return self.clip.name if self.clip is not None else TRAIN

    @property
    def is_ended(self) -> bool:
        """Nothing more will come."""
        return self.phase == ENDED

    @property
    def progress(self) -> tuple[int, int]:
        """Frames done and frames asked; (0, 0) where they are not known."""
        if self.phase == RENDERING and self.render is not None:
            return self.render.done, self.render.total
        if self.phase in (EXTRACTING, WORKING) and self.job is not None:
            return self.job.status.done, self.job.status.total
        return 0, 0

    @property
    def text(self) -> str:
        """The state line, in the words that all hosts use."""
        if self.is_ended:
            return self.placed.text if self.placed is not None else self.outcome
        if self.phase == RENDERING:
            return "{} {}/{}".format(SENDING, *self.progress)
        if self.phase in (EXTRACTING, WORKING) and self.job is not None:
            return str(self.job.status.text)
        if self.sent is not None:
            return f"Sending {self.sent.done_bytes // _MB}/{-(-self.sent.total_bytes // _MB)} (MB)"
        return {WAITING: f"{CONNECTING}…", FETCHING: "Reading the result…"}.get(self.phase, f"{SENDING}…")

    def tell_sent(self, event: BytesSent) -> None:
        """Of files on their way; called by a task's thread."""
        self.sent = event

    def is_stopped(self) -> bool:
        """Asked by a task's thread."""
        return self.is_cancelled


@dataclass
class Question:
    """Something asked of the daemon beside the runs; a quiet one is dropped with the connection."""

    work: Callable[[DaemonSession], Any]
    then: Callable[[Any], None]
    is_quiet: bool
    task: Task[Any] | None = None


class Desk:
    """The connection, and the runs one after the other.

    Args:
        settings: where the daemon is; asked anew for each connection.
        connect: as :func:`dflhost.session.connect_task`.

    Attributes:
        error: why there is no connection. run: the newest. ended: finished runs that nobody has looked at yet.
    """

    def __init__(
        self,
        host: Host,
        settings: Callable[[], ConnectionSettings],
        connect: Callable[..., Task[DaemonSession]] = connect_task,
    ) -> None:
        self._host, self._settings, self._connect = host, settings, connect
        self._connecting: Task[DaemonSession] | None = None
        self._questions: list[Question] = []
        self._queue: deque[Run] = deque()
        self.session: DaemonSession | None = None
        self.error: HostError | None = None
        self.run: Run | None = None
        self.ended: list[Run] = []

    @property
    def waiting_count(self) -> int:
        """Runs that were not begun."""
        return len(self._queue)

    @property
    def is_busy(self) -> bool:
        """Something will come."""
        is_running = self.run is not None and not self.run.is_ended
        is_asking = any(not question.is_quiet for question in self._questions)
        return is_running or is_asking or bool(self._queue or self._connecting is not None)

    @property
    def text(self) -> str:
        """The state line."""
        if self.run is not None and (not self.run.is_ended or self.session is not None):
            waiting = f" ({len(self._queue)} more clips wait)" if self._queue else ""
            return self.run.text + waiting
        if self.session is not None:
            return IDLE
        return f"{CONNECTING}…" if self._connecting is not None else NOT_CONNECTED

    def connect(self, *, start: bool = False) -> None:
        """Look for the daemon, unless it is there or being looked for. Returns at once."""
        if self.session is None and self._connecting is None:
            self.error = None
            self._connecting = self._connect(self._settings(), start=start)

    def disconnect(self) -> None:
        """Drop the connection, for other settings of it.

        Raises:
            HostError: something is under way (``BUSY``).
        """
        if self.is_busy:
            sentence = "Something is under way: wait for it, or cancel it."
            raise HostError(sentence, reason="BUSY", category="CONFLICT")
        self.error = None
        self._questions.clear()
        if self.session is not None:
            self.session.close()
            self.session = None

    def add(self, runs: list[Run]) -> None:
        """Do these after what is under way. Returns at once.

        Raises:
            HostError: something must be chosen first; nothing was begun then.
        """
        current = self.run
        if current is not None and not current.is_ended and current.goal == orders.TRAIN:
            sentence = "The model is being trained: press Cancel to end that, what was learnt is kept."
            raise HostError(sentence, reason="BUSY", category="CONFLICT")
        for run in runs:
            if not (run.attach or run.show):
                run.choices.check(run.goal)
        for run in runs:
            try:
                if run.clip is not None and not (run.attach or run.show or run.goal == orders.TRAIN):
                    run.choices.check_clip(run.clip)
            except HostError as error:
                if len(runs) == 1:
                    raise
                self._fail(run, error)
            else:
                self._queue.append(run)
        self.connect()

    def refuse(self, name: str, choices: Choices, error: HostError) -> None:
        """A clip that nothing can be done with, among others."""
        self._fail(Run(Clip(None, "", name, 0, 0, 0, 0), choices), error)

    def ask(self, work: Callable[[DaemonSession], Any], then: Callable[[Any], None], *, is_quiet: bool = False) -> None:
        """Ask the daemon in a thread, and call ``then`` with its answer, or with a HostError. Returns at once."""
        self._questions.append(Question(work, then, is_quiet))
        self.connect()

    def cancel(self) -> None:
        """Stop after the frame being made; what waits is not begun. Returns at once."""
        self._queue.clear()
        run = self.run
        if run is None or run.is_ended:
            return
        run.is_cancelled = True
        if run.render is not None and run.phase == RENDERING:
            run.render.cancel()
            self._end(run, "Cancelled")
        elif run.job is not None:
            run.job.cancel()
        elif run.phase == WAITING:
            self._end(run, "Cancelled")

    def tick(self) -> bool:
        """Move on what waited; answers whether something may have changed. Never raises HostError."""
        self._settle_connection()
        self._settle_questions()
        if (self.run is None or self.run.is_ended) and self._queue:
            self.run = self._queue.popleft()
        run = self.run
        if run is None or run.is_ended:
            return False
        try:
            self._advance(run)
        except HostError as error:
            self._fail(run, error)
        return True

    def close(self) -> None:
        """Stop everything here; jobs go on in the daemon, and the clips' markers find them again."""
        self._queue.clear()
        run = self.run
        if run is not None and run.render is not None and run.phase == RENDERING:
            run.render.cancel()
        if run is not None and run.sent is not None and run.task is not None:
            run.is_cancelled = True  # what has come is kept; sending goes on from there
            run.task.join(5.0)
        if self._connecting is not None:
            self._connecting.join(5.0)
            self._settle_connection()
        if self.session is not None:
            self.session.close()
            self.session = None

    def _settle_connection(self) -> None:
        if self._connecting is not None and self._connecting.is_done:
            task, self._connecting = self._connecting, None
            self.error = task.error
            self.session = task.result() if task.error is None else None

    def _settle_questions(self) -> None:
        for question in list(self._questions):
            task = question.task
            if task is None and self.session is not None:
                question.task = _bound(question.work, self.session)
            elif task is None and self._connecting is None:
                self._questions.remove(question)
                question.then(self.error or _gone())
            elif task is not None and task.is_done:
                self._questions.remove(question)
                question.then(task.error or task.result())

    def _advance(self, run: Run) -> None:
        {
            WAITING: self._begin,
            RENDERING: self._take_plate,
            PREPARING: self._take_preparation,
            EXTRACTING: self._take_events,
            SUBMITTING: self._take_job,
            WORKING: self._take_events,
            FETCHING: self._take_result,
        }[run.phase](run)

    def _begin(self, run: Run) -> None:
        session = self.session
        if session is None:
            if self._connecting is None:
                raise self.error or _gone()
            return
        if run.show:
            self._fetch(run, run.show)
        elif run.attach:
            run.job, run.phase = session.attach(run.attach), WORKING
        elif run.goal == orders.TRAIN or run.clip is None:
            self._submit(run, TrainOrder(run.choices, run.clip.name if run.clip is not None else "").submit)
        elif run.choices.rendering(run.clip):
            self._render(run, run.clip)
        else:
            note = run.choices.color_note(run.clip)
            run.notes += [note] if note else []
            self._prepare(run, plate_of(run.clip, run.choices.color_space))

    def _render(self, run: Run, clip: Clip) -> None:
        """Rendered plates of an unchanged clip serve again for *Update*, and faces for the swap that comes then."""
        run.rendering = run.choices.rendering(clip)
        plate = rendered_plate(clip, run.choices) if run.only_stale else None
        if plate is not None:
            self._prepare(run, plate)
            return
        run.render, run.phase = next_render(self._host, clip, run.choices), RENDERING

    def _take_plate(self, run: Run) -> None:
        assert run.render is not None
        if run.render.step() and run.render.plate is not None:
            self._prepare(run, run.render.plate)

    def _prepare(self, run: Run, whole: Plate) -> None:
        clip = run.clip
        assert clip is not None
        plate = run.choices.narrowed(clip, whole)
        run.whole, run.first = whole.frames, whole.frames.frames[0] if whole.frames.frames else -1
        if run.goal != orders.SWAP:
            self._submit(run, FacesOrder(plate, run.choices, clip.name, run.goal).submit)
            return
        mark = marks.read_mark(clip)
        output = mark.output if mark is not None else ""
        key = marks.read_key(output) if output else ""
        order = run.order = SwapOrder(plate, run.choices, clip.name, run.only_stale, key, output)

        def prepare(session: DaemonSession) -> tuple[bool, Job | None]:
            if order.only_stale:
                report = order.staleness(session)
                if report is not None and not report.is_stale:
                    return False, None
            return True, order.find_faces(session, run.tell_sent, run.is_stopped)

        run.task, run.phase = _bound(prepare, self._connected()), PREPARING

    def _take_preparation(self, run: Run) -> None:
        if run.task is None or not run.task.is_done:
            return
        is_needed, job = run.task.result()
        run.sent = None
        if not is_needed or (run.is_cancelled and job is None):
            self._end(run, _UP_TO_DATE if not is_needed else "Cancelled")
        elif job is not None:
            run.job, run.phase = job, EXTRACTING
            if run.is_cancelled:
                job.cancel()
        else:
            self._submit_swap(run)

    def _submit_swap(self, run: Run) -> None:
        order = run.order
        assert order is not None
        run.job = None
        run.task, run.phase = _bound(order.merge, self._connected()), SUBMITTING

    def _submit(self, run: Run, submit: Callable[..., tuple[Job, str]]) -> None:
        """An extraction or a training."""

        def work(session: DaemonSession) -> tuple[None, Job, str]:
            job, run.made = submit(session, run.tell_sent, run.is_stopped)
            return None, job, ""

        run.task, run.phase = _bound(work, self._connected()), SUBMITTING

    def _take_job(self, run: Run) -> None:
        if run.task is None or not run.task.is_done:
            return
        run.key, run.job, output = run.task.result()
        run.phase, run.sent = WORKING, None
        if output:  # a version that this computer writes: what is there of it is found again
            self._remember(run, output)
        if run.is_cancelled and run.job is not None:
            run.job.cancel()

    def _take_events(self, run: Run) -> None:
        job = run.job
        assert job is not None
        last: StateChanged | None = None
        for event in job.events():
            if isinstance(event, Note):
                run.notes.append(event.message)
            elif isinstance(event, StateChanged):
                last = event
        run.error = job.status.connection_error
        is_ended = last is not None and last.state in ENDED_STATES
        if last is not None and job.reference and (is_ended or not run.attach):
            self._remember(run, is_running=not is_ended)
        if last is None or not is_ended:
            return
        if last.state != SUCCEEDED:
            error = last.error or job.status.error
            if error is not None:
                raise error
            self._end(run, "Cancelled")
        elif run.phase == EXTRACTING:
            self._submit_swap(run)
        elif run.goal != orders.SWAP:
            self._end(run, self._done_sentence(run))
        else:
            self._fetch(run, str(last.result.get("output") or ""))

    @staticmethod
    def _done_sentence(run: Run) -> str:
        if run.goal == orders.TRAIN:
            return f"Done: the model {run.made}".rstrip() if run.made else "Done"
        return f"Done: {EXTRACT}, {run.name}: {run.made}" if run.made else "Done"

    def _fetch(self, run: Run, output: str) -> None:
        def read(session: DaemonSession) -> Result:
            if not is_far(session, run.choices.folder):
                return session.result(output)
            exr_parts.take_apart(output)
            return read_result(output)

        run.task, run.phase = _bound(read, self._connected()), FETCHING

    def _take_result(self, run: Run) -> None:
        if run.task is None or not run.task.is_done:
            return
        clip = run.clip
        assert clip is not None
        result: Result = self._of_clip(run, clip, run.task.result())
        if run.key is None and run.made_of:
            plate = rendered_plate(clip, run.choices) if run.rendering else plate_of(clip, run.choices.color_space)
            run.key = versions.key_of(run.made_of, plate, self._connected().server.version) if plate else None
        if run.key is not None:
            versions.write_key(result.pattern, run.key)
        self._remember(run, result.pattern)
        is_known = bool(result.frames.frames) and run.first >= 0
        offset = max(0, result.frames.frames[0] - run.first) if is_known else 0
        try:
            leave_setting(clip, result, offset)
        except HostError as error:
            run.notes.append(error.message)
        is_whole = is_far(self._connected(), run.choices.folder)
        is_graded = run.rendering == QUEUE
        run.placed = place_result(
            self._host, clip, result, run.choices.place, is_graded=is_graded, is_whole=is_whole, offset=offset
        )
        run.notes.extend(run.placed.notes)
        self._end(run, "Done")

    @staticmethod
    def _of_clip(run: Run, clip: Clip, result: Result) -> Result:
        """Only the clip's frames: others of the same source may lie in the same version. Of frames with gaps, those
        that were asked for."""
        if run.order is None and clip.is_direct and not run.rendering:
            run.whole = plate_of(clip).frames
            run.first = run.whole.frames[0] if run.whole.frames else -1
        there = run.whole.frames
        if not there:
            return result
        kept = FrameSet.of(set(result.frames) & set(there))
        if run.order is not None and kept.frames and kept.frames[-1] - kept.frames[0] + 1 != len(kept):
            kept = FrameSet.of(set(result.frames) & set(run.order.plate.frames))
        return replace(result, frames=kept)

    def _remember(self, run: Run, output: str = "", *, is_running: bool = False) -> None:
        """A clip that takes no marker costs *Update* and attaching again, not the result. Without a new output, the
        one before is still the clip's newest."""
        if run.clip is None or run.goal == orders.TRAIN:
            return  # the preferences remember a training
        reference = run.job.reference if run.job is not None else run.attach
        try:
            before = marks.read_mark(run.clip)
            kept = output or (before.output if before is not None else "")
            place, rendering, first = run.choices.place, run.rendering, run.first
            if run.goal != orders.SWAP and before is not None:  # what is said of the output stays
                place, rendering, first = before.place, before.rendering, before.first
            goal = orders.EXTRACT_TARGET if run.phase == EXTRACTING else run.goal
            made_of = versions.made_of(run.key) if run.key is not None else run.made_of
            mark = marks.Mark(reference, kept, place, rendering, is_running, goal, first, made_of)
            marks.write_mark(run.clip, mark, run.text)
        except HostError as error:
            if error.message not in run.notes:
                run.notes.append(error.message)

    def _connected(self) -> DaemonSession:
        if self.session is None:
            raise _gone()
        return self.session

    def _fail(self, run: Run, error: HostError) -> None:
        if error.reason == "SENDING_STOPPED":
            self._end(run, "Cancelled")
            return
        if error.reason == "COLOR_SPACE_REQUIRED":
            run.notes.append("Write the plate's color space into the field Color space.")
        run.error = error
        self._end(run, "Failed")
        if error.is_unreachable and self.session is not None:  # the next press looks for the daemon anew
            with contextlib.suppress(HostError):
                self.session.close()
            self.session = None

    def _end(self, run: Run, outcome: str) -> None:
        run.phase, run.outcome, run.task = ENDED, outcome, None
        self.ended.append(run)


def _bound(work: Callable[[DaemonSession], Any], session: DaemonSession) -> Task[Any]:
    return Task(lambda: work(session), "dfl-resolve")


def _gone() -> HostError:
    return HostError("There is no connection to the face swap daemon.", reason="DAEMON_UNREACHABLE")
