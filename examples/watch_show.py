"""Print every change of every job whose paths lie in a show's folder, until none of them is waiting or running.

watch_show.py FOLDER
"""

import os
import sys
import time

from dflcore.errors import DflError
from dfldaemon.client import ENDED_STATES, connect, session_endpoint
from dfldaemon.discovery import state_folder
from dflproto.v1 import common_pb2, job_service_pb2

POLL_S = 0.5


def main(show: str) -> int:
    folder = os.path.abspath(show) + os.sep
    said: dict[str, str] = {}
    with connect(lambda: session_endpoint(state_folder(os.environ))) as client:
        while True:
            jobs = [job for job in client.list_jobs() if folder in str(job.spec)]
            for job in reversed(jobs):  # oldest first
                line = line_of(job)
                if said.get(job.id) != line:
                    said[job.id] = line
                    print(line, flush=True)
            if all(job.state in ENDED_STATES for job in jobs):
                return 0
            time.sleep(POLL_S)


def line_of(job: job_service_pb2.Job) -> str:
    state = common_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
    work = job.spec.WhichOneof("work")
    progress = job.frame_progress
    done = f" {progress.done_count}/{progress.total_count}" if progress.total_count else ""
    return f"{job.id} {work} {state}{done} {job.error.message}".rstrip()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except DflError as error:
        sys.exit(error.message)
