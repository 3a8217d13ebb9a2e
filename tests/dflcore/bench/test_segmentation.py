"""The few-shot benchmark runs and compares network and hull with a known truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflcore.bench.segmentation import bench_few_shot
from dflcore.errors import InvalidInput


@pytest.mark.footage
@pytest.mark.slow
def test_it_reports_network_and_hull(material: Path, tmp_path: Path) -> None:
    movie = material / "footage" / "target_talk.mp4"
    figures = bench_few_shot(
        movie, tmp_path, minutes=None, iterations=2, labelled_count=4, frame_step=12, strip_path=tmp_path / "strip.png"
    )
    values = {figure.name: figure.value for figure in figures}
    assert values["iterations"] == 2
    # the truth lacks what is covered, so the hull can be neither wholly right nor wholly wrong, and cuts nothing out
    assert 0.5 < values["IoU, hull"] < 1.0
    assert values["covered part cut out, hull"] < 0.02
    assert 0.0 <= values["IoU, network"] <= 1.0
    assert (tmp_path / "strip.png").is_file()
    assert len({figure.name for figure in figures}) == len(figures)


@pytest.mark.footage
@pytest.mark.slow
def test_a_clip_too_short_to_hold_faces_out_is_refused(material: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too few to hold any out"):
        bench_few_shot(material / "footage" / "target_talk.mp4", tmp_path, labelled_count=16, frame_step=40)
