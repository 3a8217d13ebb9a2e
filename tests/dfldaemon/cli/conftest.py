"""A daemon without a worker: real gRPC on a real socket, with jobs that do what the test tells them."""

import os
import tempfile
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from dflcore.errors import Conflict, NotFound
from dfldaemon import discovery
from dfldaemon.cli.main import main
from dfldaemon.errors import rpc_status_of
from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2,
    daemon_service_pb2_grpc,
    faceset_service_pb2,
    faceset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

TOKEN = "secret-of-the-test"
ENDED = (common_pb2.JOB_STATE_SUCCEEDED, common_pb2.JOB_STATE_FAILED, common_pb2.JOB_STATE_CANCELLED)


class FakeDaemon(
    daemon_service_pb2_grpc.DaemonServiceServicer,
    job_service_pb2_grpc.JobServiceServicer,
    faceset_service_pb2_grpc.FacesetServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Jobs by id with their events; ``finish``, ``fail`` and ``tell`` move them on."""

    def __init__(self, state_dir):
        self.state_dir = Path(state_dir)
        self.jobs = {}
        self.events = {}
        self.requests = {}
        self.changed = threading.Condition()
        self.on_submit = lambda job: None
        self.watch_breaks = 0
        self.record = common_pb2.Authorization()
        self.model = model_service_pb2.Model()
        self.shutdowns = 0
        self.stops_at_once = True

    def start(self):
        self.folder = tempfile.TemporaryDirectory(prefix="dfl-test-")
        self.address = f"unix:{self.folder.name}/s"
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        daemon_service_pb2_grpc.add_DaemonServiceServicer_to_server(self, self.server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self, self.server)
        faceset_service_pb2_grpc.add_FacesetServiceServicer_to_server(self, self.server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self.server)
        checks = health.HealthServicer()
        checks.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self.server)
        self.server.add_secure_port(self.address, grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
        self.server.start()
        self.announce()
        return self

    def announce(self, *, pid=None, address=None):
        self.state_dir.mkdir(parents=True, exist_ok=True)
        token_path = self.state_dir / discovery.TOKEN_NAME
        token_path.write_text(TOKEN)
        pid = pid or os.getpid()
        discovery.write_session(
            self.state_dir,
            discovery.Session(
                address=address or self.address,
                token_path=str(token_path),
                pid=pid,
                process_identity=discovery.process_identity(pid) or "gone",
                protocol=discovery.PROTOCOL,
                api_minor=discovery.API_MINOR,
                software="dfl test",
                roots=("/",),
                log_path=str(self.state_dir / "daemon.jsonl"),
                start_time="2026-01-01T00:00:00Z",
            ),
        )

    def stop(self):
        with self.changed:
            self.jobs.clear()
            self.changed.notify_all()
        self.server.stop(0).wait(5)
        self.folder.cleanup()

    def check(self, context):
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

    def abort(self, context, error):
        context.abort_with_status(rpc_status.to_status(rpc_status_of(error)))

    def find(self, job_id, context):
        if job_id not in self.jobs:
            self.abort(context, NotFound(f"There is no job {job_id}.", reason="JOB_NOT_FOUND"))
        return self.jobs[job_id]

    # What tests do

    def add_job(self, job_id, state=common_pb2.JOB_STATE_RUNNING, kind=common_pb2.JOB_KIND_EXTRACT):
        job = job_service_pb2.Job(id=job_id, kind=kind, state=state, attempt_count=1)
        job.create_time.FromSeconds(1_700_000_000)
        job.spec.extract.faceset_path = "/facesets/a"
        self.jobs[job_id] = job
        self.events[job_id] = []
        self.tell(job_id, state=job_service_pb2.StateEvent(state=state))
        return job

    def tell(self, job_id, **body):
        with self.changed:
            events = self.events[job_id]
            event = job_service_pb2.JobEvent(sequence=len(events) + 1, **body)
            event.time.FromNanoseconds(int(time.time() * 1e9))
            events.append(event)
            job = self.jobs[job_id]
            job.last_sequence = event.sequence
            if "state" in body:
                job.state = body["state"].state
                job.error.CopyFrom(body["state"].error)
                job.result.update(body["state"].result)
            self.changed.notify_all()

    def frames(self, job_id, done, total):
        progress = job_service_pb2.FrameProgress(done_count=done, total_count=total, frame=1000 + done)
        self.tell(job_id, frame_progress=progress)

    def finish(self, job_id, **result):
        state = job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_SUCCEEDED, result=result)
        self.tell(job_id, state=state)

    def fail(self, job_id, category, message):
        error = common_pb2.ErrorDetail(category=category, reason="TEST", message=message)
        self.tell(job_id, state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_FAILED, error=error))

    # The services

    def GetServerInfo(self, request, context):  # noqa: N802
        self.check(context)
        return daemon_service_pb2.GetServerInfoResponse(version="1.2.3", pid=os.getpid(), address=self.address)

    def Shutdown(self, request, context):  # noqa: N802
        self.check(context)
        self.shutdowns += 1
        threading.Timer(0.1, self.server.stop, [0]).start()
        return daemon_service_pb2.ShutdownResponse()

    def GetFaceset(self, request, context):  # noqa: N802
        self.check(context)
        return faceset_service_pb2.GetFacesetResponse(
            faceset=faceset_service_pb2.Faceset(path=request.path, authorization=self.record)
        )

    def GetModel(self, request, context):  # noqa: N802
        self.check(context)
        self.model.path = request.path
        return model_service_pb2.GetModelResponse(model=self.model)

    def SubmitJob(self, request, context):  # noqa: N802
        self.check(context)
        if request.request_id in self.requests:
            return job_service_pb2.SubmitJobResponse(job=self.jobs[self.requests[request.request_id]])
        kind = request.spec.WhichOneof("work")
        job_id = f"{kind}-{len(self.jobs):06d}"
        job = self.add_job(job_id, common_pb2.JOB_STATE_QUEUED, common_pb2.JobKind.Value(f"JOB_KIND_{kind.upper()}"))
        job.spec.CopyFrom(request.spec)
        self.requests[request.request_id] = job_id
        self.on_submit(job)
        return job_service_pb2.SubmitJobResponse(job=job)

    def GetJob(self, request, context):  # noqa: N802
        self.check(context)
        return job_service_pb2.GetJobResponse(job=self.find(request.id, context))

    def ListJobs(self, request, context):  # noqa: N802
        self.check(context)
        jobs = [job for job in reversed(self.jobs.values()) if not request.states or job.state in request.states]
        start = int(request.page_token or 0)
        page = jobs[start : start + 2]
        token = str(start + 2) if start + 2 < len(jobs) else ""
        return job_service_pb2.ListJobsResponse(jobs=page, next_page_token=token)

    def WatchJob(self, request, context):  # noqa: N802
        self.check(context)
        job = self.find(request.id, context)
        sequence = request.after_sequence
        while context.is_active() and request.id in self.jobs:
            with self.changed:
                if len(self.events[job.id]) <= sequence and job.state not in ENDED:
                    self.changed.wait(0.1)
                news = list(self.events[job.id][sequence:])
            for event in news:
                yield job_service_pb2.WatchJobResponse(event=event)
                sequence = event.sequence
                if self.watch_breaks:
                    self.watch_breaks -= 1
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the stream broke")
            if job.state in ENDED and sequence == len(self.events[job.id]):
                return

    def CancelJob(self, request, context):  # noqa: N802
        self.check(context)
        job = self.find(request.id, context)
        if job.state in ENDED:
            self.abort(context, Conflict(f"Job {job.id} has ended.", reason="WRONG_JOB_STATE"))
        if self.stops_at_once:
            self.tell(job.id, state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_CANCELLED))
        return job_service_pb2.CancelJobResponse(job=job)

    def PauseJob(self, request, context):  # noqa: N802
        self.check(context)
        job = self.find(request.id, context)
        self.tell(job.id, state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_PAUSED))
        return job_service_pb2.PauseJobResponse(job=job)

    def ResumeJob(self, request, context):  # noqa: N802
        self.check(context)
        job = self.find(request.id, context)
        self.tell(job.id, state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_QUEUED))
        return job_service_pb2.ResumeJobResponse(job=job)

    def RetryJob(self, request, context):  # noqa: N802
        self.check(context)
        job = self.find(request.id, context)
        self.tell(job.id, state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_QUEUED))
        return job_service_pb2.RetryJobResponse(job=job)


@pytest.fixture
def daemon(tmp_path):
    fake = FakeDaemon(tmp_path / "state").start()
    yield fake
    fake.stop()


@pytest.fixture
def environ(daemon):
    """The environment of a command that is to find the fake daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DFL_")}
    return {**kept, "DFL_STATE_DIR": str(daemon.state_dir)}


@pytest.fixture
def dfl(environ, capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder against the fake daemon: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(list(arguments), environ)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return run
