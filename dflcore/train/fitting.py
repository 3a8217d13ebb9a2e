"""How many faces of each person fit into the device's memory, found by trying; and what to say when they do not."""

from __future__ import annotations

import torch

from dflcore.config.train import TrainSettings
from dflcore.errors import ResourceExhausted
from dflcore.models.checkpoint import ModelDescription
from dflcore.models.device import available_memory
from dflcore.models.registry import Recipe
from dflcore.progress import Notice, RunControl
from dflcore.train import session
from dflcore.train.batches import SideBatch
from dflcore.train.learner import Learner
from dflcore.train.parallel.group import AloneGroup
from dflcore.train.plan import filled
from dflcore.tuning.advice import check_fits, explain_out_of_memory
from dflcore.tuning.arithmetic import Arithmetic
from dflcore.tuning.batch import largest_batch
from dflcore.tuning.compiling import should_autotune
from dflcore.tuning.memory import MemoryEstimator, TrainingLoad

MOST_FACES = 1024
SAFE_SHARE = 0.8
"""Of a computer's main memory: a system hands out more than it has, and ends the process that uses it."""


def fit_batch(
    settings: TrainSettings,
    recipe: Recipe,
    description: ModelDescription,
    device: torch.device,
    arithmetic: Arithmetic,
    control: RunControl | None = None,
) -> int:
    """The largest batch with which a whole step runs, critics and optimiser included.

    Args:
        settings: resolved; its ``batch_size`` is tried first.
        control: once it asks to stop, the largest that has run so far is taken.

    Raises:
        ResourceExhausted: not even one face fits.
    """
    estimator = MemoryEstimator(session.new_network(description, settings.seed))
    has_run: list[int] = []

    def try_step(batch_size: int) -> None:
        model = session.new_network(description, settings.seed).to(device).train()
        learner = Learner(model, settings, recipe, arithmetic, AloneGroup())
        batches = {name: _grey_batch(batch_size, model.resolution, device) for name in model.identities}
        times = settings.accumulate_steps
        for _ in range(2):  # from the second on, the optimiser's state is there beside the activations
            learner.forget_gradients()
            for number in range(1, times + 1):
                learner.learn_from(batches, times=times, is_last=number == times)
            learner.change_weights(0.0)
        has_run.append(batch_size)

    def is_wanted(batch_size: int) -> bool:
        if has_run and control is not None and control.stop_requested() is not None:
            return False
        return device.type == "cuda" or is_safe(batch_size)

    def is_safe(batch_size: int) -> bool:
        available = available_memory(device)
        load = training_load(settings, device, arithmetic.autocast, batch_size)
        return available is None or estimator.total(load) <= SAFE_SHARE * available

    return largest_batch(
        try_step,
        device,
        filled(settings.batch_size),
        MOST_FACES,
        is_safe=is_wanted,
    )


def explain(
    error: BaseException,
    settings: TrainSettings,
    description: ModelDescription,
    device: torch.device,
    autocast: torch.dtype | None,
) -> ResourceExhausted:
    """What to raise where a step ran out of memory: it names the settings to change, and by how much."""
    estimator = MemoryEstimator(session.new_network(description, settings.seed))
    load = training_load(settings, device, autocast, filled(settings.batch_size))
    return explain_out_of_memory(error, device, load, estimator)


def prepare_memory(
    settings: TrainSettings, description: ModelDescription, device: torch.device, autocast: torch.dtype | None
) -> Notice | None:
    """Before the first step: let cuDNN search where there is room for that, and warn where a step may not fit.

    The process is set for every training that comes after, too.
    """
    with torch.device("meta"):
        estimator = MemoryEstimator(session.new_network(description, settings.seed))
    load = training_load(settings, device, autocast, filled(settings.batch_size))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = should_autotune(device, estimator.total(load), available_memory(device))
    warning = check_fits(device, load, estimator)
    return None if warning is None else Notice(message=warning, reason="MEMORY_SHORT", severity="warning")


def training_load(
    settings: TrainSettings, device: torch.device, autocast: torch.dtype | None, batch_size: int
) -> TrainingLoad:
    """What the settings ask of the memory; of the face model, critics not counted."""
    return TrainingLoad(
        batch_size=batch_size,
        optimizer=filled(settings.optimizer),
        has_mean=bool(settings.ema_decay),
        autocast=autocast,
        checkpoint_activations=settings.checkpoint_activations,
        offload_optimizer=settings.offload_optimizer,
        accumulate_steps=settings.accumulate_steps,
        on_gpu=device.type == "cuda",
    )


def _grey_batch(batch_size: int, side: int, device: torch.device) -> SideBatch:
    face = torch.full((batch_size, 3, side, side), 0.5, device=device)
    mask = torch.ones(batch_size, 1, side, side, device=device)
    return SideBatch(seen=face, face=face, mask=mask, priority=mask)
