"""Folders of ours: whole or as before, whatever happens; and nothing of somebody else's is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, ResourceExhausted
from dflinstall import installed
from dflinstall.installed import LIST_NAME, Installed, compare, put_in_place, read_list, take_away

LIST = Installed("nuke", "1", {})
OLD, NEW = (
    {"init.py": "old", "package/a.py": "old", "package/gone.py": "old"},
    {"init.py": "new", "package/a.py": "new"},
)


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def texts(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LIST_NAME)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An older installation."""
    folder = tmp_path / "place" / "nuke"
    put_in_place(tree(tmp_path / "old", OLD), folder, LIST)
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tree(tmp_path / "new", NEW)


def test_an_older_one_is_replaced_whole(place: Path, new: Path) -> None:
    assert put_in_place(new, place, LIST) == (True, ())
    assert texts(place) == NEW
    assert [entry.name for entry in place.parent.iterdir()] == ["nuke"]


def test_twice_is_once(place: Path, new: Path, look: Callable[[Path], Any]) -> None:
    put_in_place(new, place, LIST)
    before, times = look(place), [path.stat().st_mtime_ns for path in (place, *sorted(place.rglob("*")))]
    assert put_in_place(new, place, LIST) == (False, ())
    assert look(place) == before
    assert [path.stat().st_mtime_ns for path in (place, *sorted(place.rglob("*")))] == times


def test_a_file_that_went_missing_comes_back(place: Path, new: Path) -> None:
    put_in_place(new, place, LIST)
    (place / "init.py").unlink()
    assert put_in_place(new, place, LIST)[0]
    assert texts(place) == NEW


def test_what_others_did_is_kept(place: Path, new: Path) -> None:
    (place / "init.py").write_text("mine")
    (place / "init.py.yours").write_text("mine of last time")
    tree(place, {"icons/own.png": "picture", "package/__pycache__/a.pyc": "cache"})
    _, kept = put_in_place(new, place, LIST)
    assert set(kept) == {"init.py.yours", "init.py.yours2", "icons/own.png"}
    others = {"init.py.yours": "mine of last time", "init.py.yours2": "mine", "icons/own.png": "picture"}
    assert texts(place) == {**NEW, **others}


def test_folders_of_others_are_refused(tmp_path: Path, new: Path, look: Callable[[Path], Any]) -> None:
    theirs = tree(tmp_path / "theirs", {"thesis.txt": "years"})
    with pytest.raises(Conflict, match="not of this software"):
        put_in_place(new, theirs, LIST)
    put_in_place(new, tmp_path / "other", Installed("resolve", "1", {}))
    with pytest.raises(Conflict, match="for resolve"):
        put_in_place(new, tmp_path / "other", LIST)
    assert texts(theirs) == {"thesis.txt": "years"}


def test_a_file_in_the_way_is_a_sentence(tmp_path: Path, new: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below" / "nuke"):
        with pytest.raises(InvalidInput, match=r"file is a file, and a folder is needed"):
            put_in_place(new, folder, LIST)


@pytest.mark.parametrize(
    ("number", "kind", "word"),
    [(errno.ENOSPC, ResourceExhausted, "disk is full"), (errno.EROFS, InvalidInput, "Cannot write")],
)
def test_a_disk_that_refuses_leaves_the_old_one(
    place: Path, new: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], word: str
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(installed.shutil, "copyfile", refuse)
    with pytest.raises(kind, match=word):
        put_in_place(new, place, LIST)
    monkeypatch.undo()
    assert texts(place) == OLD
    assert [entry.name for entry in place.parent.iterdir()] == ["nuke"]


def test_a_folder_that_is_held_open_keeps_the_old_one(place: Path, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows refuses to rename what a running host has open."""
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if Path(source).name.endswith("dfl-new"):
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        real(source, target)

    monkeypatch.setattr(installed.os, "rename", rename)
    with pytest.raises(InvalidInput):
        put_in_place(new, place, LIST)
    assert texts(place) == OLD


class Killed(BaseException):
    """The process is gone: from here on nothing of it happens, clearing up neither."""


def test_killed_anywhere_the_old_one_or_the_new_one_is_there(
    tmp_path: Path, new: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [(os, name) for name in ("rename", "replace", "unlink", "rmdir", "mkdir")]
    calls += [(shutil, "copyfile"), (shutil, "rmtree")]
    outcomes = []
    for number in range(200):
        folder = tmp_path / f"run{number}" / "nuke"
        shutil.copytree(place, folder)
        left = [number]
        with monkeypatch.context() as patched:
            for module, name in calls:
                patched.setattr(module, name, _dying(getattr(module, name), left))
            try:
                put_in_place(new, folder, LIST)
            except Killed:
                is_killed = True
            else:
                is_killed = False
        if folder.exists():
            assert texts(folder) in (OLD, NEW)
            outcomes.append(texts(folder))
        installed.clear_up(folder)
        assert texts(folder) in (OLD, NEW), "the next command finds a whole one"
        put_in_place(new, folder, LIST)
        assert texts(folder) == NEW
        assert [entry.name for entry in folder.parent.iterdir()] == ["nuke"]
        if not is_killed:
            break
    assert number > 5
    assert OLD in outcomes
    assert NEW in outcomes


def _dying(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*arguments, **options)

    return call


def test_taking_away_leaves_what_is_not_ours(place: Path) -> None:
    (place / "package" / "a.py").write_text("mine")
    tree(place, {"icons/own.png": "picture", "__pycache__/init.pyc": "cache"})
    kept = take_away(place, read_list(place) or LIST)
    assert set(kept) == {"package/a.py", "icons/own.png"}
    assert texts(place) == {"package/a.py": "mine", "icons/own.png": "picture"}


def test_taking_away_an_untouched_one_leaves_nothing(place: Path) -> None:
    assert take_away(place, read_list(place) or LIST) == ()
    assert not place.exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "C:/x", "a\\..\\b"])
def test_a_list_cannot_lead_out_of_its_folder(place: Path, tmp_path: Path, name: str) -> None:
    values = json.loads((place / LIST_NAME).read_text())
    values["files"][name] = "0"
    (place / LIST_NAME).write_text(json.dumps(values))
    with pytest.raises(DataCorrupt, match="damaged"):
        read_list(place)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}'])
def test_a_damaged_list_is_a_sentence(place: Path, text: str) -> None:
    (place / LIST_NAME).write_text(text)
    with pytest.raises(DataCorrupt, match="damaged"):
        read_list(place)


def test_a_list_of_a_newer_version_is_left_to_it(place: Path) -> None:
    values = {**json.loads((place / LIST_NAME).read_text()), "format": 2}
    (place / LIST_NAME).write_text(json.dumps(values))
    with pytest.raises(Conflict, match="newer version"):
        read_list(place)


def test_differences_are_named(place: Path) -> None:
    (place / "init.py").write_text("mine")
    (place / "package" / "gone.py").unlink()
    (place / "more.txt").touch()
    difference = compare(place, read_list(place) or LIST)
    assert (difference.missing, difference.changed, difference.added) == (
        ("package/gone.py",),
        ("init.py",),
        ("more.txt",),
    )
