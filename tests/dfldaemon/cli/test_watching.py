"""``dfl train --watch`` through a daemon of its own, on a terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from terminal import Terminal

from small_facesets import noise_faceset

pytestmark = pytest.mark.slow

WIDTH = 90
DEADLINE_S = 120.0
SMALL = [
    "--preset=df",
    "--resolution=64",
    "--ae-dims=32",
    "--e-dims=16",
    "--d-dims=16",
    "--d-mask-dims=8",
    "--batch-size=2",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("source", "target"):
        noise_faceset(tmp_path / name)
    return tmp_path


@pytest.fixture
def environ(folder: Path):
    """A private daemon, ended with the test."""
    environ = {**os.environ, "DFL_STATE_DIR": str(folder / "state"), "DFL_RUNTIME_DIR": str(folder / "run")}
    yield {**environ, "OMP_NUM_THREADS": "1"}
    assert Terminal(dfl("daemon", "stop"), environ).close() == 0


def dfl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dfldaemon.cli.main", *arguments]


def train(folder: Path, *arguments: str) -> list[str]:
    sides = [f"--{name}={folder / name}" for name in ("source", "target", "model")]
    return dfl("train", *sides, *SMALL, "--authorization-project=test", "--watch", *arguments)


def test_a_training_is_drawn_to_its_end_and_summed_up(folder: Path, environ: dict[str, str]) -> None:
    terminal = Terminal(
        train(folder, "--minutes=0.1", "--save-interval-s=1", "--preview-interval-s=2"), environ, columns=WIDTH
    )
    terminal.read_until(lambda screen: "generation 2" in screen, deadline_s=DEADLINE_S)
    terminal.resize(60)
    terminal.read_until(lambda screen: "Done." in screen, deadline_s=DEADLINE_S)
    assert terminal.close() == 0
    lines = terminal.screen.splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("Training "))
    assert "100 %" in lines[head]
    assert lines[head + 1].startswith("iteration ")
    assert "ms/step" in lines[head + 2]
    assert [line.split()[0] for line in lines[head + 3 : head + 5]] == ["source", "target"]
    below = "".join(lines[head + 5 :]).replace(" ", "")  # the path went on in the next line
    assert f"preview{folder}/model/previews/preview.png(iteration" in below
    assert any(line.startswith("Trained ") and line.endswith(" each") for line in lines)
    assert any(line.startswith("  losses: source ") for line in lines)


def test_ctrl_c_cancels_and_the_model_is_kept(folder: Path, environ: dict[str, str]) -> None:
    terminal = Terminal(train(folder, "--save-interval-s=1"), environ, columns=WIDTH)
    terminal.read_until(lambda screen: "ms/step" in screen, deadline_s=DEADLINE_S)
    assert "until it is stopped" in terminal.screen
    os.kill(terminal.process.pid, signal.SIGINT)
    terminal.read_until(lambda screen: "was cancelled" in screen, deadline_s=DEADLINE_S)
    assert terminal.close() == 130
    assert "Cancelling; finished work is kept." in terminal.screen
    assert (folder / "model" / "generations").is_dir()
