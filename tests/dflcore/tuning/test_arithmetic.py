"""Arithmetic by measurement: settings are obeyed, the faster way wins, and the cache never gets in the way."""

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import dflcore.tuning.arithmetic as arithmetic
from dflcore.models.registry import load_preset
from dflcore.tuning.arithmetic import Measured, choose_arithmetic, decide, tuning_folder
from dflcore.tuning.layers import LayerShape, LayerUse
from dflcore.tuning.speed import BFLOAT16, CPU_WAYS, PIXELWISE, PLAIN, TF32_PIXELWISE, TF32_PLAIN, measure_layers

CPU = torch.device("cpu")
LAST, FIRST = torch.channels_last, torch.contiguous_format


def measured(plain: float, pixelwise: float, bfloat16: float, mixed: float = 1e9, **more: float) -> Measured:
    step_ms = {PLAIN.name: plain, PIXELWISE.name: pixelwise, BFLOAT16.name: bfloat16, **more}
    return Measured(step_ms=step_ms, mixed_ms=mixed, layouts={"a": FIRST, "b": LAST}, covered=1.0)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    preset = load_preset("quick")
    return preset.build(preset.resolve_network({"resolution": 32, "code_dims": 16, "e_dims": 8, "fine_dims": 16}))


@pytest.mark.parametrize(("bfloat16", "expected"), [(150.0, None), (95.0, None), (50.0, torch.bfloat16)])
def test_bfloat16_is_taken_where_it_is_clearly_faster_and_only_there(
    bfloat16: float, expected: torch.dtype | None
) -> None:
    assert decide(measured(100.0, 110.0, bfloat16), precision="auto", channels_last="auto").autocast == expected


def test_the_processor_of_the_baseline_gets_float32() -> None:
    """GFLOP/s forward and backward of two convolutions on a Xeon without matrix units for bfloat16."""
    speeds = {PLAIN.name: (296, 87), PIXELWISE.name: (230, 108), BFLOAT16.name: (152, 71)}
    step_ms = {way: 1e4 / wide + 1e4 / large for way, (wide, large) in speeds.items()}
    mixed = 1e4 / 296 + 1e4 / 108
    found = Measured(step_ms=step_ms, mixed_ms=mixed, layouts={"wide": FIRST, "large": LAST}, covered=1.0)
    chosen = decide(found, precision="auto", channels_last="auto")
    assert chosen.autocast is None
    assert chosen.layouts == {"wide": FIRST, "large": LAST}
    assert "bfloat16" in chosen.reason


def test_layout_follows_the_measurement_unless_told() -> None:
    assert decide(measured(100, 80, 500), precision="auto", channels_last="auto").memory_format == LAST
    assert decide(measured(80, 100, 500), precision="auto", channels_last="auto").memory_format == FIRST
    assert decide(measured(80, 100, 500), precision="auto", channels_last="on").memory_format == LAST
    assert decide(measured(100, 80, 500, 10), precision="float32", channels_last="off").memory_format == FIRST
    assert not decide(measured(100, 80, 500, 10), precision="float32", channels_last="off").layouts


def test_a_mixed_layout_must_beat_the_best_single_one() -> None:
    assert decide(measured(100, 90, 500, mixed=60), precision="auto", channels_last="auto").layouts
    assert not decide(measured(100, 90, 500, mixed=89), precision="auto", channels_last="auto").layouts


def test_tf32_is_never_used_where_float32_is_asked_for() -> None:
    on_gpu = measured(100, 100, 20, **{TF32_PLAIN.name: 40, TF32_PIXELWISE.name: 36})
    assert not decide(on_gpu, precision="float32", channels_last="auto").tf32
    assert decide(on_gpu, precision="auto", channels_last="auto").autocast == torch.bfloat16
    no_gain = measured(100, 100, 90, **{TF32_PLAIN.name: 40, TF32_PIXELWISE.name: 36})
    chosen = decide(no_gain, precision="auto", channels_last="auto")
    assert (chosen.tf32, chosen.autocast, chosen.memory_format) == (True, None, LAST)


