"""When a step is compiled."""

import pytest
import torch

from dflcore.errors import Unsupported
from dflcore.tuning import compiling
from dflcore.tuning.compiling import compile_mode, should_autotune, should_compile

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "has_compiler", lambda device: True)


@pytest.mark.parametrize(
    ("device", "setting", "steps", "expected"),
    [
        (CUDA, "auto", None, True),
        (CUDA, "auto", 100_000, True),
        (CUDA, "auto", 100, False),
        (CUDA, "off", None, False),
        (CUDA, "on", 1, True),
        (CPU, "auto", None, False),
        (CPU, "on", 1, True),
    ],
)
def test_auto_compiles_long_runs_on_gpus(device: torch.device, setting: str, steps: int | None, expected: bool) -> None:
    assert should_compile(device, setting, steps) is expected


@pytest.mark.parametrize(("device", "missing"), [(CPU, "C\\+\\+"), (CUDA, "Triton")])
def test_without_a_compiler_auto_does_without_and_on_says_so(
    device: torch.device, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "has_compiler", lambda device: False)
    assert not should_compile(device, "auto", None)
    with pytest.raises(Unsupported, match=missing) as caught:
        should_compile(device, "on", None)
    assert caught.value.details["field"] == "compile"


def test_graphs_are_for_steps_that_are_all_alike() -> None:
    assert compile_mode(CUDA, accumulate_steps=1, offload_optimizer=False) == "reduce-overhead"
    assert compile_mode(CUDA, accumulate_steps=2, offload_optimizer=False) == "default"
    assert compile_mode(CUDA, accumulate_steps=1, offload_optimizer=True) == "default"
    assert compile_mode(CPU, accumulate_steps=1, offload_optimizer=False) == "default"


def test_algorithms_are_tried_out_only_where_there_is_room() -> None:
    assert should_autotune(CUDA, 2 * 10**9, 24 * 10**9)
    assert not should_autotune(CUDA, 20 * 10**9, 24 * 10**9)
    assert not should_autotune(CUDA, 1, None)
    assert not should_autotune(CPU, 1, 10**12)
