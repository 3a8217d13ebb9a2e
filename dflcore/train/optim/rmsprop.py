"""RMSprop as the reference has it.

Source: measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dflcore.train.optim.sliced import Slice, SlicedOptimizer, move


class RMSprop(SlicedOptimizer):
    """a ← decay a + (1-decay) g²;  weight ← weight - lr g / (√a + eps).

    Args:
        lr: learning rate, a float or a tensor of shape (). decay: of the mean of squares.
        lr_dropout, offload: see :class:`SlicedOptimizer`.

    State: ``step``, ``square_avg`` (a).
    """

    state_names: ClassVar[tuple[str, ...]] = ("square_avg",)

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        decay: float = 0.9,
        eps: float = 1e-6,
        lr_dropout: float = 0.0,
        offload: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "decay": decay, "eps": eps}, lr_dropout, offload)

    def update(self, part: Slice, group: dict[str, Any]) -> None:
        squares = part.states["square_avg"]
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, part.gradients, part.gradients, 1.0 - group["decay"])
        roots = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(roots, group["eps"])
        move(part, part.gradients, roots, group)
