"""A user with an empty home, and ``dfl hosts`` run for them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
INSTALLER = HERE.parents[2] / "hosts" / "install"
if str(INSTALLER) not in sys.path:
    sys.path.append(str(INSTALLER))

from dflinstall.__main__ import main  # noqa: E402 (found through the lines above)
from dflinstall.machine import LINUX, Machine  # noqa: E402


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    lines: list[dict[str, Any]]

    @property
    def states(self) -> set[str]:
        return {str(line["state"]) for line in self.lines if line["type"] == "host"}

    def about(self, about: str) -> list[tuple[str, str]]:
        """State and text of the lines about something."""
        return [
            (line["state"], f"{line['message']} {line['remedy']}") for line in self.lines if line.get("about") == about
        ]

    @property
    def error(self) -> dict[str, Any]:
        assert self.lines[-1]["type"] == "error", self.lines
        return self.lines[-1]


class User:
    """Someone with a home of their own and nothing in the search path; always on Linux, wherever the test runs."""

    def __init__(self, folder: Path, read: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.environ = {"HOME": str(self.home), "PATH": str(self.programs), "LANG": "C.UTF-8"}
        self._read = read
        root = folder / "root"
        monkeypatch.setattr(Machine, "this", classmethod(lambda cls, environ: cls(LINUX, environ, root)))

    @property
    def data(self) -> Path:
        return self.home / ".local" / "share" / "dfl" / "hosts"

    @property
    def init(self) -> Path:
        return self.home / ".nuke" / "init.py"

    @property
    def fusion(self) -> Path:
        return self.home / ".local" / "share" / "DaVinciResolve" / "Fusion"

    def run(self, *words: object) -> Answer:
        """``dfl hosts <words>``."""
        code = main([*map(str, words), "--json"], self.environ)
        return Answer(code, [json.loads(line) for line in self._read().out.splitlines()])

    def done(self, *words: object) -> Answer:
        """The same; it must succeed."""
        answer = self.run(*words)
        assert answer.code == 0, answer.lines
        return answer


@pytest.fixture
def user(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> User:
    return User(tmp_path, capsys.readouterr, monkeypatch)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """Everything below a folder: permissions, and contents of files, aims of links, None for folders."""
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(folder).as_posix()] = (0, os.readlink(path))
        else:
            contents = path.read_bytes() if path.is_file() else None
            found[path.relative_to(folder).as_posix()] = (path.stat().st_mode, contents)
    return found


@pytest.fixture
def look() -> Callable[[Path], dict[str, tuple[int, bytes | str | None]]]:
    return snapshot
