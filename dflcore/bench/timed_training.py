"""Training by the clock: stopped after so many seconds and gone on with, or looked at while it runs.

Only time in the trainer counts. A run that is looked at is not interrupted: its weights are copied at the wanted
moments, and painted with when it is over.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dflcore.bench.held_out import Footage
from dflcore.bench.stepping import TUNING_NAME
from dflcore.config.train import TrainSettings
from dflcore.errors import DflError
from dflcore.io.faceset import Faceset
from dflcore.merge.swapper import ModelSwapper
from dflcore.models.checkpoint import ModelDescription, ModelFolder
from dflcore.progress import Event, LoggedRun, StopRequest
from dflcore.train import session
from dflcore.train.trainer import Trainer, TrainResult, name_faces, train

SAVE_INTERVAL_S = 300.0
PREVIEW_INTERVAL_S = 3600.0
"""Pictures nobody looks at take no time."""


@dataclass(frozen=True, slots=True)
class Look:
    """A model at one moment of its training.

    Attributes:
        seconds: in the trainer. iteration: steps until then.
        weights: as they would have been saved, on the CPU.
    """

    seconds: float
    iteration: int
    weights: dict[str, Tensor]


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


class _Watched(LoggedRun):
    """Copies the weights at the wanted moments; the trainer asks between two steps."""

    def __init__(self, moments_s: Sequence[float]) -> None:
        self.trainer: Trainer | None = None
        self.looks: list[Look] = []
        self._due_s = sorted(moments_s)

    def stop_requested(self) -> StopRequest | None:
        """Never stops."""
        if self.trainer is not None and self._due_s and self.trainer.loop.state.elapsed_s >= self._due_s[0]:
            self.look(self.trainer)
        return None

    def look(self, trainer: Trainer) -> None:
        state = trainer.loop.state
        weights, _, _ = trainer.steps.tensors()
        copies = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        self.looks.append(Look(state.elapsed_s, state.iteration, copies))
        self._due_s = [moment for moment in self._due_s if moment > state.elapsed_s]


def train_and_look(
    settings: TrainSettings, footage: Footage, model_path: Path, moments_s: Sequence[float]
) -> tuple[ModelDescription, list[Look]]:
    """Train a new model until its budget is used up; its weights at the moments, and at the end.

    Args:
        settings: with ``minutes``. moments_s: before the end; those the trainer stepped over in one are one look.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train`.
    """
    shutil.rmtree(model_path, ignore_errors=True)
    watched = _Watched(moments_s)
    with Faceset.open(footage.source) as source, Faceset.open(footage.target) as target:
        folder = session.open_or_create_model(settings, model_path, source.face_type)
        with (
            folder.lock(),
            contextlib.closing(
                Trainer(
                    settings, name_faces(source, target), folder, watched, tuning_folder=model_path.parent / TUNING_NAME
                )
            ) as trainer,
        ):
            watched.trainer = trainer
            trainer.run()
            if not watched.looks or watched.looks[-1].iteration < trainer.loop.state.iteration:
                watched.look(trainer)
    return folder.description, watched.looks


def open_look(description: ModelDescription, look: Look) -> ModelSwapper:
    """The model of that moment, ready to swap on the CPU."""
    model = session.new_network(description, seed=0)
    model.load_state_dict(look.weights)
    name = f"{description.preset}, iteration {look.iteration}"
    return ModelSwapper(model.eval(), face_type=description.face_type, name=name, digest="", device="cpu")


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
        stop = StopAt(seconds, trained_s)
        return train(settings, source, target, model_path, stop, tuning_folder=model_path.parent / TUNING_NAME)


def trained_seconds(model_path: Path) -> float:
    """How long a model has been trained; 0 for none, and one that cannot be gone on with is removed."""
    if model_path.exists():
        with contextlib.suppress(DflError):
            generation, _ = ModelFolder.open(model_path).load()
            if generation is not None:
                return float(generation.state["elapsed_s"])
        shutil.rmtree(model_path)
    return 0.0
