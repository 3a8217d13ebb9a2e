"""Operations are counted from the network as it runs; kernels alone take some time, and less than everything."""

from __future__ import annotations

import pytest
import torch

from dflcore.bench import flops
from dflcore.bench.flops import measure_kernel_limit, measure_matrix_peak, measure_network
from dflcore.config.network import QuickSettings
from dflcore.models.registry import load_preset

CPU = torch.device("cpu")


def network(**values: int):
    preset = load_preset("quick")
    return preset.build(QuickSettings(**values))


@pytest.fixture(scope="module")
def tiny():
    return network(resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16)


def closed_form(batch: int) -> int:
    """Of the network above: multiplications and additions of every layer, thrice, but no gradient of the picture."""

    def conv(batch: int, side: int, inputs: int, outputs: int) -> int:
        return 2 * batch * side * side * inputs * outputs * 9

    both = 2 * batch
    stem = conv(both, 8, 3 * 16, 8)
    downs = conv(both, 4, 8, 16) + conv(both, 2, 16, 32)
    dense = 2 * both * (32 * 4 * 16 + 16 * 16 * 4)
    decoder = conv(batch, 2, 16, 64) + 2 * conv(batch, 4, 16, 16)
    decoder += conv(batch, 4, 16, 64) + 2 * conv(batch, 8, 16, 16) + conv(batch, 8, 16, 64)
    return 3 * (stem + downs + dense + 2 * decoder) - stem


@pytest.mark.parametrize("batch", [1, 3])
def test_operations_are_those_of_paper_and_pencil(tiny, batch: int) -> None:
    assert measure_network(tiny, batch, CPU).operations == closed_form(batch)


def test_the_network_is_as_it_was(tiny) -> None:
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    measure_network(tiny, 2, CPU)
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    assert all(parameter.grad is None for parameter in tiny.parameters())


def test_layers_that_are_alike_are_one_kind(tiny) -> None:
    calls = measure_network(tiny, 2, CPU).calls
    kinds = {call.layer for call in calls if call.layer[0] == "convolution"}
    assert len(kinds) == 3 + 5  # the decoders are alike, and so are the two convolutions of a shortcut
    backward = torch.ops.aten.convolution_backward.default
    convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in tiny.modules())
    assert sum(count for call, count in calls.items() if call.function is backward) == convolutions


def test_the_limit_takes_every_layer_in_the_layout_that_serves_both_its_passes(
    tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = measure_network(tiny, 2, CPU)
    seconds = {  # backward gains more from channels_last than forward loses; products have but one layout
        (torch.ops.aten.convolution.default, torch.contiguous_format): 1.0,
        (torch.ops.aten.convolution.default, torch.channels_last): 2.0,
        (torch.ops.aten.convolution_backward.default, torch.contiguous_format): 10.0,
        (torch.ops.aten.convolution_backward.default, torch.channels_last): 4.0,
    }
    monkeypatch.setattr(flops, "_prepared", lambda call, layout, device: (call.function, layout))
    monkeypatch.setattr(flops, "_best_seconds", lambda work, device, repeats: seconds.get(work, 0.0))
    convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in tiny.modules())
    assert measure_kernel_limit(cost, CPU) == convolutions * (2.0 + 4.0)


def test_every_call_can_be_made_again(tiny) -> None:
    cost = measure_network(tiny, 2, CPU)
    assert 0.0 < measure_kernel_limit(cost, CPU, repeats=1) < 60.0


def test_the_matrix_peak_is_what_a_processor_does() -> None:
    assert 1e8 < measure_matrix_peak(CPU) < 1e15
