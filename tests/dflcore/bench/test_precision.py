"""Both arithmetics on the same batches, and how far they are apart."""

from pathlib import Path

import pytest

from dflcore.bench.precision import bench_precision


def test_both_learn_the_same_faces(tiny_preset: None, noise_facesets: Path) -> None:
    figures = {figure.name: figure for figure in bench_precision(noise_facesets, preset="tiny", steps=20)}
    wide, short = figures["loss, float32"].value, figures["loss, bfloat16"].value
    assert figures["losses apart"].value == pytest.approx(100 * abs(short / wide - 1))
    assert 0.0 < figures["losses apart"].value < 5.0
    assert "mean of the last tenth" in figures["loss, float32"].note
