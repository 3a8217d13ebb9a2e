"""Groups of two processes for the tests of training in parallel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dflcore.progress import Event, Notice, StopRequest

HERE = Path(__file__).parent


class Listener:
    """Collects events; asks for a stop once so many saves were heard of."""

    def __init__(self, stop_after_saves: int | None = None) -> None:
        self.events: list[Event] = []
        self.asked = 0
        self._stop_after_saves = stop_after_saves

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self) -> StopRequest | None:
        self.asked += 1
        saves = [event for event in self.events if type(event).__name__ == "Saved"]
        is_due = self._stop_after_saves is not None and len(saves) >= self._stop_after_saves
        return StopRequest.PAUSE if is_due else None

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def tiny_worker() -> list[str]:
    """The command of a process that trains a few numbers."""
    return [sys.executable, str(HERE / "tiny_loop.py")]


@pytest.fixture
def listener() -> type[Listener]:
    return Listener
