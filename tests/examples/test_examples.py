"""The scripts of ``examples/`` do what they say, against a real daemon."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dflcore.io.exr import is_valid_exr, read_exr_layers
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
    def program(name: str, *words: object) -> Result:
        line = [sys.executable, str(repository / "examples" / name), *map(str, words)]
        return subprocess.run(line, env=daemon.environment(), capture_output=True, timeout=WAIT_S, check=False)

    return program


def merge_words(shot: FrameShot, output: Path, frames: str = "1001-1003") -> list[object]:
    return [shot.plate, shot.model, shot.faceset, output / "swap.####.exr", frames]


@pytest.mark.parametrize("name", ["submit_shot.py", "farm_task_grpcio.py", "farm_task_dflhost.py"])
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


@pytest.mark.parametrize("name", ["submit_shot.py", "farm_task_grpcio.py", "farm_task_dflhost.py"])
def test_a_failure_is_said_and_is_the_exit_code(
    run: Callable[..., Result], shot: FrameShot, tmp_path: Path, name: str
) -> None:
    done = run(name, *merge_words(shot, tmp_path, frames="2001-2002"))
    assert done.returncode == 1
    said = (done.stdout + done.stderr).decode()
    assert "2001" in said
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


def test_without_a_daemon_there_is_a_sentence(repository: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "DFL_STATE_DIR": str(tmp_path)}
    for name in ("watch_show.py", "farm_task_dflhost.py"):
        words = ["x"] * (1 if name == "watch_show.py" else 4)
        line = [sys.executable, str(repository / "examples" / name), *words, *([] if len(words) == 1 else ["1-2"])]
        done = subprocess.run(line, env=environ, capture_output=True, timeout=WAIT_S, check=False)
        assert done.returncode == 1
        said = (done.stdout + done.stderr).decode()
        assert len(said.splitlines()) == 1
        assert "No daemon is running" in said
