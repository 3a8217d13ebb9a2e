"""The daemon as a process with a socket; only the pipelines behind its workers are pretended."""

import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from dflcore.errors import Conflict, InvalidInput, NotFound
from dfldaemon.discovery import find_session, read_session, read_token
from dfldaemon.errors import error_from_call
from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2,
    faceset_service_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    merge_service_pb2,
    merge_service_pb2_grpc,
)

StartDaemon = Callable[..., Any]
MakeSpec = Callable[..., job_service_pb2.JobSpec]
Wait = Callable[..., Any]


def failure(call: Callable[[], Any]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def watch(daemon: Any, job_id: str, after: int = 0) -> list[job_service_pb2.JobEvent]:
    request = job_service_pb2.WatchJobRequest(id=job_id, after_sequence=after)
    return [response.event for response in daemon.jobs.WatchJob(request)]


def test_a_job_from_submit_to_result(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec("notice"))
    assert job.state in (common_pb2.JOB_STATE_QUEUED, common_pb2.JOB_STATE_RUNNING)
    events = watch(daemon, job.id)
    states = [event.state.state for event in events if event.WhichOneof("body") == "state"]
    assert states == [common_pb2.JOB_STATE_QUEUED, common_pb2.JOB_STATE_RUNNING, common_pb2.JOB_STATE_SUCCEEDED]
    assert events[-1].state.result == {"frames": "5"}
    assert {event.WhichOneof("body") for event in events} == {"state", "frame_progress", "notice"}
    done = daemon.job(job.id)
    assert done.frame_progress.done_count == 5
    assert done.result == {"frames": "5"}
    assert done.create_time.seconds <= done.start_time.seconds <= done.end_time.seconds
    assert done.last_sequence == events[-1].sequence


def test_settings_are_resolved_when_the_job_is_submitted(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec(min_score=0.0, max_faces=3))
    settings = job.spec.extract.settings
    assert settings.max_faces == 3
    assert settings.HasField("min_score")
    assert settings.face_type == "full"
    assert settings.aligned_size == 256


def test_a_watch_resumes_after_the_last_event_seen(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec())
    all_of_it = watch(daemon, job.id)
    later = watch(daemon, job.id, after=all_of_it[-2].sequence)
    assert [event.sequence for event in later] == [all_of_it[-1].sequence]
    assert watch(daemon, job.id, after=all_of_it[-1].sequence) == []
    assert watch(daemon, job.id, after=10**12) == []


def test_a_dropped_watch_does_not_touch_the_job(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec(frames=20))
    stream = daemon.jobs.WatchJob(job_service_pb2.WatchJobRequest(id=job.id))
    next(stream)
    stream.cancel()
    daemon.wait_for(job.id, "SUCCEEDED")


def test_a_retried_job_is_watched_through_its_old_failure(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec("missing", frames=30))
    assert watch(daemon, job.id)[-1].state.error.reason == "FRAME_NOT_FOUND"
    daemon.jobs.RetryJob(job_service_pb2.RetryJobRequest(id=job.id))
    events = watch(daemon, job.id)
    assert events[-1].state.state == common_pb2.JOB_STATE_SUCCEEDED
    assert daemon.job(job.id).attempt_count == 2


def test_pause_resume_and_cancel_by_call(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec(frames=300))
    daemon.wait_for(job.id, "RUNNING")
    assert daemon.jobs.PauseJob(job_service_pb2.PauseJobRequest(id=job.id)).job.stop_requested
    daemon.wait_for(job.id, "PAUSED")
    assert daemon.jobs.ResumeJob(job_service_pb2.ResumeJobRequest(id=job.id)).job.state == common_pb2.JOB_STATE_QUEUED
    daemon.wait_for(job.id, "RUNNING")
    daemon.jobs.CancelJob(job_service_pb2.CancelJobRequest(id=job.id))
    daemon.wait_for(job.id, "CANCELLED")
    error = failure(lambda: daemon.jobs.CancelJob(job_service_pb2.CancelJobRequest(id=job.id)))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "cancelled" in error.details()


def test_a_failed_call_carries_typed_details(daemon: Any) -> None:
    error = failure(lambda: daemon.job("nothing"))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, info.metadata["job"]) == ("JOB_NOT_FOUND", "dfl", "nothing")
    detail = common_pb2.ErrorDetail()
    assert status.details[1].Unpack(detail)
    assert (detail.category, detail.reason) == ("NOT_FOUND", "JOB_NOT_FOUND")
    ours = error_from_call(error)
    assert isinstance(ours, NotFound)
    assert ours.details == {"job": "nothing"}


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"settings": {"aligned_size": 1}}, "aligned_size", "64 to 2048"),
        ({"settings": {"face_type": "nose"}}, "face_type", "half, midfull"),
        ({"faceset_path": "relative"}, "faceset_path", "absolute"),
        ({"faceset_path": ""}, "faceset_path", "empty"),
        ({"faceset_path": "/a/../etc"}, "faceset_path", "absolute"),
        ({"faceset_path": "/a\0b"}, "faceset_path", "usable"),
        ({"plate": {"path": "/no/such/plate.####.exr"}}, "", "does not exist"),
        ({"plate": {"path": "/no/such/movie.mov"}}, "", "no file"),
    ],
)
def test_a_bad_job_is_refused_at_once(
    daemon: Any, extract_spec: MakeSpec, change: dict[str, Any], field: str, text: str
) -> None:
    spec = extract_spec()
    body = {"plate": {"path": spec.extract.plate.path}, "faceset_path": spec.extract.faceset_path, **change}
    error = failure(lambda: daemon.submit(job_service_pb2.JobSpec(extract=body)))
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert text in error.details()
    if field:
        assert error_from_call(error).details["field"] == field


