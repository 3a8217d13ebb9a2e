"""A run's other end, for tests: keeps events; asks to stop after some steps."""

from __future__ import annotations

from typing import Any

from dflcore.progress import Event, StopRequest


class Recorder:
    """Keeps events; asks to stop after some steps."""

    def __init__(self, stop_after: int | None = None, request: StopRequest = StopRequest.CANCEL) -> None:
        self.events: list[Event] = []
        self.asked = 0
        self.stop_after, self.request = stop_after, request

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self) -> StopRequest | None:
        self.asked += 1
        return self.request if self.stop_after is not None and self.asked > self.stop_after else None

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
