"""Optimisers against the same formulas, one number at a time."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dflcore.errors import InvalidInput
from dflcore.train.optim import sliced
from dflcore.train.optim.build import OPTIMIZERS, build_optimizer, set_learning_rate
from dflcore.train.optim.sliced import SlicedOptimizer, draw_moving

RATE = 1e-2
STEPS = 20
BETA2 = {"adam": 0.999, "adabelief": 0.999, "rmsprop": 0.9}


def gradients(shape: tuple[int, ...], steps: int = STEPS, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(steps)]


def start(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> nn.Parameter:
    generator = torch.Generator().manual_seed(5)
    return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))


def run(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], grads: list[list[torch.Tensor]]) -> None:
    for step in zip(*grads, strict=True):
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient.clone(memory_format=torch.preserve_format)
        optimizer.step()


def by_hand(name: str, weight: float, grads: list[float]) -> float:
    first = second = 0.0
    for step, gradient in enumerate(grads, 1):
        if name == "rmsprop":
            second = 0.9 * second + 0.1 * gradient**2
            weight -= RATE * gradient / (math.sqrt(second) + 1e-6)
            continue
        first = 0.9 * first + 0.1 * gradient
        if name == "adabelief":
            second = 0.999 * second + 0.001 * (gradient - first) ** 2
            weight -= RATE * first / (math.sqrt(second) + 1e-6)
        else:
            second = 0.999 * second + 0.001 * gradient**2
            unbiased = second / (1 - 0.999**step)
            weight -= RATE * (first / (1 - 0.9**step)) / (math.sqrt(unbiased) + 1e-8)
    return weight


def made(name: str, weights: list[nn.Parameter], **options: object) -> torch.optim.Optimizer:
    return build_optimizer(weights, RATE, BETA2[name], name=name, **options)


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_agree_with_the_formula(name: str, offload: bool) -> None:
    weight, grads = start((3, 4)), gradients((3, 4))
    expected = [
        by_hand(name, one, [float(gradient.flatten()[index]) for gradient in grads])
        for index, one in enumerate(weight.detach().flatten().tolist())
    ]
    run(made(name, [weight], offload=offload), [weight], [grads])
    np.testing.assert_allclose(weight.detach().flatten().numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["adabelief", "rmsprop"])
def test_slices_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(40, 3, 3, 3), (40,), (7, 5), (1,)]
    results = []
    for size in (2**18, 16):
        monkeypatch.setattr(sliced, "CPU_SLICE", size)
        weights = [start(shape, torch.float32) for shape in shapes]
        run(made(name, weights), weights, [gradients(shape, 3, torch.float32) for shape in shapes])
        results.append([weight.detach() for weight in weights])
    for whole, in_slices in zip(*results, strict=True):
        assert torch.equal(whole, in_slices)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lr_dropout", [0.0, 0.5])
def test_memory_layout_of_weights_and_gradients_does_not_matter(
    name: str, dtype: torch.dtype, lr_dropout: float
) -> None:
    shape = (6, 4, 3, 3)
    torch.manual_seed(1)
    plain = start(shape, dtype)
    run(made(name, [plain], lr_dropout=lr_dropout), [plain], [gradients(shape, 3, dtype)])
    for of_weight, of_gradient in (
        (torch.channels_last, torch.contiguous_format),
        (torch.contiguous_format, torch.channels_last),
        (torch.channels_last, torch.channels_last),
    ):
        torch.manual_seed(1)
        weight = nn.Parameter(start(shape, dtype).detach().to(memory_format=of_weight))
        grads = [gradient.to(memory_format=of_gradient) for gradient in gradients(shape, 3, dtype)]
        optimizer = made(name, [weight], lr_dropout=lr_dropout)
        run(optimizer, [weight], [grads])
        state = [one for key, one in optimizer.state[weight].items() if key != "step"]
        assert all(one.stride() == weight.stride() for one in state)
        if not lr_dropout:  # which weights rest is drawn in the order of memory
            torch.testing.assert_close(weight.detach().contiguous(), plain.detach())


def test_weights_of_several_types_and_without_gradient() -> None:
    weights = [start((5,)), start((5,), torch.float32), start((3,))]
    optimizer = made("adabelief", weights)
    alone = start((5,), torch.float32)
    for gradient in gradients((5,)):
        weights[0].grad, weights[1].grad = gradient.clone(), gradient.float()
        optimizer.step()
    run(made("adabelief", [alone]), [alone], [gradients((5,), dtype=torch.float32)])
    assert torch.equal(weights[1], alone)
    assert torch.equal(weights[2], start((3,)))
    assert weights[2] not in optimizer.state


def test_a_weight_with_gaps_in_memory_learns_too() -> None:
    whole, view = start((8, 6)), start((8, 6))
    gappy = nn.Parameter(torch.zeros(8, 12, dtype=torch.float64)[:, ::2])
    with torch.no_grad():
        gappy.copy_(view)
    run(made("adabelief", [whole]), [whole], [gradients((8, 6), 4)])
    run(made("adabelief", [gappy]), [gappy], [gradients((8, 6), 4)])
    torch.testing.assert_close(gappy.detach(), whole.detach())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_right_share_rests_while_the_state_goes_on(name: str) -> None:
    size = 400_001
    weight, rested = start((size,), torch.float32), start((size,), torch.float32)
    whole = made(name, [weight])
    dropped = made(name, [rested], lr_dropout=0.7)
    gradient = gradients((size,), 1, torch.float32)
    before = rested.detach().clone()
    run(whole, [weight], [gradient])
    run(dropped, [rested], [gradient])
    rests = rested.detach() == before
    assert float(rests.float().mean()) == pytest.approx(0.7, abs=0.004)
    assert float(rests[::4].float().mean()) == pytest.approx(0.7, abs=0.008)  # no lane of the random bits is special
    assert float(rests[3::4].float().mean()) == pytest.approx(0.7, abs=0.008)
    torch.testing.assert_close(rested.detach()[~rests], weight.detach()[~rests])
    for key, state in whole.state[weight].items():
        torch.testing.assert_close(dropped.state[rested][key], state)
        assert bool(state.ne(0).all())


def test_weights_rest_independently_of_each_other_and_of_the_last_step() -> None:
    torch.manual_seed(0)
    one, two = (draw_moving([torch.empty(200_000)], 0.7)[0] for _ in range(2))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    for left, right in ((one, two), (one[1:], one[:-1]), (one[4:], one[:-4])):
        assert float((left * right).mean()) == pytest.approx(0.09, abs=0.004)
    assert bool(draw_moving([torch.empty(1000)], 0.0)[0].all())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_going_on_from_saved_state_is_going_on(name: str) -> None:
    grads = gradients((30, 4), STEPS, torch.float32)
    torch.manual_seed(3)
    never_stopped = start((30, 4), torch.float32)
    run(made(name, [never_stopped], lr_dropout=0.4), [never_stopped], [grads])

    torch.manual_seed(3)
    first = start((30, 4), torch.float32)
    optimizer = made(name, [first], lr_dropout=0.4)
    run(optimizer, [first], [grads[:8]])
    saved = {key: state.clone() for key, state in optimizer.state[first].items()}
    random, weights = torch.get_rng_state(), first.detach().clone()

    torch.manual_seed(99)
    again = nn.Parameter(weights)
    optimizer = made(name, [again], lr_dropout=0.4)
    optimizer.state[again] = saved
    torch.set_rng_state(random)
    run(optimizer, [again], [grads[8:]])
    assert torch.equal(again, never_stopped)
    assert float(optimizer.state[again]["step"]) == STEPS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_restored_before_the_model_changed_its_layout(name: str) -> None:
    grads = gradients((6, 4, 3, 3), 6)
    plain, moved = start((6, 4, 3, 3)), start((6, 4, 3, 3))
    run(made(name, [plain]), [plain], [grads])
    optimizer = made(name, [moved])
    run(optimizer, [moved], [grads[:3]])
    moved.data = moved.data.to(memory_format=torch.channels_last)
    run(optimizer, [moved], [grads[3:]])
    torch.testing.assert_close(moved.detach().contiguous(), plain.detach())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_are_named_for_saving(name: str) -> None:
    weight = start((2, 2))
    optimizer = made(name, [weight], lr_dropout=0.1)
    run(optimizer, [weight], [gradients((2, 2), 2)])
    expected = {"step", "square_avg"} if name == "rmsprop" else {"step", "exp_avg", "exp_avg_sq"}
    assert set(optimizer.state[weight]) == expected
    copy = start((2, 2))
    other = made(name, [copy], lr_dropout=0.1)
    other.load_state_dict(optimizer.state_dict())
    for key, state in optimizer.state[weight].items():
        torch.testing.assert_close(other.state[copy][key], state)


@pytest.mark.parametrize("name", ["adabelief", "rmsprop"])
def test_a_rate_kept_as_a_tensor_changes_in_place(name: str) -> None:
    plain, weight = start((3, 4)), start((3, 4))
    run(made(name, [plain]), [plain], [gradients((3, 4))])
    optimizer = made(name, [weight])
    rate = torch.tensor(1.0, dtype=torch.float64)
    optimizer.param_groups[0]["lr"] = rate
    set_learning_rate(optimizer, RATE)
    assert float(rate) == RATE
    run(optimizer, [weight], [gradients((3, 4))])
    torch.testing.assert_close(weight.detach(), plain.detach())


def test_a_closure_is_asked_for_the_loss() -> None:
    weight = start((4,))
    optimizer = made("adabelief", [weight])

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    before = float(weight.detach().square().sum())
    assert optimizer.step(closure) == pytest.approx(before)
    assert isinstance(optimizer, SlicedOptimizer)
    assert float(weight.detach().square().sum()) < before


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="adabelief"):
        build_optimizer([start((1,))], RATE, 0.999, name="sgd")


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_offloaded_state_is_in_main_memory_and_trains_alike(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    weights = [nn.Parameter(start((64, 32, 3, 3), torch.float32).detach().cuda()) for _ in range(2)]
    grads = [gradient.cuda() for gradient in gradients((64, 32, 3, 3), 4, torch.float32)]
    here, away = made(name, weights[:1]), made(name, weights[1:], offload=True)
    run(here, weights[:1], [grads])
    run(away, weights[1:], [grads])
    torch.testing.assert_close(weights[0], weights[1])
    assert all(state.device.type == "cpu" for state in away.state[weights[1]].values())
