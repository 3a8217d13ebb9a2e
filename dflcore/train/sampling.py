"""Which faces come next: into the pool, and out of it into a batch.

All choices come from seeded generators and are saved with the model, so a run that goes on draws what it would have
drawn without the pause.
"""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

YAW_BINS = 128
YAW_LIMIT = 1.2
"""Radians; the outermost bins also hold what lies beyond."""


class SamplingPolicy(Protocol):
    """The order in which a pool takes faces in, and what it gives out. Faces are indexes into the pool's names."""

    def next_face(self, taken: Collection[int], generator: torch.Generator) -> int | None:
        """The face to decode next; None when ``taken``, those held, on their way or unreadable, are all there are."""

    def put(self, slot: int, face: int) -> None:
        """Learn that the slot now holds the face, and no longer what it held."""

    def choose(self, held: int, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64 slots out of the first ``held``, for one batch."""

    def state(self) -> dict[str, Tensor]:
        """What :meth:`restore` needs."""

    def restore(self, state: dict[str, Tensor], slots: Sequence[int]) -> None:
        """Go on as saved.

        Args:
            slots: the face in every slot.
        """


class EveryFace:
    """Every face enters once per round, in shuffled order; a batch takes any of those held.

    Args:
        count: faces of the faceset.
    """

    def __init__(self, count: int) -> None:
        self._cycle = _ShuffledCycle(range(count))

    def next_face(self, taken: Collection[int], generator: torch.Generator) -> int | None:
        """As the protocol says; faces that are held may come again."""
        return self._cycle.next(generator)

    def put(self, slot: int, face: int) -> None:
        """Nothing to learn."""

    def choose(self, held: int, count: int, generator: torch.Generator) -> Tensor:
        """As the protocol says, with replacement."""
        return torch.randint(held, (count,), generator=generator)

    def state(self) -> dict[str, Tensor]:
        """As the protocol says."""
        return {"order": torch.tensor(list(self._cycle.left), dtype=torch.int64)}

    def restore(self, state: dict[str, Tensor], slots: Sequence[int]) -> None:
        """As the protocol says. States of before there were policies have no order of their own."""
        self._cycle.left = deque(state["order"].tolist() if "order" in state else ())


class UniformYaw:
    """Turned faces come as often as frontal ones: a shuffled cycle of yaw bins, and in each a cycle of its faces.

    The same holds for what enters a pool that cannot hold all: the few faces of a rare bin come back soon after they
    had to leave.

    Source: 128 bins over ±1.2 rad (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: in a
    batch, which face of a bin is taken is drawn, since the faces held change.

    Args:
        yaws: of every face in radians.
    """

    def __init__(self, yaws: Sequence[float]) -> None:
        inside = (np.asarray(yaws, dtype=np.float64) + YAW_LIMIT) * (YAW_BINS / (2.0 * YAW_LIMIT))
        numbers = np.clip(np.floor(np.nan_to_num(inside, nan=YAW_BINS / 2)), 0, YAW_BINS - 1).astype(int)
        used, self._bin_of = np.unique(numbers, return_inverse=True)
        members: list[list[int]] = [[] for _ in used]
        for face, number in enumerate(self._bin_of):
            members[number].append(face)
        self._sizes = [len(faces) for faces in members]
        self._entering = _ShuffledCycle(range(len(members)))
        self._drawn = _ShuffledCycle(range(len(members)))
        self._faces = [_ShuffledCycle(faces) for faces in members]
        self._slots: list[list[int]] = [[] for _ in members]
        self._bin_in_slot: dict[int, int] = {}

    def next_face(self, taken: Collection[int], generator: torch.Generator) -> int | None:
        """As the protocol says."""
        if len(taken) >= len(self._bin_of):
            return None
        while True:
            number = self._entering.next(generator)
            for _ in range(self._sizes[number]):
                face = self._faces[number].next(generator)
                if face not in taken:
                    return face

    def put(self, slot: int, face: int) -> None:
        """As the protocol says."""
        before = self._bin_in_slot.get(slot)
        if before is not None:
            self._slots[before].remove(slot)
        number = int(self._bin_of[face])
        self._bin_in_slot[slot] = number
        bisect.insort(self._slots[number], slot)

    def choose(self, held: int, count: int, generator: torch.Generator) -> Tensor:
        """As the protocol says; bins of which no face is held are passed over."""
        chosen: list[int] = []
        while len(chosen) < count:
            slots = self._slots[self._drawn.next(generator)]
            if slots:
                chosen.append(slots[int(torch.randint(len(slots), (1,), generator=generator))])
        return torch.tensor(chosen, dtype=torch.int64)

    def state(self) -> dict[str, Tensor]:
        """As the protocol says."""
        left = [list(cycle.left) for cycle in self._faces]
        values = {
            "bins_entering": list(self._entering.left),
            "bins_drawn": list(self._drawn.left),
            "order": [face for faces in left for face in faces],
            "order_sizes": [len(faces) for faces in left],
        }
        return {name: torch.tensor(value, dtype=torch.int64) for name, value in values.items()}

    def restore(self, state: dict[str, Tensor], slots: Sequence[int]) -> None:
        """As the protocol says. A state saved without uniform yaw starts the cycles anew."""
        if "bins_drawn" in state:
            self._entering.left = deque(state["bins_entering"].tolist())
            self._drawn.left = deque(state["bins_drawn"].tolist())
            order = iter(state["order"].tolist())
            for cycle, size in zip(self._faces, state["order_sizes"].tolist(), strict=True):
                cycle.left = deque(itertools.islice(order, size))
        for slot, face in enumerate(slots):
            self.put(slot, face)


class _ShuffledCycle:
    """The same items over and over, every round in a new order."""

    def __init__(self, items: Sequence[int]) -> None:
        self._items = items
        self.left: deque[int] = deque()
        """Items of the present round still to come."""

    def next(self, generator: torch.Generator) -> int:
        if not self.left:
            order = torch.randperm(len(self._items), generator=generator).tolist()
            self.left.extend(self._items[place] for place in order)
        return self.left.popleft()


def shard(names: Sequence[str], rank: int, world: int, seed: int) -> list[str]:
    """The faces of one of several processes that train together: disjoint, of equal number within one, all covered.

    Args:
        rank: 0 to ``world`` - 1. seed: of the order they are dealt in, the same in every process.

    Returns:
        All names where there are fewer faces than processes.
    """
    if world <= 1 or len(names) < world:
        return list(names)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    return [names[index] for index in sorted(order[rank::world])]


def mixed_seed(*numbers: int) -> int:
    """One seed out of several numbers; different ones give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
