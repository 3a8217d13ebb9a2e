"""Training of a face model in as many processes as its settings say."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dflcore.config.train import TrainSettings
from dflcore.io.faceset import Faceset
from dflcore.progress import RunControl, StopRequest
from dflcore.train.parallel.group import AloneGroup, TrainingGroup, join_group, local_device
from dflcore.train.parallel.launch import RESTARTS, Hosts, run_processes
from dflcore.train.parallel.place import Place
from dflcore.train.review import TrainingReview
from dflcore.train.trainer import TrainResult, train
from dflcore.weights.store import WeightStore

WORKER = (sys.executable, "-P", "-m", "dflcore.train.parallel.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """What is to be trained, by the folders of its facesets, so that every process can open them itself.

    Attributes:
        source, target, more_sources, model: as for :func:`dflcore.train.trainer.train`.
        weights: folders with network weights, for the review at the end; None leaves it out.
        tuning_folder: where measurements of the device are kept; None measures nothing.
    """

    settings: TrainSettings
    source: Path
    target: Path
    model: Path
    more_sources: tuple[Path, ...] = ()
    weights: tuple[Path, ...] | None = None
    tuning_folder: Path | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "settings": self.settings.values(),
            "source": str(self.source),
            "target": str(self.target),
            "model": str(self.model),
            "more_sources": [str(path) for path in self.more_sources],
            "weights": None if self.weights is None else [str(path) for path in self.weights],
            "tuning_folder": None if self.tuning_folder is None else str(self.tuning_folder),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingTask:
        """Inverse of :meth:`to_json`.

        Raises:
            InvalidInput: a setting is unknown or out of range.
        """
        weights, tuning_folder = values["weights"], values["tuning_folder"]
        return cls(
            settings=TrainSettings.from_values(values["settings"]),
            source=Path(values["source"]),
            target=Path(values["target"]),
            model=Path(values["model"]),
            more_sources=tuple(Path(path) for path in values["more_sources"]),
            weights=None if weights is None else tuple(Path(path) for path in weights),
            tuning_folder=None if tuning_folder is None else Path(tuning_folder),
        )


def run_training(
    task: TrainingTask,
    control: RunControl,
    *,
    worker: Sequence[str] = WORKER,
    restarts: int = RESTARTS,
    hosts: Hosts | None = None,
) -> TrainResult | None:
    """Train here, in processes of this machine, or with other machines, as settings and ``hosts`` say.

    Args:
        worker: command of a process of the group. restarts, hosts: see :func:`run_processes`.

    Returns:
        None on machines other than the first.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train` and :func:`run_processes`.
    """
    if task.settings.processes == 1 and hosts is None:
        return train_with(task, control, AloneGroup())
    result = run_processes(worker, task.settings.processes, task.to_json(), control, restarts=restarts, hosts=hosts)
    return _result_from_json(result) if result else None


def train_as_member(values: Mapping[str, Any], control: RunControl) -> dict[str, object]:
    """The work of one process of a group: join it, and train with it.

    Args:
        values: of a :class:`TrainingTask`.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train` and :func:`join_group`.
    """
    task = TrainingTask.from_json(values)
    place = Place.from_environment(os.environ)
    device = local_device(task.settings.device, place)
    if place is not None and place.local_world > 1 and device.type == "cuda":
        own = TrainSettings.from_values({**task.settings.values(), "device": str(device)})
        task = TrainingTask.from_json({**task.to_json(), "settings": own.values()})
    group = join_group(device)
    result = train_with(task, control, group)
    group.close()  # not after an error: the others may be gone
    return _result_to_json(result)


def train_with(task: TrainingTask, control: RunControl, group: TrainingGroup) -> TrainResult:
    """Open the facesets and train.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train`.
    """
    with contextlib.ExitStack() as opened:
        paths = (task.source, task.target, *task.more_sources)
        source, target, *more = (opened.enter_context(Faceset.open(path)) for path in paths)
        return train(
            task.settings,
            source,
            target,
            task.model,
            control,
            more_sources=tuple(more),
            store=None if task.weights is None else WeightStore(list(task.weights)),
            group=group,
            tuning_folder=task.tuning_folder,
        )


def _result_to_json(result: TrainResult) -> dict[str, object]:
    return {**asdict(result), "stopped": None if result.stopped is None else result.stopped.value}


def _result_from_json(values: Mapping[str, Any]) -> TrainResult:
    stopped, review = values["stopped"], values["review"]
    parts = {
        "stopped": None if stopped is None else StopRequest(stopped),
        "review": None if review is None else TrainingReview(**{**review, "advice": tuple(review["advice"])}),
    }
    return TrainResult(**{**values, **parts})
