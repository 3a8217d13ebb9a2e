"""One training step of a face model, readable as the algorithm.

draw a batch of each person → encode all through the shared part → paint each with their own decoder →
masked DSSIM + MSE + mask error and what else was asked for → optimiser → the critics look at what was painted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.config.train import TrainSettings
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.device import resolve_autocast
from dflcore.models.face_model import FaceModel
from dflcore.models.initializers import initialize_ca
from dflcore.models.registry import Recipe
from dflcore.progress import Notice
from dflcore.train import session
from dflcore.train.batches import BatchMakers
from dflcore.train.clock import StepClock
from dflcore.train.dataset import TrainingFaces
from dflcore.train.learner import Learner
from dflcore.train.parallel.group import TrainingGroup
from dflcore.train.parallel.sharded import ShardedOptimizer
from dflcore.train.plan import filled
from dflcore.train.preview import compose_preview
from dflcore.tuning.arithmetic import Arithmetic, choose_arithmetic

PREVIEW_ROWS = 4
_OPTIMIZER = "optimizer"
_RAW = "raw."
_MEAN_UPDATES = "mean.updates"
_RANDOM = "random.cpu"


class FaceSteps:
    """What a face model learns, one step after the other; see :class:`dflcore.train.loop.Steps`.

    Nothing can be stepped before :meth:`go_back` has said where to begin.

    Args:
        settings: resolved, see :func:`dflcore.train.plan.resolve_settings`.
        faces: identity → open faceset.
        group: the processes that train together.
        tuning_folder: where measurements of the device are kept; None measures nothing.
    """

    preview_title = "source, target, swap and its mask"
    model: FaceModel

    def __init__(
        self,
        settings: TrainSettings,
        recipe: Recipe,
        faces: Mapping[str, TrainingFaces],
        folder: ModelFolder,
        device: torch.device,
        group: TrainingGroup,
        tuning_folder: Path | None,
        *,
        is_compiled: bool = False,
    ) -> None:
        self.settings, self.recipe, self.folder, self.device, self.group = settings, recipe, folder, device, group
        self._tuning_folder, self._is_compiled = tuning_folder, is_compiled
        self.loss_names = tuple(faces)
        self._about = session.describe_run(settings, session.infos_of(faces.items()))
        self._notices: list[Notice] = []
        self._random = torch.Generator().manual_seed(settings.seed + group.rank).get_state()
        self.batches = BatchMakers.from_settings(
            settings,
            recipe,
            faces=faces,
            face_type=folder.description.face_type,
            resolution=folder.description.resolution,
            device=device,
            rank=group.rank,
            world=group.world,
        )

    def step(self, rate: float, progress: float, clock: StepClock) -> dict[str, Tensor]:
        """One iteration: draw, paint, compare, learn; as often as gradients are added up before they count."""
        times = self.settings.accumulate_steps
        sums: dict[str, Tensor] = {}
        self.learner.forget_gradients()
        with self._own_randomness():
            for number in range(1, times + 1):
                with clock.measure_data():
                    batches = self.batches.make(warp=progress < self.recipe.warp_share)
                with clock.measure_compute(steps=0):
                    losses = self.learner.learn_from(batches, times=times, is_last=number == times)
                for name, loss in losses.items():
                    sums[name] = sums[name] + loss if name in sums else loss
            with clock.measure_compute():
                self.learner.change_weights(rate)
        return {name: loss / times for name, loss in sums.items()} if times > 1 else sums

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.model, *self.learner.critics.networks())

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        weights = dict(self.model.state_dict())
        learner = self.learner
        state = learner.optimizer.gather_state() if isinstance(learner.optimizer, ShardedOptimizer) else None
        training = session.optimizer_tensors(_OPTIMIZER, self.model, learner.optimizer, state)
        training |= learner.critics.tensors()
        for side, maker in self.batches.sides.items():
            training |= {f"batches.{side}.{name}": tensor for name, tensor in maker.state().items()}
        training[_RANDOM] = self._random
        if learner.mean is not None:
            training |= {f"{_RAW}{name}": tensor for name, tensor in weights.items()}
            training[_MEAN_UPDATES] = torch.tensor(learner.mean.updates)
            with learner.mean_weights():
                weights = dict(self.model.state_dict())
        return weights, training, {"pretrain": self.settings.pretrain, **self._about}

    def preview(self) -> NDArray[np.uint8] | None:
        source = self.batches.source.preview_faces(PREVIEW_ROWS)
        target = self.batches.target.preview_faces(PREVIEW_ROWS)
        if not len(source) or not len(target):
            return None
        self.model.eval()
        with self.learner.mean_weights():
            picture = compose_preview(self.model, source, target)
        self.model.train()
        return picture

    def take_notices(self) -> list[Notice]:
        notices, self._notices = self._notices, []
        return notices + [notice for maker in self.batches.sides.values() for notice in maker.take_notices()]

    def go_back(self, generation: Generation | None) -> None:
        """Weights, optimiser and random state of a generation; a new network's without one."""
        settings = self.settings
        training = {} if generation is None else generation.training
        self.model = self._network(generation)
        self.model.to(self.device).train()
        self.arithmetic = self._choose_arithmetic()
        self.learner = Learner(
            self.model, settings, self.recipe, self.arithmetic, self.group, is_compiled=self._is_compiled
        )
        optimizer = self.learner.optimizer
        session.restore_optimizer(_OPTIMIZER, self.model, optimizer, training)
        if isinstance(optimizer, ShardedOptimizer):
            optimizer.keep_own_state()
        self._notices += self.learner.critics.restore(training)
        if self.learner.mean is not None and generation is not None and _MEAN_UPDATES in training:
            means = {f"mean.{name}": generation.weights[name] for name, _ in self.model.named_parameters()}
            self.learner.mean.restore({**means, "updates": training[_MEAN_UPDATES]})
        if training:
            if self.group.is_lead:  # the others draw anew: whose batches they would go on with is not kept
                self._random = training.get(_RANDOM, self._random)
            if self.group.is_lead and not self._restore_batches(training):
                message = "A faceset changed since the model was last trained; its faces are drawn in a new order."
                self._notices.append(Notice(message=message, reason="FACESET_CHANGED", severity="info"))

    def close(self) -> None:
        self.batches.close()

    def _choose_arithmetic(self) -> Arithmetic:
        """Measured, and the network brought into its layouts; without a place to remember, what is usual."""
        settings = self.settings
        if self._tuning_folder is None and settings.channels_last == "auto":
            dtype = resolve_autocast(settings.precision, self.device)
            return Arithmetic(autocast=dtype, memory_format=torch.contiguous_format, reason="not measured")
        if not self.group.is_lead:
            self.group.barrier()  # the lead measures, the others find what it remembered
        arithmetic = choose_arithmetic(
            self.model,
            self.device,
            batch_size=filled(settings.batch_size),
            precision=settings.precision,
            channels_last=settings.channels_last,
            folder=self._tuning_folder,
        )
        if self.group.is_lead:
            self.group.barrier()
        arithmetic.prepare(self.model)
        return arithmetic

    def _network(self, generation: Generation | None) -> FaceModel:
        model = session.new_network(self.folder.description, self.settings.seed)
        if generation is None:
            if self.settings.ca_init:
                initialize_ca(model, torch.Generator().manual_seed(self.settings.seed))
            return model
        fresh = [{name: value.clone() for name, value in one.state_dict().items()} for one in model.person_modules()]
        session.put_weights(model, generation, self.folder.path)
        if generation.state.get("pretrain") and not self.settings.pretrain:
            for module, values in zip(model.person_modules(), fresh, strict=True):
                module.load_state_dict(values)
        return model

    @contextlib.contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """What steps draw (resting weights, mixed codes) follows from seed and steps, whoever else draws numbers."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random)
            yield
            self._random = torch.get_rng_state()

    def _restore_batches(self, training: Mapping[str, Tensor]) -> bool:
        """False when a faceset changed, which then starts in a new order."""
        kept = True
        for side, maker in self.batches.sides.items():
            prefix = f"batches.{side}."
            state = {name[len(prefix) :]: t for name, t in training.items() if name.startswith(prefix)}
            kept = bool(state) and maker.restore(state) and kept
        return kept
