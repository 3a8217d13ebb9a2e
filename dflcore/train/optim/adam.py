"""Adam whose weights may rest, and whose state may live in main memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dflcore.train.optim.sliced import Slice, SlicedOptimizer, draw_moving


class SlicedAdam(SlicedOptimizer):
    """Adam with bias correction (arXiv:1412.6980), the fused kernel of torch on each slice.

    torch's own fused Adam is faster; this one is for what that one cannot do.

    Args:
        lr: learning rate, a float or a tensor of shape (). beta1, beta2, eps: as the paper's.
        lr_dropout, offload: see :class:`SlicedOptimizer`.

    State: ``step``, ``exp_avg``, ``exp_avg_sq``, as torch's Adam.
    """

    state_names: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        lr_dropout: float = 0.0,
        offload: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}, lr_dropout, offload)

    def update(self, part: Slice, group: dict[str, Any]) -> None:
        before = torch._foreach_clone(part.weights) if group["lr_dropout"] else None
        torch._fused_adam_(
            part.weights,
            part.gradients,
            part.states["exp_avg"],
            part.states["exp_avg_sq"],
            [],
            part.steps,
            lr=group["lr"],
            beta1=group["beta1"],
            beta2=group["beta2"],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
        if before is not None:  # lerp by exactly 0 or 1 is exact
            moving = draw_moving(part.weights, group["lr_dropout"])
            torch._foreach_lerp_(before, part.weights, moving)
            torch._foreach_copy_(part.weights, before)
