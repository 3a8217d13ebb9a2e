"""Random batches drawn from one pool of decoded faces: what stays the same, whatever is made of the faces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dflcore.errors import DataCorrupt, NotFound
from dflcore.progress import Notice
from dflcore.train.dataset import Decoder, FacePool


class PooledBatches:
    """A pool of faces and the random state batches are drawn with; both go on after a resume as if never stopped.

    Args:
        decoder: turns names into faces. names: all faces to learn from.
        state_name: what its part of a saved generation is called; never change it.
        side: what its faces are called in messages.
        batch_size: faces drawn at once. budget_bytes: most memory for decoded faces. seed: of everything random here.
        planes: of a decoded face.
    """

    def __init__(
        self,
        decoder: Decoder,
        names: Sequence[str],
        *,
        state_name: str,
        side: str,
        batch_size: int,
        budget_bytes: int,
        seed: int,
        planes: int = 4,
    ) -> None:
        self._state_prefix = f"batches.{state_name}."
        self._generator = torch.Generator().manual_seed(seed)
        self._pool = FacePool(
            decoder, names, budget_bytes=budget_bytes, batch_size=batch_size, seed=seed, side=side, planes=planes
        )

    def take_notices(self) -> list[Notice]:
        """Faces that could not be read since the last call."""
        notices, self._pool.notices = self._pool.notices, []
        return notices

    def state(self) -> dict[str, Tensor]:
        """For :meth:`restore`: the random state and what the pool holds."""
        inner = {"draws": self._generator.get_state(), **self._pool.state()}
        return {self._state_prefix + name: tensor for name, tensor in inner.items()}

    def restore(self, saved: dict[str, Tensor]) -> bool:
        """Go on as saved; False, starting afresh, when the faces changed since."""
        prefix = self._state_prefix
        inner = {name[len(prefix) :]: tensor for name, tensor in saved.items() if name.startswith(prefix)}
        if not inner or not self._pool.restore(inner):
            return False
        self._generator.set_state(inner["draws"])
        return True

    def close(self) -> None:
        """Stop the loader thread."""
        self._pool.close()


def decode_readable(decode: Callable[[str], Tensor], names: Sequence[str], planes: int, size: int) -> Tensor:
    """Those of a few faces that can be read, for previews: (n, planes, size, size) uint8 on the CPU.

    Call it before the first batch: from then on the facesets belong to the pool's loader thread.
    """
    faces = []
    for name in names:
        with contextlib.suppress(NotFound, DataCorrupt):
            faces.append(decode(name))
    return torch.stack(faces) if faces else torch.empty(0, planes, size, size, dtype=torch.uint8)
