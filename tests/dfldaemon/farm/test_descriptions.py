"""Descriptions of jobs as workers meet them: garbage, huge, newer, edited by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflcore.errors import DataCorrupt, DflError
from dfldaemon.farm.job import MAX_JOB_BYTES
from dfldaemon.farm.task import job_spec, load_job

Submit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def described(submit: Submit, tmp_path: Path) -> Path:
    assert submit("--backend", "flamenco", "--dry-run", tmp_path / "sent")[0] == 0
    return tmp_path / "sent" / "job.json"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "5",
        '"job"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format": Infinity}',
        '{"format": NaN}',
        "\x00" * 100,
        "ÿþ",
        " " * (MAX_JOB_BYTES + 1),
    ],
)
def test_garbage_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(DataCorrupt, match="submit") as caught:
        load_job(path, [], "")
    assert caught.value.reason == "FARM_JOB_DAMAGED"
    assert len(str(caught.value)) < 700


def test_what_never_ends_is_not_read_to_its_end() -> None:
    with pytest.raises(DataCorrupt, match="more than"):
        load_job(Path("/dev/zero"), [], "")


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": {"opacity": "0.5x"}},
        {"settings": {"opacity": [0.5]}},
        {"settings": {"layers": {"a": 1}}},
        {"settings": {"no_such_setting": 1}},
        {"settings": [1]},
        {"paths": {"plate": "/a"}},
        {"paths": []},
        {"frames": 5},
        {"frames": "1-999999999999"},
        {"frames": "9" * 5000},
        {"chunk": None},
        {"kind": ["merge"]},
        {"kind": "paint"},
        {"name": None, "format": "x"},
    ],
)
def test_values_of_a_wrong_kind_are_errors_in_words(described: Path, changed: dict[str, Any]) -> None:
    described.write_text(json.dumps({**json.loads(described.read_text()), **changed}))
    with pytest.raises(DflError) as caught:
        job = load_job(described, [], "")
        job_spec(job, job.frames)
    assert caught.value.reason != "UNEXPECTED"


@pytest.mark.parametrize("value", ["0.5", 1, 0.25])
def test_a_setting_written_by_hand_in_another_form_reaches_the_daemon(described: Path, value: Any) -> None:
    described.write_text(json.dumps({**json.loads(described.read_text()), "settings": {"opacity": value}}))
    job = load_job(described, [], "")
    assert job_spec(job, job.frames).merge.settings.opacity == float(value)


def test_a_newer_description_says_what_to_do(described: Path) -> None:
    described.write_text(json.dumps({**json.loads(described.read_text()), "format": 2, "paths": "of another kind"}))
    with pytest.raises(DflError, match="update this worker"):
        load_job(described, [], "")


# Descriptions of another system.


def rules_file(tmp_path: Path, *given: tuple[str, str, str]) -> str:
    keys = ("source_path_format", "source_path", "destination_path")
    values = {"version": "pathmapping-1.0", "path_mapping_rules": [dict(zip(keys, one, strict=True)) for one in given]}
    (tmp_path / "rules.json").write_text(json.dumps(values))
    return str(tmp_path / "rules.json")


def windows_job(described: Path) -> None:
    """The description as `dfl farm submit` writes it on Windows."""
    values = json.loads(described.read_text())
    folders = {"plate": r"Z:\show\sh 010", "model": r"z:\Show\models\a", "faceset": r"Z:\show\faces"}
    values["paths"] = {role: {"folder": folder, "name": ""} for role, folder in folders.items()}
    values["paths"]["plate"]["name"] = "plate.####.exr"
    values["paths"]["output"] = {"folder": r"\\server\out", "name": "{version}/swap.####.exr"}
    values["path_separator"] = ";"
    values["settings"] = {
        "ocio_config": r"Z:\show\config.ocio",
        "segmenter": r"Z:\show\masks",
        "enhancer": r"detail:Z:\show\detail",
        "cast": r"track 3 = Z:\show\anna; others = plate",
        "opacity": 0.5,
    }
    described.write_text(json.dumps(values))


def test_a_job_from_windows_on_a_posix_worker(described: Path, tmp_path: Path) -> None:
    windows_job(described)
    rules = rules_file(tmp_path, ("WINDOWS", "Z:\\show", "/mnt/show"), ("WINDOWS", "\\\\server\\out", "/mnt/out"))
    job = load_job(described, [], rules)
    merge = job_spec(job, job.frames).merge
    assert (merge.plate.path, merge.model_path) == ("/mnt/show/sh 010/plate.####.exr", "/mnt/show/models/a")
    assert (merge.faceset_path, merge.output_path) == ("/mnt/show/faces", "/mnt/out/{version}/swap.####.exr")
    settings = merge.settings
    assert (settings.ocio_config, settings.segmenter) == ("/mnt/show/config.ocio", "/mnt/show/masks")
    assert settings.enhancer == "detail:/mnt/show/detail"
    assert settings.cast == "track 3 = /mnt/show/anna; others = plate"


def test_what_the_farm_has_mapped_itself_goes_before_the_rules(described: Path, tmp_path: Path) -> None:
    windows_job(described)
    rules = rules_file(tmp_path, ("WINDOWS", "Z:\\show", "/mnt/show"))
    job = load_job(described, ["output=/sessions/s-1/asset=root/out", "plate=/sessions/s-1/sh 010"], rules)
    assert str(job.paths["output"]) == "/sessions/s-1/asset=root/out/{version}/swap.####.exr"
    assert str(job.paths["plate"]) == "/sessions/s-1/sh 010/plate.####.exr"
    assert str(job.paths["model"]) == "/mnt/show/models/a"
    assert job.settings["segmenter"] == "/mnt/show/masks"
    reasons = {"": "BAD_FARM_FOLDER", "plate": "BAD_FARM_FOLDER", "plate=": "BAD_FARM_FOLDER"}
    for wrong, reason in {**reasons, "output2=/x": "UNKNOWN_FARM_PATH", "=x": "UNKNOWN_FARM_PATH"}.items():
        with pytest.raises(DflError) as caught:
            load_job(described, [wrong], rules)
        assert caught.value.reason == reason


def test_a_job_for_windows_workers_has_windows_paths(described: Path, tmp_path: Path) -> None:
    """Only as far as it can be told here: the daemon itself runs on POSIX systems."""
    show = str(Path(json.loads(described.read_text())["paths"]["plate"]["folder"]).parent)
    rules = rules_file(tmp_path, ("POSIX", show, "Z:\\show"))
    job = load_job(described, [], rules)
    assert job.paths["plate"].folder == r"Z:\show\plate"
    assert job.paths["output"].folder == r"Z:\show\out"
    assert job.paths["output"].name == "{version}/swap.####.exr"
