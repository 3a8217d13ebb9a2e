"""How much memory a training step takes, computed before anything is allocated and without the card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import torch
from torch import Tensor, nn

from dflcore.models.recompute import Recomputable, checkpoint_activations
from dflcore.tuning.live_bytes import LiveBytes
from dflcore.tuning.twin import paint_everybody, without_numbers

OPTIMIZER_STATES: Final = {"adam": 2, "adabelief": 2, "rmsprop": 1}
"""Numbers in float32 that an optimiser keeps for each weight."""
GPU_CONTEXT_BYTES = 400_000_000
"""Assumed, not computed: what CUDA, its kernels and their libraries take of the card."""
GPU_SLACK = 0.1
"""Assumed, not computed: share of the rest that scratch memory of kernels and gaps between tensors add on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLoad:
    """What decides, besides the networks, how much memory a step takes; names as in the settings of training.

    Attributes:
        batch_size: faces of each person per step. autocast: dtype of the network's arithmetic, None for float32.
        has_mean: a running mean of the weights is kept. on_gpu: the networks are on a GPU.
    """

    batch_size: int
    optimizer: str = "adam"
    has_mean: bool = False
    autocast: torch.dtype | None = None
    checkpoint_activations: bool = False
    offload_optimizer: bool = False
    accumulate_steps: int = 1
    on_gpu: bool = True


@dataclass(frozen=True, slots=True)
class TrainedPart:
    """Networks that learn in one part of the step, with one backward pass.

    Attributes:
        module: all networks of that part, as one; a network may be in several parts.
        run: computes from the module (in fact a twin that holds no numbers) the scalar that is minimised. It makes
            its own batch, of zeros for example, and applies the load's ``autocast``.
    """

    module: nn.Module
    run: Callable[[nn.Module, TrainingLoad], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the worst moment of a step. The parts add up to the total.

    Attributes:
        weights: with their running mean. gradients: those that exist at that moment.
        optimizer: its state. activations: what the forward pass keeps for the backward pass, the batch included.
        workspace: results in the making. runtime: what the GPU's own software takes, and gaps; assumed.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int
    runtime: int

    @property
    def total(self) -> int:
        return sum(int(getattr(self, part.name)) for part in fields(self))


def paint_and_compare(model: nn.Module, load: TrainingLoad) -> Tensor:
    """A stand-in for the step of a face model alone: paint everybody, compare with grey."""
    with torch.autocast("cpu", dtype=load.autocast, enabled=load.autocast is not None):
        painted = paint_everybody(model, load.batch_size)
    return torch.stack([(one.float() - 0.5).square().mean() for one in painted]).sum()


def estimate_training_memory(parts: nn.Module | Sequence[TrainedPart], load: TrainingLoad) -> MemoryEstimate:
    """Go through one step with shapes alone, counting what is alive, and take its worst moment.

    What kernels take for themselves inside one call is not seen; on a GPU a share is assumed for it.

    Args:
        parts: of the step, in order; or a face model, whose losses are then a stand-in. Networks may be on any
            device, ``meta`` too, and are not changed.
    """
    if isinstance(parts, nn.Module):
        parts = [TrainedPart(parts, paint_and_compare)]
    weights = {id(one): one for part in parts for one in _held(part.module)}
    trained = {key: one for key, one in weights.items() if one.requires_grad}
    weight_bytes = _bytes(weights.values()) + (_bytes(trained.values()) if load.has_mean else 0)
    states = 0 if load.offload_optimizer and load.on_gpu else OPTIMIZER_STATES[load.optimizer]
    optimizer_bytes = states * _bytes(trained.values())
    done: dict[int, Tensor] = {}
    worst: MemoryEstimate | None = None
    for part in parts:
        own = {id(one): one for one in part.module.parameters() if one.requires_grad}
        from_before = trained if load.accumulate_steps > 1 else done
        held = _bytes(one for key, one in from_before.items() if key not in own)
        gradients, activations, workspace = _worst_moment(part, load)
        estimate = MemoryEstimate(
            weights=weight_bytes,
            gradients=held + gradients,
            optimizer=optimizer_bytes,
            activations=activations,
            workspace=workspace,
            runtime=0,
        )
        done |= own
        if worst is None or estimate.total > worst.total:
            worst = estimate
    assert worst is not None, "a step has parts"
    return replace(worst, runtime=GPU_CONTEXT_BYTES + int(GPU_SLACK * worst.total)) if load.on_gpu else worst


class MemoryEstimator:
    """Estimates for one set of networks under changing loads; each load is computed once, in a fraction of a second.

    Args:
        parts: see :func:`estimate_training_memory`.
    """

    def __init__(self, parts: nn.Module | Sequence[TrainedPart]) -> None:
        self._parts = parts
        self._known: dict[TrainingLoad, MemoryEstimate] = {}

    def estimate(self, load: TrainingLoad) -> MemoryEstimate:
        """What a step under that load needs."""
        if load not in self._known:
            self._known[load] = estimate_training_memory(self._parts, load)
        return self._known[load]

    def total(self, load: TrainingLoad) -> int:
        """Bytes, all in all."""
        return self.estimate(load).total

    def largest_batch(self, load: TrainingLoad, available: int, limit: int) -> int:
        """Most faces of each person, up to ``limit``, with which a step needs no more than ``available`` bytes.

        Returns:
            0 when even one is too many.
        """
        totals = {size: self.total(replace(load, batch_size=size)) for size in (1, limit)}
        if totals[1] > available or totals[limit] <= available:
            return 0 if totals[1] > available else limit
        fits, too_many = 1, limit
        while too_many - fits > 1:  # memory grows nearly linearly with the batch, so the line through both ends hits
            slope = (totals[too_many] - totals[fits]) / (too_many - fits)
            guess = fits + int((available - totals[fits]) / slope) if slope > 0 else fits
            guess = min(max(guess, fits + 1), too_many - 1)
            totals[guess] = self.total(replace(load, batch_size=guess))
            if totals[guess] <= available:
                fits = guess
            else:
                too_many = guess
        return fits


def _worst_moment(part: TrainedPart, load: TrainingLoad) -> tuple[int, int, int]:
    """Bytes of gradients, activations and workspace when most are alive; weights left out."""
    with without_numbers(part.module) as twin:
        for module in twin.modules():
            if isinstance(module, Recomputable):
                checkpoint_activations(module, enabled=load.checkpoint_activations)
        parameters = [one for one in twin.parameters() if one.requires_grad]
        with LiveBytes() as counted:
            counted.ignore(_held(twin))
            if load.accumulate_steps > 1:
                for one in parameters:
                    one.grad = torch.empty_like(one, requires_grad=False)
            before = set(counted.alive())
            loss = part.run(twin, load)
            kept = set(counted.alive()) - before
            loss.backward()  # type: ignore[no-untyped-call]
            learnt = {counted.serial_of(one.grad) for one in parameters if one.grad is not None}
    sizes = counted.at_peak
    gradients = sum(size for serial, size in sizes.items() if serial in learnt)
    activations = sum(size for serial, size in sizes.items() if serial in kept)
    return gradients, activations, sum(sizes.values()) - gradients - activations


def _held(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)
