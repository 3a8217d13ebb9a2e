"""Where the time of training steps goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class StepTimes:
    """Sums over some steps; host time, so on a GPU the compute of one step may be counted in the next."""

    steps: int = 0
    data_s: float = 0.0
    compute_s: float = 0.0

    @property
    def step_ms(self) -> float:
        return 1000.0 * (self.data_s + self.compute_s) / max(1, self.steps)

    @property
    def data_ms(self) -> float:
        return 1000.0 * self.data_s / max(1, self.steps)


class StepClock:
    """Splits the time of steps into waiting for data and computing."""

    def __init__(self) -> None:
        self.total = StepTimes()
        self._interval = StepTimes()

    @property
    def steps(self) -> int:
        return self.total.steps

    @contextlib.contextmanager
    def measure_data(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        self.total.data_s += spent
        self._interval.data_s += spent

    @contextlib.contextmanager
    def measure_compute(self, *, steps: int = 1) -> Iterator[None]:
        """Args: steps: how many are finished when it ends; 0 for a part of one."""
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        for times in (self.total, self._interval):
            times.compute_s += spent
            times.steps += steps

    def take_interval(self) -> StepTimes:
        """Times since the last call."""
        interval, self._interval = self._interval, StepTimes()
        return interval