def test_an_empty_job_and_a_bad_range_are_refused(daemon: Any, extract_spec: MakeSpec) -> None:
    assert "does not say what to do" in failure(lambda: daemon.submit(job_service_pb2.JobSpec())).details()
    spec = extract_spec()
    spec.extract.plate.frames = "10-1"
    assert isinstance(error_from_call(failure(lambda: daemon.submit(spec))), InvalidInput)
    assert "request_id" in failure(lambda: daemon.submit(extract_spec(), "x" * 65)).details()


def test_inputs_may_come_from_jobs_that_wait(daemon: Any, extract_spec: MakeSpec, tmp_path: Path) -> None:
    blocker = daemon.submit(extract_spec("good-blocker", frames=500))
    train = {
        "source_path": str(tmp_path / "src"),
        "target_path": str(tmp_path / "dst"),
        "model_path": str(tmp_path / "m"),
    }
    spec = job_service_pb2.JobSpec(train=train)
    error = failure(lambda: daemon.submit(spec))
    assert error_from_call(error).reason == "FACESET_NOT_FOUND"
    made = [daemon.submit(extract_spec(name)) for name in ("src", "dst")]
    made.append(daemon.submit(spec))
    merge = {
        "plate": {"path": str(tmp_path / "plate.####.exr")},
        "faceset_path": str(tmp_path / "dst") + "/",
        "model_path": str(tmp_path / "m"),
        "output_path": str(tmp_path / "swap" / "swap.####.exr"),
    }
    made.append(daemon.submit(job_service_pb2.JobSpec(merge=merge)))
    assert [job.ahead_count for job in made] == [1, 2, 3, 4]
    imported = {"legacy_path": str(tmp_path / "old"), "model_path": str(tmp_path / "taken")}
    export = {"model_path": str(tmp_path / "taken"), "output_path": str(tmp_path / "taken.dfm")}
    error = failure(lambda: daemon.submit(job_service_pb2.JobSpec(export_model=export)))
    assert error_from_call(error).reason == "MODEL_NOT_FOUND"
    error = failure(lambda: daemon.submit(job_service_pb2.JobSpec(import_model=imported)))
    assert error_from_call(error).reason == "FOLDER_NOT_FOUND"
    (tmp_path / "old").mkdir()
    made.append(daemon.submit(job_service_pb2.JobSpec(import_model=imported)))
    made.append(daemon.submit(job_service_pb2.JobSpec(export_model=export)))
    for job in [*reversed(made), blocker]:
        daemon.jobs.CancelJob(job_service_pb2.CancelJobRequest(id=job.id))
    daemon.wait_for(blocker.id, "CANCELLED")


