"""Several machines train one model: two daemons here, each with a folder of its own, and the command line on each."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dflcore.models.checkpoint import ModelFolder
from dflcore.train.parallel.meeting import meeting_folder
from journey import DFL, Daemon, json_lines, wait_until
from small_facesets import noise_faceset

pytestmark = pytest.mark.slow


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Daemon]]:
    made = [Daemon(tmp_path / name) for name in ("one", "two")]
    for daemon in made:
        daemon.start().close()
    yield made
    for daemon in made:
        daemon.close()


def training_processes(daemon: Daemon) -> list[psutil.Process]:
    assert daemon.process is not None
    found = []
    for process in psutil.Process(daemon.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "dflcore.train.parallel.worker" in process.cmdline():
                found.append(process)
    return found


def reasons(events: list[dict[str, Any]]) -> list[str]:
    return [str(event["reason"]) for event in events if event["type"] == "notice"]


def test_two_daemons_train_one_model_and_a_killed_process_ends_nothing(machines: list[Daemon], tmp_path: Path) -> None:
    model = tmp_path / "share" / "model"
    words = ["--source", noise_faceset(tmp_path / "source", 5), "--target", noise_faceset(tmp_path / "target", 6)]
    words += ["--model", model, "--nodes", 2, "--nproc", 1, "--node-address", "lo", "--device", "cpu", "--minutes", 0.3]
    words += ["--batch-size", 1, "--resolution", 64, "--save-interval-s", 2]
    line = [*DFL, "train", "--json", *map(str, words)]
    commands = [
        subprocess.Popen(line, env=daemon.environment(), stdout=subprocess.PIPE, text=True) for daemon in machines
    ]
    wait_until(lambda: model.exists() and ModelFolder.open(model).is_saved, "the model is saved")
    training_processes(machines[1])[0].send_signal(signal.SIGKILL)
    events = [list(json_lines(command.communicate()[0])) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], events
    groups = [[event["details"]["nodes"] for event in told if event.get("reason") == "NODES_TRAIN"] for told in events]
    assert [told[-1] for told in groups] == ["2", "2"], "both were there at the end"
    assert "TRAINING_RESTARTED" in reasons(events[1])
    generation, notices = ModelFolder.open(model).load()
    assert generation is not None
    assert generation.state["elapsed_s"] >= 18.0
    assert not notices
    assert not meeting_folder(model).exists()
