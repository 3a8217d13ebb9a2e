"""``dfl hosts``: words, exit codes, what a doctor says about the daemon, and one process from end to end."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfldaemon.cli import hosts_command
from dfldaemon.cli.main import main as dfl
from dflinstall import material
from dflinstall.__main__ import main

INSTALLER = Path(__file__).parents[3] / "hosts" / "install"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["install"],
        ["install", "houdini"],
        ["mend", "nuke"],
        ["install", "nuke", "--blender", "x"],
        ["install", "nuke", "--targ", "x"],
    ],
)
def test_wrong_words_are_a_sentence(user: Any, words: list[str]) -> None:
    answer = user.run(*words)
    assert (answer.code, answer.error["reason"]) == (2, "BAD_USAGE")


def test_people_read_sentences(user: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "nuke"], user.environ) == 1
    out = capsys.readouterr().out
    assert "\nMend what is marked as wrong, then ask again.\n" in out
    assert out.startswith("wrong The integration is not installed")
    assert main(["install", "nuke", "--quiet"], user.environ) == 0
    assert capsys.readouterr().out.startswith("Start Nuke anew")
    assert main(["doctor", "nuke"], user.environ) == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")


@pytest.mark.parametrize("host", ["nuke", "blender", "resolve"])
def test_a_full_disk_and_a_read_only_home(user: Any, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.mkdir
    for number, code in ((errno.ENOSPC, 5), (errno.EROFS, 2), (errno.EACCES, 2)):

        def mkdir(path: Any, *rest: Any, number: int = number, **options: Any) -> None:
            if str(path).startswith(str(user.home)):
                raise OSError(number, os.strerror(number), str(path))
            real(path, *rest, **options)

        with monkeypatch.context() as patched:
            patched.setattr("os.mkdir", mkdir)
            answer = user.run("install", host)
        assert answer.code == code
        assert len(answer.error["message"].splitlines()) == 1
        assert str(user.home) in answer.error["message"]
        assert list(user.home.iterdir()) == []


@pytest.mark.parametrize("host", ["nuke", "blender", "resolve"])
def test_a_target_that_is_a_file(user: Any, host: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for action in ("install", "uninstall"):
        answer = user.run(action, host, "--target", tmp_path / "file")
        assert (answer.code, answer.error["reason"]) == (2, "NOT_A_FOLDER")
    assert user.run("doctor", host, "--target", tmp_path / "file").code == 1
    assert (tmp_path / "file").read_text() == "x"


def test_an_installation_without_the_files_of_hosts(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "PLACES", ())
    answer = user.run("install", "nuke")
    assert (answer.code, answer.error["reason"]) == (3, "HOST_FILES_MISSING")


def test_packages_of_the_client_that_lack(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflhost.vendor.PACKAGES", ("no_such_package_here",))
    answer = user.run("install", "resolve")
    assert (answer.code, answer.error["reason"]) == (3, "PACKAGE_MISSING")
    assert "extra `hosts`" in answer.error["message"]


def test_no_home_is_a_sentence(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del user.environ["HOME"]

    def home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", home)
    answer = user.run("install", "nuke")
    assert (answer.code, answer.error["reason"]) == (3, "NO_HOME")


class TestDaemon:
    def test_not_running_is_no_fault(self, user: Any) -> None:
        user.done("install", "nuke")
        answer = user.done("doctor", "nuke")
        assert answer.about("daemon") == [
            ("note", "The face swap daemon is not running. Press Start Daemon in the host, or run `dfl daemon start`.")
        ]
        assert answer.about("program") == [("ok", f"Hosts start the daemon by {sys.executable}. ")]

    def test_running(self, user: Any, daemon: Any) -> None:
        user.environ["DFL_STATE_DIR"] = str(daemon.folder / "state")
        user.done("install", "resolve")
        answer = user.done("doctor", "resolve")
        assert [state for state, _ in answer.about("token")] == ["ok"]
        assert answer.about("daemon")[0][0] == "ok"
        assert "answers: version" in answer.about("daemon")[0][1]
        assert answer.about("program")[0][0] == "ok"

    @pytest.mark.parametrize(("host", "client"), [("nuke", "nuke/dflhost"), ("resolve", "DFL/dflhost")])
    def test_a_python_that_has_gone(self, user: Any, host: str, client: str) -> None:
        user.done("install", host)
        command = next(user.home.rglob("command.json"))
        assert command.parent.as_posix().endswith(client)
        words = json.loads(command.read_text())
        assert words == [sys.executable, "-P", "-m", "dfldaemon.cli.main"]
        command.write_text(json.dumps(["/gone/python3", *words[1:]]))
        answer = user.run("doctor", host)
        ((state, text),) = answer.about("program")
        assert state == "wrong"
        assert "/gone/python3" in text
        assert "run `dfl hosts install` again" in text
        (user.programs / "dfl").write_text("#!/bin/sh\n")
        (user.programs / "dfl").chmod(0o755)
        assert user.done("doctor", host).about("program")[0][0] == "note"
        user.done("install", host)
        assert user.done("doctor", host).about("program")[0][0] == "ok"

    def test_the_python_in_blenders_zip(self, user: Any) -> None:
        user.done("install", "blender")
        answer = user.run("doctor", "blender")
        assert answer.about("program") == [("ok", f"Hosts start the daemon by {sys.executable}. ")]
        next(user.data.rglob("*.zip")).write_bytes(b"no zip")
        assert user.run("doctor", "blender").about("program")[0][0] == "note"


@pytest.mark.parametrize("host", ["nuke", "resolve"])
def test_the_doctor_knows_what_a_killed_installation_left(user: Any, host: str) -> None:
    user.done("install", host)
    folder = next(user.home.rglob("command.json")).parents[1]
    former = folder.with_name(f".{folder.name}.dfl-old")
    folder.rename(former)
    answer = user.run("doctor", host)
    assert answer.about("files")[0][0] == "wrong"
    assert str(former) in answer.about("files")[0][1]
    assert f"Run `dfl hosts install {host}`" in answer.about("files")[0][1]
    user.done("install", host)
    former.mkdir()
    answer = user.done("doctor", host)
    assert [state for state, _ in answer.about("files")][:2] == ["note", "ok"]
    user.done("install", host)
    assert not former.exists()
    assert user.done("doctor", host).about("files")[0][0] == "ok"

    def test_a_wrong_token_and_none(self, user: Any, daemon: Any, tmp_path: Path) -> None:
        user.done("install", "nuke")
        user.environ["DFL_STATE_DIR"] = str(daemon.folder / "state")
        user.environ["DFL_TOKEN_FILE"] = str(tmp_path / "token")
        answer = user.run("doctor", "nuke")
        assert (answer.code, answer.about("daemon")[0][0]) == (1, "wrong")
        assert "token is not there" in answer.about("daemon")[0][1]
        (tmp_path / "token").write_text("0" * 43)
        answer = user.run("doctor", "nuke")
        assert "does not accept this workstation's token" in answer.about("daemon")[0][1]


def test_the_installer_is_a_process_of_its_own(tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(INSTALLER)}
    for variable in ("XDG_DATA_HOME", "DFL_ADDRESS", "DFL_STATE_DIR"):
        environ.pop(variable, None)
    command = [sys.executable, "-P", "-m", "dfldaemon.cli.main", "--json", "hosts", "install", "nuke"]
    for state in ("changed", "same"):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert {line["type"] for line in lines} == {"host"}
        assert [line["state"] for line in lines] == [state, state, "note"]
    done = subprocess.run(
        [*command[:4], "hosts", "install", "--help"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith("usage: dfl hosts install")


def test_flags_and_address_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[list[str], str]] = []

    def call(command: list[str], env: dict[str, str]) -> int:
        called.append((command[4:], env.get("DFL_ADDRESS", "")))
        return 4

    monkeypatch.setattr(hosts_command.subprocess, "call", call)
    monkeypatch.setattr(hosts_command.importlib.util, "find_spec", lambda name: object())
    assert dfl(["--quiet", "--address", "unix:/x", "hosts", "doctor", "nuke"], {}) == 4
    assert dfl(["hosts", "install", "--help"], {}) == 4
    assert called == [(["doctor", "nuke", "--quiet"], "unix:/x"), (["install", "--help"], "")]


def test_without_the_installer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(hosts_command.importlib.util, "find_spec", lambda name: None)
    assert dfl(["--json", "hosts", "doctor", "nuke"], {}) == 7
    assert json.loads(capsys.readouterr().out)["reason"] == "NOT_INSTALLED"
