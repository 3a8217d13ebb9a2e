"""The desk between scenes and daemon: never waits, connects by itself, chains jobs, survives what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

SCENE = 7


class FakeJob:
    """A job whose events a test puts in."""

    def __init__(self, kind: str, reference: str = "job-1 3") -> None:
        self.kind, self.reference, self.id = kind, reference, reference.split()[0]
        self.queue: list[Any] = []
        self.calls: list[str] = []
        self.joined = 0
        self.status = SimpleNamespace(text="Merging 1/2", fraction=0.5, error=None, connection_error=None)

    def events(self) -> list[Any]:
        taken, self.queue = self.queue, []
        return taken

    def cancel(self) -> None:
        self.calls.append("cancel")

    def detach(self) -> None:
        self.calls.append("detach")

    def join(self, timeout_s: float | None = None) -> None:
        self.joined += 1


class Scene:
    """A desk with a pretended daemon."""

    def __init__(self, part: Callable[[str], Any]) -> None:
        self.tasks, self.errors, self.events = (part(f"_dflhost.{name}") for name in ("tasks", "errors", "events"))
        self.connections = 0
        self.refusal: Any = None
        self.closed = 0
        self.attached: list[str] = []
        self.job = FakeJob("merge")
        server = SimpleNamespace(version="0.1.0", address="unix:/d")
        self.session = SimpleNamespace(server=server, close=self._close, task=self._task, result=self._result)
        self.session.attach = self._attach
        self.desk = part("desk").Desk(lambda: "settings", self._connect)

    def _connect(self, settings: object, *, start: bool = False) -> Any:
        self.connections += 1

        def work() -> Any:
            if self.refusal is not None:
                raise self.refusal
            return self.session

        return self.tasks.Task(work)

    def _close(self) -> None:
        self.closed += 1

    def _task(self, method: Callable[..., Any], *arguments: Any) -> Any:
        return self.tasks.Task(lambda: method(*arguments))

    def _result(self, output: str) -> str:
        return f"result of {output}"

    def _attach(self, reference: str) -> FakeJob:
        self.attached.append(reference)
        return self.job

    def submit(self, _session: object, facts: Any) -> FakeJob:
        facts["key"] = "k"
        return self.job

    def change(self, state: str, **fields: Any) -> None:
        self.job.queue.append(self.events.StateChanged(state, **fields))

    def tick_until(self, look: Callable[[], Any]) -> None:
        end = time.monotonic() + 10.0
        while not look():
            assert time.monotonic() < end
            self.desk.tick()
            time.sleep(0.005)


@pytest.fixture
def scene(part: Callable[[str], Any]) -> Any:
    made = Scene(part)
    yield made
    made.desk.close()


def test_a_press_connects_submits_and_brings_the_result_without_waiting(scene: Scene) -> None:
    run = scene.desk.start(SCENE, [scene.submit], {"place": "strip"})
    assert (run.text, scene.desk.is_busy) == ("Connecting…", True)
    scene.tick_until(lambda: run.phase == "watching")
    assert (run.text, run.fraction) == ("Merging 1/2", 0.5)
    assert run.facts == {"place": "strip", "key": "k"}
    scene.change("SUCCEEDED", result={"output": "/o/v001/s.####.exr"})
    scene.tick_until(lambda: run.is_ended)
    assert (run.outcome, run.result) == ("SUCCEEDED", "result of /o/v001/s.####.exr")
    assert not scene.desk.is_busy


def test_faces_are_found_before_the_merge_and_only_where_they_lack(scene: Scene) -> None:
    faces, merge = FakeJob("extract"), scene.job
    run = scene.desk.start(SCENE, [lambda *_: None, lambda *_: faces, scene.submit])
    scene.tick_until(lambda: run.job is faces)
    faces.queue.append(scene.events.StateChanged("SUCCEEDED"))
    scene.tick_until(lambda: run.job is merge)
    assert not run.is_ended


def test_a_second_press_is_refused_while_the_first_is_under_way(scene: Scene) -> None:
    scene.desk.start(SCENE, [scene.submit])
    with pytest.raises(scene.errors.HostError) as caught:
        scene.desk.start(SCENE, [scene.submit])
    assert caught.value.reason == "BUSY"
    scene.desk.start(SCENE + 1, [scene.submit])


def test_without_a_daemon_the_run_fails_with_its_words_and_the_next_press_looks_again(scene: Scene) -> None:
    scene.refusal = scene.errors.HostError("No daemon.", reason="DAEMON_NOT_RUNNING")
    run = scene.desk.start(SCENE, [scene.submit])
    scene.tick_until(lambda: run.is_ended)
    assert (run.outcome, run.text, run.error.reason) == ("FAILED", "Failed", "DAEMON_NOT_RUNNING")
    scene.refusal = None
    run = scene.desk.start(SCENE, [scene.submit])
    scene.tick_until(lambda: run.phase == "watching")
    assert scene.connections == 2


def test_a_refused_submission_keeps_its_sentence(scene: Scene) -> None:
    def refuse(*_: Any) -> Any:
        raise scene.errors.HostError("The model lacks weights.", reason="MODEL_EMPTY")

    run = scene.desk.start(SCENE, [refuse])
    scene.tick_until(lambda: run.is_ended)
    assert run.error.message == "The model lacks weights."
    assert scene.desk.session is not None


def test_a_fault_of_our_own_is_told_in_a_sentence(scene: Scene) -> None:
    run = scene.desk.start(SCENE, [lambda *_: 1 / 0])
    scene.tick_until(lambda: run.is_ended)
    assert run.error.reason == "UNEXPECTED_ERROR"


@pytest.mark.parametrize("when", ["waiting", "submitting", "watching"])
def test_cancel_works_at_any_time(scene: Scene, when: str) -> None:
    run = scene.desk.start(SCENE, [scene.submit, scene.submit])
    if when != "waiting":
        scene.tick_until(lambda: run.phase == when)
    scene.desk.cancel(SCENE)
    if when != "waiting":
        scene.tick_until(lambda: run.phase == "watching")
        assert scene.job.calls == ["cancel"]
        scene.change("CANCELLED")
    scene.tick_until(lambda: run.is_ended)
    assert (run.outcome, run.text) == ("CANCELLED", "Cancelled")


def test_previews_and_notices_are_kept_for_the_panel(scene: Scene) -> None:
    run = scene.desk.start(SCENE, [scene.submit])
    scene.tick_until(lambda: run.phase == "watching")
    scene.job.queue.append(scene.events.PreviewReady("/p.png", "preview", 10))
    scene.job.queue.append(scene.events.Note("R", "Frame 4 has no face.", "warning", {}))
    scene.desk.tick()
    assert run.preview.path == "/p.png"
    assert run.notices == ["Frame 4 has no face."]


def test_changed_preferences_reconnect_and_find_the_job_again(scene: Scene) -> None:
    run = scene.desk.start(SCENE, [scene.submit])
    scene.tick_until(lambda: run.phase == "watching")
    scene.desk.disconnect()
    assert scene.closed == 1
    scene.desk.connect()
    scene.tick_until(lambda: scene.attached)
    assert scene.attached == ["job-1 3"]
    assert not run.is_ended


def test_questions_are_answered_in_the_interfaces_thread(scene: Scene) -> None:
    answers: list[Any] = []
    scene.desk.ask(lambda session: session.server.version, answers.append)
    assert answers == []
    scene.tick_until(lambda: answers)
    assert answers == ["0.1.0"]


def test_an_unanswered_question_drops_the_connection_so_that_the_daemon_is_looked_for_anew(scene: Scene) -> None:
    failures: list[Any] = []

    def unreachable(_session: object) -> None:
        raise scene.errors.HostError("Gone.", reason="DAEMON_UNREACHABLE")

    scene.desk.ask(unreachable, lambda _: None, failures.append)
    scene.tick_until(lambda: failures)
    assert scene.desk.session is None
    assert scene.closed == 1


def test_frames_on_their_way_over_the_network_end_with_the_connection_and_say_so(scene: Scene) -> None:
    scene.job.reference = ""
    run = scene.desk.start(SCENE, [scene.submit])
    scene.tick_until(lambda: run.phase == "watching")
    scene.job.queue.append(scene.events.FramesDone(1, 2, 1001, "/o/s.1001.exr"))
    scene.desk.tick()
    assert run.finished == {1001: "/o/s.1001.exr"}
    scene.desk.disconnect()
    assert scene.job.calls == ["detach"]
    assert (run.outcome, run.error.reason) == ("FAILED", "TRANSFER_INTERRUPTED")
    assert "What has come is kept" in run.error.message


def test_a_full_disk_on_the_other_side_is_told_with_what_to_do(scene: Scene, part: Callable[[str], Any]) -> None:
    run = scene.desk.start(SCENE, [scene.submit])
    scene.tick_until(lambda: run.phase == "watching")
    full = scene.errors.HostError("No space left on /farm.", reason="DISK_FULL", category="RESOURCE_EXHAUSTED")
    scene.change("FAILED", error=full)
    scene.tick_until(lambda: run.is_ended)
    told = part("_dflhost.messages").explain(run.error).text
    assert told == "The disk is full. Make room, then press Update: finished frames are kept."
