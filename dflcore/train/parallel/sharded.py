"""An optimiser whose moments are shared out: each process keeps those of a part of the weights.

The first stage of Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models":
every process has all weights and averaged gradients, steps the weights it owns, and sends them to the others. Torch's
ZeroRedundancyOptimizer does the same, but gathers its state by unpickling what the other processes send, which nothing
here may do; and its state is not found by parameter, as checkpoints here name it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dflcore.train.parallel.gradients import BUCKET_BYTES, make_buckets
from dflcore.train.parallel.lost import lost_fellows

StateOfParameter = dict[str, Any]


class ShardedOptimizer(torch.optim.Optimizer):
    """Steps as the optimiser that ``build`` makes would, with its state spread over the processes.

    Any optimiser that treats each parameter by itself may be inside. What it draws at random (learning-rate dropout) is
    drawn by the owner of a weight alone, so weights never part.

    Args:
        parameters: the same in every process, in the same order.
        build: makes the optimiser of some of them.
        rank, world: of this process's group.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        build: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
        rank: int,
        world: int,
    ) -> None:
        every = [parameter for parameter in parameters if parameter.requires_grad]
        self._rank, self._world = rank, world
        self._every = every
        self._owners = share_out([parameter.numel() * parameter.element_size() for parameter in every], world)
        own = [parameter for parameter, owner in zip(every, self._owners, strict=True) if owner == rank]
        # A process with nothing of its own still needs the optimiser's settings.
        self.inner = build(own or [nn.Parameter(torch.zeros(1))])
        super().__init__(every, {})
        settings = {name: value for name, value in self.inner.param_groups[0].items() if name != "params"}
        self.param_groups[0].update(settings)
        self.state = self.inner.state

    def owns(self, parameter: Tensor) -> bool:
        """Whether this process keeps the state of a parameter."""
        return any(parameter is one for group in self.inner.param_groups for one in group["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step the own weights, then take the others' from their owners."""
        assert closure is None, "losses are computed before, for all processes at once"
        settings = {name: value for name, value in self.param_groups[0].items() if name != "params"}
        for group in self.inner.param_groups:  # the learning rate is set from outside
            group.update(settings)
        self.inner.step()
        self._exchange()

    def keep_own_state(self) -> None:
        """Let go of state of weights that others own, after all of a checkpoint's was put in."""
        for parameter in list(self.state):
            if not self.owns(parameter):
                del self.state[parameter]

    def gather_state(self) -> dict[nn.Parameter, StateOfParameter]:
        """The whole state, on the CPU, at the lead; nothing elsewhere. All processes call it together."""
        with lost_fellows():
            if self._rank == 0:
                whole = {p: _on_cpu(self.state[p]) for p in self._every if p in self.state}
                for rank in range(1, self._world):
                    whole |= self._receive(rank)
                return whole
            self._send()
            return {}

    def _exchange(self) -> None:
        flights: list[tuple[list[nn.Parameter], Tensor, dist.Work, bool]] = []
        with lost_fellows():
            for owner in range(self._world):
                owned = [p for p, one in zip(self._every, self._owners, strict=True) if one == owner]
                for bucket in make_buckets(owned, BUCKET_BYTES):
                    values = torch.cat([parameter.reshape(-1) for parameter in bucket])
                    work = dist.broadcast(values, owner, async_op=True)
                    assert work is not None
                    flights.append((bucket, values, work, owner == self._rank))
            for bucket, values, work, is_own in flights:
                work.wait()
                if is_own:
                    continue
                parts = torch.split(values, [parameter.numel() for parameter in bucket])
                for parameter, part in zip(bucket, parts, strict=True):
                    parameter.copy_(part.view(parameter.shape))

    def _send(self) -> None:
        """A list of what comes, as JSON, then tensor after tensor."""
        tensors: list[Tensor] = []
        entries: list[dict[str, object]] = []
        for index, parameter in enumerate(self._every):
            for name, value in _on_cpu(self.state[parameter]).items() if parameter in self.state else ():
                entry: dict[str, object] = {"parameter": index, "name": name}
                if isinstance(value, Tensor):
                    tensors.append(value.contiguous())
                    entry |= {"shape": list(value.shape), "type": str(value.dtype).removeprefix("torch.")}
                else:
                    entry["value"] = value
                entries.append(entry)
        listing = torch.frombuffer(bytearray(json.dumps(entries).encode()), dtype=torch.uint8)
        dist.send(torch.tensor([listing.numel()]), 0)
        dist.send(listing, 0)
        for tensor in tensors:
            dist.send(tensor.reshape(-1), 0)

    def _receive(self, rank: int) -> dict[nn.Parameter, StateOfParameter]:
        size = torch.zeros(1, dtype=torch.int64)
        dist.recv(size, rank)
        listing = torch.zeros(int(size), dtype=torch.uint8)
        dist.recv(listing, rank)
        state: dict[nn.Parameter, StateOfParameter] = {}
        for entry in json.loads(listing.numpy().tobytes()):
            value = entry.get("value")
            if "shape" in entry:
                value = torch.empty(entry["shape"], dtype=getattr(torch, entry["type"]))
                dist.recv(value.reshape(-1), rank)
            state.setdefault(self._every[entry["parameter"]], {})[entry["name"]] = value
        return state


def share_out(sizes: Sequence[int], world: int) -> list[int]:
    """Who owns what: the largest first, each to whom has least; the same answer in every process."""
    loads = [0] * world
    owners = [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        owner = loads.index(min(loads))
        owners[index] = owner
        loads[owner] += sizes[index]
    return owners


def _on_cpu(state: StateOfParameter) -> StateOfParameter:
    return {name: value.detach().cpu() if isinstance(value, Tensor) else value for name, value in state.items()}
