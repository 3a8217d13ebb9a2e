"""Memory of a merge does not grow with the length of the range."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dflcore.config.extract import ExtractSettings
from dflcore.extract.pipeline import extract_faces
from dflcore.io.open_plate import open_plate
from dflcore.progress import LoggedRun
from dflcore.weights.store import WeightStore
from journey import FIRST_FRAME, FRAME_COUNT, Shot

pytestmark = pytest.mark.slow
LONG = 6 * FRAME_COUNT
SLACK_MB = 40.0

MERGE = """
import resource, sys
from pathlib import Path
from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.frames import FrameRange
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.merge.pipeline import merge_range
from dflcore.merge.swapper import open_swapper
from dflcore.progress import LoggedRun
plate, faceset, model, output, frames = sys.argv[1:]
swapper, _ = open_swapper(Path(model))
with Faceset.open(Path(faceset)) as faces:
    result = merge_range(open_plate(plate, frames=FrameRange.parse(frames)), swapper, faces, output, MergeSettings(),
                         LoggedRun(), converter=ColorConverter())
print(result.frames_written, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_a_range_six_times_as_long_needs_no_more_memory(shot: Shot, tmp_path: Path) -> None:
    plates = tmp_path / "plates"
    plates.mkdir()
    for index in range(LONG):
        real = shot.folder / "plates" / f"target.{FIRST_FRAME + index % FRAME_COUNT}.exr"
        (plates / f"long.{FIRST_FRAME + index}.exr").symlink_to(real)
    plate = str(plates / "long.####.exr")
    settings = ExtractSettings(compute_identity=False)
    extract_faces(open_plate(plate), tmp_path / "faces", settings, LoggedRun(), store=WeightStore())

    def peak_mb(count: int) -> float:
        frames = f"{FIRST_FRAME}-{FIRST_FRAME + count - 1}"
        output = str(tmp_path / f"out{count}" / "merged.####.exr")
        command = [sys.executable, "-c", MERGE, plate, str(tmp_path / "faces"), str(shot.model), output, frames]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        written, peak = result.stdout.split()
        assert int(written) == count
        return float(peak)

    assert peak_mb(LONG) < peak_mb(FRAME_COUNT) + SLACK_MB
