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
