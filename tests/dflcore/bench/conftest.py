"""A network small enough to be trained within a test, by the name ``tiny``."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflcore.config.network import QuickSettings
from dflcore.models import presets, registry
from small_facesets import noise_faceset

TINY = QuickSettings(resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16)


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
