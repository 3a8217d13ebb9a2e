"""Lines of JSON between the daemon and a worker process, and the same form of events in the store.

The worker gets one connected socket as an inherited descriptor. Every line is one object with a ``type``:

==========  ==============  ===========================================================================
to worker   ``start``       ``work`` (kind, paths, frames, settings), ``limits``; the first line
            ``stop``        ``request``: ``cancel``, ``pause`` or ``shutdown``; may come more than once
from        ``event``       ``event``: see :func:`event_to_json`
worker      ``heartbeat``   ``idle_s``: seconds since the pipeline last finished a frame or step
            ``succeeded``   ``result``: names → text; the last line
            ``stopped``     it saved and left because it was asked to; the last line
            ``failed``      ``error`` (category, reason, message, details); the last line
==========  ==============  ===========================================================================

Exit codes of the worker: 0 after ``succeeded`` or ``stopped``, :data:`EXIT_FAILED` after ``failed``,
:data:`EXIT_TERMINATED` after SIGTERM, :data:`EXIT_ORPHANED` when the daemon is gone. Anything else, and a missing last
line, is a crash. What third parties print goes to stdout and stderr, which are the job's log file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dflcore.errors import Internal
from dflcore.progress import FrameProgress, Notice, Preview, Saved, TrainProgress
from dfldaemon.jobs import ErrorReport, EventBody, JobKind, JobState, StateChange, Work

EXIT_FAILED = 1
EXIT_TERMINATED = 15
EXIT_ORPHANED = 16
HEARTBEAT_INTERVAL_S = 1.0
MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line from a worker ends it."""

EVENT_KINDS: Mapping[str, type[FrameProgress | TrainProgress | Preview | Saved | Notice]] = {
    "frame_progress": FrameProgress,
    "train_progress": TrainProgress,
    "preview": Preview,
    "saved": Saved,
    "notice": Notice,
}
STATE_KIND = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use.

    Attributes:
        threads: of the CPU; 0 leaves the choice to the libraries.
        weights: folders with network weights, searched in order.
        roots: resolved folders that the paths of its work may lie in.
    """

    threads: int = 0
    weights: Sequence[str] = ()
    roots: Sequence[str] = ("/",)


def encode_line(message: Mapping[str, object]) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """One line as a message.

    Raises:
        Internal: it is not an object with a type.
    """
    try:
        message = json.loads(line)
    except ValueError as error:
        raise Internal(
            f"A worker process sent a line that is not JSON: {line[:80]!r}.", reason="BAD_WORKER_LINE"
        ) from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Internal(f"A worker process sent a line without a type: {line[:80]!r}.", reason="BAD_WORKER_LINE")
    return message


def event_kind(body: EventBody) -> str:
    """``state``, ``frame_progress``...: the protocol's word for a kind of event."""
    for kind, event_class in EVENT_KINDS.items():
        if isinstance(body, event_class):
            return kind
    return STATE_KIND


def event_to_json(body: EventBody) -> dict[str, object]:
    """An event as plain values, ``kind`` included."""
    if isinstance(body, StateChange):
        error = asdict(body.error) if body.error else None
        return {"kind": STATE_KIND, "state": body.state.value, "error": error, "result": dict(body.result)}
    return {"kind": event_kind(body), **asdict(body)}


def event_from_json(values: Mapping[str, Any]) -> EventBody:
    """Inverse of :func:`event_to_json`.

    Raises:
        Internal: not an event.
    """
    fields = dict(values)
    kind = fields.pop("kind", None)
    try:
        if kind == STATE_KIND:
            error = fields["error"]
            return StateChange(
                state=JobState(fields["state"]), error=ErrorReport(**error) if error else None, result=fields["result"]
            )
        return EVENT_KINDS[kind](**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise Internal(f"Not an event of a job: {str(values)[:200]}.", reason="BAD_EVENT") from error


def work_to_json(work: Work) -> dict[str, object]:
    """Work as plain values."""
    return {
        "kind": work.kind.value,
        "paths": dict(work.paths),
        "frames": work.frames,
        "settings": dict(work.settings),
        "operation": work.operation,
    }


def work_from_json(values: Mapping[str, Any]) -> Work:
    """Inverse of :func:`work_to_json`."""
    return Work(
        kind=JobKind(values["kind"]),
        paths=values["paths"],
        frames=values["frames"],
        settings=values["settings"],
        operation=values["operation"],
    )
