"""The scripts of ``examples/`` do what they say, against a real daemon."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dflcore.io.exr import is_valid_exr, read_exr_layers
from dfldaemon.client import DaemonClient, session_endpoint
from dflproto.v1 import common_pb2, job_service_pb2, settings_pb2
from frame_shot import FrameShot, make_frame_shot
from journey import Daemon

pytestmark = pytest.mark.slow
Result = subprocess.CompletedProcess[bytes]
WAIT_S = 240.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("examples"))
    daemon.start().close()
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    return make_frame_shot(tmp_path_factory.mktemp("shot"))


@pytest.fixture
def run(repository: Path, daemon: Daemon) -> Callable[..., Result]:
    def program(name: str, *words: object, cwd: Path | None = None) -> Result:
        line = [sys.executable, str(repository / "examples" / name), *map(str, words)]
        environ = daemon.environment()
        return subprocess.run(line, env=environ, capture_output=True, timeout=WAIT_S, check=False, cwd=cwd)

    return program


TASKS = ("submit_shot.py", "farm_task_grpcio.py", "farm_task_dflhost.py")
EVERY = (*TASKS, "swap_frame.py", "watch_show.py")


def merge_words(shot: FrameShot, output: Path, frames: str = "1001-1003") -> list[object]:
    return [shot.plate, shot.model, shot.faceset, output / "swap.####.exr", frames]


@pytest.mark.parametrize("name", TASKS)
def test_a_range_is_merged_and_the_second_time_nothing_is_computed(
    run: Callable[..., Result], shot: FrameShot, tmp_path: Path, name: str
) -> None:
    done = run(name, *merge_words(shot, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"100.0" in done.stdout or b"3 of 3" in done.stdout
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.exr")}
    assert sorted(written) == ["swap.1001.exr", "swap.1002.exr", "swap.1003.exr"]
    assert run(name, *merge_words(shot, tmp_path)).returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.exr")} == written


@pytest.mark.parametrize("name", TASKS)
def test_a_failure_is_said_and_is_the_exit_code(
    run: Callable[..., Result], shot: FrameShot, tmp_path: Path, name: str
) -> None:
    done = run(name, *merge_words(shot, tmp_path, frames="2001-2002"))
    assert done.returncode == 1
    said = (done.stdout + done.stderr).decode()
    assert "2001" in said
    assert "Traceback" not in said
    plate, _, *more = merge_words(shot, tmp_path)
    done = run(name, plate, tmp_path / "no model", *more)  # refused before it is a job
    assert done.returncode == 1
    said = (done.stdout + done.stderr).decode()
    assert "There is no model folder" in said
    assert len(said.splitlines()) == 1


def test_the_manuals_lines_run_as_they_stand(repository: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    """In a folder where a plate, a model and a faceset have the manual's names."""
    shot = make_frame_shot(tmp_path / "made")
    for frame in range(1001, 1011):
        shutil.copy(shot.file(min(frame, 1004)), tmp_path / f"plate.{frame}.exr")
    for name, folder in (("models", shot.model), ("facesets", shot.faceset)):
        (tmp_path / name).mkdir()
        folder.rename(tmp_path / name / {"models": "shot", "facesets": "target"}[name])
    manual = (repository / "examples" / "README.md").read_text()
    lines = re.findall(r"^python examples/(.*)", manual, flags=re.MULTILINE)
    assert {shlex.split(line)[0] for line in lines} == set(EVERY)
    for line in lines:
        name, *words = shlex.split(line.partition(" > ")[0])
        frames = {"1001-1100": "1001-1010", "1011-1020": "1001-1010", "/show/sh010": str(tmp_path)}
        done = run(name, *(frames.get(word, word) for word in words), cwd=tmp_path)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert done.stdout
    assert len(list((tmp_path / "out" / "v001").glob("shot.*.exr"))) == 10
    assert not (tmp_path / "out" / "v002").exists()


@pytest.mark.parametrize("name", EVERY)
def test_without_words_a_script_says_how_it_is_called(run: Callable[..., Result], name: str) -> None:
    done = run(name)
    assert done.returncode == 1
    said = (done.stdout + done.stderr).decode()
    assert f"{name} " in said
    assert "Traceback" not in said


