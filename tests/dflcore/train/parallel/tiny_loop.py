"""A training loop of a few numbers, run by the tests as a process of a training group.

What it does is told by its task: steps, where it saves, and at which step which rank comes to which end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dflcore.errors import DataCorrupt
from dflcore.progress import Notice, RunControl, Saved, TrainProgress
from dflcore.train.parallel.group import TrainingGroup, join_group, local_device
from dflcore.train.parallel.member import ChannelControl, leave, run_member
from dflcore.train.parallel.place import Place

LOST_IN_TIME_S = 30.0


def tiny_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def fixed_batch(step: int, size: int) -> torch.Tensor:
    return torch.rand(size, 6, generator=torch.Generator().manual_seed(step))


def work(task: Mapping[str, Any], control: RunControl) -> Mapping[str, object]:
    place = Place.from_environment(os.environ)
    group = join_group(local_device("cpu", place), timeout_s=LOST_IN_TIME_S, join_timeout_s=LOST_IN_TIME_S)
    if isinstance(control, ChannelControl) and task.get("nodes"):
        control.save_when_terminated()
    try:
        return train(task, control, group)
    finally:
        if not task.get("ends"):
            group.close()


def train(task: Mapping[str, Any], control: RunControl, group: TrainingGroup) -> Mapping[str, object]:
    path = Path(task["path"])
    network = tiny_network()
    first = 0
    if path.exists():
        saved = json.loads(path.read_text())
        first = saved["step"]
        network.load_state_dict({name: torch.tensor(values) for name, values in saved["weights"].items()})
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    averaging = group.averaging(network.parameters())
    size = task.get("batch", 4)
    step = first
    stopped = 0
    for step in range(first, task["steps"]):
        stopped = group.agree(int(control.stop_requested() is not None))
        if stopped:
            break
        meet_end(task, group.rank, step)
        batch = fixed_batch(step, size * group.world)[group.rank * size :][:size]
        optimizer.zero_grad()
        with averaging:
            network(batch).square().mean().backward()
        optimizer.step()
        time.sleep(task.get("pause_s", 0.0))
        if group.is_lead and (step + 1) % task.get("save_every", 5) == 0:
            save(path, network, step + 1, control)
            control.emit(progress(step + 1))
    if not group.is_same(network):
        raise AssertionError("the processes' weights parted")
    done = step if stopped else step + 1
    if group.is_lead:
        save(path, network, done, control)
    control.emit(Notice(message=f"one of {group.world} is through", reason="THROUGH", severity="info"))
    threads = os.environ["OMP_NUM_THREADS"]
    return {"step": done, "first": first, "world": group.world, "threads": threads, "stopped": bool(stopped)}


def save(path: Path, network: torch.nn.Module, step: int, control: RunControl) -> None:
    weights = {name: tensor.tolist() for name, tensor in network.state_dict().items()}
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"step": step, "weights": weights}))
    unfinished.replace(path)
    control.emit(Saved(path=str(path), iteration=step, generation=step))


def progress(step: int) -> TrainProgress:
    return TrainProgress(
        iteration=step,
        target_iterations=None,
        elapsed_s=0.0,
        target_s=None,
        losses={},
        step_ms=0.0,
        data_ms=0.0,
        learning_rate=0.1,
    )


def meet_end(task: Mapping[str, Any], rank: int, step: int) -> None:
    """Each end is met once: a file beside the save remembers it, unless it is to come every time."""
    end = task.get("ends", {}).get(f"{rank}:{step}")
    mark = Path(f"{task['path']}.ended-{rank}-{step}")
    if end is None or (mark.exists() and not task.get("again")):
        return
    mark.touch()
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "damage":
        raise DataCorrupt("Face 7 cannot be read.", reason="FACE_DAMAGED", path="faces/7")
    if end == "defect":
        raise ZeroDivisionError("division by zero")
    if end == "memory":
        raise MemoryError
    if end == "exit":
        os._exit(7)


if __name__ == "__main__":
    leave(run_member(work, sys.argv[1:]))
