"""Words of a job's events that are no numbers: what it does, what it remarks, how it waits."""

from __future__ import annotations

import re

from dflproto.v1 import common_pb2, job_service_pb2

KIND_WORDS = {
    common_pb2.JOB_KIND_EXTRACT: "Extracting",
    common_pb2.JOB_KIND_TRAIN: "Training",
    common_pb2.JOB_KIND_MERGE: "Merging",
    common_pb2.JOB_KIND_CURATE: "Working",
    common_pb2.JOB_KIND_TRAIN_MASK: "Training",
    common_pb2.JOB_KIND_IMPORT_MODEL: "Importing",
    common_pb2.JOB_KIND_EXPORT_MODEL: "Exporting",
}
UNIT_WORDS = {common_pb2.JOB_KIND_IMPORT_MODEL: "step", common_pb2.JOB_KIND_EXPORT_MODEL: "step"}
"""What is counted where it is not frames."""
STAGE_WORDS = {"look": "Looking", "cut": "Cutting"}
"""Of jobs that go over their frames more than once."""
TRAINING_SUMMARY = "TRAINING_SUMMARY"
"""Reason of the notice at the end of a training; its parts are lines of their own."""


def kind_word(kind: common_pb2.JobKind) -> str:
    """What a kind of job does."""
    return KIND_WORDS.get(kind, "Working")


def unit_word(kind: common_pb2.JobKind) -> str:
    """What a kind of job counts, one of them."""
    return UNIT_WORDS.get(kind, "frame")


def event_word(job: job_service_pb2.Job, event: job_service_pb2.JobEvent) -> str:
    """What the job is doing."""
    return STAGE_WORDS.get(event.frame_progress.stage, kind_word(job.kind))


def remark_of(event: job_service_pb2.JobEvent, job: job_service_pb2.Job) -> tuple[str, str] | None:
    """What a person reads of a notice, a preview or a change of state: text and style; None for the rest."""
    kind = event.WhichOneof("body")
    if kind == "notice":
        style = "yellow" if event.notice.severity == common_pb2.SEVERITY_WARNING else ""
        message = event.notice.message
        return (_as_lines(message) if event.notice.reason == TRAINING_SUMMARY else message), style
    if kind == "preview":
        return f"Preview: {event.preview.path}", "dim"
    if kind == "state" and event.state.state == common_pb2.JOB_STATE_QUEUED:
        return _queue_remark(event, job)
    if kind == "state" and event.state.state == common_pb2.JOB_STATE_PAUSED:
        return f"Job {job.id} is paused; `dfl job resume {job.id}` lets it go on.", ""
    return None


def _queue_remark(event: job_service_pb2.JobEvent, job: job_service_pb2.Job) -> tuple[str, str] | None:
    """Nothing for a job that runs at once."""
    if event.sequence > 1:
        return f"Job {job.id} is in the queue again.", "dim"
    if job.ahead_count:
        return f"Job {job.id} waits for {job.ahead_count} before it.", "dim"
    return None


def _as_lines(message: str) -> str:
    """A line per clause and sentence."""
    first, *rest = re.split(r";\s+|(?<=\.)\s+", message)
    return "\n".join([first, *(f"  {line}" for line in rest)])
