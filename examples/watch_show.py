"""Print every change of every job whose paths lie in a show's folder, until none of them is waiting or running.

watch_show.py FOLDER
"""

import os
import sys
import time
from collections.abc import Iterator

from google.protobuf.message import Message

from dflcore.errors import DflError
from dfldaemon.client import ENDED_STATES, connect, session_endpoint
from dfldaemon.discovery import state_folder
from dflproto.v1 import common_pb2, job_service_pb2

POLL_S = 1.0
OPEN_STATES = set(common_pb2.JobState.values()) - ENDED_STATES - {common_pb2.JOB_STATE_UNSPECIFIED}


def main(show: str) -> int:
    folder = os.path.abspath(show)
    said: dict[str, str] = {}
    states, open_ids = set[int](), set[str]()  # of the first listing all; later, those that have not ended
    with connect(lambda: session_endpoint(state_folder(os.environ))) as client:
        while True:
            listed = {job.id: job for job in client.list_jobs(states) if lies_in(folder, job.spec)}
            ended = [client.get_job(job_id) for job_id in open_ids - listed.keys()]
            for job in [*ended, *reversed(listed.values())]:  # oldest first
                line = line_of(job)
                if said.get(job.id) != line:
                    said[job.id] = line
                    print(line, flush=True)
            open_ids = {job_id for job_id, job in listed.items() if job.state not in ENDED_STATES}
            if not open_ids:
                return 0
            states = OPEN_STATES
            time.sleep(POLL_S)


def lies_in(folder: str, spec: job_service_pb2.JobSpec) -> bool:
    return any(text == folder or text.startswith(folder + os.sep) for text in texts_of(spec))


def texts_of(message: Message) -> Iterator[str]:
    """Every text in a message; paths are among them."""
    for _, value in message.ListFields():
        for one in [value] if isinstance(value, str | Message | int | float) else value:
            if isinstance(one, Message):
                yield from texts_of(one)
            elif isinstance(one, str):
                yield one


def line_of(job: job_service_pb2.Job) -> str:
    state = common_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
    work = job.spec.WhichOneof("work")
    progress = job.frame_progress
    done = f" {progress.done_count}/{progress.total_count}" if progress.total_count else ""
    return f"{job.id} {work} {state}{done} {job.error.message}".rstrip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1]))
    except DflError as error:
        sys.exit(error.message)
    except KeyboardInterrupt:
        sys.exit(130)
