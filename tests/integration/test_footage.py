"""The whole way on two real talking heads, through the daemon and the command line.

Ten steps teach no mask, so the matte is the landmarks' hull here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import Faceset
from journey import Daemon, dfl

pytestmark = [pytest.mark.footage, pytest.mark.slow]
FRAMES = "31-42"


def test_a_movie_becomes_a_swapped_sequence(material: Path, daemon: Daemon, tmp_path: Path) -> None:
    source, target = material / "footage" / "source_talk.mp4", material / "footage" / "target_talk.mp4"
    faces = {source: tmp_path / "source", target: tmp_path / "target"}
    daemon.start().close()
    for movie, folder in faces.items():
        dfl("extract", movie, "--faceset", folder, "--frames", FRAMES, daemon=daemon)
        with Faceset.open(folder) as faceset:
            assert sorted(faceset.records_by_frame()) == list(range(31, 43))
            assert len(faceset) == 12, "one face in every frame, and nothing that is none"
    model, output = tmp_path / "model", tmp_path / "out" / "swap.####.exr"
    dfl("train", "--source", faces[source], "--target", faces[target], "--model", model, "--iterations", "10",
        "--resolution", "64", daemon=daemon)  # fmt: skip
    result = dfl("--json", "merge", target, "--model", model, "--faceset", faces[target], "--output", output,
                 "--frames", FRAMES, "--matte-mode", "hull", daemon=daemon)  # fmt: skip
    assert json.loads(result.stdout.splitlines()[-1])
    frames = sorted((tmp_path / "out").glob("swap.*.exr"))
    assert [path.name for path in frames] == [f"swap.{number:04d}.exr" for number in range(31, 43)]
    layers = read_exr_layers(frames[0])
    matte = layers["matte.A"].astype(np.float32)
    assert matte.shape == (388, 512)
    assert 0.01 < (matte > 0.5).mean() < 0.5
