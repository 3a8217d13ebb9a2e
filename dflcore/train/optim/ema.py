"""A running mean of the weights, which paints calmer faces than the weights of any one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dflcore.errors import DataCorrupt

_UPDATES = "updates"


class WeightMean:
    """Exponential mean of a model's parameters, kept beside it.

    Early on the mean is shorter, so that the random weights a model starts from are soon forgotten: the n-th update,
    counted from 0, keeps min(decay, (1 + n) / (10 + n)) of it. Buffers are not averaged: the model's own are used.

    Args:
        model: stays the caller's; its parameters may change device or layout only before this is made.
        decay: share of the mean that an update keeps, in the long run.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._parameters = dict(model.named_parameters())
        self._means = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of the step just done into the mean."""
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self._means.values()), list(self._parameters.values()), 1.0 - kept)
        self.updates += 1

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the model has the mean for its weights; do not train there. Nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """Means by parameter name, not copied, and ``updates``: what :meth:`restore` wants."""
        return {**{f"mean.{name}": mean for name, mean in self._means.items()}, _UPDATES: torch.tensor(self.updates)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            DataCorrupt: a mean is missing or has another shape than its weight; nothing was changed.
        """
        for name, mean in self._means.items():
            saved = state.get(f"mean.{name}")
            if saved is None or saved.shape != mean.shape or _UPDATES not in state:
                found = "is missing" if saved is None or _UPDATES not in state else f"has shape {tuple(saved.shape)}"
                raise DataCorrupt(
                    f"The saved mean of {name} {found}; its weights have shape {tuple(mean.shape)}. "
                    "Restore the model from a backup, or train without ema_decay.",
                    reason="WEIGHT_MEAN_DIFFERS",
                    field=name,
                )
        for name, mean in self._means.items():
            mean.copy_(state[f"mean.{name}"])
        self.updates = int(state[_UPDATES])

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self._means[name] = self._means[name], parameter.data
