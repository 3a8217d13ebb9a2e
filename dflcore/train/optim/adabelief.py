"""AdaBelief: long steps where the gradient is what was expected of it.

Source: Zhuang et al., arXiv:2010.07468, algorithm 2, without bias correction; constants as measured facts of
DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dflcore.train.optim.sliced import Slice, SlicedOptimizer, move


class AdaBelief(SlicedOptimizer):
    """m ← β1 m + (1-β1) g;  s ← β2 s + (1-β2) (g - m)²;  weight ← weight - lr m / (√s + eps).

    Without bias correction the first steps are up to 3.5 times as long as ``lr``, so begin with a warm-up.
    The reference adds gradients up over the batch where ours are means, so its ``eps`` weighs a batch size less.

    Args:
        lr: learning rate, a float or a tensor of shape (). beta1, beta2: decays of m and s.
        lr_dropout, offload: see :class:`SlicedOptimizer`.

    State: ``step``, ``exp_avg`` (m), ``exp_avg_sq`` (s).
    """

    state_names: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        lr_dropout: float = 0.0,
        offload: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}, lr_dropout, offload)

    def update(self, part: Slice, group: dict[str, Any]) -> None:
        means, spreads = part.states["exp_avg"], part.states["exp_avg_sq"]
        torch._foreach_lerp_(means, part.gradients, 1.0 - group["beta1"])
        surprise = torch._foreach_sub(part.gradients, means)
        torch._foreach_mul_(spreads, group["beta2"])
        torch._foreach_addcmul_(spreads, surprise, surprise, 1.0 - group["beta2"])
        del surprise  # its memory, still in the cache, is the next line's
        roots = list(torch._foreach_sqrt(spreads))
        torch._foreach_add_(roots, group["eps"])
        move(part, means, roots, group)
