"""Several machines train one model: two daemons here, each with a folder of its own, and the command line on each."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dflcore.models.checkpoint import ModelFolder
from dflcore.models.layout import generation_folders
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
    told = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("w")) for path in told]
        commands = [
            stack.enter_context(subprocess.Popen(line, env=daemon.environment(), stdout=file))
            for daemon, file in zip(machines, files, strict=True)
        ]
        for command in commands:
            stack.callback(command.kill)
        wait_until(lambda: all("2 machines train together" in path.read_text() for path in told), "they are together")
        wait_until(lambda: bool(generation_folders(model)), "the model is saved")
        machines[1].worker().send_signal(signal.SIGKILL)
        codes = [command.wait() for command in commands]
    events = [list(json_lines(path.read_text())) for path in told]
    assert codes == [0, 0], events
    groups = [[event["details"]["nodes"] for event in one if event.get("reason") == "NODES_TRAIN"] for one in events]
    assert [one[-1] for one in groups] == ["2", "2"], "both were there at the end"
    assert "WORKER_KILLED" in reasons(events[1])
    assert "TRAINING_RESTARTED" in reasons(events[0])
    generation, notices = ModelFolder.open(model).load()
    assert generation is not None
    assert generation.state["elapsed_s"] >= 24.0
    assert not notices
    assert not meeting_folder(model).exists()
