"""How many bytes of tensors are alive while code runs, and how many were at the worst moment."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory of all tensors made while it is entered, as long as anybody holds them.

    It sees what torch itself allocates for tensors, not the scratch memory inside one kernel. Memory is counted once,
    however many views there are of it. Works on tensors with numbers and without, and on the thread that entered it:
    backward passes on a CPU included.

    Attributes:
        live: bytes alive now. peak: most bytes ever alive.
        at_peak: what was alive at that moment, serial number → bytes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.at_peak: dict[int, int] = {}
        self._alive: dict[int, int] = {}
        self._serials: dict[int, int] = {}
        self._ignored: set[int] = set()
        self._numbers = count()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Leave the memory of these out; they must outlive the counting."""
        self._ignored |= {_address(tensor) for tensor in tensors}

    def alive(self) -> dict[int, int]:
        """What is alive now, serial number → bytes."""
        return dict(self._alive)

    def serial_of(self, tensor: Tensor) -> int | None:
        """Number of the tensor's memory in :meth:`alive`, None for memory that is not counted."""
        return self._serials.get(_address(tensor))

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf)
        return result

    def _watch(self, tensor: Tensor) -> None:
        storage, address = tensor.untyped_storage(), _address(tensor)
        size = storage.nbytes()
        if address in self._serials or address in self._ignored or not size:
            return
        serial = next(self._numbers)
        self._serials[address] = serial
        self._alive[serial] = size
        self.live += size
        weakref.finalize(storage, self._forget, address, serial)
        if self.live > self.peak:
            self.peak = self.live
            self.at_peak = dict(self._alive)

    def _forget(self, address: int, serial: int) -> None:
        self.live -= self._alive.pop(serial)
        if self._serials.get(address) == serial:
            del self._serials[address]


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
