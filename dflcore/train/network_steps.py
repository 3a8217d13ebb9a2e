"""What the trainings of masks and of detail have in common: one network, Adam, faces out of one pool, and the loop."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.config.detail import DetailTrainSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.detail_presets import DetailRecipe
from dflcore.models.device import resolve_autocast
from dflcore.models.segment_presets import SegmentRecipe
from dflcore.progress import Notice, RunControl, StopRequest
from dflcore.train import session
from dflcore.train.clock import StepClock
from dflcore.train.loop import LoopSettings, TrainingLoop, TrainingState
from dflcore.train.optim.build import build_optimizer
from dflcore.train.optim.schedule import Schedule
from dflcore.train.pooled_batches import PooledBatches

OPEN_END_FACTOR = 0.3
"""Share of the peak rate a run without a budget trains at: it never reaches the cosine's fine end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkResult:
    """How a run ended.

    Attributes:
        iteration, elapsed_s: of the model. generation: number of the newest save.
        losses: means of the last progress event. step_ms, data_ms: means over this run, the second part of the first.
        stopped: what asked the run to leave early, None when its budget was used up.
    """

    iteration: int
    elapsed_s: float
    generation: int
    losses: dict[str, float]
    step_ms: float
    data_ms: float
    stopped: StopRequest | None


class NetworkSteps(ABC):
    """What one network learns, one step after the other. A subclass says what a step is, and what it is judged by.

    Args:
        settings: of the run. recipe: of the model's preset, for what they leave open.
        folder: the model's. batches: what it learns from. device: where it is trained.

    Attributes:
        learning_rate: peak of the schedule.
        network, optimizer: there from the first :meth:`go_back` on.
    """

    loss_names: tuple[str, ...]
    preview_title: str
    batches: PooledBatches
    faces_are_called: str
    """In messages."""

    def __init__(
        self,
        settings: DetailTrainSettings | MaskTrainSettings,
        recipe: DetailRecipe | SegmentRecipe,
        folder: ModelFolder,
        batches: PooledBatches,
        device: torch.device,
    ) -> None:
        self.folder, self.device = folder, device
        self.learning_rate = settings.learning_rate or recipe.learning_rate
        self._beta2 = recipe.beta2
        self.batches = batches
        self._autocast = resolve_autocast(settings.precision, device)
        self._notices: list[Notice] = []

    @abstractmethod
    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration; see :class:`dflcore.train.loop.Steps`."""

    @abstractmethod
    def _load_network(self, generation: Generation | None) -> nn.Module:
        """With the weights of a generation, or a new one."""

    @abstractmethod
    def _describe_run(self) -> dict[str, Any]:
        """What goes beside the weights."""

    @abstractmethod
    def _paint_preview(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB, None when there is nothing to show; the network is in evaluation mode."""

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        training = session.optimizer_tensors("optimizer", self.network, self.optimizer) | self.batches.state()
        return dict(self.network.state_dict()), training, self._describe_run()

    def preview(self) -> NDArray[np.uint8] | None:
        self.network.eval()
        with torch.no_grad():
            picture = self._paint_preview()
        self.network.train()
        return picture

    def take_notices(self) -> list[Notice]:
        notices, self._notices = self._notices, []
        return notices + self.batches.take_notices()

    def go_back(self, generation: Generation | None) -> None:
        """Weights, optimiser and random state of a generation; a new network's without one."""
        training = {} if generation is None else generation.training
        self._notices = []
        self.network = self._load_network(generation)
        self.network.to(self.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.network.parameters(), self.learning_rate, self._beta2)
        session.restore_optimizer("optimizer", self.network, self.optimizer, training)
        if training and not self.batches.restore(training):
            what = self.faces_are_called
            message = f"The {what} changed since the model was last trained; they are drawn in a new order."
            self._notices.append(Notice(message=message, reason="FACESET_CHANGED", severity="info"))

    def close(self) -> None:
        self.batches.close()

    def _in_precision(self) -> torch.autocast:
        """The context in which the network computes."""
        return torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None)


def train_network(
    steps: NetworkSteps,
    settings: DetailTrainSettings | MaskTrainSettings,
    control: RunControl,
    start: Generation | None,
    state: TrainingState,
) -> NetworkResult:
    """Go on from a generation until the budget is used up or somebody asks to stop. The folder's lock must be held.

    Args:
        start: None for a new model. state: its counters, continued in place.

    Raises:
        InvalidInput, ResourceExhausted: as :meth:`dflcore.train.loop.TrainingLoop.run`.
    """
    steps.go_back(start)
    schedule = Schedule(
        peak=steps.learning_rate,
        iterations=settings.iterations,
        seconds=None if settings.minutes is None else settings.minutes * 60.0,
        open_end_factor=OPEN_END_FACTOR,
    )
    pace = LoopSettings(
        save_interval_s=settings.save_interval_s,
        preview_interval_s=settings.preview_interval_s,
        keep_generations=settings.keep_generations,
    )
    with contextlib.closing(
        TrainingLoop(steps, steps.folder, control, schedule, start, state, pace, steps.device)
    ) as loop:
        stopped = loop.run()
        return NetworkResult(
            iteration=state.iteration,
            elapsed_s=state.elapsed_s,
            generation=state.generation,
            losses=loop.losses,
            step_ms=loop.step_times.step_ms,
            data_ms=loop.step_times.data_ms,
            stopped=stopped,
        )