@pytest.mark.parametrize(
    ("precision", "channels_last", "autocast", "memory_format"),
    [
        ("bfloat16", "auto", torch.bfloat16, LAST),
        ("bfloat16", "off", torch.bfloat16, FIRST),
        ("float32", "on", None, LAST),
        ("float32", "off", None, FIRST),
    ],
)
def test_what_is_told_is_obeyed_without_measuring(
    model: nn.Module,
    precision: str,
    channels_last: str,
    autocast: torch.dtype | None,
    memory_format: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arithmetic, "measure_layers", lambda *_: pytest.fail("measured"))
    chosen = choose_arithmetic(model, CPU, batch_size=2, precision=precision, channels_last=channels_last)
    assert (chosen.autocast, chosen.memory_format, chosen.measured) == (autocast, memory_format, {})


def test_a_measurement_is_made_once(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first = choose_arithmetic(model, CPU, batch_size=2, folder=tmp_path / "new" / "folder")
    assert set(first.measured) == {way.name for way in CPU_WAYS}
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(arithmetic, "measure_layers", lambda *_: pytest.fail("measured again"))
    assert choose_arithmetic(model, CPU, batch_size=2, folder=tmp_path / "new" / "folder") == first
    monkeypatch.undo()
    calls: list[int] = []
    monkeypatch.setattr(arithmetic, "trace_layers", lambda *_: calls.append(1) or [])
    choose_arithmetic(model, CPU, batch_size=4, folder=tmp_path / "new" / "folder")
    assert calls  # another batch is another measurement


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"for": 1}', b"null"])
def test_a_damaged_cache_is_measured_anew_and_repaired(
    model: nn.Module, tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_measurement(monkeypatch)
    choose_arithmetic(model, CPU, batch_size=2, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    good = json.loads(path.read_text())
    path.write_bytes(damage)
    choose_arithmetic(model, CPU, batch_size=2, folder=tmp_path)
    assert json.loads(path.read_text())["for"] == good["for"]


def test_a_measurement_that_saw_too_little_is_not_kept(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "KEPT_SHARE", 1.1)
    quick_measurement(monkeypatch)
    assert choose_arithmetic(model, CPU, batch_size=2, folder=tmp_path).measured
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_no_error(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_measurement(monkeypatch)
    (tmp_path / "file").write_text("not a folder")
    assert choose_arithmetic(model, CPU, batch_size=2, folder=tmp_path / "file" / "tuning").measured


def test_writers_at_once_leave_one_whole_file(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_measurement(monkeypatch)
    found = arithmetic._recall_or_measure(model, CPU, 2, None, arithmetic.paint_everybody)
    path = tmp_path / "arithmetic.json"
    described = arithmetic._describe(model, CPU, 2)
    writers = [
        threading.Thread(target=lambda: [arithmetic._remember(path, described, found) for _ in range(10)])
        for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert not path.exists() or arithmetic._recall(path, described) == found
    assert [entry.name for entry in tmp_path.iterdir()] == ["arithmetic.json"]


def test_a_measurement_keeps_to_its_budget() -> None:
    shape = LayerShape(kind="conv", batch=8, inputs=64, outputs=64, height=64, width=64, kernel=(3, 3), padding=(1, 1))
    before = time.thread_time()
    times = measure_layers([LayerUse("a", shape)], CPU, budget_s=0.05)
    assert time.thread_time() - before < 3.0
    assert set(times.seconds[shape]) == {way.name for way in CPU_WAYS}
    assert times.covered == 1.0


def test_a_chosen_arithmetic_prepares_a_model(model: nn.Module) -> None:
    chosen = choose_arithmetic(model, CPU, batch_size=2, precision="float32", channels_last="off")
    chosen.prepare(model)
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert all(weight.is_contiguous() for weight in weights)


def test_measurements_lie_in_the_users_cache(tmp_path: Path) -> None:
    assert tuning_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "dfl" / "tuning"


def quick_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "measure_layers", lambda uses, device: measure_layers(uses, device, budget_s=0.3))
