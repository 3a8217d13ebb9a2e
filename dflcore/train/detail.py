"""Training of a personal detail enhancer: the loop, readable as the algorithm.

draw sharp faces of one person → cut pieces, make them soft, or take a face model's own painting of them → restore →
compare pixels, structure, edges and texture → Adam; save, preview and report by the clock.

It learns from the person's own faceset, so it needs no foreign weights and invents nobody else's features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.authorization import check_authorization
from dflcore.config.detail import DetailTrainSettings
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.detail import enlarge
from dflcore.models.detail_presets import DetailRecipe, load_detail_preset
from dflcore.models.device import resolve_autocast, resolve_device
from dflcore.progress import LoggedRun, Notice, RunControl, StopRequest
from dflcore.train import detail_session, session
from dflcore.train.clock import StepClock
from dflcore.train.detail_batches import DetailBatches
from dflcore.train.detail_loss import DetailLoss, gain_db
from dflcore.train.detail_preview import compose_detail_preview
from dflcore.train.detail_samples import DetailDecoder, DetailSamples, FacePainter
from dflcore.train.loop import LoopSettings, TrainingLoop
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.optim.schedule import Schedule

OPEN_END_FACTOR = 0.3
"""Share of the peak rate a run without a budget trains at: it never reaches the cosine's fine end."""
LONGEST_GRADIENT = 1.0
"""Longer ones are shortened: the first faces of a run are far from what is wanted."""
_LOSS_NAMES = ("pixel", "structure")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailResult:
    """How a run ended.

    Attributes:
        iteration, elapsed_s: of the model. generation: number of the newest save. faces: samples learnt from.
        losses: means of the last progress event; ``gain_db`` is how much nearer to the truth the faces came.
        step_ms, data_ms: means over this run, the second part of the first.
        stopped: what asked the run to leave early, None when its budget was used up.
    """

    iteration: int
    elapsed_s: float
    generation: int
    faces: int
    losses: dict[str, float]
    step_ms: float
    data_ms: float
    stopped: StopRequest | None


def train_detail(
    settings: DetailTrainSettings, facesets: Sequence[Path], model_path: Path, control: RunControl | None = None
) -> DetailResult:
    """Train a detail enhancer until its budget is used up or somebody asks it to stop. It is saved in every case.

    Args:
        settings: what to do; a model that exists already keeps its own network.
        facesets: folders with sharp faces of one person; those of another face type than the model's are cut anew.
        model_path: the model's folder, created when it does not exist.
        control: receives progress, previews, saves and notices; asked once per step whether to stop.

    Raises:
        InvalidInput: there are no faces, a setting does not fit the model, an authorisation has expired, the folder
            holds a model of another kind, or training diverged; the newest generation on disk is the last good one.
        NotFound: a faceset, the face model or the preset does not exist.
        Conflict: another process trains this model.
        DataCorrupt: the model, the face model or every face is damaged.
        ResourceExhausted: the disk is full; the generations saved before are untouched.
    """
    control = control or LoggedRun()
    device = resolve_device(settings.device)
    with DetailSamples(facesets, settings.sharpest) as samples:
        project, use = settings.authorization_project, settings.authorization_use
        for info in samples.infos:
            for notice in check_authorization(info.authorization, f"the faceset {info.path}", project=project, use=use):
                control.emit(notice)
        painter = FacePainter(Path(settings.face_model), device) if settings.face_model.strip() else None
        for notice in [] if painter is None else painter.notices:
            control.emit(notice)
        folder = detail_session.open_or_create_model(settings, Path(model_path), samples.infos[0].face_type, painter)
        with folder.lock():
            return _train_locked(settings, samples, painter, folder, control, device)


