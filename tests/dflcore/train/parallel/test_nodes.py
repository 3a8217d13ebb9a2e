"""Several machines that train one model: each a process of its own here, which meets the others as a machine does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dflcore.train.parallel.meeting import meeting_folder

HERE = Path(__file__).parent
PATIENCE_S = 150.0
"""Far more than two elastic agents need to notice that one is gone, on slow cores."""


class Machine:
    """One of them, and what it has said so far."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.stop_file = Path(given["stop"])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "node_program.py"), json.dumps(given)], stdout=subprocess.PIPE, text=True
        )
        self.said: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.said if one["kind"] == kind]

    def reasons(self) -> list[str]:
        return [str(one["reason"]) for one in self.of("Notice")]

    def groups(self) -> list[tuple[int, int]]:
        """Machines of every group so far, and which of them this one was."""
        told = [one["details"] for one in self.of("Notice") if one["reason"] == "NODES_TRAIN"]
        return [(int(one["nodes"]), int(one["index"])) for one in told]

    def processes(self) -> list[psutil.Process]:
        """Its agent, and what that has started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def end(self) -> dict[str, Any]:
        """The last thing it says."""
        self.process.wait(PATIENCE_S)
        self._reader.join()
        return self.said[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(tiny_worker: list[str], tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Start a machine; words for its node, and ``task`` for the tiny loop's."""
    machines: list[Machine] = []

    def run(*, task: dict[str, Any], **values: Any) -> Machine:
        whole = {"path": str(tmp_path / "model"), "nodes": 2, **task}
        stop = str(tmp_path / f"stop-{len(machines)}")
        machines.append(Machine({"worker": tiny_worker, "task": whole, "stop": stop, **values}))
        return machines[-1]

    yield run
    left = [process for machine in machines for process in machine.processes()]
    for machine in machines:
        machine.kill()
    assert not psutil.wait_procs(left, timeout=20.0)[1], "they die with their machine"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def test_two_machines_train_one_model_and_open_no_door(start: Callable[..., Machine], tmp_path: Path) -> None:
    """Weights are looked at by the processes themselves, bit by bit, at the end."""
    task = {"steps": 60, "pause_s": 0.05}
    one, other = start(task=task, processes=2), start(task=task)
    wait_for(lambda: one.groups() and other.groups())
    spare = start(task=task, wait_s=1)
    addresses: set[str] = set()
    while one.process.poll() is None or other.process.poll() is None:
        for process in [*one.processes(), *other.processes()]:
            try:
                connections = process.net_connections("tcp")
            except psutil.Error:
                continue
            addresses |= {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
        time.sleep(0.2)
    results = [one.end(), other.end()]
    assert [(end["kind"], end["step"], end["world"]) for end in results] == [("result", 60, 3)] * 2
    assert (spare.end()["kind"], spare.end()["first"]) == ("result", 60), "it waited, and nothing was left to do"
    assert sorted(one.groups() + other.groups()) == [(2, 0), (2, 1)]
    lead, second = (one, other) if one.groups() == [(2, 0)] else (other, one)
    assert [event["iteration"] for event in lead.of("TrainProgress")] == [*range(5, 61, 5)]
    assert not second.of("TrainProgress")
    assert not second.of("Saved")
    assert "leads: progress and previews are told there" in second.of("Notice")[1]["message"]
    assert addresses <= {"127.0.0.1"}
    assert not meeting_folder(tmp_path / "model").exists()


@pytest.mark.slow
def test_a_killed_process_costs_what_was_not_saved(start: Callable[..., Machine], tmp_path: Path) -> None:
    task = {"steps": 40, "pause_s": 0.02, "ends": {"1:12": "kill"}}
    one, other = start(task=task), start(task=task)
    ends = [one.end(), other.end()]
    assert [(end["kind"], end["step"]) for end in ends] == [("result", 40)] * 2
    assert all(end["first"] >= 10 for end in ends), "what was saved is not learnt again"
    assert (tmp_path / "model.ended-1-12").exists()
    told = [notice["message"] for machine in (one, other) for notice in machine.of("Notice")]
    assert any("A training process of this machine was lost" in text for text in told)
    saves = [event["iteration"] for machine in (one, other) for event in machine.of("Saved")]
    assert max(saves) == 40


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_machines_are_killed_and_come_and_the_training_goes_on(start: Callable[..., Machine], tmp_path: Path) -> None:
    """One is killed whole, the other goes on alone and takes a third in; the lead is stopped, the rest goes on."""
    path = tmp_path / "model"
    task = {"steps": 1_000_000, "pause_s": 0.02}
    first, second = start(task=task, wait_s=5), start(task=task, wait_s=5)
    wait_for(lambda: first.groups() and first.groups()[-1][0] == 2 and first.of("Saved") + second.of("Saved"))
    lead, other = (first, second) if first.groups()[-1] == (2, 0) else (second, first)
    lead.process.send_signal(signal.SIGKILL)
    lead.process.wait()
    step = json.loads(path.read_text())["step"]
    wait_for(lambda: other.of("Saved"))
    assert other.of("Saved")[0]["iteration"] > step >= 5, "it goes on from what the dead one saved"
    assert other.groups()[-1] == (1, 0)
    third = start(task=task, wait_s=5)
    wait_for(lambda: third.groups() and third.groups()[-1][0] == 2)
    assert "NODES_CHANGE" in other.reasons()
    count = len(other.of("Saved") + third.of("Saved"))
    wait_for(lambda: len(other.of("Saved") + third.of("Saved")) > count)
    leads, follows = (other, third) if other.groups()[-1] == (2, 0) else (third, other)
    left_at = stop(leads, path)
    assert all(event["iteration"] <= left_at for event in follows.of("Saved"))
    wait_for(lambda: any(event["iteration"] > left_at for event in follows.of("Saved")))
    assert follows.groups()[-1] == (1, 0)
    end = {"step": stop(follows, path)}
    saves = [event["iteration"] for event in follows.of("Saved")]
    assert saves == sorted(saves)
    assert not meeting_folder(path).exists()
    late = start(task={**task, "steps": end["step"]}, wait_s=1)
    assert (late.end()["kind"], late.end()["first"]) == ("result", end["step"]), "nothing is left to do"


def stop(machine: Machine, path: Path) -> int:
    """Ask the lead to stop; answers with the step it has saved."""
    machine.stop_file.touch()
    end = machine.end()
    assert end["kind"] == "result"
    assert end["stopped"]
    saved = [event["iteration"] for event in machine.of("Saved")][-1]
    assert saved == end["step"] <= json.loads(path.read_text())["step"], "a stop saves first"
    return int(end["step"])


@pytest.mark.slow
def test_a_machine_that_does_not_lead_leaves_at_once(start: Callable[..., Machine]) -> None:
    task = {"steps": 1_000_000, "pause_s": 0.02}
    machines = [start(task=task), start(task=task)]
    wait_for(lambda: any(one.of("Saved") for one in machines))
    lead, other = sorted(machines, key=lambda one: one.groups()[-1][1])
    other.stop_file.touch()
    assert other.end()["reason"] == "CANCELLED"
    wait_for(lambda: "TRAINING_RESTARTED" in lead.reasons())
    told = [one["message"] for one in lead.of("Notice") if one["reason"] == "TRAINING_RESTARTED"]
    assert told == ["A process on another machine is gone, or does not answer. Training goes on from the last save."]
    lead.stop_file.touch()  # while it waits for others
    assert lead.end()["reason"] == "CANCELLED"


@pytest.mark.slow
def test_what_would_come_again_ends_a_machines_part_at_once(start: Callable[..., Machine]) -> None:
    machine = start(task={"steps": 20, "ends": {"0:3": "damage"}}, wait_s=1)
    end = machine.end()
    assert (end["kind"], end["reason"]) == ("error", "FACE_DAMAGED")
    assert "TRAINING_RESTARTED" not in machine.reasons()


@pytest.mark.slow
def test_a_machine_that_gets_nowhere_gives_up(start: Callable[..., Machine]) -> None:
    machine = start(task={"steps": 20, "ends": {"0:2": "exit"}, "again": True}, wait_s=1, restarts=1)
    end = machine.end()
    assert (end["kind"], end["reason"]) == ("error", "WORKER_KILLED")
    assert machine.reasons().count("TRAINING_RESTARTED") == 1


def test_an_address_of_another_machine_is_refused(start: Callable[..., Machine]) -> None:
    end = start(task={"steps": 1}, address="203.0.113.9").end()
    assert end["reason"] == "NO_SUCH_ADDRESS"
    assert "203.0.113.9" in end["message"]
    assert "lo (127.0.0.1)" in end["message"]
