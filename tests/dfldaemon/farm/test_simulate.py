"""The simulation of a long shot does what real tasks do."""

from pathlib import Path

import pytest

from dfldaemon.farm.simulate import simulate


def test_a_finished_chunk_of_a_long_shot_is_kept(tmp_path: Path) -> None:
    figures = simulate(tmp_path, 60, 25)
    assert (figures["tasks"], figures["frames_kept"], figures["frames_known"]) == (3, 20, 60)
    assert figures["manifest_bytes"] > 60 * 200
    assert all(value >= 0 for value in figures.values())


def test_what_a_task_writes_does_not_grow_with_the_shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflcore.merge.provenance.PART_FRAMES", 20)
    short, long = (simulate(tmp_path / str(count), count, 10) for count in (60, 300))
    assert long["manifest_largest_bytes"] < 1.1 * short["manifest_largest_bytes"]
    assert long["manifest_files"] == 300 // 20 + 2  # one for what all share, one for frames before 1020
    assert (long["frames_kept"], long["frames_known"]) == (10, 300)
