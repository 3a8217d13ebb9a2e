"""One task of a farm: a range of frames, or a whole training, on the worker's own daemon.

The same call may be made twice, on two machines at once: frames that are there and current are not computed again, and
whatever is written appears whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from dflcore.errors import Cancelled, Conflict, DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.version import __version__
from dfldaemon.cli.chunks import Chunk
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.work import submit_and_follow
from dfldaemon.client import DaemonClient, connect_or_start
from dfldaemon.farm.job import MAX_JOB_BYTES, WRITTEN, FarmJob, check_output
from dfldaemon.farm.path_mapping import read_path_map
from dfldaemon.farm.session import START_DEADLINE_S
from dfldaemon.farm.vocabulary import FarmOutput
from dflproto.v1 import job_service_pb2, settings_pb2

STATE_VARIABLE = "DFL_STATE_DIR"
IDLE_EXIT_S = 300.0
"""On farms without sessions the daemon a task has started waits so long for the next task."""


def load_job(path: Path, folders: Sequence[str], path_mapping: str) -> FarmJob:
    """The job as this worker sees it.

    Args:
        folders: ``role=folder``, which the farm has mapped already.
        path_mapping: file of rules for paths inside the settings; empty for none.

    Raises:
        NotFound: there is no description. DataCorrupt: it, or the rules, cannot be read.
        InvalidInput: a folder is of no role.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_JOB_BYTES + 1)
        if len(raw) > MAX_JOB_BYTES:
            raise ValueError(f"more than {MAX_JOB_BYTES} bytes")
        values = json.loads(raw)
    except FileNotFoundError:
        raise NotFound(
            f"There is no job description {path}; is the share mounted on this worker?",
            reason="FARM_JOB_NOT_FOUND",
            path=path,
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataCorrupt(
            f"The job description {path} cannot be read ({error}); submit the job again.",
            reason="FARM_JOB_DAMAGED",
            path=path,
        ) from error
    path_map = read_path_map(Path(path_mapping)) if path_mapping else None
    job = FarmJob.from_values(values)
    if path_map is not None:
        mapped = {role: path_map.apply(one.folder) for role, one in job.paths.items()}
        job = job.with_folders(mapped).with_mapped_settings(path_map.apply)
    given = [text.partition("=") for text in folders]
    for role, _, folder in given:
        if not folder:
            raise InvalidInput(
                f"The path {role!r} has no folder; write --folder {role or 'plate'}=DIR.",
                reason="BAD_FARM_FOLDER",
                field="folder",
            )
    return job.with_folders({role: folder for role, _, folder in given})


def frames_of_task(job: FarmJob, frames: str, chunk: str) -> FrameRange:
    """What a task does: the frames it is told, or the I-th of N parts of the job's.

    Raises:
        InvalidInput: they cannot be read.
    """
    if frames:
        return FrameRange.parse(frames)
    return Chunk.parse(chunk).of(job.frames) if chunk else job.frames


def run_task(session: CliSession, output: FarmOutput, job: FarmJob, frames: FrameRange) -> int:
    """Run it and follow it to its end; answers with the exit code.

    Raises:
        Conflict: this worker has another version, or sees another model, than the one who submitted.
        InvalidInput: the output cannot be reached from here.
        Cancelled: the farm asked to stop before the job began.
        DflError: the daemon cannot be reached or refuses the job.
    """
    if job.frames and not frames:
        output.say("This part holds no frames; there is nothing to do.")
        return OK
    check_worker(job)
    with _cancelled_by_signals(), connect(session) as client:
        check_model(job, client)
        following = replace(session, output=output)
        return submit_and_follow(following, client, job_spec(job, frames))


def check_worker(job: FarmJob) -> None:
    """Refuse early, and in words, what would end in frames that do not belong together.

    Raises:
        Conflict: another version runs here. InvalidInput: the output cannot be reached.
    """
    worker = f"worker {socket.gethostname()}"
    if job.software != __version__:
        raise Conflict(
            f"The job was submitted with dfl {job.software}, and {worker} has {__version__}; install the same version "
            "there, or submit again.",
            reason="WORKER_VERSION_DIFFERS",
        )
    check_output(job.written, worker)


def check_model(job: FarmJob, client: DaemonClient) -> None:
    """Raises Conflict when the daemon, or a model as seen from here, is another than at submission."""
    software = client.server_info().version
    if software != job.software:
        raise Conflict(
            f"The job was submitted with dfl {job.software}, and this worker's daemon is of {software}; restart it.",
            reason="WORKER_VERSION_DIFFERS",
        )
    for path, submitted in job.models.items():
        digest = client.get_model(path).digest
        if digest != submitted:
            raise Conflict(
                f"The model {path} is not the one this job was submitted with ({digest[:12] or 'none'} here, "
                f"{submitted[:12]} then): it was trained on, or this worker sees an old copy. Submit again.",
                reason="MODEL_DIFFERS",
                path=path,
            )


def job_spec(job: FarmJob, frames: FrameRange) -> job_service_pb2.JobSpec:
    """The job as the daemon takes it."""
    paths = {role: str(path) for role, path in job.paths.items()}
    if job.kind == "train":
        names = (role for role in paths if role.startswith("source"))
        source, *more = (paths[role] for role in names)
        return job_service_pb2.JobSpec(
            train=job_service_pb2.TrainSpec(
                source_path=source,
                more_source_paths=more,
                target_path=paths["target"],
                model_path=paths["model"],
                settings=settings_pb2.TrainSettings(**job.settings),
            )
        )
    plate = job_service_pb2.PlateSpec(path=paths["plate"], frames=str(frames))
    if job.kind == "extract":
        return job_service_pb2.JobSpec(
            extract=job_service_pb2.ExtractSpec(
                plate=plate,
                faceset_path=paths["faceset"],
                settings=settings_pb2.ExtractSettings(**job.settings),
            )
        )
    return job_service_pb2.JobSpec(
        merge=job_service_pb2.MergeSpec(
            plate=plate,
            model_path=paths["model"],
            faceset_path=paths["faceset"],
            output_path=paths[WRITTEN["merge"]],
            settings=settings_pb2.MergeSettings(**job.settings),
        )
    )


def connect(session: CliSession) -> DaemonClient:
    """The session's daemon; without one, a daemon of this machine, which is started on demand and leaves when idle.

    Two tasks that start at once meet at the lock of the state folder: one starts it, both use it. The lock is the
    system's and goes with its process, however that ends.

    Raises:
        DflError: it cannot be reached or started.
    """
    if session.address:
        return session.connect()
    state = session.state_dir if session.environ.get(STATE_VARIABLE) else machine_state(session.environ)
    own = {**session.environ, "DFL_LISTEN": "unix"}
    limits = {"idle_exit_s": IDLE_EXIT_S, "deadline_s": START_DEADLINE_S}
    try:
        return connect_or_start(state, environ=own, **limits)[0]
    except DflError as error:
        if error.reason != "DAEMON_UNREACHABLE":
            raise
    return connect_or_start(state, environ=own, **limits)[0]  # it was just leaving, as nobody had asked for a while


def machine_state(environ: Mapping[str, str]) -> Path:
    """A state folder of this machine: a farm's home folders are often the same on all machines.

    Raises:
        InvalidInput: somebody else has made it.
    """
    user = os.getuid() if hasattr(os, "getuid") else environ.get("USERNAME", "user")
    state = Path(tempfile.gettempdir()) / f"dfl-farm-{user}"
    try:
        with contextlib.suppress(FileExistsError):
            state.mkdir(mode=0o700)
        status = state.lstat()
    except OSError as error:
        raise InvalidInput(
            f"{state} cannot be made on this worker: {error.strerror}; mend TMPDIR, or set {STATE_VARIABLE}.",
            reason="BAD_STATE_FOLDER",
            path=state,
        ) from error
    is_ours = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
    if not stat.S_ISDIR(status.st_mode) or not is_ours:
        raise InvalidInput(
            f"{state} belongs to another user or is open to others; remove it, or set {STATE_VARIABLE}.",
            reason="BAD_STATE_FOLDER",
            path=state,
        )
    return state


@contextlib.contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """Until the job is followed, which cancels it: SIGTERM and SIGINT end this process in order."""

    def cancel(number: int, frame: FrameType | None) -> None:
        raise Cancelled("The farm asked to stop; finished frames are kept.", reason="CANCELLED")

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
