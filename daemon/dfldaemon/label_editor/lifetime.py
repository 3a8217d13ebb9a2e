"""How long the editor is there: until its page is closed, until nothing is heard of it, or until it is told to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

DEFAULT_IDLE_MINUTES = 60.0
GOODBYE_GRACE_S = 4.0
"""A page that is loaded again says goodbye and hello; that may take so long."""


class Lifetime:
    """Counts open pages and the time since the last call.

    Args:
        idle_s: end after so long without a call.
        stay: do not end when the last page is closed.
        clock: seconds, rising.
    """

    def __init__(
        self,
        *,
        idle_s: float = DEFAULT_IDLE_MINUTES * 60.0,
        stay: bool = False,
        grace_s: float = GOODBYE_GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_s = idle_s
        self._stay = stay
        self._grace_s = grace_s
        self._clock = clock
        self._lock = threading.Lock()
        self._pages: set[str] = set()
        self._last_call = clock()
        self._left_at: float | None = None
        self._end_reason: str | None = None

    def hello(self, page: str) -> None:
        """A page was opened, or is still there."""
        with self._lock:
            self._pages.add(page)
            self._left_at = None
            self._last_call = self._clock()

    def goodbye(self, page: str) -> None:
        """A page was closed."""
        with self._lock:
            self._pages.discard(page)
            if not self._pages:
                self._left_at = self._clock()

    def touch(self) -> None:
        """A call came in."""
        with self._lock:
            self._last_call = self._clock()

    def end(self, reason: str) -> None:
        """End now, for a reason the user is told."""
        with self._lock:
            self._end_reason = self._end_reason or reason

    def reason_to_end(self) -> str | None:
        """Why it is time to end, or None while it is not."""
        with self._lock:
            now = self._clock()
            if self._end_reason is not None:
                return self._end_reason
            if not self._stay and self._left_at is not None and now - self._left_at >= self._grace_s:
                return "The page was closed."
            if now - self._last_call >= self._idle_s:
                return f"Nothing was heard of the page for {self._idle_s / 60.0:g} minutes."
            return None
