"""Processes of a training group: started, listened to, asked to stop, and started anew when one is lost."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dflcore.errors import DataCorrupt, DflError, Internal, ResourceExhausted
from dflcore.progress import Notice, Saved, StopRequest, TrainProgress
from dflcore.train.parallel.launch import run_processes

Listener = Callable[..., Any]
SOON_S = 20.0
"""Far less than the half minute after which the tiny loop gives up on a silent fellow, far more than a start takes."""


def members() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


def test_a_group_trains_to_the_end_and_only_its_lead_is_heard(
    tiny_worker: list[str], tmp_path: Path, listener: Listener
) -> None:
    heard = listener()
    result = run_processes(tiny_worker, 2, {"path": str(tmp_path / "model"), "steps": 10}, heard)
    assert (result["step"], result["world"]) == (10, 2)
    assert [event.iteration for event in heard.events if isinstance(event, TrainProgress)] == [5, 10]
    assert heard.reasons() == ["THROUGH"], "both processes said it; a person hears it once"
    assert not members()


@pytest.mark.slow
def test_threads_are_shared_out(
    tiny_worker: list[str], tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    result = run_processes(tiny_worker, 2, {"path": str(tmp_path / "model"), "steps": 1}, listener())
    assert result["threads"] == "3"


def test_a_stop_reaches_all_and_saves_first(tiny_worker: list[str], tmp_path: Path, listener: Listener) -> None:
    path = tmp_path / "model"
    task = {"path": str(path), "steps": 100_000, "pause_s": 0.02}
    result = run_processes(tiny_worker, 2, task, listener(stop_after_saves=2))
    assert 10 <= result["step"] < 1000
    assert json.loads(path.read_text())["step"] == result["step"]
    assert not members()


@pytest.mark.slow
def test_whoever_runs_the_group_is_asked_only_while_it_takes_steps(
    tiny_worker: list[str], tmp_path: Path, listener: Listener
) -> None:
    heard = listener()
    run_processes(tiny_worker, 2, {"path": str(tmp_path / "model"), "steps": 1}, heard)
    assert heard.asked <= 2, "a question is a sign of life, and loading libraries for seconds is none"


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_is_told_of_and_training_goes_on_from_the_save(
    tiny_worker: list[str], tmp_path: Path, listener: Listener, rank: int
) -> None:
    heard = listener()
    task = {"path": str(tmp_path / "model"), "steps": 20, "ends": {f"{rank}:12": "kill"}}
    result = run_processes(tiny_worker, 2, task, heard)
    assert (result["first"], result["step"]) == (10, 20)
    notice = next(event for event in heard.events if isinstance(event, Notice))
    assert notice.reason == "TRAINING_RESTARTED"
    assert notice.message.startswith(f"Training process {rank + 1} (of 2 on this machine) was killed")
    assert "goes on from the last save (restart 1 of 3)" in notice.message
    unbroken = tmp_path / "unbroken"
    run_processes(tiny_worker, 2, {"path": str(unbroken), "steps": 20}, listener())
    assert json.loads((tmp_path / "model").read_text()) == json.loads(unbroken.read_text())


@pytest.mark.slow
def test_a_group_that_gets_nowhere_is_given_up(tiny_worker: list[str], tmp_path: Path, listener: Listener) -> None:
    heard = listener()
    task = {"path": str(tmp_path / "model"), "steps": 20, "ends": {"1:2": "exit"}, "again": True}
    with pytest.raises(Internal, match=r"process 2 .* ended with code 7") as caught:
        run_processes(tiny_worker, 2, task, heard, restarts=1)
    assert caught.value.details["exit_code"] == "7"
    assert heard.reasons() == ["TRAINING_RESTARTED"]


@pytest.mark.parametrize(
    ("end", "kind", "reason"),
    [
        ("damage", DataCorrupt, "FACE_DAMAGED"),
        pytest.param("memory", ResourceExhausted, "OUT_OF_MEMORY", marks=pytest.mark.slow),
        pytest.param("defect", Internal, "UNEXPECTED", marks=pytest.mark.slow),
    ],
)
def test_an_error_of_one_process_is_the_groups_and_is_not_tried_again(
    tiny_worker: list[str], tmp_path: Path, listener: Listener, end: str, kind: type[DflError], reason: str
) -> None:
    heard = listener()
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        run_processes(tiny_worker, 2, {"path": str(tmp_path / "model"), "steps": 20, "ends": {"1:3": end}}, heard)
    assert caught.value.reason == reason
    assert time.monotonic() - started < SOON_S
    assert not heard.reasons()
    assert not members()


def test_a_program_that_is_no_worker_is_an_error_not_a_wait(tmp_path: Path, listener: Listener) -> None:
    with pytest.raises(Internal, match="ended with code 3"):
        run_processes([sys.executable, "-c", "raise SystemExit(3)"], 2, {}, listener(), restarts=0)
    with pytest.raises(ResourceExhausted, match="could not be started"):
        run_processes([str(tmp_path / "nothing")], 2, {}, listener())


@pytest.mark.slow
def test_processes_end_with_whoever_started_them(tiny_worker: list[str], tmp_path: Path) -> None:
    task = {"path": str(tmp_path / "model"), "steps": 100_000, "pause_s": 0.02}
    code = (
        "import json, sys\nfrom dflcore.progress import LoggedRun\n"
        "from dflcore.train.parallel.launch import run_processes\n"
        "run_processes(json.loads(sys.argv[1]), 2, json.loads(sys.argv[2]), LoggedRun())\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, json.dumps(tiny_worker), json.dumps(task)])
    wait_for((tmp_path / "model").exists)
    children = psutil.Process(launcher.pid).children()
    assert len(children) == 2
    launcher.kill()
    launcher.wait()
    _, alive = psutil.wait_procs(children, timeout=SOON_S)
    assert not alive


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whenever_a_process_is_killed_the_group_goes_on(
    tiny_worker: list[str], tmp_path: Path, listener: Listener
) -> None:
    """Twelve kills of either process at random instants, starts and saves included; none hangs, nothing is lost."""
    draw = random.Random(4)
    path = tmp_path / "model"
    kills = 12
    killed: list[int] = []
    events_before: list[int] = []
    heard = listener()
    over = threading.Event()

    def has_gone_on() -> bool:
        return any(isinstance(event, Saved) for event in heard.events[events_before[-1] if events_before else 0 :])

    def kill_now_and_then() -> None:
        while len(killed) < kills and not over.is_set():
            if len(killed) % 2:  # while libraries load and processes meet
                over.wait(draw.uniform(0.5, 8.0))
            else:  # in the midst of steps and saves
                while not has_gone_on() and not over.wait(0.05):
                    continue
                over.wait(draw.uniform(0.0, 1.0))
            alive = members()
            if len(alive) == 2:
                victim = draw.choice(alive).pid
                events_before.append(len(heard.events))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

    def is_over() -> StopRequest | None:
        """A stop while a group falls apart would end it; so only once it has got over the last kill."""
        if len(killed) < kills:
            return None
        since = heard.events[events_before[-1] :]
        return StopRequest.PAUSE if "TRAINING_RESTARTED" in [getattr(event, "reason", "") for event in since] else None

    heard.stop_requested = is_over
    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        task = {"path": str(path), "steps": 1_000_000, "pause_s": 0.01}
        result = run_processes(tiny_worker, 2, task, heard, restarts=kills)
    finally:
        over.set()
        killer.join()
    assert len(killed) == kills
    assert 1 <= heard.reasons().count("TRAINING_RESTARTED") <= kills
    *saves, last = [event.iteration for event in heard.events if isinstance(event, Saved)]
    assert saves, "it never got anywhere"
    assert all(before < after for before, after in itertools.pairwise(saves)), "work was done twice"
    assert json.loads(path.read_text())["step"] == result["step"] == last
    assert not members()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
