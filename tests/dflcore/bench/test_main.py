"""What ``dfl bench`` can be asked, and what it says of a question it cannot answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from dflcore.bench import __main__ as bench
from dflcore.bench import ablation, detectors, facesets, likeness, segmentation, stages, tracks, training
from dflcore.bench.figures import Figure


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every benchmark, pretended; what was asked of them."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def pretend(module: Any, function: str, stage: str) -> None:
        def run(*given: Any, **options: Any) -> list[Figure]:
            calls.append((stage, {"given": given, **options}))
            return [Figure(stage=stage, name="time", value=1.0, unit="s")]

        monkeypatch.setattr(module, function, run)

    for name in ("exr", "extract", "merge"):
        pretend(stages, f"bench_{name}", name)
    pretend(training, "bench_train", "train")
    pretend(stages, "extract_side", "side")
    pretend(detectors, "bench_detectors", "detectors")
    pretend(tracks, "bench_tracks", "tracks")
    pretend(facesets, "bench_facesets", "facesets")
    pretend(segmentation, "bench_few_shot", "masks")
    pretend(likeness, "bench_likeness", "likeness")
    pretend(ablation, "bench_ablation", "ablation")
    return calls


def measured(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [figure["stage"] for figure in json.loads(capsys.readouterr().out)["figures"]]


def test_all_measures_what_is_quick(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--json"]) == 0
    assert measured(capsys) == ["exr", "extract", "tracks", "train", "merge"]


@pytest.mark.parametrize("stage", ["exr", "extract", "detectors", "tracks", "facesets"])
def test_a_stage_alone(stage: str, asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([stage, "--json"]) == 0
    assert measured(capsys) == [stage]
    assert [name for name, _ in asked] == [stage]


@pytest.mark.parametrize("stage", ["train", "merge"])
def test_training_and_merging_make_their_facesets(stage: str, asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([stage, "--json"]) == 0
    assert [name for name, _ in asked] == ["side", "side", stage]
    assert measured(capsys) == [stage]


def test_a_network_goes_by_either_name(asked: Any) -> None:
    flags = ["--arch", "df", "--preset", "quick96", "--resolution", "96", "--batch", "4", "--steps", "5"]
    assert bench.main(["train", *flags]) == 0
    options = [call for name, call in asked if name == "train"]
    assert [call["preset"] for call in options] == ["df", "quick96"]
    assert all((call["resolution"], call["batch_size"], call["steps"]) == (96, 4, 5) for call in options)


@pytest.mark.footage
def test_movies_and_sizes_reach_the_stage(asked: Any, material: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movies = [material / "footage" / f"{side}_talk.mp4" for side in ("source", "target")]
    flags = [part for movie in movies for part in ("--movie", str(movie))]
    assert bench.main(["tracks", *flags]) == 0
    assert bench.main(["masks", *flags, "--minutes", "0.5"]) == 0
    assert bench.main(["facesets", "--faces", "7"]) == 0
    options = [call for _, call in asked]
    assert options[0]["given"] == (movies,)
    assert [call["given"][0] for call in options[1:3]] == movies
    assert options[1]["given"][1] != options[2]["given"][1]
    assert options[1]["minutes"] == 0.5
    assert options[3]["face_count"] == 7


@pytest.fixture
def movies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags of two movies that nobody looks into."""
    monkeypatch.setattr(bench, "_open_movies", lambda movies: None)
    paths = [tmp_path / f"{side}.mp4" for side in ("source", "target")]
    for path in paths:
        path.touch()
    return [part for path in paths for part in ("--movie", str(path))]


def test_likeness_follows_the_presets_that_are_named(asked: Any, movies: list[str], tmp_path: Path) -> None:
    assert bench.main(["likeness", *movies]) == 0
    named = ["--preset", "df", "--preset", "quick", "--minutes", "2", "--frame-step", "3", "--output", str(tmp_path)]
    assert bench.main(["likeness", *movies, *named]) == 0
    (_, default), (_, chosen) = asked
    assert [path.name for path in default["given"]] == ["source.mp4", "target.mp4", "bench_likeness"]
    assert list(default["presets"]) == ["quick", "quick96"]
    assert (chosen["presets"], chosen["minutes"], chosen["frame_step"]) == (["df", "quick"], 2.0, 3)
    assert chosen["given"][2] == tmp_path


def test_the_ablation_is_the_papers_unless_told_otherwise(asked: Any, movies: list[str]) -> None:
    assert bench.main(["ablation", *movies]) == 0
    few = ["--preset", "df", "--variant", "plain", "--variant", "gan", "--dims", "ae=64,e=16", "--resolution", "64"]
    assert bench.main(["ablation", *movies, *few]) == 0
    (_, default), (_, chosen) = asked
    assert list(default["networks"]) == ["df", "dfhd", "liae", "liaehd"]
    assert list(default["variants"]) == ["plain", "trueface", "gan", "gan+trueface"]
    assert (default["dims"], default["resolution"]) == (None, None)
    assert (chosen["networks"], chosen["variants"]) == (["df"], ["plain", "gan"])
    assert (chosen["dims"], chosen["resolution"]) == ({"ae": 64, "e": 16}, 64)


def test_widths_nobody_knows_are_one_sentence(
    asked: Any, movies: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["ablation", *movies, "--dims", "width=3"]) == 1
    assert capsys.readouterr().err.startswith("'width=3' names no widths")


@pytest.mark.parametrize("stage", ["likeness", "ablation"])
def test_two_movies_are_needed(stage: str, asked: Any, movies: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main([stage, *movies[:2]])
    assert f"{stage} needs two movies, the source and the target" in capsys.readouterr().err
    assert asked == []


def test_a_stage_that_needs_a_movie_says_so(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["masks"])
    assert "masks needs a movie of one talking head: give --movie PATH" in capsys.readouterr().err
    assert asked == []


def test_a_movie_that_is_not_there_is_one_sentence(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench.main(["tracks", "--movie", str(tmp_path / "gone.mp4")])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"--movie: there is no file {tmp_path / 'gone.mp4'}")


def test_a_file_that_is_no_movie_is_one_sentence(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a movie")
    assert bench.main(["tracks", "--movie", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "broken.mp4" in captured.err
    assert asked == []


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_minutes_are_above_zero(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["masks", f"--minutes={value}"])
    assert f"--minutes: {value!r} is not a number above 0" in capsys.readouterr().err


def test_help_says_how_long_each_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.build_parser("rpc").parse_args(["--help"])
    text = capsys.readouterr().out
    durations = text[text.index("how long") :].splitlines()
    assert {line.split()[0] for line in durations[1:]} >= {*bench.STAGES, "all"}
    assert durations[-1].split(maxsplit=1)[1] == ", ".join((*bench.QUICK_STAGES, "rpc"))
