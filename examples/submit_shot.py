"""Merge a shot and wait for it.

submit_shot.py PLATE MODEL FACESET OUTPUT [FRAMES]
"""

import os
import sys

from dflcore.errors import DflError
from dfldaemon.client import connect_or_start
from dfldaemon.discovery import state_folder
from dflproto.v1 import common_pb2, job_service_pb2


def main(plate: str, model: str, faceset: str, output: str, frames: str = "") -> int:
    merge = job_service_pb2.MergeSpec(
        plate=job_service_pb2.PlateSpec(path=os.path.abspath(plate), frames=frames),
        model_path=os.path.abspath(model),
        faceset_path=os.path.abspath(faceset),
        output_path=os.path.abspath(output),  # may hold {version}
    )
    client, _ = connect_or_start(state_folder(os.environ), environ=os.environ)
    with client:
        job = client.submit(job_service_pb2.JobSpec(merge=merge))
        for event in client.watch(job.id):  # goes on through restarts of the daemon
            if event.WhichOneof("body") == "frame_progress":
                progress = event.frame_progress
                print(f"{progress.done_count} of {progress.total_count}")
        job = client.get_job(job.id)
    if job.state != common_pb2.JOB_STATE_SUCCEEDED:
        print(job.error.message or "It was cancelled.", file=sys.stderr)
        return 1
    print(dict(job.result))
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except DflError as error:
        sys.exit(error.message)
    except KeyboardInterrupt:
        sys.exit("Left; the job goes on. `dfl job list` shows it, `dfl job cancel` ends it.")
