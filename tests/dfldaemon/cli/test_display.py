"""Displays say how far, how fast and how long yet."""

import io

from dfldaemon.cli.display import BarDisplay, LineDisplay, progress_text
from dfldaemon.cli.output import Output
from dfldaemon.cli.rate import Pace, duration_text
from dflproto.v1 import common_pb2, job_service_pb2


def frame_event(second, done, total=100):
    event = job_service_pb2.JobEvent(
        frame_progress=job_service_pb2.FrameProgress(done_count=done, total_count=total, frame=1000 + done)
    )
    event.time.FromSeconds(1_700_000_000 + second)
    return event


def train_event(second, iteration, **fields):
    progress = job_service_pb2.TrainProgress(iteration=iteration, elapsed_s=second, **fields)
    event = job_service_pb2.JobEvent(train_progress=progress)
    event.time.FromSeconds(1_700_000_000 + second)
    return event


def job(kind=common_pb2.JOB_KIND_EXTRACT):
    return job_service_pb2.Job(id="job-1", kind=kind)


def test_frames_with_rate_and_time_left():
    pace = Pace()
    progress_text(frame_event(0, 10), pace)
    assert progress_text(frame_event(10, 30), pace) == "30/100 frames · 2.0 frame/s · at 1030 · 35 s left"


def test_a_slow_rate_is_told_per_frame():
    pace = Pace()
    progress_text(frame_event(0, 0), pace)
    assert "4.0 s/frame" in progress_text(frame_event(4, 1), pace)


def test_training_by_minutes_and_by_iterations_shows_the_nearer_end():
    pace = Pace()
    progress_text(train_event(0, 0, target_s=600.0, target_iterations=100), pace)
    text = progress_text(train_event(20, 40, target_s=600.0, target_iterations=100, losses={"source": 0.25}), pace)
    assert text == "iteration 40 · 2.0 it/s · source 0.2500 · 30 s left"
    assert (pace.done, pace.total) == (40.0, 100.0)


def test_training_without_an_end_knows_no_time_left():
    pace = Pace()
    progress_text(train_event(0, 0), pace)
    assert "left" not in progress_text(train_event(10, 10), pace)
    assert pace.total is None


def test_a_run_that_starts_anew_does_not_run_backwards():
    pace = Pace()
    for second, done in ((0, 50), (1, 60), (2, 0), (4, 4)):
        progress_text(frame_event(second, done), pace)
    assert pace.per_second == 2.0


def test_durations():
    assert [duration_text(seconds) for seconds in (0, 59.6, 185, 7629)] == ["0 s", "1:00 min", "3:05 min", "2:07:09 h"]


def test_bar_shows_preview_and_notices_without_reading_markup():
    stderr = io.StringIO()
    output = Output(stdout=io.StringIO(), stderr=stderr)
    with BarDisplay(output, job()) as display:
        display.show(frame_event(0, 1))
        display.show(job_service_pb2.JobEvent(preview=job_service_pb2.PreviewEvent(path="/a/[bold]b.png")))
        notice = job_service_pb2.NoticeEvent(message="no face in [1001]", severity=common_pb2.SEVERITY_WARNING)
        display.show(job_service_pb2.JobEvent(notice=notice))
    assert "no face in [1001]" in stderr.getvalue()
    assert "[bold]b.png" in stderr.getvalue()


def test_lines_tell_the_first_progress_and_states():
    stderr = io.StringIO()
    output = Output(stdout=io.StringIO(), stderr=stderr)
    with LineDisplay(output, job(common_pb2.JOB_KIND_MERGE)) as display:
        display.show(frame_event(0, 1))
        display.show(frame_event(1, 2))
        state = job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_QUEUED)
        display.show(job_service_pb2.JobEvent(sequence=1, state=state))
        display.show(job_service_pb2.JobEvent(sequence=5, state=state))
    assert stderr.getvalue().splitlines() == ["Merging: 1/100 frames · at 1001", "Job job-1 is in the queue again."]
