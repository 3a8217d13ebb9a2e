"""The live view of a training: a few lines that are drawn anew with every report."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from dfldaemon.cli.output import Output
from dfldaemon.cli.rate import Pace, duration_text, event_time_s, pace_of_train, rate_text
from dfldaemon.cli.remarks import kind_word, remark_of
from dflproto.v1 import job_service_pb2

HISTORY = 300
"""Reports that a curve shows; about one comes per second."""
CURVE_WIDTH = 60
MIN_CURVE_WIDTH = 8
BAR_WIDTH = 30
MIN_BAR_WIDTH = 8
BLOCKS = "▁▂▃▄▅▆▇█"
REDRAW_S = 0.1
"""A job that is watched again from its beginning sends thousands of events at once."""


class TrainView:
    """What the view knows of a training, and how it looks at a width."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._pace = Pace()
        self._progress: job_service_pb2.TrainProgress | None = None
        self._preview: job_service_pb2.PreviewEvent | None = None
        self._saved: job_service_pb2.SavedEvent | None = None
        self._saved_s = self._now_s = 0.0
        self._losses: deque[tuple[int, dict[str, float]]] = deque(maxlen=HISTORY)

    def take(self, event: job_service_pb2.JobEvent) -> None:
        """Remember what an event says."""
        self._now_s = event_time_s(event)
        kind = event.WhichOneof("body")
        if kind == "train_progress":
            pace_of_train(event, self._pace)
            self._progress = event.train_progress
            while self._losses and self._losses[-1][0] >= self._progress.iteration:
                self._losses.pop()  # training went back to an earlier save
            self._losses.append((self._progress.iteration, dict(self._progress.losses)))
        elif kind == "preview":
            self._preview = event.preview
        elif kind == "saved":
            self._saved, self._saved_s = event.saved, self._now_s

    def lines(self, width: int) -> list[str]:
        """What is drawn. No line is wider than ``width`` cells but those of paths, which are never cut."""
        shown = [_clip(line, width) for line in self._figures(width)]
        if self._preview is not None:
            at = f" (iteration {self._preview.iteration})" if self._preview.HasField("iteration") else ""
            shown.append(f"preview  {self._preview.path}{at}")
        if self._saved is not None:
            ago = duration_text(self._now_s - self._saved_s)
            saved = f"saved    iteration {self._saved.iteration}, generation {self._saved.generation}, {ago} ago"
            shown.append(_clip(saved, width))
        return shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line in self.lines(options.max_width):
            yield Text(line, overflow="fold", no_wrap=False)

    def _figures(self, width: int) -> Iterator[str]:
        progress = self._progress
        if progress is None:
            yield f"{self._word}: waiting for the first report"
            return
        yield self._head(width)
        yield _fitting(self._counts(progress), width)
        yield _fitting(self._speed(progress), width)
        names = sorted(progress.losses)
        longest = max(map(cell_len, names), default=0)
        for name in names:
            text = f"{set_cell_size(name, longest)}  {_number(progress.losses[name])}"
            room = min(width - cell_len(text) - 2, CURVE_WIDTH)
            if room >= MIN_CURVE_WIDTH:
                text += "  " + sparkline([losses[name] for _, losses in self._losses if name in losses], room)
            yield text

    def _head(self, width: int) -> str:
        pace = self._pace
        if not pace.total:
            return f"{self._word} until it is stopped"
        share = min(max(pace.done / pace.total, 0.0), 1.0)
        left = "" if pace.left_s is None else f" · {duration_text(pace.left_s)} left"
        text = f"{100 * share:.0f} %{left}"
        room = min(width - cell_len(self._word) - cell_len(text) - 4, BAR_WIDTH)
        return "  ".join([self._word, *([_bar(share, room)] if room >= MIN_BAR_WIDTH else []), text])

    def _counts(self, progress: job_service_pb2.TrainProgress) -> list[str]:
        iteration, elapsed = f"iteration {progress.iteration}", duration_text(progress.elapsed_s)
        if progress.HasField("target_iterations"):
            iteration += f" of {progress.target_iterations}"
        if progress.HasField("target_s"):
            elapsed += f" of {duration_text(progress.target_s)}"
        return [iteration, elapsed]

    def _speed(self, progress: job_service_pb2.TrainProgress) -> list[str]:
        parts = [f"{progress.step_ms:.0f} ms/step"]
        if self._pace.per_second:
            parts.append(rate_text(self._pace.per_second, "it"))
        if progress.step_ms > 0:
            parts.append(f"data {100 * progress.data_ms / progress.step_ms:.0f} %")
        return [*parts, f"learning rate {progress.learning_rate:.2g}"]


class WatchDisplay:
    """The live view on a terminal; remarks scroll above it."""

    def __init__(self, output: Output, job: job_service_pb2.Job) -> None:
        self._output = output
        self._job = job
        self._view = TrainView(kind_word(job.kind))
        self._live = Live(self._view, console=output.error_console, auto_refresh=False)
        self._drawn = 0.0

    def __enter__(self) -> WatchDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()  # draws a last time

    def show(self, event: job_service_pb2.JobEvent) -> None:
        self._view.take(event)
        line = None if event.WhichOneof("body") == "preview" else remark_of(event, self._job)
        if line is not None:
            self._output.remark(line[0], style=line[1])
        elif time.monotonic() - self._drawn >= REDRAW_S:
            self._live.refresh()
            self._drawn = time.monotonic()

    def interrupted(self, action: str, sentence: str) -> None:
        self._output.remark(sentence, style="bold")


def sparkline(values: Iterable[float], width: int) -> str:
    """A curve of at most ``width`` cells from the lowest to the highest value; what is no number is a gap.

    More values than cells are averaged in equal parts.
    """
    cells = _averages(list(values), width)
    finite = [value for value in cells if math.isfinite(value)]
    if not finite:
        return " " * len(cells)
    low, span = min(finite), max(finite) - min(finite)
    return "".join(_block((value - low) / span if span else 0.0, value) for value in cells)


def _averages(values: Sequence[float], count: int) -> list[float]:
    if len(values) <= count:
        return list(values)
    edges = [len(values) * index // count for index in range(count + 1)]
    parts = [[one for one in values[first:last] if math.isfinite(one)] for first, last in itertools.pairwise(edges)]
    return [sum(part) / len(part) if part else math.nan for part in parts]


def _block(share: float, value: float) -> str:
    if not math.isfinite(value):
        return " "
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]


def _bar(share: float, width: int) -> str:
    filled = round(share * width)
    return "━" * filled + "─" * (width - filled)


def _fitting(parts: Sequence[str], width: int) -> str:
    """As many of the first parts as there is room for, one at least."""
    text = parts[0]
    for part in parts[1:]:
        if cell_len(f"{text} · {part}") > width:
            break
        text += f" · {part}"
    return text


def _number(value: float) -> str:
    return f"{value:7.4f}" if abs(value) < 100 else f"{value:7.4g}"


def _clip(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…"
