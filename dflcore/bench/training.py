"""What a training step costs on this machine, and how near it comes to what the machine allows.

Three yardsticks, all measured in the same run: the matrix product, the network's own convolutions each alone in its
best layout, and a plain float32 step of the same network (:mod:`dflcore.bench.plain_step`), which takes turns with ours
so that whatever else the machine does hits both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from dflcore.bench.figures import Figure
from dflcore.bench.flops import measure_kernel_limit, measure_matrix_peak, measure_network, synchronize
from dflcore.bench.plain_step import PlainStep
from dflcore.bench.stepping import measure_step_memory, open_trainer
from dflcore.config.train import Precision, TrainSettings
from dflcore.models.checkpoint import ModelDescription
from dflcore.models.device import resolve_device
from dflcore.models.face_model import FaceModel
from dflcore.models.registry import load_preset
from dflcore.train import session
from dflcore.train.trainer import Trainer

WARM_UP_STEPS = 3
MIN_TURNS = 3
"""Turns of our step and a plain one, at least; half the steps asked for otherwise."""
REFERENCE_OVER_PLAIN: Final = {
    ("quick96", 96, 4): 1470 / 1474,
    ("df", 96, 4): 4340 / 4472,
    ("liae-ud", 128, 4): 3518 / 2858,
}
"""Preset, resolution, batch → a step of DeepFaceLab 46fc239, sampler included, over a plain PyTorch step: milliseconds
measured once, 22 November 2026, on 2 cores of a Xeon with AVX-512. Together with a plain step measured now they say
about where the reference stands on this machine."""
_STAGE = "train"


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds of steps: wall time of each, the part of it that made its batch, and what that waited for the loader."""

    step_s: list[float]
    data_s: list[float]
    waited_s: list[float]


def bench_train(
    folder: Path,
    *,
    preset: str = "quick",
    resolution: int | None = None,
    steps: int = 20,
    batch_size: int | None = None,
    precision: Precision = "auto",
    yardsticks: bool = True,
) -> list[Figure]:
    """Time of a training step, split into data and computing; its memory; and how it stands beside the yardsticks.

    Needs the facesets of :func:`dflcore.bench.stages.bench_extract`.

    Args:
        preset: network by registry name.
        resolution, batch_size: None for the preset's.
        precision: ``auto`` takes what is measured to be fastest, as training does.
        steps: measured ones.
        yardsticks: measure memory and yardsticks too, which takes several times as long.
    """
    settings = TrainSettings(
        preset=preset, resolution=resolution, batch_size=batch_size, precision=precision, iterations=10_000_000
    )
    device = resolve_device(settings.device)
    batch = batch_size or load_preset(preset).recipe.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with open_trainer(folder, settings) as (trainer, description):
        times = _time_steps(trainer, steps, device)
        autocast = trainer.steps.arithmetic.autocast
        used: float | None = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        note = (
            f"{preset} {description.resolution} px, batch {batch} of each person, {_named(autocast)}, {_where(device)}"
        )
        figures = _step_figures(times, batch * len(_network(description).identities), f"{note}, {steps} steps")
        if not yardsticks:
            return figures
        turns = max(MIN_TURNS, steps // 2)
        figures += _plain_figures(trainer, PlainStep(_network(description), batch, device), turns, note, preset)
    if used is None:
        used = measure_step_memory(folder, settings)
    if used is not None:
        how = "allocated on the device at most" if device.type == "cuda" else "growth of a fresh process, at most"
        figures.append(_figure("peak memory", used / 2**20, "MiB", f"{note}, {how}"))
    step_s = statistics.median(times.step_s)
    return figures + _machine_figures(_network(description), batch, step_s, autocast, device, note)


def _time_steps(trainer: Trainer, steps: int, device: torch.device) -> _Times:
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    synchronize(device)
    times = _Times([], [], [])
    for _ in range(steps):
        data_before, waited_before = trainer.step_times.data_s, trainer.steps.batches.waited_s
        times.step_s.append(_seconds(trainer.step, device))
        times.data_s.append(trainer.step_times.data_s - data_before)
        times.waited_s.append(trainer.steps.batches.waited_s - waited_before)
    return times


def _step_figures(times: _Times, faces: int, note: str) -> list[Figure]:
    step, data = statistics.median(times.step_s), statistics.median(times.data_s)
    return [
        _figure("step", 1000.0 * step, "ms", note),
        _figure("data", 1000.0 * data, "ms", note),
        _figure("data share of the step", 100.0 * sum(times.data_s) / sum(times.step_s), "%", note),
        _figure("waiting for the loader", 100.0 * sum(times.waited_s) / sum(times.step_s), "%", note),
        _figure("rate", faces / step, "images/s", note),
    ]


def _plain_figures(trainer: Trainer, plain: PlainStep, turns: int, note: str, preset: str) -> list[Figure]:
    """Ours and plain in turns; the median of the ratios of neighbours."""
    plain.step()
    ours_s, plain_s = [], []
    for _ in range(turns):
        ours_s.append(_seconds(trainer.step, plain.device))
        plain_s.append(_seconds(plain.step, plain.device))
    ratio = statistics.median(b / a for a, b in zip(ours_s, plain_s, strict=True))
    note = f"{note}, in turns with ours, {turns} of each"
    figures = [
        _figure("plain float32 step", 1000.0 * statistics.median(plain_s), "ms", note),
        _figure("plain over ours", ratio, "×", note),
    ]
    share = REFERENCE_OVER_PLAIN.get((preset, plain.resolution, plain.batch_size))
    if share is not None:
        computed = f"computed: plain over ours, × {share:.2f}, the reference over plain as measured elsewhere"
        figures.append(_figure("reference over ours", ratio * share, "×", computed))
    return figures


def _machine_figures(
    model: FaceModel, batch: int, step_s: float, autocast: torch.dtype | None, device: torch.device, note: str
) -> list[Figure]:
    """How near the step comes to what the device's kernels do in its arithmetic, and in float32 where that differs."""
    model = model.to(device)
    cost = measure_network(model, batch, device, autocast)
    dtype = autocast or torch.float32
    peak = measure_matrix_peak(device, dtype)
    achieved = cost.operations / step_s
    counted = f"{note}, network forward and backward only"
    figures = [
        _figure("operations", cost.operations / 1e9, "GFLOP", counted),
        _figure("achieved", achieved / 1e9, "GFLOP/s", counted),
        _figure("matrix peak", peak / 1e9, "GFLOP/s", f"square product, {dtype}, {_where(device)}"),
        _figure("share of the matrix peak", 100.0 * achieved / peak, "%", counted),
    ]
    for kind in dict.fromkeys((autocast, None)):
        cost = measure_network(model, batch, device, kind)
        limit_s = measure_kernel_limit(cost, device)
        layers = len({call.layer for call in cost.calls})
        alone = f"{note}, {layers} kinds of layers in {_named(kind)}, each alone in its best layout, best of 3"
        figures += [
            _figure(f"convolution limit, {_named(kind)}", 1000.0 * limit_s, "ms", alone),
            _figure(f"share of the convolution limit, {_named(kind)}", 100.0 * limit_s / step_s, "%", alone),
        ]
    return figures


def _network(description: ModelDescription) -> FaceModel:
    return session.new_network(description, seed=0)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def _named(autocast: torch.dtype | None) -> str:
    return str(autocast or torch.float32).removeprefix("torch.")


def _where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _figure(name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(stage=_STAGE, name=name, value=value, unit=unit, note=note)
