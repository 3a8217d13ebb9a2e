"""Daemons with pretended workers: as a process with a socket, and as the bare queue."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from dflcore.errors import NotFound
from dfldaemon.client import DaemonClient, session_endpoint
from dfldaemon.discovery import Session, find_session, read_token
from dfldaemon.jobs import JobKind, Work
from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2_grpc,
    faceset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
)

if TYPE_CHECKING:
    from frame_shot import FrameShot

HERE = Path(__file__).parent
DEADLINE_S = 20.0


class DaemonProcess:
    """A daemon in a process of its own, and a connection to it."""

    def __init__(self, state_dir: Path, **settings: object) -> None:
        self.state_dir = state_dir
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None

    def start(self) -> Session:
        given = {"state_dir": self.state_dir, **self.settings}
        arguments = [f"{name}={value}" for name, value in given.items()]
        self.process = subprocess.Popen([sys.executable, "-P", str(HERE / "fake_daemon.py"), *arguments])
        return eventually(self._session)

    def _session(self) -> Session | None:
        assert self.process is not None
        assert self.process.poll() is None, "the daemon did not start"
        with contextlib.suppress(NotFound):
            session = find_session(self.state_dir)
            return session if session.pid == self.process.pid else None
        return None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process with a signal; answers with its exit code."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(DEADLINE_S)

    def channel(self, *, token: str | None = None) -> grpc.Channel:
        session = find_session(self.state_dir)
        call = grpc.access_token_call_credentials(read_token(session) if token is None else token)
        kind = (
            grpc.LocalConnectionType.UDS if session.address.startswith("unix:") else grpc.LocalConnectionType.LOCAL_TCP
        )
        credentials = grpc.composite_channel_credentials(grpc.local_channel_credentials(kind), call)
        return grpc.secure_channel(session.address, credentials)

    @property
    def _stub_channel(self) -> grpc.Channel:
        self._channel = self._channel or self.channel()
        return self._channel

    @property
    def jobs(self) -> Any:
        return job_service_pb2_grpc.JobServiceStub(self._stub_channel)

    @property
    def daemon(self) -> Any:
        return daemon_service_pb2_grpc.DaemonServiceStub(self._stub_channel)

    @property
    def facesets(self) -> Any:
        return faceset_service_pb2_grpc.FacesetServiceStub(self._stub_channel)

    def submit(self, spec: job_service_pb2.JobSpec, request_id: str = "") -> job_service_pb2.Job:
        return self.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec, request_id=request_id)).job

    def job(self, job_id: str) -> job_service_pb2.Job:
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(id=job_id)).job

    def wait_for(self, job_id: str, *states: str) -> job_service_pb2.Job:
        def reached() -> job_service_pb2.Job | None:
            job = self.job(job_id)
            return job if common_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_") in states else None

        return eventually(reached)


def eventually(look: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer."""
    end = time.monotonic() + deadline_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{look} did not come true in {deadline_s} s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """The process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(scope="session")
def alive() -> Callable[[int], bool]:
    return is_alive


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """Ask until the answer is true."""
    return eventually


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start daemons; all are ended with the test. The first lives in ``tmp_path/state`` unless told otherwise."""
    started: list[DaemonProcess] = []

    def start(**settings: object) -> DaemonProcess:
        daemon = DaemonProcess(Path(str(settings.pop("state_dir", tmp_path / "state"))), **settings)
        started.append(daemon)
        daemon.start()
        return daemon

    yield start
    for daemon in started:
        daemon.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("daemon")
    daemon = DaemonProcess(folder / "state", runtime_dir=folder / "run")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[DaemonClient]:
    """Of the module's daemon."""
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as connected:
        yield connected


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    """For tests of single frames, with models that misbehave."""
    from frame_asking import make_pretending_shot  # loads torch, which most tests of the daemon do without

    return make_pretending_shot(tmp_path_factory.mktemp("shot"))


@pytest.fixture
def plate(tmp_path: Path) -> str:
    """A pattern with two files, which nobody looks into."""
    for number in (1, 2):
        (tmp_path / f"plate.{number:04d}.exr").write_bytes(b"")
    return str(tmp_path / "plate.####.exr")


@pytest.fixture
def extract_spec(tmp_path: Path, plate: str) -> Callable[..., job_service_pb2.JobSpec]:
    """A job for the pretended worker: what it does, for how many frames."""

    def make(behaviour: str = "good", frames: int = 5, **settings: object) -> job_service_pb2.JobSpec:
        extract = {
            "plate": {"path": plate, "frames": f"1-{frames}"},
            "faceset_path": str(tmp_path / behaviour),
            "settings": settings,
        }
        return job_service_pb2.JobSpec(extract=extract)

    return make


@pytest.fixture
def make_work(tmp_path: Path) -> Callable[..., Work]:
    """The same for the queue without a server."""

    def make(behaviour: str = "good", frames: int = 5) -> Work:
        paths = {"plate": str(tmp_path / "plate.####.exr"), "faceset": str(tmp_path / behaviour)}
        return Work(kind=JobKind.EXTRACT, paths=paths, frames=f"1-{frames}", settings={})

    return make


@pytest.fixture(scope="session")
def worker_command() -> tuple[str, ...]:
    return (sys.executable, "-P", str(HERE / "fake_worker.py"))


@pytest.fixture(autouse=True)
def _no_leftover_workers(tmp_path: Path) -> Iterator[None]:
    """No worker outlives its test."""
    yield
    pids = [int(path.read_text()) for path in tmp_path.glob("*/pid.txt") if path.read_text()]
    left = [pid for pid in pids if is_alive(pid) and os.getpgid(pid) == pid]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
