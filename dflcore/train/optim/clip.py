"""Keep gradients short."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], longest: float) -> Tensor:
    """Scale all gradients, in place, so that together they are no longer than ``longest``; never waits for a GPU.

    The reference clips gradients added up over the batch at 1; ours are means, so its limit is 1 / batch size here.
    A gradient that is not finite makes all of them so: whoever watches the loss sees it.

    Returns:
        (), Euclidean length of all gradients together, before clipping.
    """
    by_device: dict[torch.device, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_device.setdefault(parameter.grad.device, []).append(parameter.grad)
    if not by_device:
        return torch.zeros(())
    first = next(iter(by_device))
    norms = [one.to(first) for gradients in by_device.values() for one in torch._foreach_norm(gradients)]
    length: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    if first.type == "cpu" and bool(length <= longest):
        return length  # saves a pass over all gradients; elsewhere asking would wait
    factor = (longest / (length + 1e-6)).clamp(max=1.0)
    for device, gradients in by_device.items():
        torch._foreach_mul_(gradients, factor.to(device, non_blocking=True))
    return length
