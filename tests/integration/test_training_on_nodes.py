"""Several machines train one model: two daemons here, each with a folder of its own, and the command line on each."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def reasons(events: list[dict[str, Any]]) -> list[str]:
    return [str(event["reason"]) for event in events if event["type"] == "notice"]


def test_two_daemons_train_one_model_and_one_that_loses_its_part_joins_again(
    machines: list[Daemon], tmp_path: Path
) -> None:
    """The worker, its agent and its training process die at once, as when memory runs out."""
    model = tmp_path / "share" / "model"
    words = ["--source", noise_faceset(tmp_path / "source", 5), "--target", noise_faceset(tmp_path / "target", 6)]
    words += ["--model", model, "--nodes", 2, "--nproc", 1, "--node-address", "lo", "--device", "cpu", "--minutes", 0.4]
    words += ["--batch-size", 1, "--resolution", 64, "--save-interval-s", 2]
    line = [*DFL, "train", "--json", *map(str, words)]
    commands = [
        subprocess.Popen(line, env=daemon.environment(), stdout=subprocess.PIPE, text=True) for daemon in machines
    ]
    wait_until(lambda: model.exists() and ModelFolder.open(model).is_saved, "the model is saved")
    machines[1].worker().send_signal(signal.SIGKILL)
    events = [list(json_lines(command.communicate()[0])) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], events
    groups = [[event["details"]["nodes"] for event in told if event.get("reason") == "NODES_TRAIN"] for told in events]
    assert [told[-1] for told in groups] == ["2", "2"], "both were there at the end"
    assert "WORKER_KILLED" in reasons(events[1])
    assert "TRAINING_RESTARTED" in reasons(events[0])
    generation, notices = ModelFolder.open(model).load()
    assert generation is not None
    assert generation.state["elapsed_s"] >= 24.0
    assert not notices
    assert not meeting_folder(model).exists()
