"""The layers that cost a network its time, as it really meets them: convolutions and dense layers with their inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dflcore.tuning.twin import Run, paint_everybody, without_numbers

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One layer and its input, as far as speed depends on it.

    Attributes:
        kind: ``conv`` or ``dense``. batch: pictures at once. inputs, outputs: channels.
        height, width: of the input in pixels; 1 for dense layers.
        kernel, stride, padding, dilation, groups, bias: of the convolution.
    """

    kind: Literal["conv", "dense"]
    batch: int
    inputs: int
    outputs: int
    height: int = 1
    width: int = 1
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair | str = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True

    @property
    def weight_count(self) -> int:
        """Numbers in the weight."""
        return self.inputs * self.outputs * self.kernel[0] * self.kernel[1] // self.groups

    @property
    def operations(self) -> int:
        """Floating-point operations of one forward pass, borders counted as if padded."""
        positions = -(-self.height // self.stride[0]) * -(-self.width // self.stride[1])
        return 2 * self.batch * self.weight_count * positions

    @property
    def input_bytes(self) -> int:
        """Of the input in float32."""
        return 4 * self.batch * self.inputs * self.height * self.width

    def shrunk(self, operations: int, weights: int) -> tuple[LayerShape, float]:
        """A smaller layer that is as fast per operation, as far as one can tell, and how many times smaller it is.

        Fewer of very many channels first: with all of them and a single picture, moving the weights would decide, which
        the whole batch shares. Then fewer pictures, rows and columns, because channels and rows decide which kernel
        runs. Dense layers, bound by reading their weight, get fewer outputs.

        Args:
            operations: most operations of a forward pass wanted. weights: most numbers in a dense layer's weight.
        """
        small = self
        if self.kind == "dense":
            outputs = max(1, min(self.outputs, weights // self.inputs))
            return replace(self, outputs=outputs), self.outputs / outputs
        while (
            self.groups == 1 and small.operations > operations and max(small.inputs, small.outputs) >= 2 * MANY_CHANNELS
        ):
            if small.outputs >= small.inputs:
                small = replace(small, outputs=small.outputs // 2)
            else:
                small = replace(small, inputs=small.inputs // 2)
        while small.operations > operations and small.batch > 1:
            small = replace(small, batch=small.batch // 2)
        while small.operations > operations and small.height >= 2 * SMALLEST_SIDE_PX:
            small = replace(small, height=small.height // 2)
        while small.operations > operations and small.width >= 2 * SMALLEST_SIDE_PX:
            small = replace(small, width=small.width // 2)
        return small, self.operations / small.operations

    def build(self, device: torch.device) -> nn.Module:
        """Such a layer, with random weights."""
        if self.kind == "dense":
            return nn.Linear(self.inputs, self.outputs, bias=self.bias, device=device)
        return nn.Conv2d(
            self.inputs,
            self.outputs,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
            device=device,
        )

    def input_shape(self) -> tuple[int, ...]:
        """Of the tensor the layer reads."""
        if self.kind == "dense":
            return (self.batch, self.inputs)
        return (self.batch, self.inputs, self.height, self.width)


MANY_CHANNELS = 256
"""From here on a convolution's speed per operation hardly depends on how many channels there are."""
SMALLEST_SIDE_PX = 8
"""Pictures are not made lower or narrower than this to save time: their borders would decide."""


@dataclass(frozen=True, slots=True)
class LayerUse:
    """A layer in action; one that runs twice is listed twice. ``name``: of the module in its model."""

    name: str
    shape: LayerShape


def trace_layers(model: nn.Module, batch_size: int, run: Run = paint_everybody) -> list[LayerUse]:
    """Which layers run, in that order, when the model handles a batch. Nothing is computed.

    Args:
        batch_size: faces of each person.
        run: what a training step does with the model.
    """
    uses: list[LayerUse] = []
    with without_numbers(model) as twin, torch.no_grad():
        for name, module in twin.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_pre_hook(_recorder(name, uses))
        run(twin, batch_size)
    return uses


def count_shapes(uses: Sequence[LayerUse]) -> Counter[LayerShape]:
    """How often each shape runs."""
    return Counter(use.shape for use in uses)


def _recorder(name: str, uses: list[LayerUse]) -> Any:
    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        uses.append(LayerUse(name, _shape_of(module, inputs[0])))

    return record


def _shape_of(module: nn.Module, x: Tensor) -> LayerShape:
    if isinstance(module, nn.Linear):
        return LayerShape(
            kind="dense",
            batch=x.numel() // module.in_features,
            inputs=module.in_features,
            outputs=module.out_features,
            bias=module.bias is not None,
        )
    assert isinstance(module, nn.Conv2d)
    padding = module.padding
    return LayerShape(
        kind="conv",
        batch=x.shape[0],
        inputs=module.in_channels,
        outputs=module.out_channels,
        height=x.shape[2],
        width=x.shape[3],
        kernel=(module.kernel_size[0], module.kernel_size[1]),
        stride=(module.stride[0], module.stride[1]),
        padding=padding if isinstance(padding, str) else (padding[0], padding[1]),
        dilation=(module.dilation[0], module.dilation[1]),
        groups=module.groups,
        bias=module.bias is not None,
    )
