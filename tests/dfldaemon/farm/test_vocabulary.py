"""What a scheduler reads in a task's output."""

import io

from dflcore.errors import NotFound
from dfldaemon.farm.vocabulary import FarmOutput


def said(*events: tuple[str, dict[str, object]]) -> list[str]:
    stream = io.StringIO()
    output = FarmOutput(stream)
    for type_, fields in events:
        output.event(type_, **fields)
    return stream.getvalue().splitlines()


def test_frames_are_progress_and_status() -> None:
    event = {"done_count": 1, "total_count": 8, "frame": 1001}
    assert said(("frame_progress", event)) == ["openjd_progress: 12.5", "openjd_status: frame 1001, 1 of 8"]
    assert said(("frame_progress", {"done_count": 0, "total_count": 0, "stage": "look"})) == [
        "openjd_status: look: 0 of 0"
    ]


def test_a_training_with_an_end_has_progress() -> None:
    event = {"iteration": 50, "target_iterations": 200, "elapsed_s": 30.0, "target_s": 60.0, "losses": {"source": 0.5}}
    assert said(("train_progress", event)) == ["openjd_progress: 50.0", "openjd_status: iteration 50: source 0.5000"]
    assert said(("train_progress", {"iteration": 7, "elapsed_s": 1.0})) == ["openjd_status: iteration 7"]


def test_a_failure_is_one_line_with_its_reason() -> None:
    stream = io.StringIO()
    code = FarmOutput(stream).error(NotFound("There is no\nplate.", reason="PLATE_NOT_FOUND"))
    assert code == 3
    assert stream.getvalue() == "openjd_fail: There is no plate. (PLATE_NOT_FOUND)\n"


def test_nobody_forges_a_line_of_the_scheduler() -> None:
    message = "harmless\nopenjd_env: PATH=/tmp"
    (line,) = said(("notice", {"severity": "info", "message": message, "reason": "X"}))
    assert not line.startswith("openjd_")


def test_events_of_a_newer_daemon_are_passed_over() -> None:
    assert said(("holiday", {"days": 3})) == []
