"""What happens to a job, as a host's timer takes it from the queue. Paths are the workstation's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from .calls import error_of_message
from .errors import HostError
from .paths import PathMap

SENDING, QUEUED, RUNNING, PAUSED, SUCCEEDED, FAILED, CANCELLED = (
    "SENDING",
    "QUEUED",
    "RUNNING",
    "PAUSED",
    "SUCCEEDED",
    "FAILED",
    "CANCELLED",
)
"""States of a job. ``SENDING`` is ours: the daemon has not answered yet. A submission that the daemon refuses is
``FAILED`` with its error, and has no id."""
ENDED_STATES = frozenset({SUCCEEDED, FAILED, CANCELLED})


@dataclass(frozen=True)
class StateChanged:
    """The job has another state. ``error`` is set when it failed, ``result`` when it succeeded."""

    state: str
    error: HostError | None = None
    result: Mapping[str, str] = field(default_factory=dict)
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class FramesDone:
    """Frames done of frames asked; a frame that was written is whole and may be shown at once."""

    done: int
    total: int
    frame: int | None = None
    path: str = ""
    face_count: int | None = None
    stage: str = ""
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class BytesSent:
    """Files on their way to a daemon on another machine; what was there already counts as sent.

    ``stage`` is ``reading`` while they are hashed, then ``sending``; ``name`` the file that it is at.
    """

    done_bytes: int
    total_bytes: int
    name: str = ""
    stage: str = "sending"
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class TrainingStep:
    """Where training stands; ``losses`` are means since the previous event, by name."""

    iteration: int
    target_iterations: int | None
    elapsed_s: float
    target_s: float | None
    losses: Mapping[str, float]
    step_ms: float
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class PreviewReady:
    """A picture on disk; the next preview may replace it."""

    path: str
    title: str
    iteration: int | None = None
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class ModelSaved:
    """A generation of the model is safely on disk."""

    path: str
    iteration: int
    generation: int
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class Note:
    """Something a person should know that is not a failure. ``severity`` is ``info`` or ``warning``."""

    reason: str
    message: str
    severity: str
    details: Mapping[str, str]
    sequence: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class ConnectionChanged:
    """The daemon cannot be reached at the moment, or can again. The job is not touched by either."""

    is_connected: bool
    error: HostError | None = None
    sequence: int = 0
    time_s: float = 0.0


Event = Union[StateChanged, FramesDone, BytesSent, TrainingStep, PreviewReady, ModelSaved, Note, ConnectionChanged]

RESULT_PATHS = frozenset({"output", "manifest", "report", "path", "page", "data", "folder"})
"""Entries of a job's result that are paths, where they are absolute."""


def state_of(name: str | int) -> str:
    """``JOB_STATE_RUNNING`` → ``RUNNING``; a state this client does not know counts as running."""
    state = name[len("JOB_STATE_") :] if isinstance(name, str) else ""
    return state if state in (QUEUED, RUNNING, PAUSED, SUCCEEDED, FAILED, CANCELLED) else RUNNING


def result_of(values: Mapping[str, str], paths: PathMap) -> dict[str, str]:
    """A job's result with the workstation's paths."""
    return {name: paths.to_workstation(value) if name in RESULT_PATHS else value for name, value in values.items()}


def event_of(message: Mapping[str, Any], paths: PathMap) -> Event | None:
    """A decoded ``JobEvent``; None for a kind this client does not know."""
    time = message.get("time") or {"seconds": 0, "nanos": 0}
    stamp = {"sequence": message["sequence"], "time_s": time["seconds"] + time["nanos"] / 1e9}
    if "state" in message:
        body = message["state"]
        error = error_of_message(body["error"]) if "error" in body else None
        return StateChanged(state_of(body["state"]), error, result_of(body["result"], paths), **stamp)
    if "frame_progress" in message:
        return _frames_done(message["frame_progress"], paths, stamp)
    if "train_progress" in message:
        return _training_step(message["train_progress"], stamp)
    if "preview" in message:
        body = message["preview"]
        return PreviewReady(paths.to_workstation(body["path"]), body["title"], body.get("iteration"), **stamp)
    if "saved" in message:
        body = message["saved"]
        return ModelSaved(paths.to_workstation(body["path"]), body["iteration"], body["generation"], **stamp)
    if "notice" in message:
        body = message["notice"]
        severity = "info" if body["severity"] == "SEVERITY_INFO" else "warning"
        return Note(body["reason"], body["message"], severity, body["details"], **stamp)
    return None


def _frames_done(body: Mapping[str, Any], paths: PathMap, stamp: Mapping[str, Any]) -> FramesDone:
    return FramesDone(
        done=body["done_count"],
        total=body["total_count"],
        frame=body.get("frame"),
        path=paths.to_workstation(body.get("path", "")),
        face_count=body.get("face_count"),
        stage=body.get("stage", ""),
        **stamp,
    )


def _training_step(body: Mapping[str, Any], stamp: Mapping[str, Any]) -> TrainingStep:
    return TrainingStep(
        iteration=body["iteration"],
        target_iterations=body.get("target_iterations"),
        elapsed_s=body["elapsed_s"],
        target_s=body.get("target_s"),
        losses=body["losses"],
        step_ms=body["step_ms"],
        **stamp,
    )
