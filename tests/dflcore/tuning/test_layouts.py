"""Layout layer by layer: the cheapest way through a network, and results that do not change."""

import copy

import pytest
import torch
from torch import nn

from dflcore.models.registry import load_preset
from dflcore.tuning.layers import LayerShape, LayerUse
from dflcore.tuning.layouts import apply_layouts, plan_layouts, uniform_plan
from dflcore.tuning.speed import PIXELWISE, PLAIN, LayerTimes

LAST, FIRST = torch.channels_last, torch.contiguous_format


def uses_of(*sides: int) -> list[LayerUse]:
    return [
        LayerUse(f"layer{index}", LayerShape(kind="conv", batch=1, inputs=8, outputs=8, height=side, width=side))
        for index, side in enumerate(sides)
    ]


def times_of(uses: list[LayerUse], seconds: list[tuple[float, float]], copy_s: float) -> LayerTimes:
    table = {use.shape: {PLAIN.name: a, PIXELWISE.name: b} for use, (a, b) in zip(uses, seconds, strict=True)}
    return LayerTimes(table, copy_s / uses[0].shape.input_bytes, 1.0)


def test_every_layer_gets_its_own_layout_where_changes_are_free() -> None:
    uses = uses_of(4, 8, 16)
    plan, total = plan_layouts(uses, times_of(uses, [(1.0, 2.0), (2.0, 1.0), (1.0, 3.0)], 0.0))
    assert plan == {"layer0": FIRST, "layer1": LAST, "layer2": FIRST}
    assert total == pytest.approx(3.0)


def test_a_change_that_costs_more_than_it_brings_is_left_out() -> None:
    uses = uses_of(4, 4, 4)
    uses = [
        LayerUse(use.name, LayerShape(kind="conv", batch=1, inputs=8, outputs=8 + i, height=4, width=4))
        for i, use in enumerate(uses)
    ]
    plan, total = plan_layouts(uses, times_of(uses, [(1.0, 2.0), (2.0, 1.0), (1.0, 3.0)], 0.6))
    assert set(plan.values()) == {FIRST}
    assert total == pytest.approx(4.0)


def test_the_plan_is_the_cheapest_of_all() -> None:
    seconds = [(1.0, 1.3), (3.0, 1.0), (2.0, 2.1), (1.0, 4.0), (2.0, 1.0)]
    uses = [
        LayerUse(f"layer{i}", LayerShape(kind="conv", batch=1, inputs=8, outputs=8 + i, height=4, width=4))
        for i in range(5)
    ]
    _, total = plan_layouts(uses, times_of(uses, seconds, 0.5))
    every = []
    for choice in range(2**5):
        states = [choice >> i & 1 for i in range(5)]
        changes = sum(0.5 for i, state in enumerate(states) if i and state != states[i - 1])
        every.append(sum(seconds[i][state] for i, state in enumerate(states)) + changes)
    assert total == pytest.approx(min(every))


def test_layers_nobody_measured_follow_their_neighbours() -> None:
    uses = uses_of(4, 8, 16)
    times = LayerTimes({uses[0].shape: {PLAIN.name: 2.0, PIXELWISE.name: 1.0}}, 1e-9, 0.5)
    assert set(plan_layouts(uses, times)[0].values()) == {LAST}


@pytest.mark.parametrize("preset_name", ["df-ud", "quick"])
def test_layouts_change_no_result_no_name_and_no_saved_weight(preset_name: str) -> None:
    torch.manual_seed(0)
    small = {"df-ud": {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}}
    preset = load_preset(preset_name)
    overrides = small.get(preset_name, {"resolution": 64, "code_dims": 16, "e_dims": 8})
    model = preset.build(preset.resolve_network(overrides))
    twin = copy.deepcopy(model)
    plan = {name: (LAST, FIRST)[index % 2] for index, name in enumerate(uniform_plan(model, LAST))}
    parameters = dict(model.named_parameters())
    applied = apply_layouts(model, plan)

    faces = {name: torch.rand(2, 3, 64, 64) for name in model.identities}
    for one, other in ((model, twin),):
        painted, plain = one.reconstruct(faces), other.reconstruct(faces)
        for name in faces:
            torch.testing.assert_close(painted[name].face, plain[name].face, atol=1e-5, rtol=1e-4)
        sum(p.face.square().mean() for p in painted.values()).backward()
        sum(p.face.square().mean() for p in plain.values()).backward()
    for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert one is parameters[name]
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-3)
            assert one.grad.stride() == one.stride()  # the optimiser stays on its fast path

    twin.load_state_dict(model.state_dict())
    model.load_state_dict(twin.state_dict())
    weight = model.get_submodule(next(iter(plan))).weight
    assert weight.is_contiguous(memory_format=LAST)
    applied.remove()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_plan_of_another_model_is_refused() -> None:
    with pytest.raises(KeyError):
        apply_layouts(nn.Sequential(nn.Conv2d(3, 3, 1)), {"decoder.conv": LAST})
