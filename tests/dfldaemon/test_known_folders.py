"""Models and facesets under the roots: found within bounds, newest first, and nothing by way of a link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dfldaemon import known_folders
from dfldaemon.known_folders import MAX_DEPTH, FolderKind, find_folders


def make_model(path: Path, changed: float) -> str:
    (path / "generations" / "00000001").mkdir(parents=True)
    os.utime(path / "generations", (changed, changed))
    return str(path)


def make_faceset(path: Path, changed: float) -> str:
    path.mkdir(parents=True)
    (path / "index.sqlite").touch()
    for part in (path / "index.sqlite", path):
        os.utime(part, (changed, changed))
    return str(path)


def find(root: Path, kind: FolderKind = FolderKind.MODEL, known: tuple[str, ...] = (), count: int = 100) -> list[str]:
    found, more = find_folders(kind, known, [str(root)], [str(root)], count)
    assert not more
    return [folder.path for folder in found]


def test_each_kind_is_found_last_changed_first(tmp_path: Path) -> None:
    old, new = make_model(tmp_path / "show/old", 1e9), make_model(tmp_path / "new", 2e9)
    backup = make_model(tmp_path / "new/backups/iteration_00000001", 2.1e9)
    faces = make_faceset(tmp_path / "show/faces", 1.5e9)
    (tmp_path / "empty/generations").mkdir(parents=True)
    assert find(tmp_path) == [new, old]
    assert backup not in find(tmp_path)
    assert find(tmp_path, FolderKind.FACESET) == [faces]
    assert find(tmp_path, FolderKind.FACESET, (faces, str(tmp_path / "gone"), "relative", "")) == [faces]


def test_links_hidden_folders_and_what_is_outside_stay_unseen(tmp_path: Path) -> None:
    outside = make_model(tmp_path / "outside/model", 1e9)
    root = tmp_path / "root"
    make_model(root / ".hidden/model", 1e9)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "direct").symlink_to(outside)
    assert find(root, known=(outside, str(root / "direct"), str(root / "link/model"))) == []


def test_the_look_has_bounds_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        make_model(tmp_path / f"m{number}", 1e9 + number)
    found, more = find_folders(FolderKind.MODEL, (), [str(tmp_path)], [str(tmp_path)], 2)
    assert ([Path(one.path).name for one in found], more) == (["m4", "m3"], True)
    deep = tmp_path.joinpath("deep", *"abcdefgh"[: MAX_DEPTH + 1])
    make_model(deep, 1e9)
    found, more = find_folders(FolderKind.MODEL, (), [str(tmp_path / "deep")], [str(tmp_path)], 100)
    assert (found, more) == ([], True)
    monkeypatch.setattr(known_folders, "MAX_LOOKED_AT", 3)
    assert find_folders(FolderKind.MODEL, (), [str(tmp_path)], [str(tmp_path)], 100)[1]


def test_the_root_of_all_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_folders, "_folders_in", lambda _: pytest.fail("a folder was opened"))
    known = make_model(tmp_path / "named by a job", 1e9)
    found, more = find_folders(FolderKind.MODEL, (known,), ["/"], ["/"], 100)
    assert ([one.path for one in found], more) == ([known], False)


def test_a_folder_that_cannot_be_entered_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path / "b", 1e9)

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    scan = os.scandir
    (tmp_path / "closed").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        assert find(tmp_path) == [model]
