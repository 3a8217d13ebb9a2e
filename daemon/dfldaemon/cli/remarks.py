"""Words of a job's events that are no numbers: what it does, what it remarks, how it waits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from dfldaemon.cli.rate import duration_text
from dflproto.v1 import common_pb2, job_service_pb2

KIND_WORDS = {
    common_pb2.JOB_KIND_EXTRACT: "Extracting",
    common_pb2.JOB_KIND_TRAIN: "Training",
    common_pb2.JOB_KIND_MERGE: "Merging",
    common_pb2.JOB_KIND_CURATE: "Working",
    common_pb2.JOB_KIND_TRAIN_MASK: "Training",
    common_pb2.JOB_KIND_TRAIN_DETAIL: "Training",
    common_pb2.JOB_KIND_IMPORT_MODEL: "Importing",
    common_pb2.JOB_KIND_EXPORT_MODEL: "Exporting",
    common_pb2.JOB_KIND_QC: "Measuring",
}
UNIT_WORDS = {common_pb2.JOB_KIND_IMPORT_MODEL: "step", common_pb2.JOB_KIND_EXPORT_MODEL: "step"}
"""What is counted where it is not frames."""
STAGE_WORDS = {"look": "Looking", "cut": "Cutting", "measure": "Measuring", "pictures": "Picturing"}
"""Of jobs that go over their frames more than once."""
TRAINING_SUMMARY = "TRAINING_SUMMARY"
"""Reason of the notice at the end of a training, which is laid out from its details."""
_COUNTS = frozenset({"iteration", "elapsed_s", "step_ms"})
_REVIEW = frozenset({"identity_to_source", "source_to_target", "sharpness_ratio", "advice"})
"""Details of a summary; all others are losses."""


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
        details = event.notice.details
        is_summary = event.notice.reason == TRAINING_SUMMARY and set(details) >= _COUNTS
        return ("\n  ".join(_summary_lines(details)) if is_summary else event.notice.message), style
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


def _summary_lines(details: Mapping[str, str]) -> Iterator[str]:
    number = {name: float(text) for name, text in details.items() if name != "advice"}
    iterations = "1 iteration" if details["iteration"] == "1" else f"{details['iteration']} iterations"
    yield f"Trained {iterations} in {duration_text(number['elapsed_s'])}, {number['step_ms']:.0f} ms each"
    losses = sorted(number.keys() - _COUNTS - _REVIEW)
    if losses:
        yield "losses: " + ", ".join(f"{name} {number[name]:.3f}" for name in losses)
    if math.isfinite(number.get("identity_to_source", math.nan)):
        apart = number["source_to_target"]
        yield f"distance to the source {number['identity_to_source']:.2f} (the two people: {apart:.2f})"
    if "sharpness_ratio" in number:
        yield f"sharpness {100 * number['sharpness_ratio']:.0f} % of the source's"
    yield from details.get("advice", "").splitlines()
