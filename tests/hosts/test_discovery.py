"""Where the daemon is, said by the same files and variables on both sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfldaemon import discovery as daemons
from dflhost import discovery
from dflhost.discovery import (
    ConnectionSettings,
    connection_from_environment,
    find_endpoint,
    start_daemon,
    state_folder,
)
from dflhost.errors import UNREACHABLE_REASONS, HostError
from dflhost.paths import PathMap
from dflhost.vendor import copy_client


def announce(folder: Path, **changes: Any) -> None:
    """The files of a daemon that lives: this process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text("secret\n")
    values: dict[str, Any] = {
        "address": "unix:/run/d.sock",
        "token_path": str(folder / "token"),
        "pid": os.getpid(),
        "process_identity": daemons.process_identity(os.getpid()),
        "protocol": daemons.PROTOCOL,
        "api_minor": 0,
        "software": "1",
        "roots": ("/",),
        "log_path": "",
        "start_time": "",
    }
    daemons.write_session(folder, daemons.Session(**{**values, **changes}))


def reason(settings: ConnectionSettings, environ: dict[str, str]) -> str:
    with pytest.raises(HostError) as failure:
        find_endpoint(settings, environ)
    return failure.value.reason


def test_both_sides_mean_the_same_files() -> None:
    for ours, theirs in (("SESSION_NAME",) * 2, ("TOKEN_NAME",) * 2, ("SESSION_FORMAT",) * 2, ("PROTOCOL",) * 2):
        assert getattr(discovery, ours) == getattr(daemons, theirs)
    assert daemons.UNREACHABLE_REASONS <= UNREACHABLE_REASONS
    for environ in ({"DFL_STATE_DIR": "/a"}, {"XDG_STATE_HOME": "/x", "HOME": "/h"}, {"HOME": "/h"}):
        assert state_folder(ConnectionSettings(), environ) == daemons.state_folder(environ)


def test_the_session_file_of_a_living_daemon_leads_to_it(tmp_path: Path) -> None:
    announce(tmp_path)
    environ = {"DFL_STATE_DIR": str(tmp_path)}
    endpoint = find_endpoint(ConnectionSettings(), environ)
    assert (endpoint.address, endpoint.token) == ("unix:/run/d.sock", "secret")
    assert "secret" not in repr(endpoint)


def test_a_setting_goes_before_a_variable_and_that_before_the_file(tmp_path: Path) -> None:
    announce(tmp_path)
    other = tmp_path / "other"
    other.write_text("theirs")
    environ = {"DFL_STATE_DIR": str(tmp_path), "DFL_ADDRESS": "127.0.0.1:1", "DFL_TOKEN_FILE": str(other)}
    assert find_endpoint(ConnectionSettings(), environ) == discovery.Endpoint("127.0.0.1:1", "theirs")
    named = ConnectionSettings(address="127.0.0.1:2", token_path=str(tmp_path / "token"))
    assert find_endpoint(named, environ) == discovery.Endpoint("127.0.0.1:2", "secret")
    assert find_endpoint(ConnectionSettings(address="127.0.0.1:2"), {"DFL_STATE_DIR": str(tmp_path)}).token == "secret"


def test_what_is_wrong_is_told_apart(tmp_path: Path) -> None:
    settings = ConnectionSettings(state_dir=str(tmp_path))
    assert reason(settings, {}) == "DAEMON_NOT_RUNNING"
    announce(tmp_path, process_identity="another:1")
    assert reason(settings, {}) == "DAEMON_GONE"
    announce(tmp_path, process_identity="", pid=2**22 + 1)
    assert reason(settings, {}) == "DAEMON_GONE"
    announce(tmp_path, format=99)
    assert reason(settings, {}) == "DAEMON_IS_NEWER"
    announce(tmp_path)
    (tmp_path / "token").unlink()
    assert reason(settings, {}) == "TOKEN_NOT_FOUND"
    (tmp_path / "token").mkdir()
    assert reason(settings, {}) == "TOKEN_NOT_READABLE"


def test_a_process_with_a_later_ones_number_is_not_the_daemon(tmp_path: Path) -> None:
    announce(tmp_path, pid=1)
    assert reason(ConnectionSettings(state_dir=str(tmp_path)), {}) == "DAEMON_GONE"


@pytest.mark.parametrize(
    ("address", "is_remote"),
    [
        ("", False),
        ("unix:/a", False),
        ("127.0.0.1:5", False),
        ("[::1]:5", False),
        ("localhost:5", False),
        ("farm:5", True),
    ],
)
def test_other_machines_are_known_before_they_are_called(address: str, is_remote: bool) -> None:
    assert ConnectionSettings(address=address).is_remote is is_remote


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("echo the port is taken >&2; exit 1", "DAEMON_DID_NOT_START"),
        ("exit 0", "DAEMON_DID_NOT_START"),
        ("sleep 30", "DAEMON_DID_NOT_START"),
        (None, "DFL_NOT_INSTALLED"),
    ],
)
def test_a_daemon_that_does_not_start_says_why(tmp_path: Path, script: str | None, wanted: str) -> None:
    program = tmp_path / "dfl"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
    settings = ConnectionSettings(state_dir=str(tmp_path / "state"))
    with pytest.raises(HostError) as failure:
        start_daemon(settings, {"PATH": f"{tmp_path}:/bin"}, deadline_s=1.0)
    assert failure.value.reason == wanted
    if script and "taken" in script:
        assert "the port is taken" in failure.value.message


