"""Who watches which job: events go to every watcher after they are in the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from dfldaemon.jobs import JobEvent

MAX_WAITING_BATCHES = 256
"""A watcher further behind than this reads from the store again."""


class Watcher:
    """One open watch."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[Sequence[JobEvent] | None] = asyncio.Queue(MAX_WAITING_BATCHES)
        self.is_closed = False

    async def events(self, *, after: int) -> AsyncIterator[JobEvent]:
        """Events with a greater sequence number as they happen; ends when the store must be read again.

        That is when this watcher fell behind, or the daemon ends (``is_closed``).
        """
        while (batch := await self._batches.get()) is not None:
            for event in batch:
                if event.sequence > after:
                    yield event

    def put(self, events: Sequence[JobEvent] | None) -> None:
        """Never waits: a watcher that is too slow loses its queue and is sent to the store."""
        if self._batches.full():
            while not self._batches.empty():
                self._batches.get_nowait()
            events = None
        self._batches.put_nowait(events)

    def close(self) -> None:
        self.is_closed = True
        self.put(None)


class Watchers:
    """All open watches of all jobs."""

    def __init__(self) -> None:
        self._by_job: dict[str, set[Watcher]] = {}
        self._is_closed = False

    @contextlib.contextmanager
    def watch(self, job_id: str) -> Iterator[Watcher]:
        """Events published from now on; read the store after entering and nothing is missed."""
        watcher = Watcher()
        self._by_job.setdefault(job_id, set()).add(watcher)
        if self._is_closed:
            watcher.close()
        try:
            yield watcher
        finally:
            self._by_job[job_id].discard(watcher)
            if not self._by_job[job_id]:
                del self._by_job[job_id]

    def publish(self, job_id: str, events: Sequence[JobEvent]) -> None:
        """Hand events that are in the store to the job's watchers."""
        for watcher in self._by_job.get(job_id, ()):
            watcher.put(events)

    def send_to_store(self, job_id: str) -> None:
        """Something is in the store that was not published: the job's watchers read it again."""
        for watcher in self._by_job.get(job_id, ()):
            watcher.put(None)

    def close(self) -> None:
        """The daemon ends: every watch is told."""
        self._is_closed = True
        for watchers in self._by_job.values():
            for watcher in watchers:
                watcher.close()