def test_the_plate_is_not_an_output(daemon: Any, plate: str, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    paths = {"faceset_path": str(tmp_path / "faces"), "model_path": str(tmp_path / "faces"), "output_path": plate}
    spec = job_service_pb2.JobSpec(merge={"plate": {"path": plate}, **paths})
    assert error_from_call(failure(lambda: daemon.submit(spec))).reason == "OUTPUT_IS_INPUT"


def test_jobs_are_listed_in_pages(daemon: Any, extract_spec: MakeSpec) -> None:
    made = [daemon.submit(extract_spec(f"good-{place}", frames=1)).id for place in range(5)]
    found: list[str] = []
    token = ""
    while len(found) < 5:
        page = daemon.jobs.ListJobs(job_service_pb2.ListJobsRequest(page_size=2, page_token=token))
        assert len(page.jobs) == 2
        found += [job.id for job in page.jobs]
        token = page.next_page_token
    assert found[:5] == made[::-1]
    for bad in ({"page_token": "x"}, {"page_size": -1}, {"states": [77]}):
        error = failure(lambda bad=bad: daemon.jobs.ListJobs(job_service_pb2.ListJobsRequest(**bad)))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    for job_id in made:
        daemon.wait_for(job_id, "SUCCEEDED")


def test_a_lost_answer_does_not_double_a_job(daemon: Any, extract_spec: MakeSpec) -> None:
    first = daemon.submit(extract_spec(), "request-1")
    assert daemon.submit(extract_spec(), "request-1").id == first.id
    assert daemon.submit(extract_spec("good-other"), "request-2").id != first.id


def test_the_daemon_says_what_it_is(daemon: Any) -> None:
    info = daemon.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest())
    session = find_session(daemon.state_dir)
    assert (info.pid, info.address, list(info.roots)) == (session.pid, session.address, ["/"])
    assert len(info.schema_digest) == 64
    assert {"paths", "jobs.train", "jobs.import_model", "jobs.export_model"} <= set(info.features)
    assert Path(info.log_path).is_file()
    assert session.is_alive


