"""What two processes of a training group find when they try its methods; the tests look at the answers."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tiny_loop import fixed_batch, tiny_network
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dflcore.errors import DflError
from dflcore.progress import RunControl
from dflcore.train.parallel.gradients import GradientAverager
from dflcore.train.parallel.group import TrainingGroup, join_group
from dflcore.train.parallel.member import leave, run_member
from dflcore.train.parallel.sharded import ShardedOptimizer

BATCH = 3
STEPS = 4


def loss_of(network: nn.Module, batch: Tensor) -> Tensor:
    return network(batch).square().mean()


def weights_of(network: nn.Module) -> list[float]:
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()]).tolist()


def own_part(group: TrainingGroup, step: int) -> Tensor:
    """This process's share of a batch that one process would take whole."""
    return fixed_batch(step, BATCH * group.world)[group.rank * BATCH :][:BATCH]


def trained(group: TrainingGroup, way: str) -> nn.Module:
    """The tiny network after some steps, its gradients averaged in one of the ways."""
    network = tiny_network()
    stepped = DistributedDataParallel(network, broadcast_buffers=False) if way == "ddp" else network
    # So small a bucket that each parameter travels by itself.
    averager = GradientAverager(network.parameters(), group.world, bucket_bytes=8) if way == "watched" else None
    optimizer = adam(list(network.parameters()))
    for step in range(STEPS):
        optimizer.zero_grad()
        if averager is not None:
            with averager:
                loss_of(network, own_part(group, step)).backward()
        else:
            loss_of(stepped, own_part(group, step)).backward()
        if way == "afterwards":
            group.average_gradients(network.parameters())
        optimizer.step()
    return network


def accumulated(group: TrainingGroup) -> nn.Module:
    """Two batches per step: the first outside the averaging block, the second inside."""
    network = tiny_network()
    averaging = group.averaging(network.parameters())
    optimizer = adam(list(network.parameters()))
    for step in range(0, STEPS, 2):
        optimizer.zero_grad()
        (loss_of(network, own_part(group, step)) / 2).backward()
        with averaging:
            (loss_of(network, own_part(group, step + 1)) / 2).backward()
        optimizer.step()
    return network


def sharded(group: TrainingGroup) -> dict[str, object]:
    network = tiny_network()
    optimizer = ShardedOptimizer(network.parameters(), adam, group.rank, group.world)
    averaging = group.averaging(network.parameters())
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.01 * (step + 1)
        optimizer.zero_grad()
        with averaging:
            loss_of(network, own_part(group, step)).backward()
        optimizer.step()
    own = len(optimizer.state)
    whole = optimizer.gather_state()
    names = {parameter: name for name, parameter in network.named_parameters()}
    again = ShardedOptimizer(network.parameters(), adam, group.rank, group.world)
    for parameter in network.parameters():
        again.state[parameter] = {"step": torch.tensor(1.0)}
    again.keep_own_state()
    return {
        "weights": weights_of(network),
        "same": group.is_same(network),
        "own": own,
        "kept": len(again.state),
        "state": {
            names[parameter]: {key: torch.as_tensor(value).reshape(-1).tolist() for key, value in state.items()}
            for parameter, state in whole.items()
        },
    }


def unused(group: TrainingGroup) -> dict[str, object]:
    """The first layer is used by process 0 alone, the last by nobody."""
    layers = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in range(3)])
    for layer in layers:
        nn.init.ones_(layer.weight)
    used = [layers[0], layers[1]] if group.rank == 0 else [layers[1]]
    with group.averaging(layers.parameters()):
        sum(layer(torch.full((1, 1), 2.0)).sum() for layer in used).backward()
    watched = [None if layer.weight.grad is None else layer.weight.grad.item() for layer in layers]
    layers.zero_grad()
    sum(layer(torch.full((1, 1), 2.0)).sum() for layer in used).backward()
    group.average_gradients(layers.parameters())
    after = [None if layer.weight.grad is None else layer.weight.grad.item() for layer in layers]
    return {"watched": watched, "afterwards": after}


def likeness(group: TrainingGroup) -> dict[str, object]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    network.register_buffer("flags", torch.rand(5) > 0.5)
    network.register_buffer("count", torch.tensor(group.rank))
    of_rank = group.is_same(network)
    network.count.zero_()
    same = group.is_same(network)
    with torch.no_grad():
        if group.rank:
            network[0].weight[0, 0, 0, 0] += 1e-6
    return {"a buffer off": of_rank, "alike": same, "a bit off": group.is_same(network)}


def small_talk(group: TrainingGroup) -> dict[str, object]:
    means = group.mean(torch.tensor([1.0 + group.rank, math.nan if group.rank else 0.0])).tolist()
    group.barrier()
    return {
        "mean": means[0],
        "nan": math.isnan(means[1]),
        "agreed": group.agree(40 + group.rank),
        "agreed on": group.agree_all([7 + group.rank, (1 << 62) + group.rank]),
    }


def listening() -> list[str]:
    """Local addresses, in hexadecimal, at which this process listens."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                found.append(fields[1].partition(":")[0])
    return found


def sent_early(group: TrainingGroup) -> str:
    weight = nn.Parameter(torch.ones(1))
    try:
        with group.averaging([weight]):
            weight.sum().backward()
            weight.sum().backward()
    except DflError as error:
        return error.reason
    return ""


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


LAWS: Mapping[str, Callable[[TrainingGroup], Any]] = {
    "watched": lambda group: weights_of(trained(group, "watched")),
    "afterwards": lambda group: weights_of(trained(group, "afterwards")),
    "ddp": lambda group: weights_of(trained(group, "ddp")),
    "accumulated": lambda group: weights_of(accumulated(group)),
    "sharded": sharded,
    "unused": unused,
    "likeness": likeness,
    "small talk": small_talk,
    "listening": lambda _: listening(),
    "sent early": sent_early,
}


def work(task: Mapping[str, Any], control: RunControl) -> Mapping[str, object]:
    group = join_group(torch.device("cpu"), timeout_s=30, join_timeout_s=30)
    answers = {name: law(group) for name, law in LAWS.items()}
    group.close()
    return answers


if __name__ == "__main__":
    leave(run_member(work, sys.argv[1:]))
