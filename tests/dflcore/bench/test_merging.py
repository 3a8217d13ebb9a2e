"""The merging benchmark: every operation of a small case has a figure, the stand-in changes nothing it should not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dflcore.bench import merging
from dflcore.bench.merging import CASES, MergeCase, PassingSwapper, bench_merging
from dflcore.io.exr import read_exr_layers

SMALL = MergeCase(plate=(320, 240), face=96, resolution=64)


@pytest.mark.slow
def test_every_operation_is_measured(tmp_path: Path) -> None:
    figures = bench_merging(tmp_path, frame_count=2, cases=(SMALL,))
    assert all(figure.unit == "ms/frame" and figure.value >= 0.0 for figure in figures)
    names = {figure.name for figure in figures}
    assert {"read, alone", "light, alone", "align, alone", "put back, all layers, alone", "ST map, alone"} <= names
    assert {"write beauty, alone", "write all layers, alone", "merge, total"} <= names
    assert {f"merge, {step}" for step in ("read", "light", "warp", "colour", "matte", "composite", "write")} <= names
    assert "merge, network" not in names
    assert not any("reference" in figure.note for figure in figures)
    plate = read_exr_layers(tmp_path / "plate_320/plate.1001.exr")
    merged = read_exr_layers(tmp_path / "merged_320_96/all/merged.1001.exr")
    is_outside = merged["matte.A"] == 0
    assert 0.5 < is_outside.mean() < 0.99
    np.testing.assert_array_equal(merged["G"][is_outside], plate["G"][is_outside])
    square = merged["matte_segmentation.A"] > 0  # a turned square of the asked side
    assert square.sum() == pytest.approx(SMALL.face**2, rel=0.05)


def test_the_rest_is_neither_network_nor_files() -> None:
    steps = {"read": 30.0, "warp": 10.0, "light": 5.0, "network": 50.0, "write": 60.0}
    total, *parts, rest = merging._merge_figures(90.0, dict(steps), "note")
    assert total.value == 90.0
    assert [part.name for part in parts] == ["merge, read", "merge, warp", "merge, light", "merge, write"]
    assert rest.value == 15.0


def test_the_cases_are_the_references_and_the_usual_plates() -> None:
    assert (CASES[0].plate, CASES[0].face) == ((1280, 720), 324)
    assert {(case.plate, case.face) for case in CASES} >= {((4096, 2160), 512), ((1920, 1080), 256)}


def test_the_stand_in_paints_what_it_sees() -> None:
    target = torch.rand(2, 3, 32, 32)
    painted, source, seen = PassingSwapper(32).swap(target)
    assert torch.equal(painted, target)
    assert source.shape == seen.shape == (2, 1, 32, 32)
    assert source[0, 0, 16, 16] == 1.0
    assert source[0, 0, 0, 0] == 0.0
