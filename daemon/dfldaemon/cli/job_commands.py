"""``dfl job list|watch|get|cancel|pause|resume|retry``."""

from __future__ import annotations

import argparse
import datetime
import itertools

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from dflcore.errors import Conflict
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.following import OnInterrupt, follow_job, report_end
from dfldaemon.cli.rate import duration_text
from dfldaemon.cli.remarks import unit_word
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.client import DaemonClient
from dfldaemon.jobs import OUTPUT_PATHS, JobKind
from dflproto.v1 import common_pb2, job_service_pb2

MAX_SEARCHED_JOBS = 1000


def list_jobs(session: CliSession, options: argparse.Namespace) -> int:
    """One line per job, newest first."""
    states = [common_pb2.JobState.Value(f"JOB_STATE_{name.upper()}") for name in options.state]
    with session.connect() as client:
        jobs = list(itertools.islice(client.list_jobs(states), options.limit))
    for job in jobs:
        session.output.event("job", job=message_values(job))
    if session.output.is_json:
        return OK
    if not jobs:
        session.output.remark("No jobs.")
        return OK
    table = Table("job", "kind", "state", "progress", "submitted", "output", box=None, pad_edge=False)
    for job in jobs:
        values = message_values(job)
        submitted = _local_time(job.create_time)
        table.add_row(job.id, values["kind"], values["state"], progress_words(job), submitted, output_path(job))
    session.output.table(table)
    return OK


def get_job(session: CliSession, options: argparse.Namespace) -> int:
    """Everything about one job."""
    with session.connect() as client:
        job = client.get_job(find_job_id(client, options.job))
    _show(session, job)
    return OK


def watch_job(session: CliSession, options: argparse.Namespace) -> int:
    """Follow a job from its first event, a training with curves; Ctrl-C leaves it running."""
    with session.connect() as client:
        job = client.get_job(find_job_id(client, options.job))
        session.output.event("job", job=message_values(job))
        ended = follow_job(client, job, session.output, on_interrupt=OnInterrupt.DETACH, is_watched=True)
    return report_end(session.output, ended, job.id)


def cancel_job(session: CliSession, options: argparse.Namespace) -> int:
    """Ask a job to stop."""
    with session.connect() as client:
        return _steered(session, client.cancel(find_job_id(client, options.job)), "is asked to stop")


def pause_job(session: CliSession, options: argparse.Namespace) -> int:
    """Ask a job to save and rest."""
    with session.connect() as client:
        return _steered(session, client.pause(find_job_id(client, options.job)), "is asked to pause")


def resume_job(session: CliSession, options: argparse.Namespace) -> int:
    """Let a paused job go on."""
    with session.connect() as client:
        return _steered(session, client.resume(find_job_id(client, options.job)), "goes on")


def retry_job(session: CliSession, options: argparse.Namespace) -> int:
    """Put an ended job back into the queue."""
    with session.connect() as client:
        return _steered(session, client.retry(find_job_id(client, options.job)), "is in the queue again")


def find_job_id(client: DaemonClient, text: str) -> str:
    """The id as it is when there is such a job, else the one job whose id begins so.

    Raises:
        NotFound: no job's id begins so.
        Conflict: several do; they are listed.
    """
    jobs = itertools.islice(client.list_jobs(), MAX_SEARCHED_JOBS)
    found = [job.id for job in jobs if text and job.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if text in found or not found:
        return text  # one that is older than those searched, or the daemon says that it is not there
    raise Conflict(f"Several jobs begin with {text}: {', '.join(found[:10])}.", reason="AMBIGUOUS_JOB_ID", job=text)


def progress_words(job: job_service_pb2.Job) -> str:
    """How far a job is, in a few words."""
    if job.HasField("train_progress"):
        train = job.train_progress
        return f"iteration {train.iteration}, {duration_text(train.elapsed_s)}"
    if job.HasField("frame_progress"):
        return f"{job.frame_progress.done_count}/{job.frame_progress.total_count} {unit_word(job.kind)}s"
    if job.ahead_count:
        return f"{job.ahead_count} ahead"
    return ""


def output_path(job: job_service_pb2.Job) -> str:
    """Where a job's result lies."""
    kind = job.spec.WhichOneof("work")
    if kind is None:
        return ""  # of a newer daemon
    return str(getattr(getattr(job.spec, kind), f"{OUTPUT_PATHS[JobKind(kind)]}_path"))


def _steered(session: CliSession, job: job_service_pb2.Job, words: str) -> int:
    session.output.event("job", job=message_values(job))
    session.output.result(f"Job {job.id} {words}.")
    return OK


def _show(session: CliSession, job: job_service_pb2.Job) -> None:
    values = message_values(job)
    session.output.event("job", job=values)
    rows = {
        "job": job.id,
        "kind": values["kind"],
        "state": values["state"] + (" (stop requested)" if job.stop_requested else ""),
        "progress": progress_words(job),
        "output": output_path(job),
        "submitted": _local_time(job.create_time),
        "started": _local_time(job.start_time),
        "ended": _local_time(job.end_time),
        "attempts": str(job.attempt_count),
        "error": job.error.message,
        **{name.replace("_", " "): value for name, value in sorted(job.result.items())},
    }
    for name, value in rows.items():
        if value:
            session.output.result(f"{name:<12} {value}")


def _local_time(moment: Timestamp) -> str:
    return f"{datetime.datetime.fromtimestamp(moment.seconds):%Y-%m-%d %H:%M:%S}" if moment.seconds else ""
