"""How fast a job goes and how long it will take, from the times its events carry."""

from __future__ import annotations

from dataclasses import dataclass, field

from dflproto.v1 import job_service_pb2

WINDOW_S = 30.0
"""The rate is that of about the last half minute."""


@dataclass(slots=True)
class Pace:
    """Progress as a display shows it; ``total`` and ``left_s`` are None where nobody knows.

    The events' own times are used, so that the rate is right for a job that is watched again from its beginning.
    """

    done: float = 0.0
    total: float | None = None
    per_second: float = 0.0
    left_s: float | None = None
    _marks: list[tuple[float, float]] = field(default_factory=list)

    def mark(self, time_s: float, count: float) -> None:
        """At ``time_s`` so many were done; a count that falls begins a new run."""
        if self._marks and count < self._marks[-1][1]:
            self._marks.clear()
        self._marks.append((time_s, count))
        while len(self._marks) > 2 and self._marks[0][0] < time_s - WINDOW_S:
            del self._marks[0]
        first_time, first_count = self._marks[0]
        if time_s > first_time:
            self.per_second = (count - first_count) / (time_s - first_time)


def frame_pace(event: job_service_pb2.JobEvent, pace: Pace) -> None:
    """Take frames done of frames asked into ``pace``."""
    progress = event.frame_progress
    pace.mark(event_time_s(event), progress.done_count)
    pace.done, pace.total = float(progress.done_count), float(progress.total_count)
    if pace.per_second:
        pace.left_s = (progress.total_count - progress.done_count) / pace.per_second


def pace_of_train(event: job_service_pb2.JobEvent, pace: Pace) -> None:
    """Take iterations or minutes of training into ``pace``; whichever limit comes first is the one shown."""
    progress = event.train_progress
    pace.mark(event_time_s(event), progress.iteration)
    ends: list[tuple[float, float, float]] = []  # seconds left, done, total
    if progress.HasField("target_s"):
        ends.append((max(progress.target_s - progress.elapsed_s, 0.0), progress.elapsed_s, progress.target_s))
    if progress.HasField("target_iterations") and pace.per_second:
        left = max(progress.target_iterations - progress.iteration, 0) / pace.per_second
        ends.append((left, float(progress.iteration), float(progress.target_iterations)))
    if ends:
        pace.left_s, pace.done, pace.total = min(ends)


def duration_text(seconds: float) -> str:
    """``42 s``, ``3:05 min``, ``2:07:09 h``."""
    whole = max(round(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, rest_s = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest_s:02d} h"
    if minutes:
        return f"{minutes}:{rest_s:02d} min"
    return f"{rest_s} s"


def event_time_s(event: job_service_pb2.JobEvent) -> float:
    """Seconds since the epoch."""
    return event.time.seconds + event.time.nanos * 1e-9


def rate_text(per_second: float, unit: str) -> str:
    """``2.1 it/s``; slow ones ``4.0 s/it``."""
    if per_second >= 1.0:
        return f"{per_second:.1f} {unit}/s"
    return f"{1.0 / per_second:.1f} s/{unit}"
