import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dflcore.errors import Conflict, DataCorrupt, NotFound
from dfldaemon.auth import create_token
from dfldaemon.discovery import (
    Session,
    find_session,
    process_identity,
    read_session,
    read_token,
    state_folder,
    write_session,
)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(
        address="unix:/run/x.sock",
        token_path=str(tmp_path / "token"),
        pid=os.getpid(),
        process_identity=process_identity(os.getpid()),
        protocol="dflproto.v1",
        api_minor=0,
        software="1",
        roots=("/a", "/b"),
        log_path="/log",
        start_time="2026-01-01T00:00:00+00:00",
    )


def test_what_is_written_is_read_back_by_its_owner(tmp_path: Path, session: Session) -> None:
    path = write_session(tmp_path, session)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert find_session(tmp_path) == session
    create_token(tmp_path / "token")
    assert len(read_token(session)) == 64
    assert read_token(session) not in path.read_text()


def test_a_later_process_with_the_same_pid_is_not_the_daemon(tmp_path: Path, session: Session) -> None:
    write_session(tmp_path, replace(session, process_identity="an-earlier-boot:123"))
    with pytest.raises(NotFound) as caught:
        find_session(tmp_path)
    assert caught.value.reason == "DAEMON_GONE"


def test_a_process_that_ended_is_gone_even_before_it_is_buried(tmp_path: Path, session: Session) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    alive = replace(session, pid=child.pid, process_identity=process_identity(child.pid))
    assert alive.is_alive
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert not alive.is_alive
    child.wait()
    assert not alive.is_alive


def test_where_the_system_tells_no_start_the_pid_decides(session: Session) -> None:
    assert replace(session, process_identity="").is_alive
    assert not replace(session, process_identity="", pid=2**22 + 1).is_alive


def test_files_that_cannot_be_used_say_so(tmp_path: Path, session: Session) -> None:
    with pytest.raises(NotFound) as caught:
        read_session(tmp_path)
    assert caught.value.reason == "DAEMON_NOT_RUNNING"
    for text in ("", "[]", "{}", '{"format": 1}', "\0"):
        (tmp_path / "session.json").write_text(text)
        with pytest.raises(DataCorrupt):
            read_session(tmp_path)
    write_session(tmp_path, session)
    values = json.loads((tmp_path / "session.json").read_text())
    (tmp_path / "session.json").write_text(json.dumps({**values, "format": 99, "new": 1}))
    with pytest.raises(Conflict, match="newer"):
        read_session(tmp_path)
    with pytest.raises(NotFound, match="token"):
        read_token(session)


def test_a_token_is_never_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "token").symlink_to(victim)
    first = create_token(tmp_path / "token")
    assert victim.read_text() == "mine"
    assert stat.S_IMODE((tmp_path / "token").lstat().st_mode) == 0o600
    assert create_token(tmp_path / "token") != first


def test_the_state_folder_follows_the_environment() -> None:
    assert state_folder({"DFL_STATE_DIR": "/a", "XDG_STATE_HOME": "/b", "HOME": "/c"}) == Path("/a")
    assert state_folder({"XDG_STATE_HOME": "/b", "HOME": "/c"}) == Path("/b/dfl")
    assert state_folder({"HOME": "/c"}) == Path("/c/.local/state/dfl")
