"""The daemon of a farm session: there for every task, gone afterwards."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dfldaemon.cli.main import main
from dfldaemon.client import connect, session_endpoint
from dfldaemon.discovery import find_session
from dfldaemon.farm.session import enter_session, leave_session


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    leave_session(tmp_path)


def daemons_of(state: str) -> set[int]:
    """Processes that were started for this state folder."""
    found = set()
    for process in psutil.process_iter(["pid"]):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("DFL_STATE_DIR") == state and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def test_a_session_has_a_daemon_until_it_is_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["farm", "enter", "--session-folder", str(folder)], os.environ) == 0
    told = dict(line.removeprefix("openjd_env: ").split("=", 1) for line in capsys.readouterr().out.splitlines())
    state = Path(told["DFL_STATE_DIR"])
    with contextlib.closing(connect(lambda: session_endpoint(state))) as client:
        assert client.server_info().running_count == 0
    session = find_session(state)
    assert session.address.startswith("unix:")
    assert main(["farm", "leave", "--session-folder", str(folder)], os.environ) == 0
    assert "has ended" in capsys.readouterr().out
    assert not session.is_alive


def test_leaving_twice_or_without_a_daemon_is_harmless(folder: Path) -> None:
    assert leave_session(folder)
    enter_session(folder, os.environ)
    assert leave_session(folder)
    assert leave_session(folder)


def test_entering_twice_keeps_one_daemon(folder: Path) -> None:
    variables = enter_session(folder, os.environ)
    first = find_session(Path(variables["DFL_STATE_DIR"]))
    assert enter_session(folder, os.environ) == variables
    assert find_session(Path(variables["DFL_STATE_DIR"])) == first
    assert daemons_of(variables["DFL_STATE_DIR"]) == {first.pid}, "no other waits for its place"
    assert leave_session(folder)
    assert daemons_of(variables["DFL_STATE_DIR"]) == set()


def test_a_daemon_that_was_killed_is_no_hindrance(folder: Path) -> None:
    session = find_session(Path(enter_session(folder, os.environ)["DFL_STATE_DIR"]))
    os.kill(session.pid, signal.SIGKILL)
    assert leave_session(folder)


def test_a_site_that_has_its_own_daemon_keeps_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = Path(enter_session(folder, os.environ)["DFL_STATE_DIR"])
    environ = {**os.environ, "DFL_ADDRESS": find_session(state).address, "DFL_STATE_DIR": str(state)}
    other = folder / "other"
    other.mkdir()
    assert main(["farm", "enter", "--session-folder", str(other)], environ) == 0
    assert "openjd_env" not in capsys.readouterr().out
    assert main(["farm", "leave", "--session-folder", str(other)], environ) == 0
    assert list(other.iterdir()) == []
    assert find_session(state).is_alive


def test_a_folder_that_is_not_there_is_a_failure_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["farm", "enter", "--session-folder", str(tmp_path / "no" / "where")], os.environ) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("openjd_fail: The session's folder")
