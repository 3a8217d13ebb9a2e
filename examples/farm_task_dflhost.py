"""The same task without grpcio and protobuf: farm_task_dflhost.py PLATE MODEL FACESET OUTPUT FRAMES.

The hosts' client is pure Python and runs wherever Python 3.9 does, inside a host as well.
"""

from __future__ import annotations

import os
import signal
import sys

from dflhost.errors import HostError
from dflhost.events import SUCCEEDED, FramesDone
from dflhost.plates import FrameSet, Plate
from dflhost.session import connect


def main(plate: str, model: str, faceset: str, output: str, frames: str) -> str:
    """What went wrong; empty where nothing did."""
    plate, model, faceset, output = map(os.path.abspath, (plate, model, faceset, output))
    with connect() as session:
        job = session.submit_merge(Plate(plate, FrameSet.parse(frames)), model, faceset, output)
        signal.signal(signal.SIGTERM, lambda *_: job.cancel())
        for event in job.follow():
            if isinstance(event, FramesDone) and event.total:
                print(f"openjd_progress: {100 * event.done / event.total:.1f}", flush=True)
        status = job.status
    return "" if status.state == SUCCEEDED else status.error.message if status.error else "It was cancelled."


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    try:
        failure = main(*sys.argv[1:])
    except HostError as error:
        failure = error.message
    print(f"openjd_fail: {failure}" if failure else "openjd_status: done", flush=True)
    sys.exit(bool(failure))
