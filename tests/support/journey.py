"""A small shot and a daemon of one's own, for the tests of this folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from dfldaemon.client import DaemonClient, connect, session_endpoint
from dflproto.v1 import common_pb2, job_service_pb2, settings_pb2

FRAME_COUNT = 8
FIRST_FRAME = 1001
WAIT_S = 240.0
SMALL_TRAINING: dict[str, Any] = {"save_interval_s": 1.0, "batch_size": 1, "resolution": 64}
DFL = [sys.executable, "-m", "dfldaemon.cli.main"]


def shoot(folder: Path, frame_count: int = FRAME_COUNT) -> Path:
    """Both plates of the demo, short."""
    from dflcore.demo.plates import shoot_plates

    shoot_plates(folder, frame_count=frame_count)
    return folder


@dataclass(frozen=True)
class Shot:
    """A short shot with facesets and a model that has learnt next to nothing."""

    folder: Path

    @property
    def plate(self) -> Path:
        return self.folder / "plates" / "target.####.exr"

    @property
    def source(self) -> Path:
        return self.folder / "faces_source"

    @property
    def target(self) -> Path:
        return self.folder / "faces_target"

    @property
    def model(self) -> Path:
        return self.folder / "model"


class Daemon:
    """A real daemon in a folder of its own; killed hard when the test ends."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.state_dir = folder / "state"
        self.runtime_dir = folder / "run"
        self._settings = {"DFL_" + name.upper(): str(value) for name, value in settings.items()}
        self.extra: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DFL_STATE_DIR": str(self.state_dir),
            "DFL_RUNTIME_DIR": str(self.runtime_dir),
            **self._settings,
            **self.extra,
        }

    def start(self) -> DaemonClient:
        """Start it and wait until it answers."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        with open(self.state_dir / "stderr.txt", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dfldaemon"], env=self.environment(), stdin=subprocess.DEVNULL, stderr=log
            )
        client = None

        def ready() -> bool:
            nonlocal client
            try:
                client = connect(lambda: session_endpoint(self.state_dir))
            except Exception:
                return False
            return client.server_info().pid == self.process.pid  # type: ignore[union-attr]

        wait_until(ready, "the daemon is ready", limit_s=30.0)
        assert client is not None
        return client

    def worker(self) -> psutil.Process:
        """The running worker process."""
        found: list[psutil.Process] = []

        def running() -> bool:
            assert self.process is not None
            found.clear()
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # it ends while it is looked at
                    if "dfldaemon.worker" in child.cmdline():
                        found.append(child)
            return bool(found)

        wait_until(running, "a worker runs")
        return found[0]

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer or a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and wait for the end."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=90)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.kill()
            psutil.wait_procs(children, timeout=20)


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = WAIT_S) -> None:
    """Poll; fail with words after ``limit_s``."""
    ends = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"waited {limit_s:.0f} s in vain until {what}")
        time.sleep(0.05)


def wait_for_state(client: DaemonClient, job_id: str, *states: int) -> job_service_pb2.Job:
    """Wait until a job is in one of the states."""
    wanted = [common_pb2.JobState.Name(state) for state in states]

    def there() -> bool:
        job = client.get_job(job_id)
        if job.state == common_pb2.JOB_STATE_FAILED and job.state not in states:
            raise AssertionError(f"job failed: {job.error.reason}: {job.error.message}")
        return job.state in states

    wait_until(there, f"the job is {' or '.join(wanted)}")
    return client.get_job(job_id)


def run_to_success(client: DaemonClient, spec: job_service_pb2.JobSpec) -> job_service_pb2.Job:
    """Submit and wait."""
    return wait_for_state(client, client.submit(spec).id, common_pb2.JOB_STATE_SUCCEEDED)


def extract_spec(plate: Path, faceset: Path) -> job_service_pb2.JobSpec:
    return job_service_pb2.JobSpec(
        extract=job_service_pb2.ExtractSpec(
            plate=job_service_pb2.PlateSpec(path=str(plate)),
            faceset_path=str(faceset),
            settings=settings_pb2.ExtractSettings(authorization_person="test", compute_identity=False),
        )
    )


def train_spec(source: Path, target: Path, model: Path, **settings: Any) -> job_service_pb2.JobSpec:
    return job_service_pb2.JobSpec(
        train=job_service_pb2.TrainSpec(
            source_path=str(source),
            target_path=str(target),
            model_path=str(model),
            settings=settings_pb2.TrainSettings(**{**SMALL_TRAINING, **settings}),
        )
    )


def merge_spec(plate: Path, model: Path, faceset: Path, output: Path) -> job_service_pb2.JobSpec:
    return job_service_pb2.JobSpec(
        merge=job_service_pb2.MergeSpec(
            plate=job_service_pb2.PlateSpec(path=str(plate)),
            model_path=str(model),
            faceset_path=str(faceset),
            output_path=str(output),
        )
    )


def dfl(*arguments: str | Path, daemon: Daemon, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line against a daemon's folder."""
    result = subprocess.run(
        [*DFL, *map(str, arguments)], env=daemon.environment(), capture_output=True, text=True, timeout=WAIT_S
    )
    if check and result.returncode:
        raise AssertionError(f"dfl {arguments} exited {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def json_lines(text: str) -> Iterator[dict[str, Any]]:
    """Objects of ``--json`` output."""
    for line in text.splitlines():
        if line.strip():
            yield json.loads(line)
