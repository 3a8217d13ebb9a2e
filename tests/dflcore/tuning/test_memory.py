"""Memory computed beforehand: against what training really takes, and the laws it must keep."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from dflcore.models.registry import load_preset
from dflcore.tuning.live_bytes import LiveBytes
from dflcore.tuning.memory import (
    MemoryEstimator,
    TrainedPart,
    TrainingLoad,
    estimate_training_memory,
    paint_and_compare,
)

MIB = 2**20
SMALL = {
    "df": {"resolution": 64, "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 8},
    "df-ud": {"resolution": 96, "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 8},
    "quick": {"resolution": 64, "code_dims": 32, "e_dims": 16},
}
LOAD = TrainingLoad(batch_size=4, on_gpu=False)


def build(name: str, **more: int) -> nn.Module:
    preset = load_preset(name)
    return preset.build(preset.resolve_network({**SMALL[name], **more}))


def segment(module: nn.Module, load: TrainingLoad) -> Tensor:
    return module(torch.zeros(load.batch_size, 3, 48, 48)).square().mean()


CONVOLUTIONS = TrainedPart(nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 16, 3), nn.Tanh()), segment)


@pytest.mark.parametrize("part", [*SMALL, "convolutions"])
def test_activations_are_what_autograd_really_keeps(part: str) -> None:
    trained = CONVOLUTIONS if part == "convolutions" else TrainedPart(build(part), paint_and_compare)
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = trained.run(trained.module, LOAD)
    for parameter in trained.module.parameters():
        saved.pop(parameter.untyped_storage().data_ptr(), None)
    estimate = estimate_training_memory([trained], LOAD)
    assert estimate.activations == pytest.approx(sum(saved.values()), rel=0.25)
    del loss


def allocated_peak(step: Callable[[], None]) -> int:
    """Most bytes that torch's CPU allocator held at once, above those at the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize("name", SMALL)
def test_the_peak_is_what_the_allocator_really_sees(name: str, autocast: torch.dtype | None) -> None:
    model = build(name)
    load = replace(LOAD, autocast=autocast)
    step = lambda: paint_and_compare(model, load).backward()  # noqa: E731
    step()
    model.zero_grad(set_to_none=True)
    real = allocated_peak(step)
    estimate = estimate_training_memory(model, load)
    assert estimate.total - estimate.weights - estimate.optimizer == pytest.approx(real, rel=0.25)


def test_parts_add_up_and_weights_are_exact() -> None:
    model = build("df-ud")
    count = sum(one.numel() for one in model.parameters())
    estimate = estimate_training_memory(model, LOAD)
    parts = (estimate.weights, estimate.gradients, estimate.optimizer, estimate.activations, estimate.workspace)
    assert estimate.total == sum(parts)
    assert (estimate.weights, estimate.optimizer) == (4 * count, 8 * count)
    assert all(one.grad is None for one in model.parameters())
    on_gpu = estimate_training_memory(model, replace(LOAD, on_gpu=True))
    assert on_gpu.total == estimate.total + on_gpu.runtime


def test_a_network_without_memory_of_its_own_is_estimated_alike() -> None:
    preset = load_preset("df-ud")
    with torch.device("meta"):
        model = preset.build(preset.resolve_network(SMALL["df-ud"]))
    assert estimate_training_memory(model, LOAD) == estimate_training_memory(build("df-ud"), LOAD)


def test_options_do_what_they_are_for() -> None:
    estimator = MemoryEstimator(build("df-ud"))
    plain = estimator.estimate(LOAD)
    trained = plain.weights
    on_gpu = replace(LOAD, on_gpu=True)
    assert estimator.estimate(replace(on_gpu, offload_optimizer=True)).optimizer == 0
    assert estimator.estimate(replace(LOAD, offload_optimizer=True)).optimizer == plain.optimizer
    assert estimator.estimate(replace(LOAD, optimizer="rmsprop")).optimizer == trained
    assert estimator.estimate(replace(LOAD, has_mean=True)).weights == 2 * trained
    assert estimator.total(replace(LOAD, checkpoint_activations=True)) < 0.8 * plain.total
    assert estimator.total(replace(LOAD, accumulate_steps=2)) > plain.total
    assert estimator.estimate(replace(LOAD, accumulate_steps=2)).gradients == trained
    assert estimator.total(replace(LOAD, batch_size=8)) > plain.total


def test_bfloat16_keeps_less() -> None:
    estimator = MemoryEstimator(build("df-ud"))
    load = replace(LOAD, batch_size=16)
    half = estimator.estimate(replace(load, autocast=torch.bfloat16))
    assert half.activations < 0.7 * estimator.estimate(load).activations


def test_a_critic_is_counted_once_and_its_part_of_the_step_too() -> None:
    painter, critic = nn.Conv2d(3, 3, 3, padding=1), nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))
    both = nn.ModuleList([painter, critic])

    def paint(module: nn.Module, load: TrainingLoad) -> Tensor:
        return module[1](module[0](torch.zeros(load.batch_size, 3, 32, 32))).mean()

    def judge(module: nn.Module, load: TrainingLoad) -> Tensor:
        return module(torch.zeros(2 * load.batch_size, 3, 32, 32)).mean()

    one = estimate_training_memory([TrainedPart(both, paint)], LOAD)
    two = estimate_training_memory([TrainedPart(both, paint), TrainedPart(critic, judge)], LOAD)
    assert two.weights == one.weights == 4 * sum(p.numel() for p in both.parameters())
    assert two.activations > 1.5 * one.activations  # the critic's own pass, over twice the pictures, is the worst


def test_largest_batch_is_the_last_that_fits() -> None:
    estimator = MemoryEstimator(build("quick"))
    available = estimator.total(replace(LOAD, batch_size=11))
    assert estimator.largest_batch(LOAD, available, 64) == 11
    assert estimator.largest_batch(LOAD, available - 1, 64) == 10
    assert estimator.largest_batch(LOAD, 2**40, 16) == 16
    assert estimator.largest_batch(LOAD, MIB // 2, 64) == 0


def test_live_memory_is_counted_once_and_until_it_is_let_go() -> None:
    with LiveBytes() as counted:
        a = torch.zeros(MIB // 4)
        view = a.view(2, -1)[1]
        assert counted.live == MIB
        b = a + 1
        assert counted.live == 2 * MIB
        assert counted.serial_of(view) == counted.serial_of(a) != counted.serial_of(b)
        del a, b
        assert counted.live == MIB
        del view
        assert counted.live == 0
    assert counted.peak == 2 * MIB
    assert sum(counted.at_peak.values()) == counted.peak
