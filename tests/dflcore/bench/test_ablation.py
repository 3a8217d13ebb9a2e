"""The ablation trains every combination once, keeps what is finished, and writes table and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from dflcore.bench import ablation
from dflcore.bench.ablation import VARIANTS, bench_ablation, parse_dims
from dflcore.bench.held_out import MEASURES
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput


@pytest.fixture
def run(
    tiny_preset: None, ticking_clock: None, pretend_movies: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The ablation over tiny networks; returns its figures. ``run.trained`` are the slices that were trained."""
    pretend_movies(ablation)
    real, slices = ablation.train_until, []

    def watched(settings: TrainSettings, footage: Any, path: Path, seconds: float, trained_s: float) -> Any:
        slices.append((settings.preset, settings.gan_power, settings.true_face_power, round(seconds, 3), path))
        return real(settings, footage, path, seconds, trained_s)

    monkeypatch.setattr(ablation, "train_until", watched)

    def run(**values: Any) -> Any:
        movies = (tmp_path / "source.mp4", tmp_path / "target.mp4")
        chosen = {"networks": ["tiny"], "minutes": 0.01, "batch_size": 2, **values}
        return bench_ablation(*movies, tmp_path / "output", **chosen)

    run.trained, run.output = slices, tmp_path / "output"
    return run


def test_every_combination_is_trained_equally_long_and_measured(run: Any) -> None:
    figures = run(networks=["tiny", "tiny-again"], variants=["plain", "trueface"])
    assert len(figures) == 4 * len(MEASURES)
    facts = json.loads((run.output / "ablation.json").read_text())
    assert [(one["network"], one["variant"]) for one in facts["runs"]] == [
        ("tiny", "plain"),
        ("tiny", "trueface"),
        ("tiny-again", "plain"),
        ("tiny-again", "trueface"),
    ]
    assert [asked for *_, asked, _ in run.trained if asked == 0.6] == [0.6] * 4
    assert all(one["seconds"] == pytest.approx(0.6, abs=0.4) for one in facts["runs"])
    table = (run.output / "ablation.md").read_text()
    assert "| TINY-AGAIN (TrueFace) | 0." in table
    assert "| (no swap at all) | 1 | 0 | 0.900 | 0.200 | 0 | 0 | 1 | 0 |" in table
    assert "source.mp4 on target.mp4; 4 runs of 0.01 min" in table
    assert cv2.imread(str(run.output / "faces.png")).shape == (26 + 5 * 128, 240 + 6 * 128, 3)
    assert not list(run.output.glob("runs/*/model_*"))


def test_critics_come_in_for_the_second_half(run: Any) -> None:
    run(variants=["trueface", "plain"])
    assert [one[1:4] for one in run.trained] == [(0.0, 0.0, 0.3), (0.0, 0.01, 0.6), (0.0, 0.0, 0.6)]


def test_variants_are_those_of_the_paper_and_their_rest() -> None:
    powers = {tuple(sorted(late)) for late in VARIANTS.values()}
    assert powers == {(), ("gan_power",), ("true_face_power",), ("gan_power", "true_face_power")}
    for late in VARIANTS.values():
        TrainSettings.from_values(dict(late))


def test_what_is_finished_is_kept_and_other_settings_are_another_run(run: Any) -> None:
    first = run(variants=["plain"])
    assert run(variants=["plain"]) == first
    assert len(run.trained) == 1
    run(variants=["plain"], batch_size=1)
    assert len(run.trained) == 2
    assert run.trained[0][4] != run.trained[1][4]


def test_a_run_that_was_broken_off_goes_on(run: Any, pretended_judge: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(pretended_judge, "judge", break_off)
        with pytest.raises(KeyboardInterrupt):
            run(variants=["trueface"])
    run(variants=["trueface"])
    assert [one[3] for one in run.trained] == [0.3, 0.6, 0.6]
    assert len({one[4] for one in run.trained}) == 1


def test_widths_are_read_from_the_command_line() -> None:
    assert parse_dims("ae=128, e=32,d=32,mask=16") == {"ae": 128, "e": 32, "d": 32, "mask": 16}
    for wrong in ("ae", "ae=0", "ae=x", "width=3", ""):
        with pytest.raises(InvalidInput):
            parse_dims(wrong)
