"""What a pipeline says while it runs, and how it is asked to stop.

Pipelines receive a :class:`RunControl` and know nothing of who listens: the daemon's worker writes the events to its
pipe, a script prints them, a test collects them.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass, field
from typing import Protocol

logger = logging.getLogger(__name__)


class StopRequest(enum.Enum):
    """Why a pipeline is asked to leave at the next frame or step boundary. It saves first in every case."""

    CANCEL = "cancel"
    PAUSE = "pause"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameProgress:
    """Frames done of frames asked; ``frame`` is the last finished frame number, ``path`` its file if there is one.

    Work that goes over its frames more than once names what it does in ``stage`` and counts anew in each.
    """

    done: int
    total: int
    frame: int | None = None
    path: str | None = None
    faces: int | None = None
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """One line of training: losses are batch means since the previous event, times are means in milliseconds."""

    iteration: int
    target_iterations: int | None
    elapsed_s: float
    target_s: float | None
    losses: dict[str, float]
    step_ms: float
    data_ms: float
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A picture a person can look at, already on disk under its final name."""

    path: str
    title: str
    iteration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint generation is safely on disk."""

    path: str
    iteration: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know that is not a failure: a frame without a face, a generation that was damaged."""

    message: str
    reason: str
    severity: str = "warning"
    details: dict[str, str] = field(default_factory=dict)


Event = FrameProgress | TrainProgress | Preview | Saved | Notice


class RunControl(Protocol):
    """The two-way line between a pipeline and whoever runs it."""

    def emit(self, event: Event) -> None:
        """Report; must return quickly and never raise."""

    def stop_requested(self) -> StopRequest | None:
        """Asked once per frame or step; cheap."""


class LoggedRun:
    """A run nobody watches: events go to the log, nothing stops it."""

    def emit(self, event: Event) -> None:
        if isinstance(event, Notice):
            logger.log(logging.WARNING if event.severity == "warning" else logging.INFO, "%s", event.message)
        else:
            logger.debug("%s", event)

    def stop_requested(self) -> StopRequest | None:
        return None