def _train_locked(
    settings: DetailTrainSettings,
    samples: DetailSamples,
    painter: FacePainter | None,
    folder: ModelFolder,
    control: RunControl,
    device: torch.device,
) -> DetailResult:
    with contextlib.closing(DetailSteps(settings, samples, painter, folder, device)) as steps:
        generation, state = detail_session.resume(folder, control, painter)
        steps.go_back(generation)
        schedule = Schedule(
            peak=settings.learning_rate or steps.recipe.learning_rate,
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
            TrainingLoop(steps, folder, control, schedule, generation, state, pace, device)
        ) as loop:
            stopped = loop.run()
            return DetailResult(
                iteration=state.iteration,
                elapsed_s=state.elapsed_s,
                generation=state.generation,
                faces=len(samples.names),
                losses=loop.losses,
                step_ms=loop.step_times.step_ms,
                data_ms=loop.step_times.data_ms,
                stopped=stopped,
            )


class DetailSteps:
    """What a detail network learns, one step after the other."""

    loss_names: tuple[str, ...] = _LOSS_NAMES
    preview_title = "soft face, restored and truth"

    def __init__(
        self,
        settings: DetailTrainSettings,
        samples: DetailSamples,
        painter: FacePainter | None,
        folder: ModelFolder,
        device: torch.device,
    ) -> None:
        self.settings, self.samples, self.painter = settings, samples, painter
        self.folder, self.device = folder, device
        description = folder.description
        self.recipe: DetailRecipe = load_detail_preset(description.preset).recipe
        self.scale = int(description.network["scale"])
        self._autocast = resolve_autocast(settings.precision, device)
        decoder = DetailDecoder(samples, description.face_type, description.resolution, self.scale, painter)
        self._loss = DetailLoss(min(self.recipe.crop_px, description.resolution) * self.scale, settings.texture).to(
            device
        )
        self.batches = DetailBatches.from_settings(settings, self.recipe, samples, decoder, self.scale, device)

    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration: draw, restore, compare, learn."""
        set_learning_rate(self.optimizer, rate)
        with clock.measure_data():
            soft, sharp = self.batches.make()
        with clock.measure_compute():
            restored = self._restore(soft)
            losses = self._loss(restored, sharp)
            self.optimizer.zero_grad(set_to_none=True)
            losses[0].backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
            self.optimizer.step()
            with torch.no_grad():
                gain = gain_db(restored.detach(), enlarge(soft, self.scale), sharp)
            return {**dict(zip(_LOSS_NAMES, losses.detach()[1:], strict=True)), "gain_db": gain}

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        training = session.optimizer_tensors("optimizer", self.network, self.optimizer) | self.batches.state()
        facts = detail_session.describe_run(self.settings, self.samples, self.painter)
        return dict(self.network.state_dict()), training, facts

    def preview(self) -> NDArray[np.uint8] | None:
        soft, sharp = self.batches.preview_faces
        if not len(soft):
            return None
        self.network.eval()
        with torch.no_grad():
            restored = self._restore(soft)
        self.network.train()
        return compose_detail_preview(enlarge(soft, self.scale), restored, sharp)

    def take_notices(self) -> list[Notice]:
        return self.batches.take_notices() + self._take_own_notices()

    def go_back(self, generation: Generation | None) -> None:
        """Weights, optimiser and random state of a generation; a new network's without one."""
        training = {} if generation is None else generation.training
        self._notices: list[Notice] = []
        self.network = detail_session.load_network(self.settings, self.folder, generation)
        self.network.to(self.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(
            self.network.parameters(), self.settings.learning_rate or self.recipe.learning_rate, self.recipe.beta2
        )
        session.restore_optimizer("optimizer", self.network, self.optimizer, training)
        if training and not self.batches.restore(training):
            message = "The faces changed since the model was last trained; they are drawn in a new order."
            self._notices.append(Notice(message=message, reason="FACESET_CHANGED", severity="info"))

    def close(self) -> None:
        self.batches.close()

    def _restore(self, soft: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None):
            restored: Tensor = self.network(soft)
        return restored.float()

    def _take_own_notices(self) -> list[Notice]:
        notices, self._notices = self._notices, []
        return notices
