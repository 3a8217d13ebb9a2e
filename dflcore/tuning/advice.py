"""What to say when memory ran out: how much was needed, how much there is, and which settings would have fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from dflcore.errors import ResourceExhausted
from dflcore.models.device import available_memory
from dflcore.tuning.memory import MemoryEstimator, TrainingLoad

MARGIN = 0.95
"""Share of the memory that advice plans with."""
UNSEEN = 0.9
"""Where a step was computed to fit and did not, this share of it is taken for what really fits."""


def explain_out_of_memory(
    error: BaseException,
    device: torch.device,
    load: TrainingLoad,
    estimator: MemoryEstimator,
    *,
    available: int | None = None,
) -> ResourceExhausted:
    """An error to be raised from ``error``, naming the settings to change and what each would need.

    Args:
        load: what was tried. estimator: of the networks that were trained.
        available: bytes there are on the device; looked up when None.
    """
    if device.type == "cuda" and not isinstance(error, torch.OutOfMemoryError) and isinstance(error, MemoryError):
        return ResourceExhausted(
            "The machine's main memory ran out, not the GPU's. Lower cache_mb, or end other programs.",
            reason="OUT_OF_MEMORY",
            field="cache_mb",
        )
    needed = estimator.total(load)
    available = available if available is not None else available_memory(device)
    plan = int(MARGIN * available) if available is not None and available < needed else int(UNSEEN * needed)
    offers = list(_offers(load, estimator, plan))
    has = f"{_size(available)} can be had" if available is not None else "more than there is"
    advice = _join(offers) if offers else _last_resort(load, estimator, plan)
    return ResourceExhausted(
        f"Out of memory on {device}: batch_size {load.batch_size} needs about {_size(needed)}, {has}. {advice}",
        reason="OUT_OF_MEMORY",
        field="batch_size",
        device=device,
        needed_bytes=needed,
        available_bytes="" if available is None else available,
        fitting_batch_size=estimator.largest_batch(load, plan, load.batch_size - 1) if load.batch_size > 1 else 0,
    )


def check_fits(
    device: torch.device, load: TrainingLoad, estimator: MemoryEstimator, *, available: int | None = None
) -> str | None:
    """A warning before training starts, None when a step fits as far as can be computed."""
    available = available if available is not None else available_memory(device)
    needed = estimator.total(load)
    if available is None or needed <= available:
        return None
    offers = list(_offers(load, estimator, int(MARGIN * available)))
    advice = _join(offers) if offers else _last_resort(load, estimator, int(MARGIN * available))
    return (
        f"Training may run out of memory on {device}: batch_size {load.batch_size} needs about {_size(needed)}, "
        f"{_size(available)} can be had. {advice}"
    )


def _offers(load: TrainingLoad, estimator: MemoryEstimator, plan: int) -> Iterator[tuple[str, int]]:
    """Single changes that fit, and what a step then needs."""
    batch_size = estimator.largest_batch(load, plan, load.batch_size - 1) if load.batch_size > 1 else 0
    if batch_size:
        yield f"batch_size {batch_size}", estimator.total(replace(load, batch_size=batch_size))
    for name, changed in _switches(load).items():
        total = estimator.total(changed)
        if total <= plan:
            yield name, total


def _switches(load: TrainingLoad) -> dict[str, TrainingLoad]:
    """Settings that save memory and are not in use, mildest first."""
    switches = {}
    if not load.checkpoint_activations:
        switches["checkpoint_activations"] = replace(load, checkpoint_activations=True)
    if load.on_gpu and not load.offload_optimizer:
        switches["offload_optimizer"] = replace(load, offload_optimizer=True)
    if load.on_gpu and load.autocast is None:
        switches["precision bfloat16"] = replace(load, autocast=torch.bfloat16)
    if load.has_mean:
        switches["ema_decay 0"] = replace(load, has_mean=False)
    return switches


def _last_resort(load: TrainingLoad, estimator: MemoryEstimator, plan: int) -> str:
    """No single change fits: all of them, and the batch that then does."""
    everything = load
    names = []
    for name in _switches(load):
        changed = _switches(everything)[name]
        if estimator.total(changed) < estimator.total(everything):
            everything = changed
            names.append(name)
    batch_size = estimator.largest_batch(everything, plan, load.batch_size)
    together = " and ".join(names)
    if batch_size:
        total = _size(estimator.total(replace(everything, batch_size=batch_size)))
        return f"With {together}, batch_size {batch_size} fits ({total})."
    least = _size(estimator.total(replace(everything, batch_size=1)))
    with_all = f" with {together}" if names else ""
    return f"Even batch_size 1{with_all} needs {least}: take a smaller resolution or preset."


def _join(offers: list[tuple[str, int]]) -> str:
    first, *others = [f"{name} ({_size(total)})" for name, total in offers]
    name, total = offers[0]
    text = f"{name} fits ({_size(total)})" if not others else f"{first} fits; so would {' or '.join(others)}"
    batch = name.startswith("batch_size")
    return f"{text}.{' With accumulate_steps a small batch learns like a large one.' if batch else ''}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
