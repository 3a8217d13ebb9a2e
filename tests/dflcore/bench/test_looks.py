"""The benchmark of looks: every row of the reference's table is merged and measured."""

import tomllib
from pathlib import Path

import pytest
import torch

from dflcore.bench import looks
from dflcore.bench.looks import LOOKS, WorkingSwapper, bench_looks
from dflcore.bench.merging import MergeCase
from dflcore.io.exr import read_exr_layers

SMALL = MergeCase(plate=(320, 240), face=96, resolution=64)


@pytest.mark.slow
def test_every_look_is_merged_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOKS", LOOKS[::3])
    figures = bench_looks(tmp_path, frame_count=2, case=SMALL, repeats=2)
    assert [figure.name.partition(":")[0] for figure in figures[::4]] == [look.title for look in LOOKS[::3]]
    assert all(figure.value > 0.0 for figure in figures)
    for total, times, alone, alone_times in zip(*(iter(figures),) * 4, strict=True):
        look = next(one for one in LOOKS if total.name.startswith(f"{one.title}:"))
        assert times.value == pytest.approx(look.total_ms / total.value)
        assert alone_times.value == pytest.approx(look.rest_ms / alone.value)
    for number, look in enumerate(LOOKS[::3]):
        assert set(read_exr_layers(tmp_path / f"merged_{number}/merged.1002.exr")) == {"R", "G", "B", "A"}
        (kept,) = (tmp_path / f"merged_{number}").glob("*.look-*.toml")
        values = tomllib.loads(kept.read_text())
        assert {name: values[name] for name in look.settings} == dict(look.settings)


def test_the_rows_are_settings_of_a_merge() -> None:
    assert len({look.title for look in LOOKS}) == len(LOOKS)
    assert all(look.rest_ms < look.total_ms for look in LOOKS)


def test_the_network_works_and_the_stand_in_answers() -> None:
    seen = []
    swapper = WorkingSwapper(32)
    swap = swapper._model.swap
    swapper._model.swap = lambda target: seen.append(len(target)) or swap(target)  # type: ignore[method-assign]
    target = torch.rand(2, 3, 32, 32)
    painted, source, _ = swapper.swap(target)
    assert 2 in seen
    assert torch.equal(painted, target)
    assert source[0, 0, 16, 16] == 1.0
