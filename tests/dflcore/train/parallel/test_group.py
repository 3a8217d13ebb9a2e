"""Two processes learn what one would, agree on numbers, and open no door to the network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dflcore.errors import InvalidInput
from dflcore.progress import LoggedRun
from dflcore.train.parallel.group import AloneGroup, TrainingGroup, join_group, local_device
from dflcore.train.parallel.launch import run_processes
from dflcore.train.parallel.place import Place

HERE = Path(__file__).parent
BATCH, STEPS = 3, 4


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the lead of two processes found when it tried everything."""
    return run_processes([sys.executable, str(HERE / "group_laws.py")], 2, {}, LoggedRun(), restarts=0)


def alone(batches_per_step: int = 1, rates: list[float] | None = None) -> tuple[nn.Module, torch.optim.Optimizer]:
    """One process that takes the whole batch of both."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for step in range(0, STEPS, batches_per_step):
        optimizer.param_groups[0]["lr"] = rates[step] if rates else 0.01
        optimizer.zero_grad()
        for part in range(batches_per_step):
            batch = torch.rand(2 * BATCH, 6, generator=torch.Generator().manual_seed(step + part))
            (network(batch).square().mean() / batches_per_step).backward()
        optimizer.step()
    return network, optimizer


def weights_of(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


@pytest.mark.parametrize("way", ["watched", "afterwards", "ddp"])
def test_two_processes_with_half_the_batch_learn_what_one_does_with_all(found: dict[str, Any], way: str) -> None:
    torch.testing.assert_close(torch.tensor(found[way]), weights_of(alone()[0]), rtol=0, atol=1e-5)


def test_the_processes_own_averaging_gives_what_ddp_gives(found: dict[str, Any]) -> None:
    torch.testing.assert_close(torch.tensor(found["watched"]), torch.tensor(found["ddp"]), rtol=0, atol=1e-6)


def test_gradients_of_several_batches_add_up_before_they_are_averaged(found: dict[str, Any]) -> None:
    torch.testing.assert_close(torch.tensor(found["accumulated"]), weights_of(alone(2)[0]), rtol=0, atol=1e-5)


def test_a_shared_out_optimiser_learns_the_same_and_its_state_comes_together(found: dict[str, Any]) -> None:
    network, optimizer = alone(rates=[0.01 * (step + 1) for step in range(STEPS)])
    shared = found["sharded"]
    torch.testing.assert_close(torch.tensor(shared["weights"]), weights_of(network), rtol=0, atol=1e-5)
    assert shared["same"]
    assert shared["own"] < len(optimizer.state)
    assert shared["kept"] == shared["own"]
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            torch.testing.assert_close(
                torch.tensor(shared["state"][name][key]), value.reshape(-1), rtol=1e-5, atol=1e-6, msg=f"{key} {name}"
            )


def test_weights_that_a_batch_did_not_use_count_as_zero_and_those_nobody_used_rest(found: dict[str, Any]) -> None:
    assert found["unused"] == {"watched": [1.0, 2.0, None], "afterwards": [1.0, 2.0, None]}


def test_networks_are_the_same_to_the_bit_or_not_at_all(found: dict[str, Any]) -> None:
    assert found["likeness"] == {"a buffer off": False, "alike": True, "a bit off": False}


def test_numbers_are_agreed_on_and_a_bad_one_is_heard_of_everywhere(found: dict[str, Any]) -> None:
    assert found["small talk"] == {"mean": 1.5, "nan": True, "agreed": 40, "agreed on": [7, 1 << 62]}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_of_one_machine_listen_on_loopback_alone(found: dict[str, Any]) -> None:
    assert set(found["listening"]) == {"0100007F"}


def test_a_gradient_that_comes_after_its_bucket_left_is_a_defect_that_says_so(found: dict[str, Any]) -> None:
    assert found["sent early"] == "GRADIENT_SENT_EARLY"


def test_a_process_alone_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    group: TrainingGroup = join_group(torch.device("cpu"))
    assert isinstance(group, AloneGroup)
    weight = nn.Parameter(torch.ones(2))
    with group.averaging([weight]):
        (weight * 3).sum().backward()
    group.average_gradients([weight])
    assert weight.grad is not None
    assert weight.grad.tolist() == [3, 3]
    assert (group.agree(5), group.agree_all([1, 2]), group.is_lead) == (5, [1, 2], True)
    assert group.mean(torch.tensor([2.0])).tolist() == [2]
    group.close()


def test_a_group_of_one_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert isinstance(join_group(torch.device("cpu")), AloneGroup)


def test_processes_on_the_cpu_share_it() -> None:
    place = Place(rank=1, world=2, local_rank=1, local_world=2, store_path="x")
    assert local_device("cpu", place) == torch.device("cpu")


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflcore.train.parallel.group.resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    place = Place(rank=3, world=4, local_rank=1, local_world=2, address="10.0.0.5", port=29500)
    assert local_device("auto", place) == torch.device("cuda:1")
    assert local_device("cuda:1", None) == torch.device("cuda")
    for name, local_world in (("auto", 3), ("cuda:1", 2)):
        crowded = Place(rank=0, world=4, local_world=local_world, address="10.0.0.5", port=29500)
        with pytest.raises(InvalidInput, match="machine has 2 GPUs") as caught:
            local_device(name, crowded)
        assert caught.value.reason == "TOO_FEW_GPUS"
