"""The processes that train one model together, as one of them sees the others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.device import resolve_device
from dflcore.train.parallel.gradients import GradientAverager, average_gradients
from dflcore.train.parallel.lost import lost_fellows
from dflcore.train.parallel.place import Place, interface_of, open_store

JOIN_TIMEOUT_S = 180.0
"""For the slowest machine to load its libraries."""
TIMEOUT_S = 1800.0
"""Longer than anything the lead does alone: a save to a slow disk, a preview, a compilation."""
_INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
_DIGEST_CHUNK = 1 << 22


class TrainingGroup(Protocol):
    """What a training step needs of the other processes. All call the same methods in the same order.

    Attributes:
        rank, world: this process and how many there are.
        is_lead: rank 0, the only one that writes files, draws previews and reports.
    """

    rank: int
    world: int

    @property
    def is_lead(self) -> bool: ...

    def averaging(self, parameters: Iterable[nn.Parameter]) -> AbstractContextManager[object]:
        """To be made once per optimiser: a backward pass inside ``with`` ends with averaged gradients."""

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The same after a backward pass, where none can be watched (a replayed CUDA graph)."""

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes; a NaN in one is a NaN in all."""

    def agree(self, value: int) -> int:
        """The lead's value."""

    def agree_all(self, values: list[int]) -> list[int]:
        """The lead's values, in one message; as many in every process."""

    def is_same(self, module: nn.Module) -> bool:
        """Whether weights and buffers are equal, bit for bit, in all processes. Reads every weight once."""

    def drawing_alike(self, seed: int) -> AbstractContextManager[object]:
        """Random numbers that torch draws inside are the same in every process, given the same seed.

        For what changes weights by chance in every process for itself, as learning-rate dropout does: without it the
        processes' weights part. Draws outside go on as if there had been none inside.
        """

    def barrier(self) -> None:
        """Wait for all."""

    def close(self) -> None:
        """Leave."""


class AloneGroup:
    """One process, nobody else."""

    rank = 0
    world = 1
    is_lead = True

    def averaging(self, parameters: Iterable[nn.Parameter]) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        return

    def mean(self, values: Tensor) -> Tensor:
        return values

    def agree(self, value: int) -> int:
        return value

    def agree_all(self, values: list[int]) -> list[int]:
        return values

    def is_same(self, module: nn.Module) -> bool:
        return True

    def drawing_alike(self, seed: int) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def barrier(self) -> None:
        return

    def close(self) -> None:
        return


class JoinedGroup:
    """Several processes, over torch.distributed's default group; made by :func:`join_group`.

    What is small travels between the CPUs (gloo), so that agreeing on a number never waits for a GPU.
    """

    def __init__(self, place: Place, device: torch.device) -> None:
        self.rank, self.world = place.rank, place.world
        self.device = device

    @property
    def is_lead(self) -> bool:
        return self.rank == 0

    def averaging(self, parameters: Iterable[nn.Parameter]) -> AbstractContextManager[object]:
        return GradientAverager(parameters, self.world)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        average_gradients(parameters, self.world)

    def mean(self, values: Tensor) -> Tensor:
        with lost_fellows():
            total = values.detach().clone()
            dist.all_reduce(total)
            return total / self.world

    def agree(self, value: int) -> int:
        return self.agree_all([value])[0]

    def agree_all(self, values: list[int]) -> list[int]:
        with lost_fellows():
            shared = torch.tensor(values, dtype=torch.int64)
            dist.broadcast(shared, 0)
            return [int(value) for value in shared.tolist()]

    def is_same(self, module: nn.Module) -> bool:
        digest = torch.stack([_digest(tensor) for tensor in [*module.parameters(), *module.buffers()]])
        own = digest.cpu()
        with lost_fellows():
            lead = own.clone()
            dist.broadcast(lead, 0)
            differs = (lead != own).any().to(torch.int64)
            dist.all_reduce(differs)
            return not int(differs)

    @contextlib.contextmanager
    def drawing_alike(self, seed: int) -> Iterator[None]:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield

    def barrier(self) -> None:
        with lost_fellows():
            dist.all_reduce(torch.zeros(1))

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


def join_group(
    device: torch.device, *, timeout_s: float = TIMEOUT_S, join_timeout_s: float = JOIN_TIMEOUT_S
) -> TrainingGroup:
    """Meet the other processes of the group that this one was started in, by our launcher or by torchrun.

    Args:
        device: this process's own, see :func:`local_device`.
        timeout_s: how long to wait for another process in the middle of training.
        join_timeout_s: how long to wait for the others to come.

    Returns:
        :class:`AloneGroup` for a process that was started alone.

    Raises:
        InvalidInput: the environment makes no sense, or the meeting point is not on this machine.
        Internal: the others did not come, reason TRAINING_GROUP_LOST.
    """
    place = Place.from_environment(os.environ)
    if place is None or place.world == 1:
        return AloneGroup()
    interface = interface_of(place)
    if interface is not None:
        for variable in _INTERFACE_VARIABLES:  # read by the libraries when they open their sockets
            os.environ.setdefault(variable, interface)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with lost_fellows():
        store = open_store(place, join_timeout_s)
        store.set_timeout(timedelta(seconds=join_timeout_s))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.world,
            timeout=timedelta(seconds=timeout_s),
        )
    return JoinedGroup(place, device)


def local_device(name: str, place: Place | None) -> torch.device:
    """The device of this process: the setting's for one alone, else a GPU of its own, or the CPU.

    Raises:
        InvalidInput: there are fewer GPUs than processes, or one GPU was named for several processes.
        Unsupported: no such device here.
    """
    device = resolve_device(name)
    if place is None or place.local_world == 1 or device.type != "cuda":
        return device
    count = torch.cuda.device_count()
    if place.local_world > count or ":" in name:
        found = f"{count} GPU{'s' if count != 1 else ''}"
        raise InvalidInput(
            f"{place.local_world} training processes need a GPU each, and this machine has {found}, with {name!r} "
            "asked for. Lower processes, or leave the device at auto.",
            reason="TOO_FEW_GPUS",
            field="processes",
        )
    return torch.device("cuda", place.local_rank)


def _digest(tensor: Tensor) -> Tensor:
    """A whole number that differs, but for chance, when a bit of the tensor does."""
    data = tensor.detach().contiguous().reshape(-1)
    bits = data.view(torch.int32 if data.element_size() % 4 == 0 else torch.uint8)
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for start in range(0, bits.numel(), _DIGEST_CHUNK):
        part = bits[start : start + _DIGEST_CHUNK].to(torch.int64)
        total = total * 31 + (part * torch.arange(1, len(part) + 1, device=bits.device)).sum()
    return total
