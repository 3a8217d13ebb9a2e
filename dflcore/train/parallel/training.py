"""Training of a face model in as many processes as its settings say."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dflcore.config.train import TrainSettings
from dflcore.errors import Conflict
from dflcore.io.faceset import Faceset
from dflcore.models.layout import generation_folders, read_facts
from dflcore.progress import RunControl, StopRequest
from dflcore.train.optim.schedule import Schedule
from dflcore.train.parallel.group import TIMEOUT_S, AloneGroup, TrainingGroup, join_group, local_device
from dflcore.train.parallel.launch import RESTARTS, run_processes
from dflcore.train.parallel.meeting import is_met
from dflcore.train.parallel.member import ChannelControl
from dflcore.train.parallel.nodes import WAIT_S, Node, run_node
from dflcore.train.parallel.place import Place
from dflcore.train.review import TrainingReview
from dflcore.train.trainer import TrainResult, train
from dflcore.version import __version__
from dflcore.weights.store import WeightStore

OWN_SETTINGS = frozenset({"device", "processes", "node_address", "cache_mb"})
"""What machines that train together may set each for itself."""
NODES_TIMEOUT_S = 600.0
"""A machine that lost its power says nothing; still longer than a save to a slow disk, a preview or a compilation."""
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
    wait_s: int = WAIT_S,
) -> TrainResult:
    """Train here, in processes of this machine, or with other machines, as the settings say.

    Args:
        worker: command of a process of a group. restarts: see :func:`run_processes`.
        wait_s: for other machines, see :class:`dflcore.train.parallel.nodes.Node`.

    Raises:
        Conflict: other machines train this model together.
        DflError: as :func:`dflcore.train.trainer.train`, :func:`run_processes` and :func:`run_node`.
    """
    if task.settings.nodes > 1:
        return _result_from_json(run_node(worker, _node(task, wait_s), task.to_json(), control, restarts=restarts))
    if is_met(task.model):
        raise Conflict(
            f"Several machines train the model {task.model} together; take part with --nodes, or wait for them.",
            reason="MODEL_BUSY",
            path=task.model,
        )
    if task.settings.processes == 1:
        return train_with(task, control, AloneGroup())
    return _result_from_json(run_processes(worker, task.settings.processes, task.to_json(), control, restarts=restarts))


def _node(task: TrainingTask, wait_s: int) -> Node:
    """This machine among others, and what they all must have been told.

    Raises:
        DflError: a faceset cannot be opened.
    """
    settings = task.settings
    facts = {"version": __version__}
    for name, value in settings.values().items():
        if name not in OWN_SETTINGS:
            facts[name] = "not set" if value is None else str(value)
    paths = {"source": task.source, "target": task.target}
    paths |= {f"source{number}": path for number, path in enumerate(task.more_sources, 2)}
    for name, path in paths.items():
        with Faceset.open(path) as faceset:
            digest = hashlib.sha256("\n".join(sorted(faceset.names)).encode()).hexdigest()
            facts[f"faceset of the {name}"] = f"{faceset.info.face_count} faces ({digest[:8]})"
    return Node(
        model=task.model,
        facts=facts,
        nodes=settings.nodes,
        processes=settings.processes,
        address=settings.node_address,
        newest=lambda: generation_folders(task.model)[:1],
        wait_s=1 if _is_over(task) else wait_s,
    )


def _is_over(task: TrainingTask) -> bool:
    """Nothing is left to do, and so nobody to wait for."""
    settings = task.settings
    try:
        state, _ = read_facts(generation_folders(task.model)[0])
        schedule = Schedule(
            peak=0.0, iterations=settings.iterations, seconds=settings.minutes and settings.minutes * 60.0
        )
        is_over = schedule.is_over(int(state["iteration"]), float(state["elapsed_s"]))
    except (IndexError, KeyError, OSError, ValueError):
        return False
    return is_over and bool(state.get("pretrain")) is settings.pretrain


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
    group = join_group(device, timeout_s=NODES_TIMEOUT_S if task.settings.nodes > 1 else TIMEOUT_S)
    if isinstance(control, ChannelControl):
        control.save_when_terminated()
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
