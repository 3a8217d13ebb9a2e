"""The client finds its daemon, translates its errors, and watches a job through broken streams."""

import os
import subprocess
import sys
import threading

import pytest

from dflcore.errors import Conflict, InvalidInput, NotFound
from dfldaemon import client as client_module
from dfldaemon.client import UNREACHABLE_REASONS, connect, connect_or_start, explicit_endpoint, session_endpoint
from dflproto.v1 import common_pb2, job_service_pb2


@pytest.fixture
def client(daemon):
    with connect(lambda: session_endpoint(daemon.state_dir)) as connected:
        yield connected


def extract_spec():
    return job_service_pb2.JobSpec(extract=job_service_pb2.ExtractSpec(faceset_path="/f"))


def test_finds_the_daemon_by_its_session_file(client):
    assert client.server_info().version == "1.2.3"


def test_an_explicit_address_needs_the_token_file(daemon, tmp_path):
    token = tmp_path / "token-copy"
    token.write_text("secret-of-the-test\n")
    with connect(lambda: explicit_endpoint(daemon.address, tmp_path, token)) as client:
        assert client.server_info().pid == os.getpid()
    with pytest.raises(NotFound) as caught:
        explicit_endpoint(daemon.address, tmp_path / "elsewhere")
    assert caught.value.reason in UNREACHABLE_REASONS


def test_a_wrong_token_is_refused(daemon):
    (daemon.state_dir / "token").write_text("another")
    with connect(lambda: session_endpoint(daemon.state_dir)) as client, pytest.raises(InvalidInput) as caught:
        client.server_info()
    assert caught.value.reason == "TOKEN_REFUSED"


def test_no_session_file_and_a_stale_one_are_told_apart(daemon, tmp_path):
    with pytest.raises(NotFound) as caught:
        connect(lambda: session_endpoint(tmp_path / "nothing"))
    assert caught.value.reason == "DAEMON_NOT_RUNNING"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    daemon.announce(pid=ended.pid)
    with pytest.raises(NotFound) as caught:
        connect(lambda: session_endpoint(daemon.state_dir))
    assert caught.value.reason == "DAEMON_GONE"


def test_errors_arrive_as_the_class_they_were_raised_as(client, daemon):
    with pytest.raises(NotFound) as caught:
        client.get_job("nobody")
    assert (caught.value.reason, caught.value.message) == ("JOB_NOT_FOUND", "There is no job nobody.")
    daemon.add_job("a", common_pb2.JOB_STATE_SUCCEEDED)
    with pytest.raises(Conflict):
        client.cancel("a")


def test_submitting_twice_with_one_request_id_gives_one_job(client, daemon):
    first = client.submit(extract_spec(), "request-1")
    assert client.submit(extract_spec(), "request-1").id == first.id
    assert client.submit(extract_spec()).id != first.id


def test_list_follows_the_pages(client, daemon):
    for number in range(5):
        daemon.add_job(f"job-{number}")
    assert [job.id for job in client.list_jobs()] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert list(client.list_jobs([common_pb2.JOB_STATE_PAUSED])) == []


def test_watch_loses_and_doubles_no_event_when_the_stream_breaks(client, daemon):
    daemon.add_job("a")
    for done in range(1, 6):
        daemon.frames("a", done, 5)
    daemon.watch_breaks = 3
    threading.Timer(0.5, daemon.finish, ["a"]).start()
    assert [event.sequence for event in client.watch("a")] == list(range(1, 8))


def test_watch_shows_a_retried_job_to_its_second_end(client, daemon):
    daemon.add_job("a")
    daemon.fail("a", "INTERNAL", "no")
    daemon.tell("a", state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_QUEUED))
    daemon.finish("a")
    states = [event.state.state for event in client.watch("a", after_sequence=1)]
    assert states == [common_pb2.JOB_STATE_FAILED, common_pb2.JOB_STATE_QUEUED, common_pb2.JOB_STATE_SUCCEEDED]


def test_watch_of_an_unknown_job_is_not_found(client):
    with pytest.raises(NotFound, match="no job nobody"):
        list(client.watch("nobody"))


def test_watch_gives_up_when_the_daemon_stays_away(client, daemon):
    daemon.add_job("a")
    events = client.watch("a", reconnect_s=0.3)
    assert next(events).sequence == 1
    daemon.server.stop(0).wait()
    (daemon.state_dir / "session.json").unlink()
    with pytest.raises(NotFound) as caught:
        list(events)
    assert caught.value.reason in UNREACHABLE_REASONS


def test_every_call_has_a_deadline(client, daemon, monkeypatch):
    monkeypatch.setattr(client_module, "CALL_DEADLINE_S", 0.2)
    held = threading.Event()
    monkeypatch.setattr(daemon, "find", lambda *_: held.wait(2) and None)
    with pytest.raises(Conflict) as caught:
        client.get_job("a")
    held.set()
    assert caught.value.reason == "DAEMON_TIMEOUT"


def test_connect_or_start_uses_the_one_that_runs(daemon, environ):
    client, was_started = connect_or_start(daemon.state_dir, environ=environ)
    with client:
        assert not was_started


def test_a_daemon_that_does_not_come_up_is_reported_with_its_last_words(tmp_path, environ):
    package = tmp_path / "path" / "dfldaemon"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("raise SystemExit('no room on this machine')")
    broken = {**environ, "PYTHONPATH": str(package.parent)}
    with pytest.raises(NotFound, match="no room on this machine") as caught:
        client_module.start_daemon(tmp_path / "state2", environ=broken, deadline_s=8.0)
    assert caught.value.reason == "DAEMON_DID_NOT_START"
