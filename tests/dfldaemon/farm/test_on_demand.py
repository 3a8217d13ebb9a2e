"""Farms without sessions: a task starts this machine's daemon, tasks share it, and it leaves when nobody asks."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from dflcore.errors import DflError, InvalidInput, NotFound
from dfldaemon.cli.output import Output
from dfldaemon.cli.session import CliSession
from dfldaemon.discovery import find_session, state_folder
from dfldaemon.farm import session as session_module
from dfldaemon.farm import task
from dfldaemon.farm.session import STATE_NAME, leave_session

WAIT_S = 60.0


def processes_of(state: Path) -> set[int]:
    """Processes that were started for this state folder."""
    found = set()
    for process in psutil.process_iter(["pid"]):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("DFL_STATE_DIR") == str(state) and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def eventually(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
    return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliSession]:
    """A task's session on a machine without a daemon; what is left of one afterwards is ended."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DFL_")}
    yield CliSession(
        output=Output(is_json=True, stdout=io.StringIO()),
        environ=environ,
        state_dir=state_folder(environ),
        working_dir=tmp_path,
        address="",
        token_path=None,
    )
    for pid in processes_of(machine_state_of(tmp_path)):
        os.kill(pid, signal.SIGKILL)


def machine_state_of(folder: Path) -> Path:
    return folder / f"dfl-farm-{os.getuid()}"


def test_many_tasks_at_once_start_one_daemon_and_it_leaves_when_idle(
    machine: CliSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "IDLE_EXIT_S", 2.0)
    told = replace(machine, environ={**machine.environ, "DFL_LISTEN": "tcp"})
    state = machine_state_of(tmp_path)
    with ThreadPoolExecutor(4) as tasks:
        clients = list(tasks.map(task.connect, [told] * 4))
    assert len({client.server_info().pid for client in clients}) == 1
    session = find_session(state)
    assert session.address.startswith("unix:"), "nothing of a worker listens on the network"
    assert (state.stat().st_mode & 0o777, Path(session.token_path).stat().st_mode & 0o777) == (0o700, 0o600)
    assert eventually(lambda: processes_of(state) == {session.pid}), "no other waits for its place"
    for client in clients:
        client.close()
    eventually(lambda: not processes_of(state))
    assert not (state / "session.json").exists()


def test_after_a_daemon_was_killed_the_next_task_starts_another(machine: CliSession, tmp_path: Path) -> None:
    """The lock goes with the process; its session file, its socket and its jobs stay and are in nobody's way."""
    state = machine_state_of(tmp_path)
    with task.connect(machine) as client:
        first = client.server_info().pid
    os.kill(first, signal.SIGKILL)
    assert (state / "daemon.lock").exists()
    with task.connect(machine) as client:
        second = client.server_info().pid
        assert second != first
    assert eventually(lambda: processes_of(state) == {second})


def test_a_daemon_that_is_just_leaving_is_followed_by_another(
    machine: CliSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def leaving(*words: Any, **named: Any) -> tuple[str, bool]:
        asked.append(named)
        if len(asked) == 1:
            raise NotFound("It does not answer.", reason="DAEMON_UNREACHABLE")
        return "client", True

    monkeypatch.setattr(task, "connect_or_start", leaving)
    assert str(task.connect(machine)) == "client"
    assert {one["deadline_s"] for one in asked} == {session_module.START_DEADLINE_S}
    monkeypatch.setattr(task, "connect_or_start", lambda *words, **named: (_ for _ in ()).throw(DflError("no")))
    with pytest.raises(DflError, match="no"):
        task.connect(machine)


@pytest.mark.parametrize("in_the_way", ["file", "link", "no temporary folder"])
def test_a_state_folder_that_cannot_be_made_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_way: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if in_the_way == "file":
        machine_state_of(tmp_path).touch()
    elif in_the_way == "link":
        machine_state_of(tmp_path).symlink_to(tmp_path / "nowhere")
    else:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(InvalidInput, match="DFL_STATE_DIR"):
        task.machine_state({})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_session_that_ends_while_its_daemon_starts_leaves_none(tmp_path: Path, number: signal.Signals) -> None:
    """A farm ends the entering of a session without notice; the daemon it was waiting for must not come up later."""
    line = [sys.executable, "-m", "dfldaemon.cli.main", "farm", "enter", "--session-folder", str(tmp_path)]
    state = tmp_path / STATE_NAME
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as entering:
        eventually(lambda: (state / session_module.STARTING_NAME).is_file())
        entering.send_signal(number)
        entering.wait(WAIT_S)
    assert leave_session(tmp_path)
    assert processes_of(state) == set()
    time.sleep(1.0)
    assert processes_of(state) == set()
    assert leave_session(tmp_path)


def test_what_another_process_has_the_number_of_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / STATE_NAME).mkdir()
    for text in (f"{os.getpid()} another boot:5", f"{os.getpid()} ", "", "x y", "-1 x"):
        (tmp_path / STATE_NAME / session_module.STARTING_NAME).write_text(text)
        assert leave_session(tmp_path)
