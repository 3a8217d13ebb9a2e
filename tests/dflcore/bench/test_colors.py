"""Every method is timed at every size; the reference stands beside it where it was measured."""

import pytest

from dflcore.bench.colors import REFERENCE_MS, bench_colors
from dflcore.color.matching.methods import METHODS


def test_all_methods_are_timed_and_compared() -> None:
    figures = bench_colors(sizes=(32, 256), names=["rct", "hist"], repeats=1)
    assert [(figure.name, figure.unit) for figure in figures] == [
        ("rct", "ms"),
        ("hist", "ms"),
        ("rct", "ms"),
        ("rct, over the reference", "x"),
        ("hist", "ms"),
        ("hist, over the reference", "x"),
    ]
    assert figures[3].value == pytest.approx(REFERENCE_MS["rct"] / figures[2].value)
    assert "measured elsewhere" in figures[3].note
    assert "256x256" in figures[2].note
    assert {figure.stage for figure in figures} == {"colors"}


def test_the_reference_is_known_for_all_methods() -> None:
    assert set(REFERENCE_MS) == set(METHODS)
    assert {figure.name for figure in bench_colors(sizes=(24,), repeats=1)} == set(METHODS)