def test_one_frame_to_standard_output(run: Callable[..., Result], shot: FrameShot, tmp_path: Path) -> None:
    done = run("swap_frame.py", shot.plate, 1002, shot.model, shot.faceset)
    assert done.returncode == 0, done.stderr
    (tmp_path / "still.exr").write_bytes(done.stdout)
    assert is_valid_exr(tmp_path / "still.exr")
    names = set(read_exr_layers(tmp_path / "still.exr"))
    assert any("matte" in name for name in names)


def test_the_jobs_of_a_show_and_of_no_other(run: Callable[..., Result], shot: FrameShot, tmp_path: Path) -> None:
    assert run("submit_shot.py", *merge_words(shot, tmp_path, frames="1001")).returncode == 0
    done = run("watch_show.py", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.decode().splitlines()
    assert " merge succeeded 1/1" in line
    other = tmp_path.with_name("other")
    assert run("watch_show.py", other).stdout == b""


def test_a_show_whose_name_is_not_plain_and_is_a_part_of_anothers(
    run: Callable[..., Result], shot: FrameShot, tmp_path: Path
) -> None:
    show, longer = tmp_path / 'sh"ö 顔', tmp_path / 'sh"ö 顔 2'
    for folder in (show, longer):
        folder.mkdir()
        assert run("submit_shot.py", *merge_words(shot, folder, frames="1001")).returncode == 0
    assert len(run("watch_show.py", show).stdout.splitlines()) == 1
    assert len(run("watch_show.py", tmp_path.name, cwd=tmp_path.parent).stdout.splitlines()) == 2


def test_a_show_is_watched_until_its_jobs_have_ended(
    repository: Path, daemon: Daemon, run: Callable[..., Result], shot: FrameShot, tmp_path: Path
) -> None:
    shutil.copytree(shot.folder, tmp_path / "show")
    held = FrameShot(tmp_path / "show")
    shutil.copy(held.file(1004), held.file(1020))
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        merge = job_service_pb2.MergeSpec(
            plate=job_service_pb2.PlateSpec(path=held.plate, frames="1001-1020"),
            model_path=str(held.model),
            faceset_path=str(held.faceset),
            output_path=str(tmp_path / "out" / "a.####.exr"),
            settings=settings_pb2.MergeSettings(missing_frames="hold"),
        )
        job = client.submit(job_service_pb2.JobSpec(merge=merge))
    done = run("watch_show.py", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == f"{job.id} merge succeeded 20/20"
    assert len(lines) > 1


@pytest.mark.parametrize("name", ["farm_task_grpcio.py", "farm_task_dflhost.py"])
def test_a_task_that_is_told_to_stop_cancels_its_job(
    repository: Path, daemon: Daemon, shot: FrameShot, tmp_path: Path, name: str
) -> None:
    shutil.copytree(shot.folder, tmp_path / "show")
    long = FrameShot(tmp_path / "show")
    for frame in range(1005, 1400):
        long.file(frame).symlink_to(long.file(1004))
    words = merge_words(long, tmp_path, frames="1001-1399")
    line = [sys.executable, "-u", str(repository / "examples" / name), *map(str, words)]
    with subprocess.Popen(
        line, env=daemon.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        next(said for said in process.stdout if "openjd_progress" in said and not said.endswith(" 0.0\n"))
        process.terminate()
        said = process.stdout.read()
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("openjd_fail: ")
    assert "ancelled" in said
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        newest = next(client.list_jobs())
        assert newest.state == common_pb2.JOB_STATE_CANCELLED


def test_without_a_daemon_there_is_a_sentence(repository: Path, tmp_path: Path) -> None:
    elsewhere = {name: value for name, value in os.environ.items() if name not in ("DFL_STATE_DIR", "XDG_STATE_HOME")}
    for name in ("watch_show.py", "farm_task_grpcio.py", "farm_task_dflhost.py"):
        words = ["x"] if name == "watch_show.py" else ["x", "x", "x", "x", "1-2"]
        line = [sys.executable, str(repository / "examples" / name), *words]
        for variables in ({"DFL_STATE_DIR": str(tmp_path)}, {"HOME": str(tmp_path)}):
            environ = {**elsewhere, **variables}
            done = subprocess.run(line, env=environ, capture_output=True, timeout=WAIT_S, check=False)
            assert done.returncode == 1
            said = (done.stdout + done.stderr).decode()
            assert len(said.splitlines()) == 1
            assert "No daemon is running" in said
            assert str(tmp_path) in said
