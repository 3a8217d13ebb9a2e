"""Blender: the zip, and a Blender that is asked to take it; a real one where ``DFL_BLENDER`` names it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflinstall import blender as blender_module

HERE = Path(__file__).parent
REAL = shlex.split(os.environ.get("DFL_BLENDER", ""))


class Pretended:
    """A program ``blender`` in the search path."""

    def __init__(self, user: Any) -> None:
        self.program = user.programs / "blender"
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "pretend_blender.py"}" "$@"\n')
        self.program.chmod(0o755)
        self.folder = user.home.parent / "blender"
        self.folder.mkdir()
        user.environ["PRETEND_BLENDER"] = str(self.folder)

    @property
    def extension(self) -> Path:
        return self.folder / "extensions" / "user_default" / "dflblender"

    @property
    def commands(self) -> list[str]:
        return list(self.state.get("commands", []))

    @property
    def state(self) -> dict[str, Any]:
        path = self.folder / "state.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def say(self, **values: Any) -> None:
        (self.folder / "state.json").write_text(json.dumps({**self.state, **values}))


pretended = pytest.mark.skipif(os.name != "posix", reason="the pretended Blender is a shell script")


@pytest.fixture
def blender(user: Any) -> Pretended:
    return Pretended(user)


def archive(user: Any) -> Path:
    (path,) = (user.data / "blender").glob("*.zip")
    return Path(path)


def test_without_blender_the_zip_is_there_and_a_sentence_says_what_to_do(user: Any) -> None:
    answer = user.done("install", "blender")
    assert zipfile.ZipFile(archive(user)).testzip() is None
    ((state, text),) = answer.about("host")
    assert state == "note"
    assert f"Drag {archive(user)} into Blender's window" in text
    assert user.done("install", "blender").about("files")[0][0] == "same"
    user.done("uninstall", "blender")
    assert not (user.data.parent).exists()


def test_a_target_is_where_the_zip_goes(user: Any, tmp_path: Path) -> None:
    user.done("install", "blender", "--target", tmp_path / "zips")
    assert list((tmp_path / "zips").glob("dflblender-*.zip"))
    assert list(user.home.iterdir()) == []


@pretended
def test_blender_takes_it_and_twice_is_once(user: Any, blender: Pretended, look: Callable[[Path], Any]) -> None:
    answer = user.done("install", "blender")
    assert answer.about("host")[0][0] == "changed"
    assert (blender.extension / "_dflhost" / "session.py").is_file()
    before = look(user.home.parent)
    assert user.done("install", "blender").states == {"same"}
    assert blender.commands == ["install-file"]
    assert look(user.home.parent) == before
    assert "wrong" not in user.done("doctor", "blender").states
    user.done("uninstall", "blender")
    assert blender.commands == ["install-file", "remove"]
    assert not blender.extension.exists()
    assert user.done("uninstall", "blender").states == {"same"}
    assert blender.commands == ["install-file", "remove"]


@pretended
def test_an_extension_that_is_not_whole_or_not_enabled_is_mended(user: Any, blender: Pretended) -> None:
    user.done("install", "blender")
    (blender.extension / "panels.py").write_text("broken")
    answer = user.run("doctor", "blender")
    assert answer.about("extension")[-1][0] == "wrong"
    user.done("install", "blender")
    assert "wrong" not in user.done("doctor", "blender").states
    blender.say(enabled=[])
    answer = user.run("doctor", "blender")
    assert "not enabled" in answer.about("extension")[-1][1]
    user.done("install", "blender")
    assert blender.commands == ["install-file"] * 3


@pretended
def test_a_named_blender_is_taken(user: Any, blender: Pretended) -> None:
    other = blender.program.rename(user.home.parent / "blender-4.5")
    assert user.done("install", "blender").about("host")[0][0] == "note"
    assert user.done("install", "blender", "--blender", other).about("host")[0][0] == "changed"


@pretended
@pytest.mark.parametrize(
    ("state", "code", "word"),
    [
        ({"version": [3, 4, 1]}, 7, "too old; 4.2 is needed"),
        ({"refuses": True}, 7, "ended with code 3: Error: the repository is locked"),
        ({"silent": True}, 7, "does not answer as Blender does"),
        ({"forgets": True}, 9, "did not take the extension"),
    ],
)
def test_a_blender_that_does_not_is_a_sentence(
    user: Any, blender: Pretended, state: dict[str, Any], code: int, word: str
) -> None:
    blender.say(**state)
    answer = user.run("install", "blender")
    assert answer.code == code
    assert word in answer.error["message"]
    assert archive(user).is_file(), "the zip is there for the hand"


def test_a_blender_that_is_not_there_is_a_sentence(user: Any, tmp_path: Path) -> None:
    answer = user.run("install", "blender", "--blender", tmp_path / "nowhere" / "blender")
    assert (answer.code, answer.error["reason"]) == (3, "HOST_NOT_FOUND")
    (tmp_path / "text").write_text("no program")
    answer = user.run("install", "blender", "--blender", tmp_path / "text")
    assert (answer.code, answer.error["reason"]) == (3, "HOST_NOT_FOUND")
    answer = user.run("doctor", "blender", "--blender", tmp_path / "text")
    assert answer.code == 1
    assert "cannot be run" in answer.about("host")[0][1]


@pretended
def test_the_doctor_says_what_lacks(user: Any, blender: Pretended) -> None:
    answer = user.run("doctor", "blender")
    assert answer.about("files")[0][0] == "wrong"
    assert "Python 3.11.7" in answer.about("host")[0][1]
    assert "does not have the extension" in answer.about("extension")[-1][1]
    blender.say(version=[4, 1, 0])
    assert user.run("doctor", "blender").about("host")[0][0] == "wrong"


@pytest.mark.slow
@pytest.mark.skipif(len(REAL) != 1, reason="DFL_BLENDER names no program of Blender")
def test_a_real_blender(user: Any, tmp_path: Path) -> None:
    user.environ.update({"PATH": os.environ["PATH"], "BLENDER_USER_RESOURCES": str(tmp_path / "resources")})
    (tmp_path / "resources").mkdir()
    for action in ("install", "install", "doctor", "uninstall", "uninstall"):
        user.done(action, "blender", "--blender", REAL[0])
    look = blender_module.ask(blender_module.Machine.this(user.environ), Path(REAL[0]))
    assert not look.is_enabled
    assert not look.folder.exists()
