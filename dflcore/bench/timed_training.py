"""Training in slices of wall-clock time, through the same door as everybody: what is learnt is saved and goes on."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from dflcore.bench.held_out import Footage
from dflcore.config.train import TrainSettings
from dflcore.errors import DflError
from dflcore.io.faceset import Faceset
from dflcore.models.checkpoint import ModelFolder
from dflcore.progress import Event, LoggedRun, StopRequest
from dflcore.train.trainer import TrainResult, train

SAVE_INTERVAL_S = 300.0
PREVIEW_INTERVAL_S = 3600.0
"""Pictures nobody looks at take no time."""


class StopAt(LoggedRun):
    """Asks training to stop once the model has been trained for some seconds of its life.

    Args:
        seconds: of the model's whole life. trained_s: those it had before this run.
    """

    def __init__(self, seconds: float, trained_s: float) -> None:
        self._left_s = seconds - trained_s
        self._is_first = trained_s <= 0.0
        self._started: float | None = None

    def emit(self, event: Event) -> None:
        """Logs what a model's first slice is told; the others are told the same."""
        if self._is_first:
            super().emit(event)

    def stop_requested(self) -> StopRequest | None:
        """The clock runs from the first question, which is asked before the first step."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
        return StopRequest.PAUSE if now - self._started >= self._left_s else None


def train_until(
    settings: TrainSettings, footage: Footage, model_path: Path, seconds: float, trained_s: float
) -> TrainResult:
    """Go on with a model until it has been trained for so many seconds in all, or its budget is used up.

    Args:
        settings: with ``minutes``, by which the learning rate goes whatever the slice.
        trained_s: seconds it has been trained already; see :func:`trained_seconds`.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train`.
    """
    with Faceset.open(footage.source) as source, Faceset.open(footage.target) as target:
        return train(settings, source, target, model_path, StopAt(seconds, trained_s))


def trained_seconds(model_path: Path) -> float:
    """How long a model has been trained; 0 for none, and one that cannot be gone on with is removed."""
    if model_path.exists():
        with contextlib.suppress(DflError):
            generation, _ = ModelFolder.open(model_path).load()
            if generation is not None:
                return float(generation.state["elapsed_s"])
        shutil.rmtree(model_path)
    return 0.0
