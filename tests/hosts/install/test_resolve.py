"""Resolve: scripts and package where the menu looks for them, and away again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflinstall import resolve

SCRIPTS = {
    "Scripts/Comp/Face Swap (into this composition).lua",
    "Scripts/Edit/Face Swap (file).lua",
    "Scripts/Edit/Face Swap.py",
    "Scripts/Utility/Face Swap (file).lua",
    "Scripts/Utility/Face Swap Self Test.py",
    "Scripts/Utility/Face Swap.py",
}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_script_of_ours_is_installed(user: Any, repository: Path) -> None:
    user.done("install", "resolve")
    placed = {name for name in files(user.fusion) if name.startswith("Scripts/")}
    assert placed == SCRIPTS
    source = repository / "hosts" / "resolve"
    assert {Path(name).name for name in placed} == {
        path.name for path in source.iterdir() if path.suffix in (".py", ".lua")
    }
    for name in placed:
        assert (user.fusion / name).read_bytes() == (source / Path(name).name).read_bytes()


def test_the_menu_script_finds_the_package(user: Any) -> None:
    """As Resolve starts it: a process of its own, with the home of the user."""
    user.done("install", "resolve")
    script = user.fusion / "Scripts" / "Edit" / "Face Swap.py"
    done = subprocess.run(
        [sys.executable, "-I", str(script)], capture_output=True, text=True, timeout=120, env=user.environ, check=False
    )
    assert "Traceback" not in done.stderr
    assert "not installed properly" not in done.stdout
    assert "Resolve" in done.stdout


def test_twice_is_once_and_away_leaves_nothing(user: Any, look: Callable[[Path], Any]) -> None:
    theirs = user.fusion / "Scripts" / "Edit" / "Other.py"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    before = look(user.home)
    user.done("install", "resolve")
    installed = look(user.home)
    assert user.done("install", "resolve").states == {"same", "note"}
    assert look(user.home) == installed
    (user.fusion / "DFL" / "dflresolve" / "__pycache__").mkdir()
    (user.fusion / "DFL" / "dflresolve" / "__pycache__" / "app.cpython-311.pyc").touch()
    user.done("uninstall", "resolve")
    assert look(user.home) == before
    assert user.done("uninstall", "resolve").states == {"same"}


def test_what_the_user_changed_is_kept_and_named(user: Any) -> None:
    user.done("install", "resolve")
    script = user.fusion / "Scripts" / "Edit" / "Face Swap.py"
    script.write_text("mine")
    (user.fusion / "DFL" / "dflresolve" / "app.py").write_text("mine too")
    answer = user.done("uninstall", "resolve")
    assert {text.split(" is not as")[0] for state, text in answer.about("script") if state == "kept"} == {str(script)}
    assert any("app.py" in text for state, text in answer.about("files") if state == "kept")
    assert files(user.fusion) == {"Scripts/Edit/Face Swap.py", "DFL/dflresolve/app.py"}


def test_a_file_in_a_scripts_place_makes_room(user: Any) -> None:
    script = user.fusion / "Scripts" / "Edit" / "Face Swap.py"
    script.parent.mkdir(parents=True)
    script.write_text("theirs")
    answer = user.done("install", "resolve")
    ((state, text), _) = answer.about("script")
    assert state == "kept"
    assert "Face Swap.py.yours" in text
    assert (script.parent / "Face Swap.py.yours").read_text() == "theirs"
    user.done("uninstall", "resolve")
    assert files(user.fusion) == {"Scripts/Edit/Face Swap.py.yours"}


def test_an_older_one_is_replaced_and_a_killed_one_finished(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {**dict.fromkeys(SCRIPTS, b"older"), "Scripts/Deliver/Gone.py": b"older"}
    real = resolve.material.make_resolve

    def make(folder: Path) -> dict[str, bytes]:
        real(folder)
        (folder / "dflresolve" / "gone.py").write_text("older")
        return older

    with monkeypatch.context() as patched:
        patched.setattr(resolve.material, "make_resolve", make)
        user.done("install", "resolve")
    script = user.fusion / "Scripts" / "Edit" / "Face Swap.py"
    with monkeypatch.context() as patched:
        patched.setattr(resolve, "_put_script", _die)
        with pytest.raises(KeyError):
            user.run("install", "resolve")
    assert script.read_bytes() == b"older"
    answer = user.done("install", "resolve")
    assert "kept" not in answer.states, "an older script of ours is not taken for the user's"
    assert script.read_bytes() != b"older"
    assert not (user.fusion / "DFL" / "dflresolve" / "gone.py").exists()
    assert not (user.fusion / "Scripts" / "Deliver" / "Gone.py").exists()
    assert user.done("install", "resolve").states == {"same", "note"}
    assert "wrong" not in user.done("doctor", "resolve").states


def _die(*_: object) -> bool:
    raise KeyError("killed")


def test_all_users_folder(user: Any, tmp_path: Path) -> None:
    user.done("install", "resolve", "--target", tmp_path / "all" / "Fusion")
    assert list(user.home.iterdir()) == []
    assert "wrong" not in user.done("doctor", "resolve", "--target", tmp_path / "all" / "Fusion").states
    user.done("uninstall", "resolve", "--target", tmp_path / "all" / "Fusion")
    assert files(tmp_path / "all") == set()


def test_the_doctor(user: Any) -> None:
    answer = user.run("doctor", "resolve")
    assert answer.code == 1
    assert answer.about("files")[0][0] == "wrong"
    user.done("install", "resolve")
    answer = user.done("doctor", "resolve")
    assert answer.about("script")[0][0] == "ok"
    assert answer.about("host")[0][0] == "note"
    (user.fusion / "Scripts" / "Edit" / "Face Swap.py").unlink()
    (user.fusion / "Scripts" / "Utility" / "Face Swap.py").write_text("mine")
    answer = user.run("doctor", "resolve")
    assert [state for state, _ in answer.about("script")] == ["wrong", "note"]
    assert "Scripts/Edit/Face Swap.py" in answer.about("script")[0][1]