def test_the_daemon_does_not_inherit_what_a_host_set_for_itself(tmp_path: Path) -> None:
    program = tmp_path / "dfl"
    program.write_text(f'#!/bin/sh\nenv > {tmp_path}/seen\necho "$@" >> {tmp_path}/seen\nexit 1\n')
    program.chmod(0o700)
    environ = {
        "PATH": f"{tmp_path}:/bin:/usr/bin",
        "PYTHONHOME": "/host",
        "LD_LIBRARY_PATH": "/host",
        "OCIO": "/c.ocio",
    }
    with pytest.raises(HostError):
        start_daemon(ConnectionSettings(state_dir=str(tmp_path / "s")), environ)
    seen = (tmp_path / "seen").read_text()
    assert "PYTHONHOME" not in seen
    assert "LD_LIBRARY_PATH" not in seen
    assert "OCIO=/c.ocio" in seen
    assert f"DFL_STATE_DIR={tmp_path / 's'}" in seen
    assert "daemon start" in seen


VARIABLES = {
    "DFL_ADDRESS": "farm.example:5",
    "DFL_TOKEN_FILE": "/k/token",
    "DFL_STATE_DIR": "/s",
    "DFL_CA_FILE": "/k/ca.pem",
    "DFL_CERTIFICATE_FILE": "/k/own.pem",
    "DFL_KEY_FILE": "/k/own.key",
    "DFL_PATH_MAP": r"P:\shots=/mnt/shots; /Volumes/a=/a",
    "DFL_COMMAND": "/opt/python -P -m 'my dfl'",
}


def test_the_studios_variables_are_the_same_for_all_hosts() -> None:
    said = connection_from_environment(VARIABLES)
    assert said.is_remote
    assert (said.address, said.token_path, said.state_dir) == ("farm.example:5", "/k/token", "/s")
    assert (said.ca_path, said.certificate_path, said.key_path) == ("/k/ca.pem", "/k/own.pem", "/k/own.key")
    assert said.path_map.pairs == ((r"P:\shots", "/mnt/shots"), ("/Volumes/a", "/a"))
    assert said.command == ("/opt/python", "-P", "-m", "my dfl")
    assert connection_from_environment({}) == ConnectionSettings()


def test_a_program_whose_path_has_spaces_needs_no_quotes(tmp_path: Path) -> None:
    program = tmp_path / "my dfl"
    program.write_text("")
    assert connection_from_environment({"DFL_COMMAND": str(program)}).command == (str(program),)


@pytest.mark.parametrize(
    ("name", "text", "wanted"), [("DFL_PATH_MAP", "shots", "BAD_PATH_MAP"), ("DFL_COMMAND", "dfl 'x", "BAD_COMMAND")]
)
def test_a_variable_that_cannot_be_read_is_told(name: str, text: str, wanted: str) -> None:
    with pytest.raises(HostError) as failure:
        connection_from_environment({name: text})
    assert failure.value.reason == wanted


def test_preferences_go_before_variables() -> None:
    said = connection_from_environment(VARIABLES)
    ours = ConnectionSettings(address="127.0.0.1:9", path_map=PathMap((("/x", "/y"),)), call_deadline_s=3.0)
    both = ours.over(said)
    assert (both.address, both.path_map, both.call_deadline_s) == ("127.0.0.1:9", ours.path_map, 3.0)
    assert (both.ca_path, both.command) == (said.ca_path, said.command)
    assert ConnectionSettings().over(said) == said


def write_words(client: Path, words: object) -> None:
    client.mkdir(exist_ok=True)
    (client / discovery.COMMAND_NAME).write_text(words if isinstance(words, str) else json.dumps(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ({"a": 1}, "no list of words"),
        ([], "no list of words"),
        (["/bin/sh", 1], "no list of words"),
        (["/bin/sh", ""], "no list of words"),
        (["sh"], "no program by its whole path"),
        (["/bin/sh", "a\0b"], "no program by its whole path"),
        (["/no/such/python"], "is gone"),
        (["/tmp"], "is gone"),
        ("\udcff", "cannot be read"),
    ],
)
def test_an_installed_command_is_looked_at_before_it_is_run(tmp_path: Path, words: object, said: str) -> None:
    assert discovery.installed_command(tmp_path / "none") == ()
    if words == "\udcff":
        (tmp_path / discovery.COMMAND_NAME).write_bytes(b"\xff")
    else:
        write_words(tmp_path, words)
    with pytest.raises(HostError, match=said) as failure:
        discovery.installed_command(tmp_path)
    assert failure.value.reason == "DFL_NOT_INSTALLED"


def test_the_installation_a_client_came_from_starts_the_daemon(tmp_path: Path) -> None:
    """In a copy of the client, as a host has it; a `dfl` in the search path is another one."""
    client = copy_client(tmp_path / "host", "copied")
    program = tmp_path / "installed"
    for name in (program, tmp_path / "dfl"):
        name.write_text(f'#!/bin/sh\necho "{name.name} $@" >> {tmp_path}/seen\nexit 1\n')
        name.chmod(0o700)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from copied.discovery import ConnectionSettings, start_daemon\n"
        "try: start_daemon(ConnectionSettings(state_dir=sys.argv[2]), {'PATH': sys.argv[3]})\n"
        "except Exception as error: print(error.reason)"
    )

    def reason_of_start() -> str:
        words = [sys.executable, "-I", "-c", code, str(tmp_path / "host"), str(tmp_path / "state"), f"{tmp_path}:/bin"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    for words in ([str(program), "-P"], ["/gone/python"]):
        write_words(client, words)
        assert reason_of_start() == "DAEMON_DID_NOT_START"
    assert (tmp_path / "seen").read_text().splitlines() == ["installed -P daemon start", "dfl daemon start"]
    (tmp_path / "dfl").unlink()
    assert reason_of_start() == "DFL_NOT_INSTALLED"
