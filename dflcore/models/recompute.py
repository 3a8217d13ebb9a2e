"""Activation checkpointing: parts of a network that are computed again in the backward pass, to need less memory.

A part between two checkpoints keeps its inputs only, not what its layers made of them; the backward pass computes the
part once more. Parameters keep their names and values, losses and gradients stay the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dflcore.errors import Unsupported

_Result = TypeVar("_Result")


class Recomputable(nn.Module):
    """A module that can compute its parts twice instead of remembering them.

    Attributes:
        recompute: whether it does; see :func:`checkpoint_activations`.
    """

    recompute: bool = False

    def part(self, compute: Callable[..., _Result], *inputs: Any) -> _Result:
        """What ``compute`` makes of the inputs. It must not draw random numbers."""
        if self.recompute and torch.is_grad_enabled():
            again = checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False)
            return cast("_Result", again)
        return compute(*inputs)


def checkpoint_activations(model: nn.Module, *, enabled: bool = True) -> None:
    """Let every part of ``model`` that can be recomputed be so in backward passes from now on, or no longer.

    Raises:
        Unsupported: it has no such part; networks of other packages inherit from :class:`Recomputable` to have one.
    """
    parts = [module for module in model.modules() if isinstance(module, Recomputable)]
    if not parts and enabled:
        raise Unsupported(
            f"The network {type(model).__name__} has no part that can be computed twice; switch "
            "checkpoint_activations off, or take one of the product's own presets.",
            reason="NOT_RECOMPUTABLE",
            field="checkpoint_activations",
        )
    for module in parts:
        module.recompute = enabled
