"""``python -m dfldaemon.worker``: the process that runs one job. Started by the daemon, see :mod:`worker_protocol`.

Only here are torch and image libraries loaded, and only those that the job needs. The process takes its work from the
channel's first line, runs the pipeline in its main thread, and says as its last line how that ended.
"""

from __future__ import annotations

import errno
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from dflcore.errors import Cancelled, DflError, Internal, InvalidInput, NotFound, ResourceExhausted, Unsupported
from dflcore.progress import Event, StopRequest
from dfldaemon.jobs import INSTALL_COMMAND, ErrorReport, JobKind, Work, memory_advice
from dfldaemon.submission import check_links, check_work_paths
from dfldaemon.worker_channel import Channel, die_with_parent, name_process
from dfldaemon.worker_protocol import (
    EXIT_FAILED,
    EXIT_ORPHANED,
    EXIT_TERMINATED,
    HEARTBEAT_INTERVAL_S,
    WorkerLimits,
    event_to_json,
    work_from_json,
)

logger = logging.getLogger(__name__)

NOT_USABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
)
"""What the system says of a path that a person has to choose differently."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ChannelControl:
    """The pipelines' :class:`RunControl`: events go up the channel, stop requests come down."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._request: StopRequest | None = None
        self._last_sign = time.monotonic()
        self._is_finished = False

    def emit(self, event: Event) -> None:
        self._last_sign = time.monotonic()
        self._channel.send({"type": "event", "event": event_to_json(event)})

    def stop_requested(self) -> StopRequest | None:
        self._last_sign = time.monotonic()
        return self._request

    def start(self) -> None:
        """Listen and send signs of life, in threads of their own."""
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def finish(self, message: Mapping[str, object]) -> None:
        """Send the last line."""
        self._is_finished = True
        self._channel.send(message)
        self._channel.finish()

    def _listen(self) -> None:
        while (message := self._channel.receive()) is not None:
            if message["type"] == "stop":
                self._request = StopRequest(message["request"])
        if not self._is_finished:
            os._exit(EXIT_ORPHANED)

    def _beat(self) -> None:
        while not self._is_finished:
            self._channel.send({"type": "heartbeat", "idle_s": time.monotonic() - self._last_sign})
            time.sleep(HEARTBEAT_INTERVAL_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; answers with the exit code."""
    die_with_parent()
    faulthandler.enable()
    signal.signal(signal.SIGTERM, _terminate)
    channel = Channel.from_arguments(sys.argv[1:] if arguments is None else arguments)
    first = channel.receive()
    if first is None or first["type"] != "start":
        return EXIT_ORPHANED
    control = ChannelControl(channel)
    control.start()
    work = work_from_json(first["work"])
    name_process(f"dfl-{work.kind.value}")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    last, exit_code = run_job(work, WorkerLimits(**first["limits"]), control)
    control.finish(last)
    return exit_code


def run_job(work: Work, limits: WorkerLimits, control: ChannelControl) -> tuple[dict[str, object], int]:
    """Run the pipeline; answers with the last line and the exit code. Every error ends here."""
    try:
        check_work_paths(work, limits.roots)
        limit_threads(limits.threads)  # before anything that loads libraries
        check_links(work, limits.roots)
        from dfldaemon.worker_jobs import run_work  # loads torch and image libraries

        outcome = run_work(work, control, limits.weights)
    except DflError as error:
        logger.exception("the job failed")
        if isinstance(error, Cancelled) and control.stop_requested():
            return {"type": "stopped"}, 0
        return _failed(error), EXIT_FAILED
    except (Exception, MemoryError) as error:
        logger.exception("the job failed")
        return _failed(explain(error, work.kind)), EXIT_FAILED
    if outcome.stopped is not None:
        return {"type": "stopped"}, 0
    return {"type": "succeeded", "result": outcome.facts}, 0


def explain(error: BaseException, kind: JobKind) -> DflError:
    """What an exception that nobody raised on purpose means to a person."""
    if isinstance(error, MemoryError):
        return ResourceExhausted(
            f"The machine's memory ran out. {memory_advice(kind)}.",
            reason="OUT_OF_MEMORY",
        )
    if type(error).__name__ == "OutOfMemoryError":  # torch's, for any device
        return ResourceExhausted(
            f"The device's memory ran out. {memory_advice(kind)} that use it.",
            reason="DEVICE_OUT_OF_MEMORY",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(
            f"The disk is full ({error.filename or 'unnamed file'}). Free some space and retry; finished work is kept.",
            reason="DISK_FULL",
            path=error.filename or "",
        )
    if isinstance(error, OSError) and error.errno in NOT_USABLE:
        return InvalidInput(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}. Name a folder you may write to, with a "
            "short name.",
            reason="NOT_ACCESSIBLE",
            path=error.filename or "",
        )
    if isinstance(error, FileNotFoundError) and error.filename:
        return NotFound(
            f"{error.filename} is not there any more, or nothing can be made there. See that nobody moves or deletes "
            "the folders of a job, then retry.",
            reason="FILE_GONE",
            path=error.filename,
        )
    if isinstance(error, ImportError):
        return Unsupported(
            f"A part is not installed ({error}). Install it with `{INSTALL_COMMAND}`, then retry.",
            reason="NOT_INSTALLED",
        )
    return Internal(
        f"The job failed in an unexpected way ({type(error).__name__}: {error}). Its log has the details; "
        "please report it.",
        reason="UNEXPECTED",
        exception=type(error).__name__,
    )


def _failed(error: DflError) -> dict[str, object]:
    return {"type": "failed", "error": asdict(ErrorReport.of(error))}


def limit_threads(threads: int) -> None:
    """For libraries loaded after this; 0 leaves them alone."""
    if threads:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(threads)


def _terminate(_: int, __: object) -> None:
    sys.exit(EXIT_TERMINATED)


def leave(exit_code: int) -> None:
    """End the process now: everything is written, and taking libraries down takes seconds and may crash."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    leave(main())
