"""A few steps run at the same time, each in its own thread, with a bounded number of items in between.

Reading, computing and writing overlap, memory does not grow with the length of the range, and each kind of work has a
thread of its own: OpenColorIO must not run where OpenImageIO has read (see ``color/ocio.py``), whatever the caller's
thread did before.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

_END = object()
_POLL_S = 0.1


class StepClock:
    """Adds up how long each named step took. Steps of different threads may overlap."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + elapsed

    def milliseconds_per(self, count: int) -> dict[str, float]:
        """Mean of every step over ``count`` frames."""
        with self._lock:
            return {name: 1000.0 * total / max(count, 1) for name, total in self._seconds.items()}


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def run_stages(
    items: Iterable[Any],
    stages: Sequence[Callable[[Any], Any]],
    *,
    depth: int,
    stop: threading.Event,
) -> Iterator[Any]:
    """Pass items through all stages, in order, and yield what the last one returns.

    Args:
        items: pulled by the first stage's thread.
        stages: each runs in its own thread, one item at a time.
        depth: results that may wait between two stages.
        stop: once set, no stage but the last begins another item; what has reached the last is finished and yielded.

    Raises:
        Whatever a stage raises, after the results before it were yielded.

    Closing the iterator early stops the threads as ``stop`` does, and waits for them.
    """
    queues: list[queue.Queue[Any]] = [queue.Queue(maxsize=depth) for _ in stages]
    abandoned = threading.Event()
    sources: list[Iterator[Any]] = [iter(items), *(_drain(pipe, abandoned) for pipe in queues[:-1])]
    threads = []
    for position, (stage, source, target) in enumerate(zip(stages, sources, queues, strict=True)):
        is_last = position == len(stages) - 1
        worker = _worker(stage, source, target, None if is_last else stop, abandoned)
        threads.append(threading.Thread(target=worker, name=f"merge-{position}", daemon=True))
    for thread in threads:
        thread.start()
    try:
        for result in _drain(queues[-1], abandoned):
            if isinstance(result, _Failure):
                raise result.error
            yield result
    finally:
        abandoned.set()
        for thread in threads:
            thread.join()


def _worker(
    stage: Callable[[Any], Any],
    source: Iterator[Any],
    target: queue.Queue[Any],
    stop: threading.Event | None,
    abandoned: threading.Event,
) -> Callable[[], None]:
    def work() -> None:
        try:
            for item in source:
                if isinstance(item, _Failure):
                    _put(target, item, abandoned)
                    break
                if stop is not None and stop.is_set():
                    break
                _put(target, stage(item), abandoned)
        except BaseException as error:  # handed to the caller's thread, which raises it
            _put(target, _Failure(error), abandoned)
        _put(target, _END, abandoned)

    return work


def _drain(pipe: queue.Queue[Any], abandoned: threading.Event) -> Iterator[Any]:
    while not abandoned.is_set():
        try:
            item = pipe.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if item is _END:
            return
        yield item


def _put(pipe: queue.Queue[Any], item: Any, abandoned: threading.Event) -> None:
    while not abandoned.is_set():
        try:
            pipe.put(item, timeout=_POLL_S)
            return
        except queue.Full:
            continue