def test_settings_are_described_for_an_audience(daemon: Any) -> None:
    def names(audience: int) -> dict[str, Any]:
        request = daemon_service_pb2.DescribeSettingsRequest(kind=common_pb2.JOB_KIND_TRAIN, audience=audience)
        return {knob.name: knob for knob in daemon.daemon.DescribeSettings(request).knobs}

    artist, td = names(daemon_service_pb2.AUDIENCE_UNSPECIFIED), names(daemon_service_pb2.AUDIENCE_TD)
    assert set(artist) < set(td)
    assert artist["preset"].fixed_once_trained
    assert (artist["preset"].group, artist["minutes"].group, td["ae_dims"].group) == ("network", "how long", "network")
    runs = [group for group, _ in itertools.groupby(knob.group for knob in td.values())]
    assert len(runs) == len(set(runs))
    assert td["cache_mb"].HasField("default_value")
    assert not artist["iterations"].HasField("default_value")
    assert artist["iterations"].optional_value
    assert (td["cache_mb"].minimum, td["cache_mb"].unit) == (16, "MB")
    error = failure(lambda: daemon.daemon.DescribeSettings(daemon_service_pb2.DescribeSettingsRequest()))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_no_call_without_the_token(daemon: Any) -> None:
    session = find_session(daemon.state_dir)
    request = daemon_service_pb2.GetServerInfoRequest()
    stub = "/dflproto.v1.DaemonService/GetServerInfo"
    with grpc.insecure_channel(session.address) as channel:
        call = channel.unary_unary(stub, request_serializer=lambda message: message.SerializeToString())
        error = failure(lambda: call(request))
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        assert error_from_call(error).reason == "TOKEN_MISSING"
        for wrong in ("Bearer", "Bearer ", "Bearer 0", f"bearer {read_token(session)}", read_token(session)):
            error = failure(lambda wrong=wrong: call(request, metadata=[("authorization", wrong)]))
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED
            assert error_from_call(error).reason == "TOKEN_WRONG"
        watch_stub = job_service_pb2_grpc.JobServiceStub(channel)
        error = failure(lambda: list(watch_stub.WatchJob(job_service_pb2.WatchJobRequest(id="x"))))
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        unknown = channel.unary_unary("/dflproto.v1.Nothing/Nothing")
        assert failure(lambda: unknown(b"")).code() == grpc.StatusCode.UNAUTHENTICATED
        assert call(request, metadata=[("authorization", f"Bearer {read_token(session)}")])
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_files_are_for_the_user_only(daemon: Any) -> None:
    session = find_session(daemon.state_dir)
    socket_path = Path(session.address.removeprefix("unix:"))
    for path, mode in (
        (Path(session.token_path), 0o600),
        (daemon.state_dir / "session.json", 0o600),
        (daemon.state_dir / "jobs.sqlite", 0o600),
        (Path(session.log_path), 0o600),
        (daemon.state_dir, 0o700),
        (socket_path.parent, 0o700),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


def test_the_token_is_nowhere_but_in_its_file(daemon: Any, extract_spec: MakeSpec) -> None:
    watch(daemon, daemon.submit(extract_spec()).id)
    failure(lambda: daemon.job("nothing"))
    token = read_token(find_session(daemon.state_dir)).encode()
    files = [path for path in daemon.state_dir.rglob("*") if path.is_file() and path.name != "token"]
    assert len(files) >= 4
    assert not [path for path in files if token in path.read_bytes()]
    arguments = Path(f"/proc/{find_session(daemon.state_dir).pid}/cmdline").read_bytes()
    assert token not in arguments


def test_the_log_is_lines_of_json(daemon: Any, extract_spec: MakeSpec) -> None:
    job = daemon.submit(extract_spec())
    watch(daemon, job.id)
    lines = [json.loads(line) for line in Path(find_session(daemon.state_dir).log_path).read_text().splitlines()]
    calls = [line for line in lines if line["message"] == "call"]
    assert any(line["method"].endswith("SubmitJob") and line["outcome"] == "OK" for line in calls)
    assert any(line.get("job") == job.id and line.get("state") == "succeeded" for line in lines)


def test_a_message_beyond_the_limit_is_refused(daemon: Any) -> None:
    error = failure(lambda: daemon.job("x" * (9 * 1024 * 1024)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_questions_are_answered_by_a_process_of_their_own(daemon: Any, tmp_path: Path) -> None:
    request = faceset_service_pb2.GetFacesetRequest(path=str(tmp_path / "nothing"))
    assert isinstance(error_from_call(failure(lambda: daemon.facesets.GetFaceset(request))), NotFound)
    request = faceset_service_pb2.GetFacesetRequest(path="relative")
    assert isinstance(error_from_call(failure(lambda: daemon.facesets.GetFaceset(request))), InvalidInput)


def test_tcp_listens_on_the_loopback_only_and_wants_the_token(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(listen="tcp")
    address = find_session(daemon.state_dir).address
    host, _, port = address.partition(":")
    assert host == "127.0.0.1"
    assert daemon.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest()).address == address
    with pytest.raises(OSError, match=r"in use|denied"), socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))
    with grpc.insecure_channel(address) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        error = failure(lambda: stub.GetJob(job_service_pb2.GetJobRequest()))
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED


def test_there_is_no_way_to_listen_to_the_network() -> None:
    command = [sys.executable, "-m", "dfldaemon", "--listen", "0.0.0.0:50051"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "every address of the machine" in refused.stderr


def test_a_second_daemon_is_refused(daemon: Any) -> None:
    command = [sys.executable, "-m", "dfldaemon", "--state-dir", str(daemon.state_dir)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 3
    assert f"process {find_session(daemon.state_dir).pid}" in second.stderr
    assert daemon.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest()).pid


def test_a_folder_others_may_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    command = [sys.executable, "-m", "dfldaemon", "--state-dir", str(shared)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "0700" in refused.stderr


def test_a_socket_path_too_long_falls_back_to_a_short_one(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(runtime_dir=tmp_path / ("long" * 40))
    assert len(find_session(daemon.state_dir).address) < 110
    assert daemon.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest()).pid


def test_two_state_folders_do_not_share_a_socket(start_daemon: StartDaemon, tmp_path: Path) -> None:
    first = start_daemon(runtime_dir=tmp_path / "run")
    second = start_daemon(runtime_dir=tmp_path / "run", state_dir=tmp_path / "other")
    pids = {one.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest()).pid for one in (first, second)}
    assert len(pids) == 2


def test_paths_outside_the_roots_are_refused(start_daemon: StartDaemon, extract_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "show").mkdir()
    daemon = start_daemon(roots=tmp_path / "show")
    assert error_from_call(failure(lambda: daemon.submit(extract_spec()))).reason == "PATH_OUTSIDE_ROOTS"
    (tmp_path / "show" / "link").symlink_to(tmp_path)
    request = faceset_service_pb2.GetFacesetRequest(path=str(tmp_path / "show" / "link" / "faces"))
    assert error_from_call(failure(lambda: daemon.facesets.GetFaceset(request))).reason == "PATH_OUTSIDE_ROOTS"


def test_it_leaves_in_order_when_told(start_daemon: StartDaemon, extract_spec: MakeSpec, wait: Wait) -> None:
    daemon = start_daemon()
    job = daemon.submit(extract_spec(frames=200))
    daemon.wait_for(job.id, "RUNNING")
    events: list[Any] = []

    def follow() -> None:
        request = job_service_pb2.WatchJobRequest(id=job.id)
        try:
            events.extend(daemon.jobs.WatchJob(request))
        except grpc.RpcError as error:
            events.append(error)

    watcher = threading.Thread(target=follow)
    watcher.start()
    wait(lambda: (Path(job.spec.extract.faceset_path) / "done.txt").exists())
    daemon.daemon.Shutdown(daemon_service_pb2.ShutdownRequest())
    assert daemon.process is not None
    assert daemon.process.wait(20) == 0
    watcher.join()
    assert isinstance(events[-1], grpc.RpcError)
    assert events[-1].code() == grpc.StatusCode.UNAVAILABLE
    left = {path.name for path in daemon.state_dir.iterdir()}
    assert not left & {"session.json", "token"}
    with pytest.raises(NotFound) as caught:
        find_session(daemon.state_dir)
    assert caught.value.reason == "DAEMON_NOT_RUNNING"
    daemon.stop()
    daemon.start()
    done = daemon.wait_for(job.id, "SUCCEEDED")
    assert done.attempt_count == 1


def test_a_killed_daemon_takes_its_worker_along_and_loses_no_job(
    start_daemon: StartDaemon, extract_spec: MakeSpec, wait: Wait, alive: Callable[[int], bool]
) -> None:
    daemon = start_daemon()
    first_token = read_token(find_session(daemon.state_dir))
    running = daemon.submit(extract_spec("good-running", frames=100))
    waiting = [daemon.submit(extract_spec(f"good-{place}", frames=1)).id for place in range(10)]
    done = Path(running.spec.extract.faceset_path) / "done.txt"
    wait(done.exists)
    worker = int(done.with_name("pid.txt").read_text())
    assert alive(worker)
    daemon.stop(signal.SIGKILL)
    wait(lambda: not alive(worker))
    with pytest.raises(NotFound) as caught:
        find_session(daemon.state_dir)
    assert caught.value.reason == "DAEMON_GONE"
    assert read_session(daemon.state_dir).pid
    daemon.start()
    assert read_token(find_session(daemon.state_dir)) != first_token
    for job_id in [running.id, *waiting]:
        daemon.wait_for(job_id, "SUCCEEDED")
    assert daemon.job(running.id).attempt_count == 2
    assert [int(line) for line in done.read_text().split()] == list(range(1, 101))
    reasons = [event.notice.reason for event in watch(daemon, running.id) if event.WhichOneof("body") == "notice"]
    assert reasons == ["DAEMON_LOST"]


def test_a_killed_worker_does_not_touch_the_daemon(
    start_daemon: StartDaemon, extract_spec: MakeSpec, wait: Wait
) -> None:
    daemon = start_daemon(worker_retries=0)
    job = daemon.submit(extract_spec(frames=500))
    pid_path = Path(job.spec.extract.faceset_path) / "pid.txt"
    wait(lambda: (pid_path.with_name("done.txt")).exists())
    os.kill(int(pid_path.read_text()), signal.SIGKILL)
    failed = daemon.wait_for(job.id, "FAILED")
    assert (failed.error.category, failed.error.reason) == ("RESOURCE_EXHAUSTED", "WORKER_KILLED")
    assert daemon.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest()).running_count == 0


def test_it_leaves_when_idle(start_daemon: StartDaemon, extract_spec: MakeSpec) -> None:
    daemon = start_daemon(idle_exit_s=1.5)
    job = daemon.submit(extract_spec(frames=150))
    started = time.monotonic()
    assert daemon.process is not None
    assert daemon.process.wait(20) == 0
    assert time.monotonic() - started > 3.0
    daemon.stop()
    daemon.settings = {}
    daemon.start()
    assert daemon.job(job.id).state == common_pb2.JOB_STATE_SUCCEEDED


def test_reflection_is_off_unless_asked_for(daemon: Any, start_daemon: StartDaemon) -> None:
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

    def ask(one: Any) -> list[bytes]:
        with one.channel() as channel:
            return list(channel.stream_stream(method)(iter([b"\x3a\x00"])))  # list_services

    assert failure(lambda: ask(daemon)).code() == grpc.StatusCode.UNIMPLEMENTED
    assert b"dflproto.v1.JobService" in ask(start_daemon(reflection=True))[0]


def test_layers_are_listed(daemon: Any) -> None:
    with daemon.channel() as channel:
        stub = merge_service_pb2_grpc.MergeServiceStub(channel)
        layers = stub.ListLayers(merge_service_pb2.ListLayersRequest()).layers
    assert (layers[0].name, layers[0].channels) == ("", "RGBA")
    assert {"swap", "raw", "matte", "st"} <= {layer.name for layer in layers}


def test_the_lock_outlives_a_lost_session_file(daemon: Any) -> None:
    from dfldaemon.folders import lock_state_folder

    with pytest.raises(Conflict), lock_state_folder(daemon.state_dir):
        pass
