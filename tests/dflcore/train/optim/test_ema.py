"""Laws of the running mean."""

import pytest
import torch
from torch import nn

from dflcore.errors import DataCorrupt
from dflcore.train.optim.ema import WeightMean


def model() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(4, 4))


def set_all(one: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.fill_(value)


def test_constant_weights_stay() -> None:
    one = model()
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    mean = WeightMean(one, 0.9)
    for _ in range(30):
        mean.update()
    with mean.swapped_in():
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(tensor, before[name], rtol=1e-6, atol=1e-7)


def test_a_step_fades_geometrically() -> None:
    one = model()
    set_all(one, 1.0)
    mean = WeightMean(one, 0.8)
    for _ in range(100):  # past the shorter beginning
        mean.update()
    set_all(one, 0.0)
    for count in range(1, 6):
        mean.update()
        with mean.swapped_in():
            for parameter in one.parameters():
                torch.testing.assert_close(parameter, torch.full_like(parameter, 0.8**count))


def test_the_beginning_is_soon_forgotten() -> None:
    one = model()
    set_all(one, 1000.0)
    mean = WeightMean(one, 0.999)
    set_all(one, 1.0)
    for _ in range(100):
        mean.update()
    with mean.swapped_in():
        assert all(bool(parameter.max() < 1.01) for parameter in one.parameters())


def test_weights_come_back_bit_for_bit_even_after_an_error() -> None:
    one = model()
    mean = WeightMean(one, 0.5)
    set_all(one, 3.0)
    mean.update()
    places = [parameter.data_ptr() for parameter in one.parameters()]
    with pytest.raises(ZeroDivisionError), mean.swapped_in():
        assert bool(next(one.parameters()).max() < 3.0)
        raise ZeroDivisionError
    assert all(bool((parameter == 3.0).all()) for parameter in one.parameters())
    assert places == [parameter.data_ptr() for parameter in one.parameters()]


def test_buffers_are_the_models_own() -> None:
    one = model()
    mean = WeightMean(one, 0.99)
    one[1].running_mean.fill_(7.0)
    mean.update()
    with mean.swapped_in():
        assert bool((one[1].running_mean == 7.0).all())


def test_going_on_from_saved_state_is_going_on() -> None:
    one = model()
    mean = WeightMean(one, 0.9)
    set_all(one, 2.0)
    mean.update()
    saved = {name: tensor.clone() for name, tensor in mean.state().items()}
    again = WeightMean(one, 0.9)
    again.restore(saved)
    for value in (5.0, -1.0):
        set_all(one, value)
        mean.update()
        again.update()
    for name, tensor in mean.state().items():
        assert torch.equal(tensor, again.state()[name])


def test_a_saved_mean_of_another_network_is_refused() -> None:
    one = model()
    mean = WeightMean(one, 0.9)
    state = mean.state()
    name = next(iter(state))
    for broken in ({**state, name: torch.zeros(2)}, {key: value for key, value in state.items() if key != name}):
        with pytest.raises(DataCorrupt) as caught:
            mean.restore(broken)
        assert caught.value.reason == "WEIGHT_MEAN_DIFFERS"
