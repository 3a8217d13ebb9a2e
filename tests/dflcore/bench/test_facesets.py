"""The large-set benchmark on a small set: a true faceset, and a figure for everything it promises."""

from pathlib import Path

import numpy as np

from dflcore.bench import facesets
from dflcore.curate.sorts import SORTS
from dflcore.curate.table import FaceTable
from dflcore.io.faceset import Faceset


def test_the_made_up_set_is_a_faceset(tmp_path: Path) -> None:
    facesets.make_faceset(tmp_path / "set", 50, 64)
    with Faceset.open(tmp_path / "set") as faceset:
        assert len(faceset) == 50
        records = list(faceset.records())
        assert faceset.read_image(records[7].name).shape == (64, 64, 3)
        assert len(faceset.info.plates) == 4
        assert records[3].identity is not None
    table = FaceTable.open(tmp_path / "set")
    assert not table.is_measured.any()
    assert table.aligned_landmarks.min() > -20.0
    assert table.aligned_landmarks.max() < 84.0
    assert np.isfinite(table.expressions).all()
    facesets.fill_metrics(tmp_path / "set")
    assert FaceTable.open(tmp_path / "set").is_measured.all()


def test_every_promise_has_a_figure(tmp_path: Path) -> None:
    figures = facesets.bench_facesets(tmp_path, face_count=300, quadratic_count=60, real_count=4, repeats=1)
    names = {figure.name for figure in figures}
    assert {f"sort {by}" for by in SORTS} <= names
    assert {"open", "open as columns", "random sampling", "measure", "index on disk"} <= names
    assert all(figure.value > 0.0 for figure in figures)
    assert {figure.stage for figure in figures} == {"facesets"}
    extrapolated = [figure.name for figure in figures if "extrapolated" in figure.note]
    assert extrapolated == ["sort hist", "sort hist-dissim", "sort absdiff", "measure all"]
