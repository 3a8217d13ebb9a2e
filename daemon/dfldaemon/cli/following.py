"""Follow a job to its end, and answer Ctrl-C and SIGTERM in the meantime.

A thread of its own reads the stream; the main thread shows events and looks at what signals left behind. Signal
handlers only count: a call from inside a handler could meet a lock that the interrupted code holds.
"""

from __future__ import annotations

import contextlib
import enum
import queue
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from dflcore.errors import DflError, Internal
from dfldaemon.cli.display import JobDisplay, job_display
from dfldaemon.cli.exit_codes import INTERRUPTED, OK, category_code
from dfldaemon.cli.output import Output
from dfldaemon.client import DaemonClient
from dflproto.v1 import common_pb2, job_service_pb2

CANCEL_SENTENCE = "Cancelling; finished work is kept. Press Ctrl-C again to leave; the daemon sees to the rest."
CANCEL_ONLY_SENTENCE = "Cancelling; finished work is kept. Press Ctrl-C again to leave at once."
POLL_S = 0.1
ADVICE = "advice"
IN_SUMMARY = frozenset(
    {ADVICE, "iteration", "elapsed_s", "step_ms", "identity_to_source", "source_to_target", "sharpness_ratio"}
)
"""Facts of a reviewed training that its summary has told in sentences."""
_Item = job_service_pb2.JobEvent | DflError | None


class OnInterrupt(enum.Enum):
    """What Ctrl-C and SIGTERM do while a job is followed.

    ``CANCEL`` cancels the job, the second time it does not wait for that; ``CANCEL_ONLY`` is the same where the daemon
    ends with us; ``DETACH`` leaves at once.
    """

    CANCEL = "cancel"
    CANCEL_ONLY = "cancel_only"
    DETACH = "detach"


@dataclass(slots=True)
class Signals:
    """How often the user asked this process to stop."""

    interrupts: int = 0
    terminations: int = 0


def follow_job(
    client: DaemonClient,
    job: job_service_pb2.Job,
    output: Output,
    *,
    on_interrupt: OnInterrupt,
    after_sequence: int = 0,
    is_watched: bool = False,
) -> job_service_pb2.Job | None:
    """Show a job until it ends.

    Args:
        is_watched: of a training, draw curves where the terminal can.

    Returns:
        The job as it ended; None when the user detached.

    Raises:
        DflError: the daemon went away and did not come back, or there is no such job.
    """
    watcher = _Watcher(client.another(), job.id, after_sequence)
    with _counted_signals() as signals, job_display(output, job, is_watched=is_watched) as display, watcher:
        ended = _show_until_end(client, job.id, watcher, display, signals, on_interrupt)
    return client.get_job(job.id) if ended else None


def report_end(output: Output, job: job_service_pb2.Job | None, job_id: str) -> int:
    """Say how a followed job ended, and give the exit code."""
    if job is None:
        return INTERRUPTED
    if job.state == common_pb2.JOB_STATE_SUCCEEDED:
        told = IN_SUMMARY if ADVICE in job.result else frozenset[str]()
        left = sorted((name, value) for name, value in job.result.items() if name not in told)
        facts = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in left)
        output.remark(f"Done. {facts}" if facts else "Done.", style="green")
        return OK
    if job.state == common_pb2.JOB_STATE_CANCELLED:
        output.remark(f"Job {job_id} was cancelled; finished work is kept (`dfl job retry {job_id}` goes on).")
        return INTERRUPTED
    code = category_code(job.error.category)
    message = job.error.message or "The job failed without saying why."
    output.error_report(job.error.category, job.error.reason, message, job.error.details, code)
    return code


def _show_until_end(
    client: DaemonClient,
    job_id: str,
    watcher: _Watcher,
    display: JobDisplay,
    signals: Signals,
    on_interrupt: OnInterrupt,
) -> bool:
    """True when the job ended, False when the user detached."""
    is_cancelling = False
    while True:
        if signals.interrupts or signals.terminations:
            if is_cancelling or on_interrupt is OnInterrupt.DETACH:
                display.interrupted("detach", _detach_sentence(job_id, on_interrupt, is_cancelling))
                return False
            signals.interrupts = signals.terminations = 0
            is_cancelling = True
            sentence = CANCEL_ONLY_SENTENCE if on_interrupt is OnInterrupt.CANCEL_ONLY else CANCEL_SENTENCE
            display.interrupted("cancel", sentence)
            with contextlib.suppress(DflError):  # it may have ended meanwhile; the stream tells
                client.cancel(job_id)
        item = watcher.next_item()
        if isinstance(item, job_service_pb2.JobEvent):
            display.show(item)
        elif isinstance(item, DflError):
            raise item
        elif watcher.is_finished:
            return True


def _detach_sentence(job_id: str, on_interrupt: OnInterrupt, is_cancelling: bool) -> str:
    if on_interrupt is OnInterrupt.CANCEL_ONLY:
        return "Leaving."
    if is_cancelling:
        return f"Left; the daemon cancels job {job_id}, and `dfl job get {job_id}` tells when it has."
    return (
        f"Detached; job {job_id} goes on. `dfl job watch {job_id}` shows it again, `dfl job cancel {job_id}` ends it."
    )


class _Watcher:
    """Reads the events of a job in a thread of its own into a queue."""

    def __init__(self, client: DaemonClient, job_id: str, after_sequence: int) -> None:
        self._client = client
        self._items: queue.Queue[_Item] = queue.Queue(maxsize=1000)
        self._is_closed = threading.Event()
        self.is_finished = False
        self._thread = threading.Thread(target=self._read, args=(job_id, after_sequence), daemon=True, name="watch")

    def __enter__(self) -> _Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self._client.close()
        self._thread.join(timeout=2.0)

    def next_item(self) -> _Item:
        """The next event or error, None when there is none yet or, with :attr:`is_finished`, none will come."""
        try:
            item = self._items.get(timeout=POLL_S)
        except queue.Empty:
            return None
        if item is None:
            self.is_finished = True
        return item

    def _read(self, job_id: str, after_sequence: int) -> None:
        try:
            for event in self._client.watch(job_id, after_sequence, is_closed=self._is_closed.is_set):
                self._put(event)
        except DflError as error:
            self._put(error)
        except Exception as error:  # the edge of a thread: the main thread must hear of it
            self._put(Internal(f"Watching job {job_id} failed: {error}.", reason="WATCH_FAILED"))
        self._put(None)

    def _put(self, item: _Item) -> None:
        while not self._is_closed.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=POLL_S)
                return


@contextlib.contextmanager
def _counted_signals() -> Iterator[Signals]:
    """Count SIGINT and SIGTERM instead of acting on them; the former handlers come back afterwards."""
    signals = Signals()

    def count(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            signals.interrupts += 1
        else:
            signals.terminations += 1

    before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
