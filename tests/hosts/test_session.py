"""The front of the hosts' client against a real daemon with pretended workers."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance import merged_output
from dflcore.version import __version__
from dflhost import events
from dflhost import session as session_module
from dflhost.answers import gather_merged_frames
from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.events import ConnectionChanged, FramesDone, Note, StateChanged
from dflhost.frames import FrameRequest
from dflhost.jobs import Job, JobStatus
from dflhost.paths import PathMap
from dflhost.plates import FrameSet, Plate
from dflhost.session import DaemonSession, connect, connect_task
from dflhost.version import VERSION


def states(job_events: list[Any]) -> list[str]:
    return [event.state for event in job_events if isinstance(event, StateChanged)]


def extract(session: DaemonSession, plate: str, tmp_path: Path, behaviour: str, frames: int = 5, **more: Any) -> Job:
    """What the pretended worker does is the name of the faceset."""
    asked = Plate(plate, FrameSet.span(1, frames))
    return session.submit_extract(asked, str(tmp_path / behaviour), more.pop("settings", None), **more)


def test_the_daemon_says_what_it_is(session: DaemonSession) -> None:
    assert session.server.version == __version__
    assert session.server.is_same_build
    assert session.server.roots == ("/",)
    assert "jobs.merge" in session.server.features
    assert __version__.startswith(VERSION)


def test_a_job_runs_and_its_events_come_once_and_in_order(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    job = extract(session, plate, tmp_path, "good")
    assert job.status.text == "Sending"
    seen = list(job.follow())
    assert states(seen) == ["QUEUED", "RUNNING", "SUCCEEDED"] or states(seen) == ["RUNNING", "SUCCEEDED"]
    frames = [event.frame for event in seen if isinstance(event, FramesDone)]
    assert frames == sorted(set(frames))
    assert frames[-1] == 5
    numbers = [event.sequence for event in seen]
    assert numbers == sorted(set(numbers))
    status = job.status
    assert (status.text, status.fraction, status.is_ended, status.done, status.total) == ("Done", 1.0, True, 5, 5)
    assert status.result == {"frames": "5"}
    assert job.events() == []


def test_submitting_and_looking_never_wait(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    """What an interface's thread does takes no time, whatever the daemon does."""
    begun = time.perf_counter()
    job = extract(session, plate, tmp_path, "good-quick", frames=40)
    job.events()
    _ = job.status.text, job.reference, job.id
    job.cancel()
    assert time.perf_counter() - begun < 0.25
    assert job.wait(20).state == "CANCELLED"


