"""Benchmarks print figures with units and the machine, and never judge."""

import json
from pathlib import Path

import pytest

from dflcore.bench.__main__ import main
from dflcore.bench.figures import Figure, median_seconds, print_figures
from dflcore.bench.stages import bench_exr, bench_extract, bench_merge
from dflcore.bench.training import bench_train


def test_json_names_machine_versions_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    print_figures([Figure(stage="exr", name="write", value=12.5, unit="MB/s", note="half")], as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["figures"] == [{"stage": "exr", "name": "write", "value": 12.5, "unit": "MB/s", "note": "half"}]
    assert "cores" in report["machine"]
    assert report["versions"]["torch"]


def test_median_leaves_out_the_first_call() -> None:
    calls: list[int] = []
    assert median_seconds(lambda: calls.append(1), 3) >= 0.0
    assert len(calls) == 4


def test_files_are_measured_per_compression(tmp_path: Path) -> None:
    figures = bench_exr(tmp_path, repeats=1)
    assert {figure.name for figure in figures} == {"read", "write"}
    assert len({figure.note for figure in figures}) == 4
    assert all(figure.value > 0 for figure in figures)


@pytest.mark.slow
def test_every_stage_runs(tmp_path: Path) -> None:
    figures = bench_extract(tmp_path, frame_count=2)
    figures += bench_train(tmp_path, steps=2, batch_size=1)
    figures += bench_merge(tmp_path, frame_count=2)
    values = {(figure.stage, figure.name): figure.value for figure in figures}
    assert values["extract", "faces found"] == 1.0
    assert 0.0 < values["train", "data share of the step"] < 100.0
    assert values["train", "peak memory"] > 10.0
    assert values["merge", "network"] > 0.0


def test_an_unknown_stage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sparkle"])
    assert "sparkle" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--frame-count", "--steps", "--batch", "--resolution"])
@pytest.mark.parametrize("value", ["0", "-3", "many"])
def test_counts_are_one_or_more(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["exr", f"{flag}={value}"])
    assert f"{flag}: {value!r} is not a whole number of 1 or more" in capsys.readouterr().err
