"""A network small enough to be trained within a test, facesets of noise, and a judge who is quick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dflcore.bench import timed_training
from dflcore.bench.held_out import MEASURES, Footage, Judgement, Spread
from dflcore.config.network import QuickSettings
from dflcore.merge.swapper import FaceSwapper
from dflcore.models import presets, registry
from dflcore.train import loop
from dflcore.tuning import speed
from small_facesets import noise_faceset

TINY = QuickSettings(resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16)


@pytest.fixture(autouse=True)
def brief_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which arithmetic is fastest is found in a moment: runs of half a second are timed here."""
    monkeypatch.setattr(speed, "CPU_BUDGET_S", 0.02)


class TickingClock:
    """Thirty milliseconds pass with every look at it, however slow the machine is."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.03
        return self._now


@pytest.fixture
def ticking_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and what stops it look at one clock that goes with the steps."""
    clock = TickingClock()
    for module in (loop, timed_training):
        monkeypatch.setattr(module, "time", clock)


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny() -> registry.Preset:
        return registry.Preset(help="Tiny.", network=TINY, build=presets.quick().build, recipe=presets.QUICK_RECIPE)

    monkeypatch.setattr(presets, "tiny", tiny, raising=False)
    for name in ("tiny", "tiny-again"):
        monkeypatch.setitem(registry._PRESETS._builtin, name, "dflcore.models.presets:tiny")


@pytest.fixture
def noise_facesets(tmp_path: Path) -> Path:
    """A folder with the facesets a benchmark of training begins with, of noise."""
    for side in ("source", "target"):
        noise_faceset(tmp_path / f"{side}_faces", 6)
    return tmp_path


class PretendedJudge:
    """Looks at what is painted and at nothing else."""

    source_to_target, source_itself, untouched = 0.8, 0.3, (0.9, 0.2)

    def __init__(self, footage: Footage) -> None:
        assert footage.source.is_dir()
        self.pictures = [np.full((64, 64, 3), shade, np.uint8) for shade in (40, 90, 140, 190)]

    def judge(self, swapper: FaceSwapper) -> Judgement:
        target = torch.rand(4, 3, swapper.resolution, swapper.resolution)
        painted, _, _ = swapper.swap(target)
        spread = Spread(float(painted.mean()), float(painted.std()))
        return Judgement(**dict.fromkeys(MEASURES, spread), faces=tuple(self.pictures))


@pytest.fixture
def pretended_judge() -> type[PretendedJudge]:
    return PretendedJudge


@pytest.fixture
def pretend_movies(noise_facesets: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Makes a benchmark take the facesets of noise for those of its movies, and the pretended judge for its own."""

    def prepare(*_movies: Path, frame_step: int = 1) -> Footage:
        (noise_facesets / "footage.json").write_text(str(frame_step))
        return Footage(noise_facesets)

    def pretend(benchmark: ModuleType) -> None:
        monkeypatch.setattr(benchmark, "prepare_footage", prepare)
        monkeypatch.setattr(benchmark, "SwapJudge", PretendedJudge)

    return pretend