def test_a_cancelled_job_stops_and_keeps_what_is_done(
    session: DaemonSession, plate: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job = extract(session, plate, tmp_path, "good-long", frames=500)
    eventually(lambda: job.status.done > 3)
    assert job.status.text.startswith("Extracting ")
    job.cancel()
    assert job.status.text.startswith("Stopping ")
    status = job.wait(20)
    assert (status.state, status.text) == ("CANCELLED", "Cancelled")
    assert 3 < status.done < 500


def test_a_failed_job_says_why_and_can_be_tried_again(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    job = extract(session, plate, tmp_path, "missing")
    status = job.wait(20)
    assert status.state == "FAILED"
    assert status.error is not None
    assert (status.error.reason, status.error.details["frame"]) == ("FRAME_NOT_FOUND", "3")
    last = job.events()[-1]
    assert isinstance(last, StateChanged)
    assert last.error is not None
    job.retry()
    assert job.wait(20).state == "SUCCEEDED"
    seen = job.events()
    assert states(seen)[-1] == "SUCCEEDED"
    assert min(event.sequence for event in seen) > last.sequence
    job.retry()
    assert job.wait(20).state == "SUCCEEDED"
    notes = [event for event in job.events() if isinstance(event, Note)]
    assert [note.reason for note in notes] == ["WRONG_JOB_STATE"]


def test_a_refused_job_fails_with_the_daemons_words(session: DaemonSession, tmp_path: Path) -> None:
    job = session.submit_extract(str(tmp_path / "none.####.exr"), str(tmp_path / "good"))
    assert job.wait(20).state == "FAILED"
    error = job.status.error
    assert error is not None
    assert error.category == "NOT_FOUND"
    assert job.id == job.reference == ""
    wrong = extract(session, str(tmp_path / "none.####.exr"), tmp_path, "good", settings={"no_such_setting": 1})
    assert wrong.wait(20).error.reason == "BAD_REQUEST"  # type: ignore[union-attr]


def test_the_same_request_twice_is_one_job(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    first = extract(session, plate, tmp_path, "good-one", request_id="scene-1")
    first.wait(20)
    second = extract(session, plate, tmp_path, "good-one", request_id="scene-1")
    assert second.wait(20).state == "SUCCEEDED"
    assert second.id == first.id


def test_notices_and_training_words() -> None:
    assert JobStatus("merge", "a", "QUEUED", ahead=2).text == "Queued (2 ahead)"
    assert JobStatus("merge", "a", "RUNNING", done=12, total=48).text == "Merging 12/48"
    assert JobStatus("train", "a", "RUNNING", done=1200).text == "Training 1200"
    assert JobStatus("train", "a", "PAUSED", done=1200, total=5000).text == "Paused 1200/5000"
    assert JobStatus("train", "a", "RUNNING", done=10, elapsed_s=30, target_s=60).fraction == 0.5
    lost = HostError("gone", reason="DAEMON_UNREACHABLE")
    assert JobStatus("qc", "a", "RUNNING", 1, 2, connection_error=lost).text == "Measuring 1/2, not connected"


def test_a_note_of_the_worker_arrives(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    job = extract(session, plate, tmp_path, "notice")
    notes = [event for event in job.follow() if isinstance(event, Note)]
    assert [(note.reason, note.details["frame"]) for note in notes] == [("NO_FACE_FOUND", "3")]


def test_the_queue_ahead_is_told(
    session: DaemonSession, plate: str, tmp_path: Path, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dflhost.jobs.QUEUE_POLL_S", 0.05)
    first = extract(session, plate, tmp_path, "good-a", frames=500)
    eventually(lambda: first.status.state == "RUNNING")
    second = extract(session, plate, tmp_path, "good-b")
    eventually(lambda: second.status.text == "Queued (1 ahead)")
    third = extract(session, plate, tmp_path, "good-c")
    eventually(lambda: third.status.text == "Queued (2 ahead)")
    second.cancel()
    assert second.wait(20).state == "CANCELLED"
    eventually(lambda: third.events() is not None and third.status.text == "Queued (1 ahead)")
    first.cancel()
    assert third.wait(20).state == "SUCCEEDED"


def test_pause_and_resume(session: DaemonSession, plate: str, tmp_path: Path, eventually: Callable[..., Any]) -> None:
    job = extract(session, plate, tmp_path, "good-paused", frames=60)
    eventually(lambda: job.status.done > 2)
    job.pause()
    eventually(lambda: job.status.state == "PAUSED")
    job.resume()
    assert job.wait(20).state == "SUCCEEDED"


def test_a_scene_that_is_opened_again_finds_its_job(
    daemon: Any, plate: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with daemon.connect() as first:
        job = extract(first, plate, tmp_path, "good-scene", frames=100)
        eventually(lambda: job.status.done > 3)
        seen = job.events()
    reference = job.reference
    with daemon.connect() as second:
        again = second.attach(reference)
        later = list(again.follow())
        assert again.kind == "extract"
        assert states(later) == ["SUCCEEDED"]
        assert min(event.sequence for event in later) > max(event.sequence for event in seen)
        finished = second.attach(again.reference)
        assert finished.wait(20).state == "SUCCEEDED"
        unknown = second.attach("nonsense")
        assert unknown.wait(20).error.reason == "JOB_NOT_FOUND"  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_is_watched_through_a_restart_of_the_daemon(
    own_daemon: Any, plate: str, tmp_path: Path, eventually: Callable[..., Any], number: signal.Signals
) -> None:
    with own_daemon.connect(reconnect_s=0.1) as session:
        job = extract(session, plate, tmp_path, "good-restart", frames=150)
        eventually(lambda: job.status.done > 3)
        own_daemon.stop(number)
        eventually(lambda: job.status.connection_error is not None)
        assert job.status.text.endswith(", not connected")
        own_daemon.start()
        assert job.wait(30).state == "SUCCEEDED"
        seen = job.events()
        assert [event.is_connected for event in seen if isinstance(event, ConnectionChanged)] == [False, True]
        numbers = [event.sequence for event in seen if event.sequence]
        assert numbers == sorted(set(numbers))
        assert session.refresh().running == 0


def test_a_restarted_daemons_new_token_is_found(own_daemon: Any) -> None:
    own_daemon.settings["listen"] = "tcp"
    with own_daemon.connect() as session:
        old = session.server.pid
        own_daemon.stop()
        with pytest.raises(HostError) as failure:
            session.refresh()
        assert failure.value.is_unreachable
        own_daemon.start()
        assert session.refresh().pid != old
        assert session.server.address.startswith("127.0.0.1:")


def test_settings_become_widgets(session: DaemonSession) -> None:
    knobs = {knob.name: knob for knob in session.describe_settings("merge")}
    assert knobs["profile"].choices == ("layered", "flat", "patch")
    everything = session.describe_settings("merge", "internal")
    assert len(everything) > len(knobs)
    assert session.describe_settings("merge") is not session.describe_settings("merge")
    assert session.describe_settings("curate", operation="sort")
    with pytest.raises(HostError) as failure:
        session.describe_settings("curate", operation="juggle")
    assert failure.value.reason == "UNKNOWN_OPERATION"


def test_layers_presets_and_what_is_missing(session: DaemonSession, tmp_path: Path) -> None:
    assert [layer.name for layer in session.layers()][:2] == ["", "swap"]
    assert "quick" in session.presets()
    for ask in (session.model, session.faceset):
        with pytest.raises(HostError) as failure:
            ask(str(tmp_path / "nothing"))
        assert failure.value.category == "NOT_FOUND"
    assert session.merged_frames(str(tmp_path / "nothing.####.exr")) == []


def test_a_long_output_is_asked_for_page_by_page(
    session: DaemonSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = merged_output(tmp_path, 25)
    at_once = session.merged_frames(pattern)
    monkeypatch.setattr("dflhost.answers.MERGED_PAGE", 10)
    asked: list[Any] = []
    ask = session._ask
    monkeypatch.setattr(session, "_ask", lambda *words, **named: asked.append(words[2]) or ask(*words, **named))
    assert session.merged_frames(pattern) == at_once
    assert [one["page_token"] for one in asked] == ["", "9", "19"]
    assert [one.frame for one in at_once] == list(range(25))
    assert session.result(pattern).frames == FrameSet.span(0, 24)


def test_a_daemon_that_knows_no_pages_is_asked_once() -> None:
    asked: list[Any] = []

    def ask(request: Any) -> Any:  # as its answer is decoded: a field it does not know is empty
        asked.append(request)
        return {"frames": [{"frame": 7, "path": "/out/a.0007.exr", "key": "k"}], "next_page_token": ""}

    (frame,) = gather_merged_frames(ask, "/out/a.####.exr", lambda path: path.replace("/out", "Z:"))
    assert (frame.frame, frame.path, frame.key, len(asked)) == (7, "Z:/a.0007.exr", "k", 1)


def test_a_frame_that_cannot_be_made_says_why(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    with pytest.raises(HostError) as failure:
        session.merge_frame(FrameRequest(plate, 1, str(tmp_path / "model"), str(tmp_path / "faces")))
    assert failure.value.category == "NOT_FOUND"
    with pytest.raises(HostError, match="jpeg"):
        session.merge_frame(FrameRequest(plate, 1, "/m", "/f", pixel_format="jpeg"))


def test_paths_are_the_daemons_on_the_wire_and_the_workstations_here(daemon: Any, plate: str, tmp_path: Path) -> None:
    with daemon.connect(path_map=PathMap(((r"P:\shots", str(tmp_path)),))) as session:
        asked = Plate(r"P:\shots\plate.####.exr", FrameSet.parse("1-3"))
        job = session.submit_extract(asked, r"P:\shots\good-mapped")
        assert job.wait(20).state == "SUCCEEDED"
        sent = session.call("JobService", "GetJob", {"id": job.id})["job"]["spec"]["extract"]
        assert sent["plate"] == {"path": plate, "frames": "1-3"}
        assert sent["faceset_path"] == str(tmp_path / "good-mapped")


def test_the_jobs_of_the_daemon_are_listed(session: DaemonSession, plate: str, tmp_path: Path) -> None:
    job = extract(session, plate, tmp_path, "good-listed")
    job.wait(20)
    listed = session.jobs()
    assert listed[0].id == job.id
    assert session.jobs(["RUNNING"]) == []
    assert {status.state for status in session.jobs(["SUCCEEDED"], limit=5)} == {"SUCCEEDED"}


def test_calls_in_the_background(session: DaemonSession) -> None:
    task = session.task(session.describe_settings, "train")
    assert {knob.name for knob in task.result(10)} >= {"preset"}
    failing = session.task(session.faceset, "/nowhere/at/all")
    failing.join(10)
    assert failing.error is not None
    assert failing.error.category == "NOT_FOUND"
    with pytest.raises(HostError):
        failing.result(0)


def test_closing_ends_every_thread_and_not_the_job(
    daemon: Any, plate: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    session = daemon.connect()
    jobs = [extract(session, plate, tmp_path, f"good-close{number}", frames=80) for number in range(3)]
    eventually(lambda: jobs[0].status.done)
    begun = time.monotonic()
    session.close()
    assert time.monotonic() - begun < 5.0
    assert not [one for one in threading.enumerate() if one.name.startswith("dflhost")]
    with pytest.raises(HostError) as failure:
        session.refresh()
    assert failure.value.reason == "SESSION_CLOSED"
    with daemon.connect() as again:
        for job in jobs:
            assert again.attach(job.id).wait(30).state == "SUCCEEDED"


def test_no_daemon_a_dead_one_a_newer_one_and_a_wrong_token(tmp_path: Path, own_daemon: Any) -> None:
    def reason(settings: ConnectionSettings) -> str:
        with pytest.raises(HostError) as failure:
            connect(settings, {})
        assert failure.value.is_unreachable
        return failure.value.reason

    assert reason(ConnectionSettings(state_dir=str(tmp_path / "none"))) == "DAEMON_NOT_RUNNING"
    state = tmp_path / "own" / "state"
    address = json.loads((state / "session.json").read_text())["address"]
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    assert reason(ConnectionSettings(address=address, token_path=str(wrong))) == "TOKEN_REFUSED"
    assert reason(ConnectionSettings(address=address, token_path=str(tmp_path / "no"))) == "TOKEN_NOT_FOUND"
    own_daemon.stop(signal.SIGKILL)
    assert reason(own_daemon.host) == "DAEMON_GONE"
    values = json.loads((state / "session.json").read_text())
    (state / "session.json").write_text(json.dumps({**values, "protocol": "dflproto.v2"}))
    assert reason(own_daemon.host) == "DAEMON_IS_NEWER"
    (state / "session.json").write_text(json.dumps({**values, "protocol": "dflproto.v0"}))
    assert reason(own_daemon.host) == "DAEMON_IS_OLDER"
    (state / "session.json").write_text("{")
    assert reason(own_daemon.host) == "SESSION_FILE_DAMAGED"
    assert reason(ConnectionSettings(address="unix:/nowhere/at/all", token_path=str(wrong))) == "DAEMON_UNREACHABLE"
    task = connect_task(ConnectionSettings(state_dir=str(tmp_path / "none")), {})
    task.join(10)
    assert task.error is not None
    assert task.error.reason == "DAEMON_NOT_RUNNING"


def test_an_older_daemon_gives_one_sentence() -> None:
    with pytest.raises(HostError) as failure:
        session_module.check_protocol({"version": "0.0.1", "features": ["paths"]})
    assert failure.value.reason == "DAEMON_IS_OLDER"
    assert "0.0.1" in failure.value.message


def test_a_daemon_is_started_from_a_host(tmp_path: Path) -> None:
    """The whole road of the button *Start Daemon*, with the real program and a host's odd environment."""
    program = Path(os.path.dirname(os.sys.executable)) / "dfl"  # type: ignore[attr-defined]
    if not program.exists():
        pytest.skip("the program dfl is not installed here")
    settings = ConnectionSettings(state_dir=str(tmp_path / "state"), command=(str(program),))
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONHOME": "/nonsense", "DFL_IDLE_EXIT_S": "20"}
    with connect_task(settings, environ, start=True).result(40) as session:
        pid = session.server.pid
        session.call("DaemonService", "Shutdown", {})
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    missing = ConnectionSettings(state_dir=str(tmp_path / "other"), command=("/no/such/dfl",))
    task = connect_task(missing, {"HOME": str(tmp_path)}, start=True)
    task.join(10)
    assert task.error is not None
    assert task.error.reason == "DFL_NOT_INSTALLED"


def test_states_have_their_own_names() -> None:
    assert events.state_of("JOB_STATE_FAILED") == "FAILED"
    assert events.state_of(77) == "RUNNING"
