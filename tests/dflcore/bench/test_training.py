"""The training benchmark says of a step what it costs, and compares it with the machine and a plain step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dflcore.bench import training
from dflcore.bench.stepping import measure_step_memory
from dflcore.bench.training import bench_train
from dflcore.config.train import TrainSettings
from dflcore.models.registry import load_preset

STEP_FIGURES = ["step", "data", "data share of the step", "waiting for the loader", "rate"]


def test_every_yardstick_has_a_figure(tiny_preset: None, noise_facesets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "measure_step_memory", lambda folder, settings: 3.0 * 2**20)
    monkeypatch.setattr(training, "REFERENCE_OVER_PLAIN", {("tiny", 64, 2): 2.0})
    figures = bench_train(noise_facesets, preset="tiny", resolution=64, batch_size=2, steps=4)
    values = {figure.name: figure.value for figure in figures}
    assert len(values) == len(figures) in (15, 17)  # the limit in bfloat16 too, where that was measured to be faster
    assert all(value > 0.0 for name, value in values.items() if name != "waiting for the loader")
    assert 0.0 <= values["waiting for the loader"] < values["data share of the step"]
    assert values["data"] < values["step"]
    assert values["rate"] == pytest.approx(4 / (values["step"] / 1000.0))
    assert values["achieved"] == pytest.approx(values["operations"] / (values["step"] / 1000.0))
    assert values["share of the matrix peak"] == pytest.approx(100 * values["achieved"] / values["matrix peak"])
    limit = values["convolution limit, float32"]
    assert values["share of the convolution limit, float32"] == pytest.approx(100 * limit / values["step"])
    assert values["reference over ours"] == pytest.approx(2.0 * values["plain over ours"])
    assert values["peak memory"] == 3.0
    assert all("tiny 64 px, batch 2" in figure.note for figure in figures if figure.name == "step")
    assert sorted(path.name for path in noise_facesets.iterdir()) == ["source_faces", "target_faces", "tuning"]


def test_a_step_alone_is_quick_to_measure(tiny_preset: None, noise_facesets: Path) -> None:
    figures = bench_train(noise_facesets, preset="tiny", steps=2, yardsticks=False)
    assert [figure.name for figure in figures] == STEP_FIGURES


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process(noise_facesets: Path) -> None:
    small, large = (
        measure_step_memory(noise_facesets, TrainSettings(preset="quick", resolution=32, batch_size=batch))
        for batch in (1, 32)
    )
    if small is None or large is None:
        pytest.skip("this system does not say how large a process has been")
    weights = 4 * sum(parameter.numel() for parameter in _quick().parameters())
    assert weights < small < large < 4e9


def _quick() -> torch.nn.Module:
    preset = load_preset("quick")
    return preset.build(preset.network)
