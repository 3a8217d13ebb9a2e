"""The learning rate over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

WARMUP_ITERATIONS = 50
FINAL_FACTOR = 0.01
"""Share of the peak rate left at the end of a budgeted run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Learning rate over a run that knows its budget: short warm-up, then half a cosine down to nearly nothing.

    The fine end is what makes the face sharp, so a run should be given the budget it will really use. Resuming with a
    larger budget continues on the longer cosine.

    Attributes:
        peak: highest rate.
        iterations: budget in iterations in all, None for none.
        seconds: budget in seconds of training in all, None for none. The budget nearer to its end decides.
        cycle: period, in iterations, of a cosine from the full rate to nothing and back, on top of the rest; 0 for
            none. A run without a budget then trains at the peak rate, since every cycle has a fine end of its own.
            500 is the reference's (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied).
        open_end_factor: share of the peak rate a run without budget or cycle trains at: it never reaches a fine end.
    """

    peak: float
    iterations: int | None
    seconds: float | None
    cycle: int = 0
    open_end_factor: float = 1.0

    def progress(self, iteration: int, elapsed_s: float) -> float:
        """Share of the budget that is used, 0..1; 0 for an open end."""
        by_iterations = iteration / self.iterations if self.iterations else 0.0
        by_time = elapsed_s / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_iterations, by_time))

    def is_over(self, iteration: int, elapsed_s: float) -> bool:
        """The budget is used up."""
        return (self.iterations is not None and iteration >= self.iterations) or (
            self.seconds is not None and elapsed_s >= self.seconds
        )

    def rate(self, iteration: int, elapsed_s: float) -> float:
        """Learning rate of the step that follows ``iteration`` finished ones."""
        warmup = min(1.0, (iteration + 1) / WARMUP_ITERATIONS)
        wave = (math.cos(2 * math.pi * (iteration % self.cycle) / self.cycle) + 1) / 2 if self.cycle else 1.0
        if self.iterations is None and self.seconds is None:
            return self.peak * warmup * (wave if self.cycle else self.open_end_factor)
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress(iteration, elapsed_s)))
        return self.peak * warmup * wave * (FINAL_FACTOR + (1 - FINAL_FACTOR) * cosine)

    def lowered(self, factor: float) -> Schedule:
        """The same course at ``factor`` times the rate, for a run that diverged."""
        return replace(self, peak=self.peak * factor)
