"""Seamless blending is timed beside OpenCV's, and its membrane's error is told."""

import cv2
import pytest
import torch

from dflcore.bench.blending import bench_blending, main, make_pair
from dflcore.merge.poisson import TOLERANCE


def test_cost_and_error_of_each_size() -> None:
    figures = bench_blending((48, 64), repeats=1)
    assert [figure.name for figure in figures] == ["blend", "membrane's error", "OpenCV's clone"] * 2
    assert all(figure.value > 0 for figure in figures if figure.unit == "ms")
    assert all(figure.value <= TOLERANCE for figure in figures if figure.unit == "of the span")
    assert "48 px face" in figures[0].note
    assert "64 px face" in figures[3].note


def test_the_face_keeps_off_the_edge() -> None:
    face, plate, region = make_pair(64)
    assert face.shape == plate.shape == (64, 64, 3)
    assert not region[[0, -1]].any()
    assert not region[:, [0, -1]].any()


def test_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        assert main(["--side", "40", "--repeats", "1", "--threads", "1", "--json"]) == 0
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    assert '"blending"' in capsys.readouterr().out
