"""A face model and all that makes it learn: losses, critics, optimiser, running mean. Batches in, other weights out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from dflcore.config.train import TrainSettings
from dflcore.models.face_model import FaceModel
from dflcore.models.recompute import checkpoint_activations
from dflcore.models.registry import Recipe
from dflcore.train.batches import SideBatch
from dflcore.train.critics import Critics
from dflcore.train.generator import Generator
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.optim.clip import clip_gradients
from dflcore.train.optim.ema import WeightMean
from dflcore.train.parallel.group import TrainingGroup
from dflcore.train.parallel.sharded import ShardedOptimizer
from dflcore.train.plan import decays_of, filled
from dflcore.tuning.arithmetic import Arithmetic
from dflcore.tuning.compiling import compile_mode


class Learner:
    """What one training step does with its batches.

    Args:
        model: on its device, in its layouts, in training mode.
        settings: resolved, see :func:`dflcore.train.plan.resolve_settings`.
        group: the processes that train together.
        is_compiled: compile the network before the first step.
    """

    def __init__(
        self,
        model: FaceModel,
        settings: TrainSettings,
        recipe: Recipe,
        arithmetic: Arithmetic,
        group: TrainingGroup,
        *,
        is_compiled: bool = False,
    ) -> None:
        self.model, self.group = model, group
        self._shared_draws = torch.Generator().manual_seed(settings.seed)
        self._settings, self._recipe = settings, recipe
        device = next(model.parameters()).device
        checkpoint_activations(model, enabled=settings.checkpoint_activations)
        if not settings.random_warp and not settings.pretrain:
            for module in model.resting_modules_without_warp():
                module.requires_grad_(False)
        self.critics = Critics(settings, model, device, group)
        self.generator = Generator(model, settings, recipe, arithmetic).to(device)
        if is_compiled:
            mode = compile_mode(
                device, accumulate_steps=settings.accumulate_steps, offload_optimizer=settings.offload_optimizer
            )
            self.generator.compile_network(mode)
        self.optimizer = self._build_optimizer()
        self.mean = WeightMean(model, settings.ema_decay) if settings.ema_decay else None
        self._averaging = group.averaging(self._learning_parameters())

    def forget_gradients(self) -> None:
        """Before the first batch of a step."""
        self.optimizer.zero_grad(set_to_none=True)

    def learn_from(self, batches: Mapping[str, SideBatch], *, times: int, is_last: bool) -> dict[str, Tensor]:
        """Add the gradients of one batch, of the face model and then of its critics.

        Args:
            times: batches that are added up before weights change. is_last: the last of them.

        Returns:
            The losses, detached.
        """
        losses: dict[str, Tensor] = self.generator(batches)
        painted, targets = self.generator.painted, self.generator.targets
        losses |= self.critics.judge(painted, targets)
        with self._averaging if is_last else contextlib.nullcontext():
            (torch.stack(list(losses.values())).sum() / times).backward()  # type: ignore[no-untyped-call]
        detached = {name: loss.detach() for name, loss in losses.items()}
        return detached | self.critics.learn_from(painted, targets, times)

    def change_weights(self, rate: float) -> None:
        """Let what was learnt count."""
        set_learning_rate(self.optimizer, rate)
        if self._settings.clip_gradients:
            clip_gradients(self._learning_parameters(), self._settings.clip_gradients)
        seed = int(torch.randint(1 << 62, (), generator=self._shared_draws))
        with self.group.drawing_alike(seed):  # which weights rest, above all
            self.optimizer.step()
        with self.group.drawing_alike(seed + 1):  # anew: a shared-out optimiser draws another amount in each process
            self.critics.step(rate)
        if self.mean is not None:
            self.mean.update()

    @contextlib.contextmanager
    def mean_weights(self) -> Iterator[None]:
        """Inside, the model paints with the running mean of its weights, where there is one; do not train there."""
        with contextlib.nullcontext() if self.mean is None else self.mean.swapped_in():
            yield

    def _learning_parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def _build_optimizer(self) -> torch.optim.Optimizer:
        settings = self._settings
        beta1, beta2 = decays_of(settings, self._recipe)

        def build(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            return build_optimizer(
                parameters,
                filled(settings.learning_rate),
                beta2,
                name=filled(settings.optimizer),
                beta1=beta1,
                lr_dropout=filled(settings.lr_dropout),
                offload=settings.offload_optimizer,
            )

        if settings.shard_optimizer and self.group.world > 1:
            return ShardedOptimizer(self._learning_parameters(), build, self.group.rank, self.group.world)
        return build(self._learning_parameters())
