"""The Python client of the daemon: find it, start it when there is none, call it, watch a job through restarts.

Blocking, for command lines and scripts. Needs neither torch nor an imaging library. Errors of the daemon arrive as the
classes of :mod:`dflcore.errors` they were raised as; whatever keeps the client from reaching the daemon has a reason of
:data:`dfldaemon.discovery.UNREACHABLE_REASONS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dflcore.errors import Conflict, DflError, Internal, InvalidInput, NotFound
from dfldaemon.client_calls import ClientTls, call_metadata, open_channel, status_code, translate, unreachable
from dfldaemon.client_frames import FRAME_DEADLINE_S, FramePicture, fetch_frame
from dfldaemon.client_storage import list_folders, send_files
from dfldaemon.discovery import TOKEN_NAME, UNREACHABLE_REASONS, find_session, read_token
from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2,
    daemon_service_pb2_grpc,
    faceset_service_pb2,
    faceset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    merge_service_pb2,
    merge_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    storage_service_pb2,
)

Answer = TypeVar("Answer")
CALL_DEADLINE_S = 10.0
START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 90.0
"""A worker may take a minute to save."""
RECONNECT_S = 20.0
"""How long a watch looks for a daemon that went away before it gives up."""
AUTO_IDLE_EXIT_S = 900.0
"""A daemon that a command started by itself leaves after so long without a job or a call."""
MERGED_PAGE = 10_000
"""Frames of an output that are asked for at once."""
ENDED_STATES = frozenset(
    {
        common_pb2.JOB_STATE_SUCCEEDED,
        common_pb2.JOB_STATE_FAILED,
        common_pb2.JOB_STATE_CANCELLED,
    }
)
_TRY_AGAIN_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAUTHENTICATED})
_START_REASONS = frozenset({"DAEMON_NOT_RUNNING", "DAEMON_GONE", "TOKEN_NOT_FOUND", "SESSION_FILE_DAMAGED"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a daemon: a gRPC target, the bearer token, and TLS where it is on another machine."""

    address: str
    token: str
    tls: ClientTls | None = None


def session_endpoint(state_dir: Path) -> Endpoint:
    """The daemon that announced itself in a state folder.

    Raises:
        NotFound: no daemon lives there, or its token is gone.
        InvalidInput: the token belongs to another user.
        Conflict, DataCorrupt: the session file is of a newer version or damaged.
    """
    session = find_session(state_dir)
    return Endpoint(session.address, read_token(session))


def explicit_endpoint(
    address: str, state_dir: Path, token_path: Path | None = None, tls: ClientTls | None = None
) -> Endpoint:
    """A daemon the user named; its token is in ``token_path``, else in the state folder.

    Raises:
        NotFound: there is no token file.
        InvalidInput: it cannot be read.
    """
    path = token_path or state_dir / TOKEN_NAME
    try:
        return Endpoint(address, path.read_text(encoding="ascii").strip(), tls)
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no token file {path}; copy the daemon's token there or name it with DFL_TOKEN_FILE.",
            reason="TOKEN_NOT_FOUND",
            path=path,
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The token file {path} cannot be read: {error}.", reason="TOKEN_NOT_READABLE", path=path
        ) from error


