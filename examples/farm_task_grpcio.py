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

session = json.loads(Path(os.environ["DFL_STATE_DIR"], "session.json").read_text())
token = Path(session["token_path"]).read_text().strip()
socket = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
credentials = grpc.composite_channel_credentials(socket, grpc.access_token_call_credentials(token))
plate, model, faceset, output, frames = sys.argv[1:]
merge = {"plate": {"path": plate, "frames": frames}, "model_path": model}
merge |= {"faceset_path": faceset, "output_path": output}

with grpc.secure_channel(session["address"], credentials) as channel:
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    job = jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec={"merge": merge})).job
    cancel = job_service_pb2.CancelJobRequest(id=job.id)
    signal.signal(signal.SIGTERM, lambda *_: jobs.CancelJob.future(cancel))
    for answer in jobs.WatchJob(job_service_pb2.WatchJobRequest(id=job.id)):
        progress = answer.event.frame_progress
        if progress.total_count:
            print(f"openjd_progress: {100 * progress.done_count / progress.total_count:.1f}", flush=True)
    job = jobs.GetJob(job_service_pb2.GetJobRequest(id=job.id)).job
if job.state != common_pb2.JOB_STATE_SUCCEEDED:
    print(f"openjd_fail: {job.error.message or 'cancelled'}", flush=True)
sys.exit(job.state != common_pb2.JOB_STATE_SUCCEEDED)
