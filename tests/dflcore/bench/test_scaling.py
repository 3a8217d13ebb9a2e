"""Scaling: what is called efficiency, and a group of two measured for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflcore.bench import scaling
from small_facesets import noise_faceset


def test_a_step_that_takes_twice_as_long_for_two_is_half_efficient() -> None:
    results = {
        1: [{"step_s": step, "averaging_s": 0.0, "people": 2} for step in (0.1, 0.2, 9.0)],
        2: [{"step_s": step, "averaging_s": 0.01, "people": 2} for step in (0.3, 0.4, 9.0)],
    }
    figures = {figure.name: figure.value for figure in scaling._figures(results, 3, "")}
    assert figures["step, 1 process"] == pytest.approx(200)
    assert figures["rate, 1 process"] == pytest.approx(3 * 2 / 0.2)
    assert figures["rate, 2 processes"] == pytest.approx(2 * 3 * 2 / 0.4)
    assert figures["averaging, 2 processes"] == pytest.approx(10)
    assert figures["efficiency, 2 processes"] == pytest.approx(50)
    ratio = figures["rate, 2 processes"] / (2 * figures["rate, 1 process"])
    assert figures["efficiency, 2 processes"] == pytest.approx(100 * ratio)


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_numbers_of_processes_double_up_to_the_most(most: int, counts: list[int]) -> None:
    assert scaling._counts(most) == counts


@pytest.mark.slow
def test_two_processes_are_measured(tmp_path: Path) -> None:
    noise_faceset(tmp_path / "source_faces", 5)
    noise_faceset(tmp_path / "target_faces", 6)
    found = scaling.bench_scaling(tmp_path, resolution=64, batch_size=1, steps=2, most=2, turns=1, device="cpu")
    figures = {figure.name: figure for figure in found}
    assert set(figures) == {
        "step, 1 process",
        "rate, 1 process",
        "step, 2 processes",
        "rate, 2 processes",
        "averaging, 2 processes",
        "efficiency, 2 processes",
    }
    assert all(figure.value > 0 for figure in found)
    assert "quick 64 px, batch 1" in figures["step, 1 process"].note
    assert figures["averaging, 2 processes"].value < figures["step, 2 processes"].value
