"""Memory layout layer by layer: each convolution in the one it is fastest in, where that pays for the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dflcore.tuning.layers import LayerUse
from dflcore.tuning.speed import PIXELWISE, PLAIN, LayerTimes

LayoutPlan = Mapping[str, torch.memory_format]
"""Name of a convolution in its model → layout of its weight and of what it reads."""
FORMATS: Final = (torch.contiguous_format, torch.channels_last)
_WAYS: Final = (PLAIN.name, PIXELWISE.name)


def plan_layouts(uses: Sequence[LayerUse], times: LayerTimes) -> tuple[LayoutPlan, float]:
    """The fastest layout of each convolution in float32, changes between neighbours included.

    Layers are taken as a chain in the order they run (the shortest way through two states per layer); that is right
    for the trunk of a network, and for branches it misjudges one change each. Layers that were not measured follow
    their neighbours.

    Returns:
        The plan, and the seconds that a step's measured layers and changes take with it.
    """
    convolutions = [use for use in uses if use.shape.kind == "conv"]
    if not convolutions:
        return {}, 0.0
    costs: list[tuple[float, float]] = [(0.0, 0.0)]
    came_from: list[tuple[int, int]] = []
    for use in convolutions:
        change = times.copy_s_per_byte * use.shape.input_bytes
        measured = times.seconds.get(use.shape, {})
        best = []
        origins = []
        for state, way in enumerate(_WAYS):
            arrivals = [costs[-1][before] + (0.0 if before == state else change) for before in (0, 1)]
            origin = state if arrivals[state] <= arrivals[1 - state] else 1 - state
            origins.append(origin)
            best.append(arrivals[origin] + measured.get(way, 0.0))
        costs.append((best[0], best[1]))
        came_from.append((origins[0], origins[1]))
    state = 0 if costs[-1][0] <= costs[-1][1] else 1
    total = costs[-1][state]
    plan: dict[str, torch.memory_format] = {}
    for use, origins_of in zip(reversed(convolutions), reversed(came_from), strict=True):
        plan[use.name] = FORMATS[state]  # of a layer that runs twice, the first run decides
        state = origins_of[state]
    return dict(reversed(plan.items())), total


def uniform_plan(model: nn.Module, memory_format: torch.memory_format) -> LayoutPlan:
    """The same layout for every convolution."""
    return {name: memory_format for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}


class AppliedLayouts:
    """What :func:`apply_layouts` changed; :meth:`remove` lets inputs be as they come again."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self._handles = list(handles)

    def remove(self) -> None:
        """Stop changing inputs. Weights keep their layout, which changes no result."""
        while self._handles:
            self._handles.pop().remove()


def apply_layouts(model: nn.Module, plan: LayoutPlan) -> AppliedLayouts:
    """Give weights their layout, and bring what a convolution reads into it where it comes otherwise.

    Values, names and shapes of parameters stay; the parameters are the same objects. Call it before the optimiser is
    built, so that its state has the layout of the weights: mixed layouts put it on its slow path.

    Args:
        plan: convolutions it does not name are left alone.

    Raises:
        KeyError: the plan is of another model.
    """
    modules = dict(model.named_modules())
    handles = []
    for name, memory_format in plan.items():
        module = modules[name]
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=memory_format)
        handles.append(module.register_forward_pre_hook(partial(_bring_input, memory_format)))
    return AppliedLayouts(handles)


def _bring_input(memory_format: torch.memory_format, module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0].contiguous(memory_format=memory_format)
