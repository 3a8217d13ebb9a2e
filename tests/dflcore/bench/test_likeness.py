"""Likeness per minute: when one preset came to where the other was, and a harness that gives each the same time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import pytest

from dflcore.bench import likeness
from dflcore.bench.likeness import Moment, bench_likeness, find_overtaking, times_to_look


def moment(seconds: float, identity: float, sharpness: float = 0.5) -> Moment:
    return Moment(
        seconds=seconds, iteration=1, identity=identity, identity_to_target=0.5, landmarks=1.0, sharpness=sharpness
    )


def test_looks_double_and_end_with_the_budget() -> None:
    assert times_to_look(2.0) == [15.0, 30.0, 60.0, 120.0]
    assert times_to_look(1.5) == [15.0, 30.0, 60.0, 90.0]
    assert times_to_look(0.1) == [6.0]


def test_the_faster_one_is_as_many_times_sooner() -> None:
    slow = [moment(60.0, 0.8), moment(240.0, 0.6, 0.3), moment(480.0, 0.65)]
    fast = [moment(30.0, 0.8), moment(60.0, 0.7, 0.2), moment(120.0, 0.5, 0.6)]
    found = find_overtaking(fast, slow)
    assert (found.distance, found.other_s, found.other_sharpness) == (0.6, 240.0, 0.3)
    assert found.own_s == pytest.approx(90.0)
    assert found.own_sharpness == pytest.approx(0.4)
    assert found.ratio == pytest.approx(240.0 / 90.0)


def test_one_that_never_comes_there_is_no_times_sooner() -> None:
    found = find_overtaking([moment(60.0, 0.8), moment(900.0, 0.7)], [moment(60.0, 0.6)])
    assert math.isinf(found.own_s)
    assert found.ratio == 0.0


def test_there_at_the_first_look_counts_that_look() -> None:
    assert find_overtaking([moment(15.0, 0.5)], [moment(60.0, 0.6)]).ratio == 4.0


def test_every_preset_gets_its_time_and_its_place_in_table_and_pictures(
    tiny_preset: None, ticking_clock: None, pretend_movies: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_movies(likeness)
    monkeypatch.setattr(likeness, "times_to_look", lambda minutes: [0.4, 0.8, 60.0 * minutes])
    said: list[str] = []
    output = tmp_path / "output"
    figures = bench_likeness(
        tmp_path / "source.mp4",
        tmp_path / "target.mp4",
        output,
        presets=["tiny", "tiny-again", "tiny"],
        minutes=0.02,
        batch_size=2,
        say=said.append,
    )
    values = {figure.name: figure.value for figure in figures}
    assert set(values) == {
        "tiny: identity",
        "tiny: sharpness",
        "tiny-again: identity",
        "tiny-again: sharpness",
        "source to target",
        "tiny sooner than tiny-again",
        "tiny-again sooner than tiny",
    }
    facts = json.loads((output / "likeness.json").read_text())
    for found in facts["moments"].values():
        seconds = [one["seconds"] for one in found]
        assert seconds == pytest.approx([0.4, 0.8, 1.2], abs=0.3)
        assert [one["iteration"] for one in found] == sorted({one["iteration"] for one in found})
    assert len(said) == 6
    table = (output / "likeness.md").read_text()
    assert table.count("| tiny |") == table.count("| tiny-again |") == 3
    assert cv2.imread(str(output / "likeness.png")).shape == (720, 900, 3)
    assert cv2.imread(str(output / "faces.png")).shape == (26 + 6 * 128, 110 + 4 * 128, 3)
