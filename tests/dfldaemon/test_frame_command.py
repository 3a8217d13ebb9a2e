"""``dfl frame`` as a person types it, mistakes included: one sentence, the right exit code, nothing left behind."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from frame_asking import forget_begun, frame_workers, wait_until_begun

from dflcore.io.exr import read_exr_layers
from dfldaemon.cli.main import main
from frame_shot import FrameShot

Result = subprocess.CompletedProcess[bytes]


def command(shot: FrameShot, *arguments: object, plate: object = None) -> list[str]:
    given = [str(argument) for argument in arguments]
    usual = {"--model": shot.model, "--faceset": shot.faceset, "--frame": 1001}
    flags = [part for flag, value in usual.items() if flag not in given for part in (flag, value)]
    line = [sys.executable, "-m", "dfldaemon.cli.main", "frame", plate or shot.plate, *flags, *given]
    return [str(part) for part in line]


@pytest.fixture
def dfl(shot: FrameShot, daemon: Any) -> Callable[..., Result]:
    environ = {**os.environ, "DFL_STATE_DIR": str(daemon.state_dir)}

    def run(*arguments: object, plate: object = None) -> Result:
        return subprocess.run(command(shot, *arguments, plate=plate), env=environ, capture_output=True, check=False)

    return run


def sentence(done: Result) -> str:
    """What was said on stderr: one sentence of one line."""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("Error: ")
    assert "defect" not in line
    return line


def test_the_command(shot: FrameShot, dfl: Callable[..., Result], tmp_path: Path) -> None:
    done = dfl("--output", tmp_path / "one.exr", "--opacity", "0.5")
    assert done.returncode == 0, done.stderr
    assert b"400x300, 1 face" in done.stdout
    shot.merge(tmp_path / "range.####.exr", (1001,), opacity=0.5)
    found, expected = read_exr_layers(tmp_path / "one.exr"), read_exr_layers(tmp_path / "range.1001.exr")
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert dfl("--output", tmp_path / "one.exr").returncode == 4
    done = dfl("--output", "-", "--format", "half", "--layer", "matte", "--size", "half", "--region", "150,60,100,50")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 50 * 25 * 2
    assert dfl("--output", tmp_path / "pixels.bin", "--format", "float", "--json").returncode == 0
    assert (tmp_path / "pixels.bin").stat().st_size == 400 * 300 * 4 * 4


TOO_LARGE = "9" * 23
MISTAKES: list[tuple[list[str], int, str]] = [
    (["--output", "a.tif"], 2, "does not say what to write"),
    (["--output", ""], 2, "name a file"),
    (["--output", "-"], 2, "--format"),
    (["--output", "-", "--format", "png", "--json"], 2, ""),
    (["--output", "a.png", "--format", "exr"], 2, "must end in .exr"),
    (["--output", "folder.exr"], 2, "is a folder"),
    (["--output", "folder.exr", "--overwrite"], 2, "is a folder"),
    (["--output", "folder.exr", "--overwrite", "--format", "half"], 2, "is no file"),
    (["--output", "there.txt/a.exr"], 2, "folder you may write to"),
    (["--output", "there.txt/a.bin", "--format", "half"], 2, "folder you may write to"),
    (["--output", "there.txt", "--format", "half"], 4, "--overwrite"),
    (["--output", "a.exr", "--size", "0"], 2, "--size"),
    (["--output", "a.exr", "--max-side", "-4"], 2, "0 or more"),
    (["--output", "a.exr", "--max-side", TOO_LARGE], 2, "out of range"),
    (["--output", "a.exr", "--frame", TOO_LARGE], 2, "out of range"),
    (["--output", "a.exr", "--frame", "77"], 3, "has no frame 77; it has 1001-1004"),
    (["--output", "a.exr", "--deadline-s", "nan"], 2, "--deadline-s"),
    (["--output", "a.exr", "--region", "somewhere"], 2, "--region"),
    (["--output", "a.exr", "--region", "1,2,3"], 2, "--region"),
    (["--output", "a.exr", "--region", f"1,2,3,{TOO_LARGE}"], 2, "--region"),
    (["--output", "a.exr", "--region", "4000,4000,5,5"], 2, "outside the plate (400x300)"),
    (["--output", "a.exr", "--layer", "nonsense"], 2, "there are beauty, swap,"),
    (["--output", "a.png", "--layer", "swap", "--layer", "raw"], 2, "one layer"),
    (["--output", "a.exr", "--model", "nowhere"], 3, "no model in"),
    (["--output", "a.exr", "--model", "garbage"], 6, "garbage"),
    (["--output", "a.exr", "--faceset", "garbage"], 3, "not a faceset"),
    (["--output", "a.exr", "--cast", "others = nowhere"], 3, "no model in"),
]


def test_mistakes_are_told_in_a_sentence(
    shot: FrameShot,
    daemon: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    def dfl(*arguments: str, plate: str = "") -> Result:
        line = command(shot, *arguments, plate=plate)[3:]
        code = main(line, {"DFL_STATE_DIR": str(daemon.state_dir)})
        return subprocess.CompletedProcess(line, code, *capfdbinary.readouterr())

    monkeypatch.chdir(tmp_path)
    Path("folder.exr").mkdir()
    Path("there.txt").write_text("somebody's")
    shutil.copytree(shot.model, "garbage")
    for weights in Path("garbage").rglob("weights.safetensors"):
        weights.write_bytes(b"\x80\x04garbage")
    for arguments, code, says in MISTAKES:
        done = dfl(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stdout == b"" or "--json" in arguments
        assert not says or says in sentence(done), arguments
    done = dfl("--output", "a.exr", plate="nothing.####.exr")
    assert (done.returncode, "nothing.####.exr" in sentence(done)) == (3, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.exr", "garbage", "there.txt"]
    assert not any(Path("folder.exr").iterdir())
    assert Path("there.txt").read_text() == "somebody's"


def test_paths_in_settings_are_the_users(
    shot: FrameShot, dfl: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shot.folder)
    done = dfl("--output", tmp_path / "cast.exr", "--cast", "others = model")
    assert done.returncode == 0, done.stderr
    done = dfl("--output", tmp_path / "again.exr", "--cast", "others = ./model")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_may_not_be_written(dfl: Callable[..., Result], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for name in ("a.exr", "a.png", "a.bin"):
        done = dfl("--output", tmp_path / name, "--format", name[2:].replace("bin", "half"))
        assert (done.returncode, "may write" in sentence(done)) == (2, True)


def test_a_picture_is_not_sent_to_a_terminal(shot: FrameShot, daemon: Any) -> None:
    master, slave = pty.openpty()
    environ = {**os.environ, "DFL_STATE_DIR": str(daemon.state_dir)}
    line = command(shot, "--output", "-", "--format", "half")
    done = subprocess.run(line, env=environ, stdin=slave, stdout=slave, stderr=subprocess.PIPE, check=False)
    os.close(slave)
    os.close(master)
    assert (done.returncode, "terminal" in sentence(done)) == (2, True)


def test_a_reader_that_leaves_and_a_disk_that_is_full(shot: FrameShot, daemon: Any) -> None:
    environ = {**os.environ, "DFL_STATE_DIR": str(daemon.state_dir)}
    line = command(shot, "--output", "-", "--format", "float")
    process = subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 130
    with open("/dev/full", "wb") as full:
        done = subprocess.run(line, env=environ, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, "disk is full" in sentence(done)) == (5, True)


def test_a_daemon_that_is_killed_over_a_frame(
    shot: FrameShot, start_daemon: Callable[..., Any], tmp_path: Path, wait: Callable[..., Any]
) -> None:
    """Its process for frames leaves with it, and no half a file is there."""
    daemon = start_daemon()
    forget_begun(shot, "slow")
    environ = {**os.environ, "DFL_STATE_DIR": str(daemon.state_dir)}
    line = command(shot, "--model", shot.folder / "pretend-slow", "--output", tmp_path / "out" / "a.exr")
    process = subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until_begun(shot, "slow")
    (worker,) = frame_workers(daemon)
    began = time.monotonic()
    daemon.stop(signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=30)
    done = subprocess.CompletedProcess(line, process.returncode, stdout, stderr)
    assert (done.returncode, "cannot be reached" in sentence(done)) == (8, True)
    assert time.monotonic() - began < 10.0
    wait(lambda: not psutil.pid_exists(worker))
    assert not (tmp_path / "out").exists()
