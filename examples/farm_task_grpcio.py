"""A task of a farm of your own, in plain gRPC: farm_task_grpcio.py PLATE MODEL FACESET OUTPUT FRAMES.

A daemon runs on the worker (`dfl daemon start`). Done twice, it computes nothing the second time.
"""

import json
import os
import signal
import sys
from pathlib import Path

import grpc

from dflproto.v1 import common_pb2, job_service_pb2, job_service_pb2_grpc


def main(plate: str, model: str, faceset: str, output: str, frames: str) -> str:
    """What went wrong; empty where nothing did."""
    usual = os.path.expanduser(os.environ.get("XDG_STATE_HOME") or "~/.local/state") + "/dfl"
    session = json.loads(Path(os.environ.get("DFL_STATE_DIR") or usual, "session.json").read_text())
    token = Path(session["token_path"]).read_text().strip()
    socket = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    credentials = grpc.composite_channel_credentials(socket, grpc.access_token_call_credentials(token))
    plate, model, faceset, output = map(os.path.abspath, (plate, model, faceset, output))
    merge = {"plate": {"path": plate, "frames": frames}, "model_path": model}
    merge |= {"faceset_path": faceset, "output_path": output}
    with grpc.secure_channel(session["address"], credentials) as channel:
        jobs = job_service_pb2_grpc.JobServiceStub(channel)
        job = jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec={"merge": merge}), timeout=10).job
        cancel = job_service_pb2.CancelJobRequest(id=job.id)
        calls = []  # a call that nobody keeps is given up
        signal.signal(signal.SIGTERM, lambda *_: calls.append(jobs.CancelJob.future(cancel, timeout=10)))
        for answer in jobs.WatchJob(job_service_pb2.WatchJobRequest(id=job.id)):
            progress = answer.event.frame_progress
            if progress.total_count:
                print(f"openjd_progress: {100 * progress.done_count / progress.total_count:.1f}", flush=True)
        job = jobs.GetJob(job_service_pb2.GetJobRequest(id=job.id), timeout=10).job
    return "" if job.state == common_pb2.JOB_STATE_SUCCEEDED else job.error.message or "It was cancelled."


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    try:
        failure = main(*sys.argv[1:])
    except OSError as error:
        failure = f"No daemon is running here: {error}."
    except grpc.RpcError as error:
        failure = error.details()
    print(f"openjd_fail: {failure}" if failure else "openjd_status: done", flush=True)
    sys.exit(bool(failure))
