"""How much sooner several processes learn than one: the same step in groups of one, two, ... processes.

Each process takes the preset's whole batch and as many threads whatever their number, or a GPU of its own, so a step of
two processes learns from twice the faces; in a perfect world it takes no longer.
``python -m dflcore.bench.scaling`` is one process of such a group.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dflcore.bench.figures import Figure
from dflcore.bench.stepping import TUNING_NAME
from dflcore.config.train import TrainSettings
from dflcore.io.faceset import Faceset
from dflcore.models.checkpoint import ModelFolder
from dflcore.models.device import resolve_device
from dflcore.models.registry import load_preset
from dflcore.progress import LoggedRun, RunControl
from dflcore.train import session
from dflcore.train.parallel.group import TrainingGroup, join_group, local_device
from dflcore.train.parallel.launch import run_processes
from dflcore.train.parallel.member import leave, run_member
from dflcore.train.parallel.place import Place
from dflcore.train.trainer import Trainer, name_faces

WARM_UP_STEPS = 3
TURNS = 3
"""Each number of processes is measured so often, in turns, so that whatever else the machine does hits all."""
_STAGE = "scaling"
_WORKER = (sys.executable, "-P", "-m", "dflcore.bench.scaling")


def bench_scaling(
    folder: Path,
    *,
    preset: str = "quick",
    resolution: int | None = None,
    batch_size: int | None = None,
    steps: int = 20,
    most: int | None = None,
    turns: int = TURNS,
    device: str = "auto",
) -> list[Figure]:
    """Step time and efficiency of groups of 1, 2, 4... processes, each with a thread or a GPU of its own.

    Needs the facesets of :func:`dflcore.bench.stages.bench_extract`.

    Args:
        preset: network by registry name.
        resolution, batch_size: None for the preset's; the batch is each process's own.
        steps: measured ones, in each turn.
        most: processes; None for as many as there are GPUs, or cores up to 4, and at least 2.
        turns: see :data:`TURNS`; the median counts.

    Raises:
        DflError: as :func:`dflcore.train.parallel.launch.run_processes`.
    """
    kind = resolve_device(device).type
    available = torch.cuda.device_count() if kind == "cuda" else min(4, os.cpu_count() or 1)
    counts = _counts(max(2, available) if most is None else most)
    task = {
        "folder": str(folder),
        "steps": steps,
        "settings": TrainSettings(
            preset=preset, resolution=resolution, batch_size=batch_size, device=device, iterations=10_000_000
        ).values(),
    }
    results: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for _ in range(turns):
        for count, found in results.items():
            found.append(run_processes(_WORKER, count, task, LoggedRun(), restarts=0, threads=1))
    batch = batch_size or load_preset(preset).recipe.batch_size
    own = "a GPU" if kind == "cuda" else "one thread"
    size = resolution or load_preset(preset).network.resolution
    note = f"{preset} {size} px, batch {batch} of each person and {own} per process"
    return _figures(results, batch, f"{note}, {os.cpu_count()} cores, median of {turns} x {steps} steps")


def _figures(results: Mapping[int, Sequence[Mapping[str, Any]]], batch: int, note: str) -> list[Figure]:
    alone_s = statistics.median(float(one["step_s"]) for one in results[1])
    figures = []
    for count, found in results.items():
        step_s = statistics.median(float(one["step_s"]) for one in found)
        faces = count * batch * int(found[0]["people"])
        who = f"{count} process{'es' if count > 1 else ''}"
        figures += [
            _figure(f"step, {who}", 1000.0 * step_s, "ms", note),
            _figure(f"rate, {who}", faces / step_s, "images/s", note),
        ]
        if count > 1:
            averaging_s = statistics.median(float(one["averaging_s"]) for one in found)
            how = "gradients averaged by themselves; in a step, beside the backward pass"
            figures += [
                _figure(f"averaging, {who}", 1000.0 * averaging_s, "ms", how),
                _figure(f"efficiency, {who}", 100.0 * alone_s / step_s, "%", "step of one over step of all"),
            ]
    return figures


def _counts(most: int) -> list[int]:
    """1, 2, 4... and the largest."""
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return [*counts, most] if most > 1 else counts


def _step_as_member(task: Mapping[str, Any], control: RunControl) -> dict[str, object]:
    """One process's part: seconds per step and per averaging."""
    settings = TrainSettings.from_values(task["settings"])
    device = local_device(settings.device, Place.from_environment(os.environ))
    settings = TrainSettings.from_values({**task["settings"], "device": str(device)})
    group = join_group(device)
    with _open_trainer(Path(task["folder"]), settings, group, control) as trainer:
        for _ in range(WARM_UP_STEPS):
            trainer.step()
        _meet(group, device)
        started = time.perf_counter()
        for _ in range(int(task["steps"])):
            trainer.step()
        _meet(group, device)
        step_s = (time.perf_counter() - started) / int(task["steps"])
        parameters = [parameter for network in trainer.steps.networks() for parameter in network.parameters()]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        _meet(group, device)
        started = time.perf_counter()
        group.average_gradients(parameters)
        _meet(group, device)
        averaging_s = time.perf_counter() - started
        people = len(trainer.steps.loss_names)
    group.close()
    return {"step_s": step_s, "averaging_s": averaging_s, "people": people}


@contextlib.contextmanager
def _open_trainer(
    folder: Path, settings: TrainSettings, group: TrainingGroup, control: RunControl
) -> Iterator[Trainer]:
    model_path = folder / f"scaling_model_{group.world}"
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(Faceset.open(folder / "source_faces"))
        target = opened.enter_context(Faceset.open(folder / "target_faces"))
        if group.is_lead:
            made = session.open_or_create_model(settings, model_path, source.info.face_type)
            opened.enter_context(made.lock())
        group.barrier()
        model = ModelFolder.open(model_path)
        faces = name_faces(source, target)
        tuning_folder = folder / TUNING_NAME
        trainer = Trainer(settings, faces, model, control, group=group, tuning_folder=tuning_folder)
        yield opened.enter_context(contextlib.closing(trainer))


def _meet(group: TrainingGroup, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    group.barrier()


def _figure(name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(stage=_STAGE, name=name, value=value, unit=unit, note=note)


if __name__ == "__main__":
    leave(run_member(_step_as_member, sys.argv[1:]))
