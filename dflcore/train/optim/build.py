"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.train.optim.adabelief import AdaBelief
from dflcore.train.optim.adam import SlicedAdam
from dflcore.train.optim.rmsprop import RMSprop
from dflcore.train.optim.sliced import has_layout_of

OPTIMIZERS = ("adam", "adabelief", "rmsprop")


def build_optimizer(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    beta2: float,
    *,
    name: str = "adam",
    beta1: float = 0.9,
    lr_dropout: float = 0.0,
    offload: bool = False,
) -> torch.optim.Optimizer:
    """The optimiser of that name over all parameters, as one group.

    Args:
        learning_rate: until :func:`set_learning_rate` says otherwise.
        beta2: decay of the mean of squares. beta1: decay of the mean gradient; RMSprop has none.
        name: one of :data:`OPTIMIZERS`.
        lr_dropout: share of the weights that rests in each step, 0..1.
        offload: keep the state of weights on a GPU in main memory.

    Raises:
        InvalidInput: there is no such optimiser.
    """
    parameters = list(parameters)
    if name == "adam" and not lr_dropout and not offload:
        optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(beta1, beta2), fused=True)
        optimizer.register_step_pre_hook(_lay_out_alike)
        return optimizer
    if name == "adam":
        return SlicedAdam(
            parameters, lr=learning_rate, beta1=beta1, beta2=beta2, lr_dropout=lr_dropout, offload=offload
        )
    if name == "adabelief":
        return AdaBelief(parameters, lr=learning_rate, beta1=beta1, beta2=beta2, lr_dropout=lr_dropout, offload=offload)
    if name == "rmsprop":
        return RMSprop(parameters, lr=learning_rate, decay=beta2, lr_dropout=lr_dropout, offload=offload)
    raise InvalidInput(
        f"There is no optimiser called {name!r}; choose one of {', '.join(OPTIMIZERS)}.",
        reason="NO_SUCH_OPTIMIZER",
        field="optimizer",
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Same rate for all parameter groups; a rate kept as a tensor, as CUDA graphs need it, changes in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def _lay_out_alike(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    """On a CPU, torch 2.13's fused Adam takes memory as it comes: with a gradient or state in another layout than the
    weight's it pairs wrong numbers and says nothing.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            if not has_layout_of(weight.grad, weight):
                weight.grad = torch.empty_like(weight, requires_grad=False).copy_(weight.grad)
            state = optimizer.state.get(weight, {})
            for name, tensor in state.items():
                if tensor.shape == weight.shape and not has_layout_of(tensor, weight):
                    state[name] = torch.empty_like(weight, requires_grad=False).copy_(tensor)
