"""The extraction benchmark: whole, cut half alone, step by step."""

from pathlib import Path

import pytest

from dflcore.bench.stages import bench_extract
from dflcore.io.faceset import Faceset


@pytest.mark.slow
def test_extraction_is_measured_whole_in_half_and_in_steps(tmp_path: Path) -> None:
    figures = bench_extract(tmp_path, frame_count=3)
    values = {figure.name: figure.value for figure in figures}
    assert values["faces found"] == 1.0
    assert values["rate, cut half"] > values["rate"] > 0.0
    steps = [figure for figure in figures if figure.unit == "ms/frame"]
    assert [step.name for step in steps] == [
        "read",
        "convert",
        "detect",
        "locate",
        "identity",
        "rest of looking",
        "plan",
        "cut",
        "write",
    ]
    assert sum(int(step.note.split(" %")[0]) for step in steps) == pytest.approx(100, abs=5)
    for faceset in ("source_faces", "target_faces", "step_faces"):
        with Faceset.open(tmp_path / faceset) as opened:
            assert len(opened.names) == 3
