"""What goes wrong where jobs are submitted: full disks, odd names, many at once."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange
from dfldaemon.cli import farm_command
from dfldaemon.cli.main import main
from dfldaemon.farm.backends import BACKENDS
from dfldaemon.farm.job import MAX_JOB_BYTES, FarmJob, FarmPath, make_job
from dfldaemon.farm.task import frames_of_task, job_spec, load_job
from frame_shot import FrameShot

Submit = Callable[..., tuple[int, str, str]]
ODD = "sh'0\"10 {{x}} ünï 顔 $(touch x)"


def merge_job(folder: Path, frames: FrameRange, **changed: Any) -> FarmJob:
    paths = {role: FarmPath(str(folder), role) for role in ("plate", "model", "faceset", "output")}
    return make_job("merge", paths, **{"settings": {}, "chunk": 50, **changed}, frames=frames)


def test_two_submissions_at_once_have_a_folder_each(tmp_path: Path) -> None:
    job = merge_job(tmp_path, FrameRange.parse("1-9"))
    found: list[Path] = []
    start = threading.Barrier(8)

    def submit() -> None:
        start.wait()
        found.append(farm_command._new_folder(job))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in found) == [f"{number:04d}" for number in range(1, 9)]
    assert {path.parent for path in found} == {Path(f"{tmp_path}.farm")}


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / "out").mkdir()
    if in_the_way == "file":
        (tmp_path / "out.farm").touch()
    else:
        (tmp_path / "out.farm").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="--dry-run"):
        farm_command._new_folder(merge_job(tmp_path / "out", FrameRange.parse("1-9")))


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_full_disk_sends_nothing_and_leaves_no_half_submission(
    submit: Submit, shot: FrameShot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(farm_command, "check_sendable", lambda backend: None)
    monkeypatch.setattr(farm_command, "send", lambda *given, **named: sent.append(given))
    whole, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            whole(path, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    target = [tmp_path / "bundle"] if words else []
    code, out, err = submit(*words, *target)
    assert (code, out, sent) == (5, "", [])
    (line,) = err.splitlines()
    assert "disk is full" in line
    assert not [path for path in tmp_path.rglob("*") if ".partial-" in path.name]
    if not words:
        assert list((shot.folder / "out.farm").iterdir()) == []


def test_a_folder_that_may_not_be_written_is_a_sentence(
    submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, data: bytes) -> int:  # root may write anywhere: the system's answer is played
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", refused)
    code, out, err = submit("--dry-run", tmp_path / "bundle")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "Read-only file system. Choose a folder you may write to." in line


@pytest.mark.parametrize("kind", ["extract", "train"])
def test_chunks_of_what_is_one_task_are_refused_with_the_reason(
    shot: FrameShot, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    words: dict[str, list[object]] = {
        "extract": [shot.plate, "--faceset", tmp_path / "faces"],
        "train": ["--source", shot.faceset, "--target", shot.faceset, "--model", tmp_path / "model"],
    }
    line = ["farm", "submit", kind, *words[kind], "--chunk", 50, "--dry-run", tmp_path / "bundle"]
    assert main([str(word) for word in line]) == 2
    said = capsys.readouterr().err
    assert "is one task" in said
    assert "leave --chunk out" in said
    assert not (tmp_path / "bundle").exists()


def test_odd_names_come_through_to_the_task(tmp_path: Path, shot: FrameShot, submit: Submit) -> None:
    show = tmp_path / ODD
    shot.folder.rename(show)
    moved = FrameShot(show)
    paths = [moved.plate, "--model", moved.model, "--faceset", moved.faceset, "--chunk", "2", "--name", ODD + "\n2"]
    paths += ["--output", show / "out" / "a b.####.exr", "--authorization-use", "line\nline {{Param.X}} '\""]
    for backend in ("openjd", "flamenco"):
        folder = show / f"sent {backend}"
        line = ["farm", "submit", "merge", *paths, "--backend", backend, "--dry-run", folder]
        assert main([str(word) for word in line]) == 0
        if backend == "openjd":
            template = json.loads((folder / "template.json").read_text())
            assert "{" not in template["name"]
            assert template["name"].isprintable()
            data = template["steps"][0]["script"]["embeddedFiles"][0]["data"]
            (folder / "job.json").write_text(data)
            values = json.loads((folder / "openjd_parameters.json").read_text())
            assert values["PlateFolder"] == str(show / "plate")
        job = load_job(folder / "job.json", [], "")
        assert str(job.paths["plate"]) == moved.plate
        assert str(job.written) == str(show / "out" / "a b.####.exr")
        assert job.settings["authorization_use"] == "line\nline {{Param.X}} '\""
        assert job_spec(job, job.frames).merge.plate.path == moved.plate


@pytest.mark.parametrize("name", ['a "b"', "a\nb"])
def test_names_that_deadline_10_cannot_write_are_refused(submit: Submit, tmp_path: Path, name: str) -> None:
    code, _, err = submit("--backend", "deadline10", "--dry-run", tmp_path / name)
    assert code == 2
    assert "plain name" in err
    assert not (tmp_path / name).exists()


def test_names_that_are_not_unicode(submit: Submit, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    for backend in ("openjd", "deadline10", "flamenco"):
        assert submit("--backend", backend, "--name", name, "--dry-run", tmp_path / backend)[0] == 0
    code, _, err = submit("--backend", "deadline10", "--dry-run", tmp_path / name)
    assert code == 2
    assert "is not Unicode" in err
    assert len(err.splitlines()) == 1


def test_scattered_frames_beyond_what_a_task_reads_are_refused_before_they_are_sent(tmp_path: Path) -> None:
    scattered = FrameRange.of(range(1, 200_001, 2))  # one run: short
    assert BACKENDS["flamenco"].write(merge_job(tmp_path, scattered), tmp_path / "short", command="dfl", gpus=0)
    scattered = FrameRange.of(n * 3 + n % 2 for n in range(100_000))
    job = merge_job(tmp_path, scattered)
    assert BACKENDS["flamenco"].write(job, tmp_path / "long", command="dfl", gpus=0)
    assert (tmp_path / "long" / "job.json").stat().st_size < MAX_JOB_BYTES
    told = load_job(tmp_path / "long" / "job.json", [], "")
    assert told.frames == scattered
    parts = [frames_of_task(told, "", f"{index}/2000") for index in range(1, 2001)]
    assert [frame for part in parts for frame in part] == list(scattered)
    too_many = FrameRange.of(n * 3 + n % 2 for n in range(700_000))
    with pytest.raises(InvalidInput, match="too scattered") as caught:
        BACKENDS["flamenco"].write(merge_job(tmp_path, too_many), tmp_path / "none", command="dfl", gpus=0)
    assert caught.value.reason == "FRAMES_TOO_SCATTERED"
    with pytest.raises(InvalidInput, match="larger --chunk"):
        BACKENDS["deadline10"].write(
            merge_job(tmp_path, FrameRange.parse("1-2000000"), chunk=1), tmp_path / "none", command="dfl", gpus=0
        )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("frames", ["-5-5", "-9--3x2", "-10-10:5,20"])
def test_frames_below_zero_and_with_steps(submit: Submit, tmp_path: Path, frames: str) -> None:
    assert submit("--frames", frames, "--backend", "flamenco", "--dry-run", tmp_path)[0] == 0
    job = load_job(tmp_path / "job.json", [], "")
    assert job.frames == FrameRange.parse(frames)
    assert frames_of_task(job, str(job.frames), "") == job.frames


# What is installed.


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("openjd", "deadline", "outline", "opencue", "opencue_proto", "rqd"):
            raise AssertionError(f"{name} was asked for")
sys.meta_path.insert(0, Blocked())
import dfldaemon.farm.backends, dfldaemon.farm.task, dfldaemon.farm.session, dfldaemon.farm.simulate
from dfldaemon.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("backend", ["openjd", "deadline-cloud", "deadline10", "flamenco"])
def test_no_farms_package_is_needed_to_write_a_submission(shot: FrameShot, tmp_path: Path, backend: str) -> None:
    line = ["farm", "submit", "merge", shot.plate, "--model", shot.model, "--faceset", shot.faceset]
    line += ["--output", shot.folder / "out" / "a.####.exr", "--backend", backend, "--dry-run", tmp_path / "sent"]
    words = [sys.executable, "-c", BLOCKED, *map(str, line)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


FARM_PACKAGES = ("openjd", "deadline", "opencue", "outline", "rqd")


def test_the_farms_extras_stay_apart_and_nothing_else_needs_them(repository: Path) -> None:
    """Their pins fight: one environment each."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {name: [re.split(r"[<>=\[ ]", one)[0] for one in needs] for name, needs in extras.items()}
    wanted[""] = [re.split(r"[<>=\[ ]", one)[0] for one in project["dependencies"]]
    farms = {name: set(needs) for name, needs in wanted.items() if name.startswith("farm-")}
    assert farms == {
        "farm-openjd": {"openjd-cli"},
        "farm-deadline": {"deadline"},
        "farm-opencue": {"opencue-proto", "opencue-pycue", "opencue-pyoutline"},
    }
    assert {backend.extra for backend in BACKENDS.values() if backend.extra} == set(farms)
    for name, needs in wanted.items():
        if name not in farms:
            assert not [one for one in needs if one.startswith(FARM_PACKAGES)], name
        assert "dfl-compositor" not in needs, "an extra that brings others would bring farms together"
    for path in (*repository.glob("dflcore/**/*.py"), *repository.glob("daemon/**/*.py")):
        found = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), flags=re.MULTILINE)
        assert not {name for name in found if name in FARM_PACKAGES}, path