class DaemonClient:
    """One connection to a daemon. A context manager; one thread uses it.

    Args:
        locate: says where the daemon is; asked again when a watched daemon went away, as it may have been restarted.

    Raises:
        DflError: whatever ``locate`` raises.
    """

    def __init__(self, locate: Callable[[], Endpoint]) -> None:
        self._locate = locate
        self.endpoint = locate()
        self._channel = open_channel(self.endpoint.address, self.endpoint.token, self.endpoint.tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection; jobs are not touched."""
        self._channel.close()

    def another(self) -> DaemonClient:
        """A second connection to the same daemon, for another thread."""
        return DaemonClient(self._locate)

    def wait_ready(self, deadline_s: float = CALL_DEADLINE_S) -> None:
        """Wait until the daemon says it serves.

        Raises:
            NotFound: it did not within the deadline (reason ``DAEMON_UNREACHABLE``).
        """
        end = time.monotonic() + deadline_s
        request = health_pb2.HealthCheckRequest()
        while True:
            try:
                answer = health_pb2_grpc.HealthStub(self._channel).Check(request, timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            if time.monotonic() > end:
                raise NotFound(
                    f"The daemon at {self.endpoint.address} does not answer; see `dfl daemon status`.",
                    reason="DAEMON_UNREACHABLE",
                    address=self.endpoint.address,
                )
            time.sleep(0.05)

    def server_info(self) -> daemon_service_pb2.GetServerInfoResponse:
        """What the daemon says about itself. Raises as every call: see :meth:`_call`."""
        answer_type = daemon_service_pb2.GetServerInfoResponse
        return self._call(self._daemon().GetServerInfo, daemon_service_pb2.GetServerInfoRequest(), answer_type)

    def shutdown(self) -> None:
        """Ask the daemon to end; running work is saved and goes on at the next start."""
        answer_type = daemon_service_pb2.ShutdownResponse
        self._call(self._daemon().Shutdown, daemon_service_pb2.ShutdownRequest(), answer_type)

    def submit(self, spec: job_service_pb2.JobSpec, request_id: str = "") -> job_service_pb2.Job:
        """Put a job into the queue; a lost answer is asked for again without doubling the job."""
        request = job_service_pb2.SubmitJobRequest(spec=spec, request_id=request_id or uuid.uuid4().hex)
        return self._call(self._jobs().SubmitJob, request, job_service_pb2.SubmitJobResponse, attempts=2).job

    def get_job(self, job_id: str) -> job_service_pb2.Job:
        """One job as it stands."""
        request = job_service_pb2.GetJobRequest(id=job_id)
        return self._call(self._jobs().GetJob, request, job_service_pb2.GetJobResponse, attempts=2).job

    def list_jobs(self, states: Iterable[int] = ()) -> Iterator[job_service_pb2.Job]:
        """Jobs, newest first; pages are fetched as they are needed."""
        token = ""
        wanted = cast(list[common_pb2.JobState], list(states))
        while True:
            request = job_service_pb2.ListJobsRequest(page_token=token, states=wanted)
            answer = self._call(self._jobs().ListJobs, request, job_service_pb2.ListJobsResponse, attempts=2)
            yield from answer.jobs
            token = answer.next_page_token
            if not token:
                return

    def cancel(self, job_id: str) -> job_service_pb2.Job:
        """Ask the job to stop at the next frame or step; what is finished is kept."""
        request = job_service_pb2.CancelJobRequest(id=job_id)
        return self._call(self._jobs().CancelJob, request, job_service_pb2.CancelJobResponse).job

    def pause(self, job_id: str) -> job_service_pb2.Job:
        """Save and give the device free."""
        request = job_service_pb2.PauseJobRequest(id=job_id)
        return self._call(self._jobs().PauseJob, request, job_service_pb2.PauseJobResponse).job

    def resume(self, job_id: str) -> job_service_pb2.Job:
        """Put a paused job back into the queue."""
        request = job_service_pb2.ResumeJobRequest(id=job_id)
        return self._call(self._jobs().ResumeJob, request, job_service_pb2.ResumeJobResponse).job

    def retry(self, job_id: str) -> job_service_pb2.Job:
        """Put a failed or cancelled job back into the queue."""
        request = job_service_pb2.RetryJobRequest(id=job_id)
        return self._call(self._jobs().RetryJob, request, job_service_pb2.RetryJobResponse).job

    def get_faceset(self, path: str) -> faceset_service_pb2.Faceset:
        """What a faceset says about itself."""
        request = faceset_service_pb2.GetFacesetRequest(path=path)
        return self._call(self._facesets().GetFaceset, request, faceset_service_pb2.GetFacesetResponse).faceset

    def list_faces(self, path: str, **request: Any) -> Iterator[faceset_service_pb2.Face]:
        """Faces of a faceset, page by page. Keywords are fields of ``ListFacesRequest``. Raises DflError."""
        token = ""
        while True:
            asked = faceset_service_pb2.ListFacesRequest(path=path, page_token=token, **request)
            page = self._call(self._facesets().ListFaces, asked, faceset_service_pb2.ListFacesResponse, attempts=2)
            yield from page.faces
            token = page.next_page_token
            if not token:
                return

    def list_tracks(self, path: str) -> list[faceset_service_pb2.Track]:
        """People followed through shots. Raises DflError."""
        request = faceset_service_pb2.ListTracksRequest(path=path)
        answer = self._call(self._facesets().ListTracks, request, faceset_service_pb2.ListTracksResponse, attempts=2)
        return list(answer.tracks)

    def describe_curation(self) -> faceset_service_pb2.DescribeCurationResponse:
        """Fields of filters, sorts and operations. Raises DflError."""
        request = faceset_service_pb2.DescribeCurationRequest()
        return self._call(
            self._facesets().DescribeCuration, request, faceset_service_pb2.DescribeCurationResponse, attempts=2
        )

    def correct_faces(self, request: faceset_service_pb2.CorrectFacesRequest) -> list[int]:
        """Remember corrections; the frames the next extraction looks at again. Raises DflError."""
        answer = self._call(self._facesets().CorrectFaces, request, faceset_service_pb2.CorrectFacesResponse)
        return list(answer.frames)

    def list_corrections(self, path: str, plate: str = "") -> list[faceset_service_pb2.FaceCorrection]:
        """What artists said of a plate. Raises DflError."""
        request = faceset_service_pb2.ListCorrectionsRequest(path=path, plate=plate)
        answer = self._call(self._facesets().ListCorrections, request, faceset_service_pb2.ListCorrectionsResponse)
        return list(answer.corrections)

    def get_model(self, path: str) -> model_service_pb2.Model:
        """What a model folder says about itself."""
        stub = cast(Any, model_service_pb2_grpc).ModelServiceStub(self._channel)
        request = model_service_pb2.GetModelRequest(path=path)
        return self._call(stub.GetModel, request, model_service_pb2.GetModelResponse).model

    def list_folders(self, kind: str) -> list[storage_service_pb2.Folder]:
        """Models (``model``) or facesets (``faceset``) the daemon has, last changed first. Raises DflError."""
        return list_folders(self._channel, self.endpoint.address, kind)

    def send_files(self, name: str, files: Mapping[str, Path]) -> str:
        """Send files to a daemon that sees no disk of ours; see :func:`dfldaemon.client_storage.send_files`."""
        return send_files(self._channel, self.endpoint.address, name, files)

    def merged_frames(self, output: str) -> Iterator[merge_service_pb2.MergedFrame]:
        """Frames of an output (version filled in) that are on disk; pages are fetched as needed. Raises DflError."""
        token = ""
        stub = cast(Any, merge_service_pb2_grpc).MergeServiceStub(self._channel)
        while True:
            asked = merge_service_pb2.GetMergeOutputRequest(output_path=output, page_size=MERGED_PAGE, page_token=token)
            page = self._call(stub.GetMergeOutput, asked, merge_service_pb2.GetMergeOutputResponse, attempts=2)
            yield from page.frames
            token = page.next_page_token
            if not token:
                return

    def merge_frame(
        self,
        request: merge_service_pb2.MergeFrameRequest,
        *,
        deadline_s: float = FRAME_DEADLINE_S,
        into: bytearray | None = None,
    ) -> FramePicture:
        """Have one frame rendered, and fetch it; see :func:`dfldaemon.client_frames.fetch_frame`."""
        return fetch_frame(self._channel, self.endpoint.address, request, deadline_s=deadline_s, into=into)

    def watch(
        self,
        job_id: str,
        after_sequence: int = 0,
        *,
        reconnect_s: float = RECONNECT_S,
        is_closed: Callable[[], bool] = lambda: False,
    ) -> Iterator[job_service_pb2.JobEvent]:
        """Events of a job from a sequence number on, until it has ended.

        The stream may break, and the daemon may be restarted meanwhile: it is looked for again and asked for what comes
        after the last event seen, so that no event is lost or told twice.

        Args:
            reconnect_s: how long to look for a daemon that went away.
            is_closed: true once nobody listens any more; the watch ends quietly instead of looking for a daemon.

        Raises:
            NotFound: there is no such job; or the daemon stayed away (reason in :data:`UNREACHABLE_REASONS`).
        """
        sequence = after_sequence
        lost_at: float | None = None
        failures = 0
        while True:
            failure: DflError | None = None
            try:
                request = job_service_pb2.WatchJobRequest(id=job_id, after_sequence=sequence)
                for answer in self._jobs().WatchJob(request, metadata=call_metadata()):
                    lost_at, failures = None, 0
                    sequence = answer.event.sequence
                    yield answer.event
                if self._has_ended(job_id):
                    return
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed under the stream
                if is_closed():
                    return
                if not isinstance(error, grpc.RpcError):
                    raise
                failure = translate(error, self.endpoint.address)
                if status_code(error) not in _TRY_AGAIN_CODES:
                    raise failure from error
            lost_at = time.monotonic() if lost_at is None else lost_at
            if time.monotonic() - lost_at > reconnect_s:
                raise failure or unreachable(self.endpoint.address)
            failures += 1
            time.sleep(min(0.05 * 2**failures, 1.0))
            if is_closed():
                return
            self._find_again()

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self.get_job(job_id).state in ENDED_STATES
        except DflError:
            return False

    def _find_again(self) -> None:
        try:
            endpoint = self._locate()
        except DflError:
            return  # not there yet
        if endpoint != self.endpoint:
            self._channel.close()
            self.endpoint = endpoint
            self._channel = open_channel(endpoint.address, endpoint.token, endpoint.tls)

    def _jobs(self) -> Any:
        return cast(Any, job_service_pb2_grpc).JobServiceStub(self._channel)

    def _facesets(self) -> Any:
        return cast(Any, faceset_service_pb2_grpc).FacesetServiceStub(self._channel)

    def _daemon(self) -> Any:
        return cast(Any, daemon_service_pb2_grpc).DaemonServiceStub(self._channel)

    def _call(self, method: Any, request: object, answer_type: type[Answer], *, attempts: int = 1) -> Answer:
        """A unary call under the deadline; ``answer_type`` is what the stubs do not say.

        Raises:
            DflError: of the class the daemon raised; NotFound with a reason of :data:`UNREACHABLE_REASONS` when it
                could not be reached.
        """
        for attempt in range(attempts):
            try:
                return cast(Answer, method(request, timeout=CALL_DEADLINE_S, metadata=call_metadata()))
            except grpc.RpcError as error:
                if status_code(error) == grpc.StatusCode.UNAVAILABLE and attempt + 1 < attempts:
                    continue
                raise translate(error, self.endpoint.address) from error
        raise Internal("A call was made with no attempts.", reason="NO_ATTEMPTS")


def connect(locate: Callable[[], Endpoint]) -> DaemonClient:
    """A client of a daemon that answers.

    Raises:
        DflError: with a reason of :data:`UNREACHABLE_REASONS`.
    """
    client = DaemonClient(locate)
    try:
        client.wait_ready()
    except BaseException:
        client.close()
        raise
    return client


def connect_or_start(
    state_dir: Path,
    *,
    environ: Mapping[str, str],
    idle_exit_s: float | None = AUTO_IDLE_EXIT_S,
    deadline_s: float = START_DEADLINE_S,
) -> tuple[DaemonClient, bool]:
    """A client of the state folder's daemon, which is started when there is none.

    Args:
        environ: environment the daemon is started with.
        idle_exit_s: the started daemon leaves after so long without work; None keeps it.
        deadline_s: how long a start may take.

    Returns:
        The client, and whether a daemon was started.

    Raises:
        DflError: with a reason of :data:`UNREACHABLE_REASONS`.
    """
    try:
        return connect(lambda: session_endpoint(state_dir)), False
    except DflError as error:
        if error.reason not in _START_REASONS:
            raise
    return start_daemon(state_dir, environ=environ, idle_exit_s=idle_exit_s, deadline_s=deadline_s), True


def start_daemon(
    state_dir: Path,
    *,
    environ: Mapping[str, str],
    idle_exit_s: float | None = None,
    deadline_s: float = START_DEADLINE_S,
    announce: Callable[[int], None] = lambda pid: None,
) -> DaemonClient:
    """Start a daemon that outlives this process, and wait until it serves.

    Args:
        announce: told the process as soon as there is one.

    Raises:
        NotFound: it did not come up (reason ``DAEMON_DID_NOT_START``); the message ends with the last of its log.
    """
    log_path = state_dir / "logs" / "start.log"
    process = _spawn(state_dir, environ, idle_exit_s, log_path)
    announce(process.pid)
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        try:
            client = DaemonClient(lambda: session_endpoint(state_dir))
        except DflError:
            # Another command may have been quicker: then ours ends, and the session is the other's.
            if process.poll() not in (None, 0):
                time.sleep(0.3)
                if not _has_session(state_dir):
                    break
            time.sleep(0.05)
            continue
        try:
            client.wait_ready(max(end - time.monotonic(), 0.1))
        except DflError:
            client.close()
            continue
        if client.server_info().pid != process.pid:
            _end(process)  # another was there first; ours must not take its place when that one leaves
        process.returncode = 0  # it outlives us: Popen must neither wait for it nor warn
        return client
    _end(process)
    raise NotFound(
        f"The daemon did not start within {deadline_s:g} s; its log is {log_path}.{_last_words(log_path)}",
        reason="DAEMON_DID_NOT_START",
        path=log_path,
    )


def stop_and_wait(client: DaemonClient) -> None:
    """End a daemon and wait until its process has left.

    Raises:
        DflError: it cannot be reached, or did not leave in time.
    """
    pid = client.server_info().pid
    client.shutdown()
    _wait_until_gone(client, pid)


def _wait_until_gone(client: DaemonClient, pid: int) -> None:
    """Raises Conflict when it still answers after the deadline."""
    end = time.monotonic() + STOP_DEADLINE_S
    while time.monotonic() < end:
        try:
            if client.server_info().pid != pid:
                return  # another one has taken its place
        except DflError as error:
            if error.reason in UNREACHABLE_REASONS:
                return
        time.sleep(0.1)
    raise Conflict(
        f"The daemon (process {pid}) still saves its work after {STOP_DEADLINE_S:g} s; look again with "
        "`dfl daemon status`.",
        reason="DAEMON_STILL_RUNNING",
        pid=pid,
    )


def _spawn(
    state_dir: Path, environ: Mapping[str, str], idle_exit_s: float | None, log_path: Path
) -> subprocess.Popen[bytes]:
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    variables = {**environ, "DFL_STATE_DIR": str(state_dir)}
    if idle_exit_s is not None:
        variables["DFL_IDLE_EXIT_S"] = f"{idle_exit_s:g}"
    if environ.get("PYTHONPATH"):  # the daemon does not run in the user's folder
        variables["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in environ["PYTHONPATH"].split(os.pathsep))
    with open(log_path, "wb") as log:
        # -P: a module that happens to lie in the current folder must not be run.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "dfldaemon"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=variables,
            cwd=state_dir,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind of a daemon that did not come up in time."""
    process.terminate()
    try:
        process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _has_session(state_dir: Path) -> bool:
    try:
        find_session(state_dir)
    except DflError:
        return False
    return True


def _last_words(log_path: Path) -> str:
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f" It ends: {lines[-1][:300]}" if lines else ""
