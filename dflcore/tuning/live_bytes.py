"""How many bytes of tensors are alive while code runs, and how many were at the worst moment."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory of all tensors made while it is entered, as long as anybody holds them.

    It sees what torch itself allocates for tensors, not the scratch memory inside one kernel. Storages are counted
    once, however many views there are. Works on tensors with numbers and without.

    Attributes:
        live: bytes alive now. peak: most bytes ever alive.
        at_peak: storages alive at that moment, id → bytes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.at_peak: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._ignored: set[int] = set()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Leave these out, whatever is made of them in place or as views."""
        self._ignored |= {storage_id(tensor) for tensor in tensors}

    def storages(self) -> dict[int, int]:
        """Storages alive now, id → bytes."""
        return dict(self._sizes)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf.untyped_storage())
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self._sizes or name in self._ignored or not size:
            return
        self._sizes[name] = size
        self.live += size
        weakref.finalize(storage, self._forget, name)
        if self.live > self.peak:
            self.peak = self.live
            self.at_peak = dict(self._sizes)

    def _forget(self, name: int) -> None:
        self.live -= self._sizes.pop(name, 0)


def storage_id(tensor: Tensor) -> int:
    """Same for all views of one piece of memory."""
    return int(tensor.untyped_storage()._cdata)
