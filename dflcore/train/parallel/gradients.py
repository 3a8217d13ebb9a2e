"""Gradients averaged over the processes of a group, while the backward pass still runs.

The method is that of Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training":
gradients travel in buckets of some megabytes, last layers first, each as soon as it is complete. It is built on hooks
of the parameters instead of a wrapper around the network, because one training step here runs up to three backward
passes through three networks, adds up gradients of several batches, and leaves parameters out that a batch did not use:
a parameter without a gradient anywhere stays without one, so that its moments rest as they would in one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dflcore.errors import Internal
from dflcore.train.parallel.lost import lost_fellows

BUCKET_BYTES = 25 * 2**20
"""Large enough to fill a link, small enough to leave early; DistributedDataParallel's own default."""


def make_buckets(parameters: Iterable[nn.Parameter], bucket_bytes: int = BUCKET_BYTES) -> list[list[nn.Parameter]]:
    """Trainable parameters in the order their gradients become complete, cut into buckets of one kind each.

    Args:
        parameters: in the same order in every process.
    """
    kinds: dict[tuple[torch.device, torch.dtype], list[list[nn.Parameter]]] = {}
    room: dict[tuple[torch.device, torch.dtype], int] = {}
    order: list[list[nn.Parameter]] = []
    for parameter in reversed([parameter for parameter in parameters if parameter.requires_grad]):
        kind = (parameter.device, parameter.dtype)
        size = parameter.numel() * parameter.element_size()
        if kind not in kinds or room[kind] < size:
            bucket: list[nn.Parameter] = []
            kinds.setdefault(kind, []).append(bucket)
            order.append(bucket)
            room[kind] = bucket_bytes
        kinds[kind][-1].append(parameter)
        room[kind] -= size
    return order


@dataclass(frozen=True, slots=True)
class _Flight:
    """A bucket on its way.

    Attributes:
        parameters: the bucket. values: their gradients end to end, then one 1 or 0 each: had it a gradient?
        work: to wait for.
    """

    parameters: Sequence[nn.Parameter]
    values: Tensor
    work: dist.Work

    @classmethod
    def launch(cls, parameters: Sequence[nn.Parameter]) -> _Flight:
        first = parameters[0]
        parts = [torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1) for p in parameters]
        parts.append(
            torch.tensor([p.grad is not None for p in parameters], dtype=first.dtype).to(
                first.device, non_blocking=True
            )
        )
        values = torch.cat(parts)
        with lost_fellows():
            work = dist.all_reduce(values, async_op=True)
        assert work is not None
        return cls(parameters, values, work)

    def land(self, world: int) -> None:
        """Wait, and put the means where the sums came from."""
        with lost_fellows():
            self.work.wait()
        if any(parameter.grad is None for parameter in self.parameters):  # reading back is slow, so only then
            used = (self.values[-len(self.parameters) :] > 0).tolist()
            for parameter, is_used in zip(self.parameters, used, strict=True):
                if is_used and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        means = torch.split(
            self.values.div_(world), [parameter.numel() for parameter in self.parameters] + [len(self.parameters)]
        )
        pairs = [
            (parameter.grad, mean.view(parameter.shape))
            for parameter, mean in zip(self.parameters, means[:-1], strict=True)
            if parameter.grad is not None
        ]
        if pairs:
            torch._foreach_copy_([grad for grad, _ in pairs], [mean for _, mean in pairs])


def average_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    """After a backward pass: every gradient becomes the mean of those of all processes.

    Args:
        parameters: the same in every process, in the same order.
    """
    flights = [_Flight.launch(bucket) for bucket in make_buckets(parameters)]
    for flight in flights:
        flight.land(world)


class GradientAverager:
    """A backward pass inside ``with averager:`` leaves averaged gradients behind.

    Backward passes outside add to gradients as ever: accumulate there, and run only the last batch's inside.

    Args:
        parameters: of one optimiser; the same in every process, in the same order.
        world: number of processes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], world: int, bucket_bytes: int = BUCKET_BYTES) -> None:
        self._world = world
        self._buckets = make_buckets(parameters, bucket_bytes)
        self._bucket_of = {parameter: index for index, bucket in enumerate(self._buckets) for parameter in bucket}
        self._waiting: list[int] = []
        self._flights: list[_Flight] = []
        self._is_armed = False
        self._hooks = [
            p.register_post_accumulate_grad_hook(self._mark_ready)  # type: ignore[no-untyped-call]
            for p in self._bucket_of
        ]

    def __enter__(self) -> GradientAverager:
        self._waiting = [len(bucket) for bucket in self._buckets]
        self._flights = []
        self._is_armed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_armed = False
        if error is not None:
            return
        while len(self._flights) < len(self._buckets):  # with parameters that this batch did not use
            self._flights.append(_Flight.launch(self._buckets[len(self._flights)]))
        for flight in self._flights:
            flight.land(self._world)
        self._flights = []

    def close(self) -> None:
        """Let go of the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _mark_ready(self, parameter: Tensor) -> None:
        if not self._is_armed:
            return
        index = self._bucket_of[parameter]  # type: ignore[index]
        self._waiting[index] -= 1
        if self._waiting[index] < 0:
            raise Internal(
                "A gradient was added to after it had been sent to the other training processes; please report it.",
                reason="GRADIENT_SENT_EARLY",
            )
        # In the same order in every process, whatever order the gradients come in.
        while len(self._flights) < len(self._buckets) and not self._waiting[len(self._flights)]:
            self._flights.append(_Flight.launch(self._buckets[len(self._flights)]))
