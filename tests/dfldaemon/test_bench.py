"""``dfl bench``: one table or one document, and a daemon of its own that has ended before its folder goes."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dflcore.bench.figures import Figure
from dflcore.errors import Internal
from dfldaemon import bench
from dfldaemon.cli.main import main as dfl
from dfldaemon.private_daemon import private_daemon, private_environ

CORE = {"stage": "exr", "name": "write", "value": 1.0, "unit": "ms", "note": ""}


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The core's benchmark and the daemon's, pretended; the commands that were run."""
    commands: list[list[str]] = []

    really_run = subprocess.run

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if "dflcore.bench" not in command:
            return really_run(command, **options)
        commands.append(command)
        code = 1 if "train" in command else 0
        return subprocess.CompletedProcess(command, code, stdout=json.dumps({"figures": [CORE]}))

    monkeypatch.setattr(bench.subprocess, "run", run)
    rpc = Figure(stage="rpc", name="call", value=2.0, unit="ms")
    monkeypatch.setattr(bench, "bench_rpc", lambda folder, frame_count: [rpc])
    return commands


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [([], ["exr", "rpc"]), (["all"], ["exr", "rpc"]), (["exr"], ["exr"]), (["rpc"], ["rpc"])],
)
def test_json_is_one_document(core: Any, capsys: Any, arguments: list[str], stages: list[str]) -> None:
    assert bench.main(["--json", *arguments, "--steps", "5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [figure["stage"] for figure in report["figures"]] == stages
    for command in core:
        assert command.count("--json") == 1
        assert command[-2:] == ["--steps", "5"]


def test_a_core_that_fails_is_said(core: Any, capsys: Any) -> None:
    assert bench.main(["train", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "ended with code 1" in captured.err


def test_figures_measured_before_a_failure_are_kept(core: Any, capsys: Any, monkeypatch: Any) -> None:
    def fails(*_: object) -> list[Figure]:
        raise Internal("The daemon is broken.", reason="TEST")

    monkeypatch.setattr(bench, "bench_rpc", fails)
    assert bench.main(["--json"]) == 1
    captured = capsys.readouterr()
    assert [figure["stage"] for figure in json.loads(captured.out)["figures"]] == ["exr"]
    assert "broken" in captured.err


def test_help_lists_every_stage_and_flag(capfd: Any) -> None:
    assert dfl(["bench", "--help"]) == 0
    text = capfd.readouterr().out
    for word in ("all", "exr", "extract", "train", "merge", "rpc", "--json", "--steps"):
        assert word in text


def test_a_private_daemon_takes_nothing_over_from_the_users() -> None:
    given = {"DFL_ROOTS": "/srv", "DFL_STATE_DIR": "/s", "DFL_LISTEN": "tcp", "DFL_WEIGHTS": "/w", "PATH": "/bin"}
    assert private_environ(given, "/run") == {
        "DFL_WEIGHTS": "/w",
        "PATH": "/bin",
        "DFL_RUNTIME_DIR": "/run",
        "DFL_LISTEN": "unix",
    }


def test_a_private_daemon_has_ended_when_it_is_left(tmp_path: Path) -> None:
    environ = {**os.environ, "DFL_ROOTS": "/srv/nowhere", "DFL_STATE_DIR": str(tmp_path / "other")}
    with private_daemon(tmp_path / "state", environ) as client:
        info = client.server_info()
        assert list(info.roots) == ["/"]
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "state" / "session.json").exists()
    assert not (tmp_path / "state" / "jobs.sqlite-wal").exists()
