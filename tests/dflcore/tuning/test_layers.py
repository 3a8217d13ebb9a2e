"""Which layers a network runs: their shapes, order and count, without computing anything."""

import pytest
import torch
from torch import nn

from dflcore.models.registry import load_preset
from dflcore.tuning.layers import LayerShape, count_shapes, trace_layers


class Small(nn.Module):
    """Two convolutions, one of them used twice, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.twice = nn.Conv2d(8, 8, 3, padding=1)
        self.dense = nn.Linear(8 * 8 * 8, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.twice(self.twice(self.conv(x))).flatten(1))


def run_small(model: nn.Module, batch_size: int) -> torch.Tensor:
    return model(torch.zeros(batch_size, 3, 16, 16))


def test_layers_are_listed_in_the_order_they_run() -> None:
    uses = trace_layers(Small(), 2, run_small)
    assert [use.name for use in uses] == ["conv", "twice", "twice", "dense"]
    conv, dense = uses[0].shape, uses[-1].shape
    assert (conv.batch, conv.inputs, conv.outputs, conv.height, conv.stride) == (2, 3, 8, 16, (2, 2))
    assert conv.operations == 2 * 2 * (3 * 8 * 25) * 8 * 8
    assert (dense.kind, dense.inputs, dense.outputs, dense.bias) == ("dense", 512, 4, False)
    assert count_shapes(uses)[uses[1].shape] == 2


def test_a_model_is_traced_without_its_weights_and_keeps_no_hooks() -> None:
    preset = load_preset("df")
    with torch.device("meta"):
        model = preset.build(preset.network)
    names = [use.name for use in trace_layers(model, 3)]
    assert "encoder.downs.0.conv" in names
    assert any(name.startswith("decoder_source") for name in names)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.device.type == "meta" for parameter in model.parameters())


@pytest.mark.parametrize("limit", [10**6, 10**8, 10**12])
def test_a_shrunk_layer_keeps_its_channels_and_says_how_much_smaller_it_is(limit: int) -> None:
    shape = LayerShape(kind="conv", batch=8, inputs=64, outputs=128, height=96, width=96, kernel=(3, 3), padding=(1, 1))
    small, factor = shape.shrunk(limit, 10**6)
    assert (small.inputs, small.outputs, small.kernel) == (shape.inputs, shape.outputs, shape.kernel)
    assert small.operations * factor == pytest.approx(shape.operations)
    assert small.operations <= limit or (small.batch, small.height, small.width) == (1, 12, 12)
    layer = small.build(torch.device("cpu"))
    assert layer(torch.zeros(small.input_shape())).shape[2:] == (small.height, small.width)


def test_a_layer_of_many_channels_gives_them_up_before_the_batch_that_shares_its_weights() -> None:
    shape = LayerShape(
        kind="conv", batch=8, inputs=1024, outputs=2048, height=8, width=8, kernel=(3, 3), padding=(1, 1)
    )
    small, factor = shape.shrunk(10**9, 10**6)
    assert (small.batch, small.inputs, small.outputs) == (8, 256, 256)
    assert small.operations * factor == pytest.approx(shape.operations)
    assert small.weight_count * factor == pytest.approx(shape.weight_count), "as much work for each weight as before"


def test_a_shrunk_dense_layer_reads_its_whole_input() -> None:
    small, factor = LayerShape(kind="dense", batch=4, inputs=1000, outputs=5000).shrunk(10**9, 10**6)
    assert (small.inputs, small.outputs, factor) == (1000, 1000, 5.0)
