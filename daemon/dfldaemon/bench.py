"""``python -m dfldaemon.bench``: the process behind ``dfl bench``.

The core's stages are measured by ``python -m dflcore.bench``; what the daemon itself costs is measured here, with a
private daemon that is started, measured and ended.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dflcore.bench.__main__ import build_parser
from dflcore.bench.figures import Figure, print_figures
from dflcore.errors import DflError, Internal
from dfldaemon.client import DaemonClient
from dfldaemon.private_daemon import private_daemon
from dflproto.v1 import common_pb2, job_service_pb2, settings_pb2

CALLS = 300
RPC_STAGE = "rpc"


def main(arguments: list[str] | None = None) -> int:
    """Measure the asked stages, the core's in a process of its own, and print one table or document; 0 when all ran."""
    given = sys.argv[1:] if arguments is None else arguments
    options = build_parser(RPC_STAGE).parse_args(given)
    figures: list[Figure] = []
    failure = ""
    try:
        if options.stage != RPC_STAGE:
            figures += _core_figures([flag for flag in given if flag != "--json"])
        if options.stage in ("all", RPC_STAGE):
            with tempfile.TemporaryDirectory(prefix="dfl-bench-", dir=options.folder) as folder:
                figures += bench_rpc(Path(folder), options.frame_count)
    except DflError as error:
        failure = error.message
    if figures or not failure:
        print_figures(figures, as_json=options.json)
    if failure:
        sys.stderr.write(f"{failure}\n")
    return 1 if failure else 0


def _core_figures(arguments: list[str]) -> list[Figure]:
    """What ``python -m dflcore.bench`` measures; what it says on the way goes to stderr.

    Raises:
        Internal: it failed.
    """
    command = [sys.executable, "-P", "-m", "dflcore.bench", "--json", *arguments]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise Internal(f"The core's benchmark ended with code {answer.returncode}.", reason="BENCH_FAILED")
    return [Figure(**figure) for figure in json.loads(answer.stdout)["figures"]]


def bench_rpc(folder: Path, frame_count: int) -> list[Figure]:
    """Start, call latency, and the daemon's own share of a merge job that passes paths.

    Raises:
        DflError: the daemon did not come up, or one of its jobs failed.
    """
    shoot = [sys.executable, "-P", "-m", "dflcore.demo", "shoot", "--output", str(folder / "plates")]
    try:
        subprocess.run([*shoot, "--frame-count", str(frame_count)], check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise Internal("The plates of the benchmark could not be shot.", reason="BENCH_FAILED") from error
    started = time.perf_counter()
    with private_daemon(folder / "state", os.environ) as client:
        ready_s = time.perf_counter() - started
        figures = [Figure(stage="rpc", name="start to ready", value=ready_s, unit="s", note="cold process, no torch")]
        figures += _latency(client)
        figures += _merge_overhead(client, folder, frame_count)
    return figures


def _latency(client: DaemonClient) -> list[Figure]:
    times: list[float] = []
    for _ in range(CALLS):
        started = time.perf_counter()
        client.server_info()
        times.append(1000.0 * (time.perf_counter() - started))
    note = f"GetServerInfo, Unix socket, {CALLS} calls"
    return [
        Figure(stage="rpc", name="call, median", value=statistics.median(times), unit="ms", note=note),
        Figure(
            stage="rpc", name="call, 99th of 100", value=statistics.quantiles(times, n=100)[98], unit="ms", note=note
        ),
    ]


def _merge_overhead(client: DaemonClient, folder: Path, frame_count: int) -> list[Figure]:
    plates, faces, model = folder / "plates", folder / "faces", folder / "model"
    for side in ("source", "target"):
        extract = job_service_pb2.ExtractSpec(faceset_path=str(faces / side))
        extract.plate.path = str(plates / f"{side}.####.exr")
        _run(client, job_service_pb2.JobSpec(extract=extract))
    train = job_service_pb2.TrainSpec(
        source_path=str(faces / "source"),
        target_path=str(faces / "target"),
        model_path=str(model),
        settings=settings_pb2.TrainSettings(iterations=1),
    )
    _run(client, job_service_pb2.JobSpec(train=train))
    merge = job_service_pb2.MergeSpec(
        model_path=str(model), faceset_path=str(faces / "target"), output_path=str(folder / "out" / "out.####.exr")
    )
    merge.plate.path = str(plates / "target.####.exr")
    pid = client.server_info().pid
    cpu_before, started = _cpu_seconds(pid), time.perf_counter()
    _run(client, job_service_pb2.JobSpec(merge=merge))
    wall_ms = 1000.0 * (time.perf_counter() - started) / frame_count
    daemon_ms = 1000.0 * (_cpu_seconds(pid) - cpu_before) / frame_count
    note = f"merge of {frame_count} frames 640x480 by path, watched; worker start and model load inside"
    return [
        Figure(stage="rpc", name="merge job", value=wall_ms, unit="ms/frame", note=note),
        Figure(stage="rpc", name="processor time of the daemon", value=daemon_ms, unit="ms/frame", note=note),
        Figure(stage="rpc", name="daemon's share of a frame", value=100.0 * daemon_ms / wall_ms, unit="%", note=note),
    ]


def _run(client: DaemonClient, spec: job_service_pb2.JobSpec) -> None:
    job = client.submit(spec)
    for _ in client.watch(job.id):
        pass
    job = client.get_job(job.id)
    if job.state != common_pb2.JOB_STATE_SUCCEEDED:
        raise Internal(f"A job of the benchmark failed: {job.error.message}", reason="BENCH_FAILED")


def _cpu_seconds(pid: int) -> float:
    """Processor time a process has used; Linux only, 0 elsewhere."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    fields = text.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
