"""Several workers at one job: the same frames at once, a worker that dies, and one that starts its own daemon."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dflcore.io.exr import is_valid_exr
from dfldaemon.discovery import find_session
from dfldaemon.farm.session import enter_session, leave_session
from dfldaemon.farm.task import machine_state
from frame_shot import FrameShot

pytestmark = pytest.mark.slow
Submit = Callable[..., tuple[int, str, str]]
WAIT_S = 240.0


@pytest.fixture
def described(submit: Submit, tmp_path: Path) -> Path:
    """The job's description."""
    assert submit("--backend", "deadline10", "--dry-run", tmp_path / "sent")[0] == 0
    return tmp_path / "sent" / "job.json"


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[dict[str, str]]]:
    """Environments of tasks on two workers, each with its session's daemon."""
    folders = [tmp_path / f"worker{number}" for number in (1, 2)]
    for folder in folders:
        folder.mkdir()
    yield [{**os.environ, **enter_session(folder, os.environ)} for folder in folders]
    for folder in folders:
        leave_session(folder)


def begin(path: Path, environ: dict[str, str], *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "dfldaemon.cli.main", "farm", "task", "--job", str(path), *words]
    return subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=WAIT_S)
    return process.returncode, said


def whole_frames(shot: FrameShot) -> list[str]:
    """Of the one version there is; all of them can be read."""
    (version,) = [path for path in (shot.folder / "out").iterdir() if path.is_dir()]
    paths = sorted(
        version.glob("[!.]*.exr")
    )  # a killed worker's temporary file stays for an hour, under a name of its own
    assert all(is_valid_exr(path) for path in paths)
    assert not list(version.rglob(".*.journal"))
    return [path.name for path in paths]


ALL = [f"swap.{frame}.exr" for frame in range(1001, 1005)]


def test_two_workers_at_the_same_frames_leave_whole_ones_in_one_version(
    described: Path, workers: list[dict[str, str]], shot: FrameShot
) -> None:
    running = [begin(described, environ, "--chunk", "1/1") for environ in workers]
    for code, said in map(end, running):
        assert code == 0, said
    assert whole_frames(shot) == ALL


def test_two_workers_share_the_frames(described: Path, workers: list[dict[str, str]], shot: FrameShot) -> None:
    running = [begin(described, environ, "--chunk", f"{part}/2") for part, environ in enumerate(workers, start=1)]
    for code, said in map(end, running):
        assert code == 0, said
    assert whole_frames(shot) == ALL


def test_what_a_dead_worker_left_is_done_by_the_next_and_what_it_had_done_is_not_done_again(
    submit: Submit, workers: list[dict[str, str]], shot: FrameShot, tmp_path: Path
) -> None:
    shutil.copy(shot.file(1004), shot.file(1040))
    held = ("--frames", "1001-1040", "--chunk", 40, "--missing-frames", "hold")
    assert submit("--backend", "flamenco", "--dry-run", tmp_path / "sent", *held)[0] == 0
    described = tmp_path / "sent" / "job.json"
    first = begin(described, workers[0], "--chunk", "1/1")
    assert first.stdout is not None
    said = []
    for line in first.stdout:
        said.append(line)
        if "openjd_status: frame 1003" in line:
            break
    os.kill(find_session(Path(workers[0]["DFL_STATE_DIR"])).pid, signal.SIGKILL)
    first.kill()
    first.wait()
    first.stdout.close()
    out = shot.folder / "out" / "v001"
    names = [f"swap.{frame}.exr" for frame in range(1001, 1041)]
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("[!.]*.exr")}
    assert set(names[:3]) <= set(done) < set(names), "".join(said)
    assert all(is_valid_exr(out / name) for name in done), "a name is only ever given to a whole frame"
    code, text = end(begin(described, workers[1], "--chunk", "1/1"))
    assert code == 0, "".join(said) + text
    assert whole_frames(shot) == names
    again = {name for name, time_ns in done.items() if (out / name).stat().st_mtime_ns != time_ns}
    assert len(again) <= 2, "at most what was about to get its name when the worker died"
    assert not again & set(names[:3])


def test_without_a_session_the_machines_daemon_is_started_on_demand(
    described: Path, shot: FrameShot, tmp_path: Path
) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    try:
        running = [begin(described, environ, "--chunk", f"{part}/2") for part in (1, 2)]
        for code, said in map(end, running):
            assert code == 0, said
        assert whole_frames(shot) == ALL
        assert len(list(tmp_path.glob("dfl-farm-*/session.json"))) == 1
    finally:
        for state in tmp_path.glob("dfl-farm-*"):
            with contextlib.suppress(Exception):
                os.kill(find_session(state).pid, signal.SIGTERM)


def test_a_folder_of_somebody_elses_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dflcore.errors import InvalidInput

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    state = machine_state({})
    assert state.parent == tmp_path
    assert state.stat().st_mode & 0o077 == 0
    assert machine_state({}) == state
    state.chmod(0o777)
    with pytest.raises(InvalidInput, match="DFL_STATE_DIR"):
        machine_state({})
    state.rmdir()
    (tmp_path / "elsewhere").mkdir()
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="another user"):
        machine_state({})
