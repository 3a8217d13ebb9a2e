"""How a job looks while it runs: a bar on a terminal, a line now and then in a log, JSON for scripts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from dfldaemon.cli.output import Output
from dfldaemon.cli.rate import Pace, duration_text, frame_pace, pace_of_train, rate_text
from dfldaemon.cli.remarks import event_word, kind_word, remark_of, unit_word
from dfldaemon.cli.train_view import WatchDisplay
from dfldaemon.cli.wire_json import message_values
from dflproto.v1 import common_pb2, job_service_pb2

PLAIN_INTERVAL_S = 10.0
"""Without a terminal, progress is told at most this often."""
TRAINING_KINDS = (common_pb2.JOB_KIND_TRAIN, common_pb2.JOB_KIND_TRAIN_MASK, common_pb2.JOB_KIND_TRAIN_DETAIL)


class JobDisplay(Protocol):
    """Shows the events of one job. Used as a context manager."""

    def __enter__(self) -> JobDisplay: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, event: job_service_pb2.JobEvent) -> None:
        """Show one event."""

    def interrupted(self, action: str, sentence: str) -> None:
        """The user pressed Ctrl-C: what happens now (``cancel`` or ``detach``), also as a sentence."""


def job_display(output: Output, job: job_service_pb2.Job, *, is_watched: bool = False) -> JobDisplay:
    """The display that fits where the output goes.

    Args:
        is_watched: of a training, draw curves where the terminal can.
    """
    if output.is_json:
        return JsonDisplay(output, job.id)
    if output.is_quiet:
        return QuietDisplay(output)
    if output.error_console.is_terminal:
        can_draw = job.kind in TRAINING_KINDS and not output.error_console.is_dumb_terminal
        return WatchDisplay(output, job) if is_watched and can_draw else BarDisplay(output, job)
    return LineDisplay(output, job)


class QuietDisplay:
    """Shows nothing but the answer to Ctrl-C."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __enter__(self) -> QuietDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: job_service_pb2.JobEvent) -> None:
        """Nothing."""

    def interrupted(self, action: str, sentence: str) -> None:
        self._output.error_console.print(sentence)


class JsonDisplay:
    """One object per event, as :mod:`dfldaemon.cli.output` documents them."""

    def __init__(self, output: Output, job_id: str) -> None:
        self._output = output
        self._job_id = job_id

    def __enter__(self) -> JsonDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: job_service_pb2.JobEvent) -> None:
        kind = event.WhichOneof("body")
        if kind is None:
            return  # of a newer daemon
        values = message_values(event)
        self._output.event(kind, job=self._job_id, sequence=event.sequence, time=values.get("time", ""), **values[kind])

    def interrupted(self, action: str, sentence: str) -> None:
        self._output.event("interrupt", job=self._job_id, action=action)


class LineDisplay:
    """Plain lines on stderr, for logs."""

    def __init__(self, output: Output, job: job_service_pb2.Job) -> None:
        self._output = output
        self._job = job
        self._pace = Pace()
        self._unit = unit_word(job.kind)
        self._last_line = 0.0

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: job_service_pb2.JobEvent) -> None:
        line = remark_of(event, self._job)
        if line is not None:
            self._output.remark(*line[:1], style=line[1])
        elif is_progress(event) and time.monotonic() - self._last_line >= PLAIN_INTERVAL_S:
            self._last_line = time.monotonic()
            self._output.remark(f"{event_word(self._job, event)}: {progress_text(event, self._pace, self._unit)}")
        elif is_progress(event):
            progress_text(event, self._pace, self._unit)

    def interrupted(self, action: str, sentence: str) -> None:
        self._output.error_console.print(sentence)


class _PreviewProgress(Progress):
    """A progress bar with the newest preview's path below it."""

    preview = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.preview:
            yield Text(f"  preview: {self.preview}", style="dim", overflow="fold", no_wrap=False)


class BarDisplay:
    """A live bar with rate, time left and losses; remarks scroll above it."""

    def __init__(self, output: Output, job: job_service_pb2.Job) -> None:
        self._output = output
        self._job = job
        self._pace = Pace()
        self._progress = _PreviewProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}", markup=False),
            console=output.error_console,
            transient=False,
        )
        self._task: TaskID = self._progress.add_task(kind_word(job.kind), total=None, detail="")

    def __enter__(self) -> BarDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: job_service_pb2.JobEvent) -> None:
        if event.WhichOneof("body") == "preview":
            self._progress.preview = event.preview.path
            self._progress.refresh()
            return
        line = remark_of(event, self._job)
        if line is not None:
            self._output.remark(line[0], style=line[1])
        elif is_progress(event):
            detail = progress_text(event, self._pace, unit_word(self._job.kind))
            self._progress.update(
                self._task,
                description=event_word(self._job, event),
                total=self._pace.total,
                completed=self._pace.done,
                detail=detail,
            )

    def interrupted(self, action: str, sentence: str) -> None:
        self._output.remark(sentence, style="bold")


def is_progress(event: job_service_pb2.JobEvent) -> bool:
    """The event says how far the job is."""
    return event.WhichOneof("body") in ("frame_progress", "train_progress")


def progress_text(event: job_service_pb2.JobEvent, pace: Pace, unit: str = "frame") -> str:
    """One line of numbers: how far, how fast, how long yet.

    Args:
        unit: what a job that does not train counts.
    """
    if event.WhichOneof("body") == "frame_progress":
        frame_pace(event, pace)
        parts = [f"{event.frame_progress.done_count}/{event.frame_progress.total_count} {unit}s"]
        if pace.per_second:
            parts.append(rate_text(pace.per_second, unit))
        if event.frame_progress.HasField("frame"):
            parts.append(f"at {event.frame_progress.frame}")
    else:
        pace_of_train(event, pace)
        train = event.train_progress
        parts = [f"iteration {train.iteration}"]
        if pace.per_second:
            parts.append(rate_text(pace.per_second, "it"))
        parts += [f"{name} {value:.4f}" for name, value in sorted(train.losses.items())]
    if pace.left_s is not None:
        parts.append(f"{duration_text(pace.left_s)} left")
    return " · ".join(parts)
