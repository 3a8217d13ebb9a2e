"""The live view of a training, drawn from events as a daemon sends them."""

import io
import math

import pytest
from rich.cells import cell_len
from rich.console import Console

from dfldaemon.cli.display import BarDisplay, LineDisplay, job_display
from dfldaemon.cli.output import Output
from dfldaemon.cli.train_view import BLOCKS, TrainView, WatchDisplay, sparkline
from dflproto.v1 import common_pb2, job_service_pb2

MODEL = "/shows/b/models/a_face"


def event(second, **body):
    made = job_service_pb2.JobEvent(**body)
    made.time.FromSeconds(1_700_000_000 + second)
    return made


def report(second, iteration, *, losses=None, **fields):
    progress = {"iteration": iteration, "elapsed_s": second, "step_ms": 500.0, "data_ms": 10.0, "learning_rate": 5e-5}
    losses = losses or {"source": 2.0 / iteration, "target": 1.0 / iteration}
    return event(second, train_progress=job_service_pb2.TrainProgress(**progress, losses=losses, **fields))


def preview(second, iteration, path=f"{MODEL}/previews/preview.png"):
    return event(second, preview=job_service_pb2.PreviewEvent(path=path, title="t", iteration=iteration))


def saved(second, iteration, generation):
    return event(second, saved=job_service_pb2.SavedEvent(path=MODEL, iteration=iteration, generation=generation))


RECORDED = [
    *(report(second, 2 * second, target_iterations=400, target_s=120.0) for second in range(1, 31)),
    preview(31, 60),
    saved(32, 60, 4),
    *(report(second, 2 * second, target_iterations=400, target_s=120.0) for second in range(32, 41)),
]
"""40 s of a run of 400 iterations or two minutes, whichever comes first."""


def view_of(events):
    view = TrainView("Training")
    for one in events:
        view.take(one)
    return view


def train_job(kind=common_pb2.JOB_KIND_TRAIN):
    return job_service_pb2.Job(id="train-1", kind=kind)


def terminal(width=100):
    """An output that takes its stderr for a terminal, and what it wrote there."""
    written = io.StringIO()
    output = Output(stdout=io.StringIO(), stderr=written)
    output.error_console = Console(
        file=written,
        force_terminal=True,
        width=width,
        soft_wrap=True,
        highlight=False,
        markup=False,
        _environ={"TERM": "xterm-256color"},
    )
    return output, written


def test_figures_of_a_recorded_run():
    head, counts, speed, source, target, picture, save = view_of(RECORDED).lines(100)
    assert head == f"Training  {10 * '━'}{20 * '─'}  33 % · 1:20 min left"  # the two minutes end first
    assert counts == "iteration 80 of 400 · 40 s of 2:00 min"
    assert speed == "500 ms/step · 2.0 it/s · data 2 % · learning rate 5e-05"
    assert source.startswith("source   0.0250  █")
    assert target.startswith("target   0.0125  █")
    assert source.endswith("▁")
    assert picture == f"preview  {MODEL}/previews/preview.png (iteration 60)"
    assert save == "saved    iteration 60, generation 4, 8 s ago"


def test_a_run_without_an_end_has_neither_bar_nor_time_left():
    lines = view_of([report(1, 2), report(61, 122)]).lines(100)
    assert lines[:2] == ["Training until it is stopped", "iteration 122 · 1:01 min"]


def test_before_the_first_report_it_waits():
    assert view_of([]).lines(80) == ["Training: waiting for the first report"]


@pytest.mark.parametrize("width", [200, 80, 40, 20, 5])
def test_no_figure_is_wider_than_the_terminal_and_no_path_is_cut(width):
    lines = view_of(RECORDED).lines(width)
    assert all(cell_len(line) <= width for line in lines if not line.startswith("preview"))
    assert any(f"{MODEL}/previews/preview.png" in line for line in lines)
    assert len(lines) == 7


def test_what_training_went_back_behind_leaves_the_curve():
    losses = [{"source": 1.0}, {"source": 0.5}, {"source": 90.0}, {"source": 0.5}]
    events = [report(n, i, losses=one) for n, (i, one) in enumerate(zip((10, 20, 30, 25), losses, strict=True))]
    assert view_of(events).lines(80)[3].split()[-1] == "█▁▁"


def test_a_loss_that_comes_later_has_a_curve_of_its_own():
    events = [report(1, 1), report(2, 2, losses={"source": 1.0, "gan": 0.7, "target": 0.5})]
    lines = view_of(events).lines(80)
    assert lines[3] == "gan      0.7000  ▁"
    assert lines[4].split()[0] == "source"


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 10, ""),
        ([0.5], 10, "▁"),
        ([1, 2, 3, 4, 5, 6, 7, 8], 10, BLOCKS),
        ([3, 3, 3], 10, "▁▁▁"),
        ([1, math.nan, 8, math.inf], 10, "▁ █ "),
        ([math.nan], 10, " "),
        ([0, 2, 4, 6, 8, 10, 12, 14], 2, "▁█"),
        ([0, math.nan, 0, 0, 7, 9], 3, "▁▁█"),
    ],
)
def test_curves(values, width, expected):
    assert sparkline(values, width) == expected


def test_the_view_is_drawn_over_itself_and_remarks_stand_above(monkeypatch):
    monkeypatch.setattr("dfldaemon.cli.train_view.REDRAW_S", 0.0)
    output, written = terminal()
    with WatchDisplay(output, train_job()) as display:
        for one in RECORDED:
            display.show(one)
        notice = job_service_pb2.NoticeEvent(message="A face [x] cannot be read.", severity=common_pb2.SEVERITY_WARNING)
        display.show(event(41, notice=notice))
        display.interrupted("cancel", "Cancelling.")
    text = written.getvalue()
    assert text.count("iteration 80 of 400") >= 2
    assert "\x1b[1A\x1b[2K" in text  # a line up, and that line cleared
    last = text.rindex("iteration 80 of 400")
    assert text.index("A face [x] cannot be read.") < text.index("Cancelling.") < last
    assert "Preview:" not in text
    assert text.endswith("\x1b[?25h")  # the cursor is back


def test_a_path_goes_on_in_the_next_line_of_a_narrow_terminal():
    output, written = terminal(width=20)
    with WatchDisplay(output, train_job()) as display:
        for one in (report(1, 2), preview(2, 2)):
            display.show(one)
    assert f"preview{MODEL}/previews/preview.png(iteration2)" in "".join(written.getvalue().split())


def test_a_burst_of_old_events_is_drawn_once_or_twice():
    output, written = terminal()
    with WatchDisplay(output, train_job()) as display:
        for second in range(2000):
            display.show(report(second, second + 1))
    assert written.getvalue().count("ms/step") < 20
    assert "iteration 2000" in written.getvalue()


def test_the_view_is_for_trainings_on_terminals_that_can_draw():
    output, _ = terminal()
    assert isinstance(job_display(output, train_job(), is_watched=True), WatchDisplay)
    assert isinstance(job_display(output, train_job(common_pb2.JOB_KIND_TRAIN_MASK), is_watched=True), WatchDisplay)
    assert isinstance(job_display(output, train_job()), BarDisplay)
    assert isinstance(job_display(output, train_job(common_pb2.JOB_KIND_MERGE), is_watched=True), BarDisplay)
    plain = Output(stdout=io.StringIO(), stderr=io.StringIO())
    assert isinstance(job_display(plain, train_job(), is_watched=True), LineDisplay)
