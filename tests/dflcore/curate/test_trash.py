"""The trash gives everything back, overwrites nothing, and survives being cut short."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from dflcore.curate import trash
from dflcore.curate.pack import pack_faceset
from dflcore.curate.table import FaceTable
from dflcore.curate.trash import empty_trash, list_trash, move_to_trash, restore, restore_last
from dflcore.errors import Conflict, InvalidInput, NotFound
from dflcore.io.faceset import Faceset
from dflcore.progress import LoggedRun


def names_of(folder: Path) -> list[str]:
    return FaceTable.open(folder).names


def test_there_and_back(few_faces: Path) -> None:
    names = names_of(few_faces)
    before = {name: (few_faces / name).read_bytes() for name in names}
    result = move_to_trash(few_faces, names[2:5], "blur < 0.3")
    assert result.moved == tuple(names[2:5])
    assert names_of(few_faces) == names[:2] + names[5:]
    assert {face.name for face in list_trash(few_faces)} == set(names[2:5])
    assert {(face.why, face.batch) for face in list_trash(few_faces)} == {("blur < 0.3", result.batch)}
    assert restore(few_faces).moved == tuple(names[2:5])
    assert names_of(few_faces) == names
    assert {name: (few_faces / name).read_bytes() for name in names} == before
    assert list_trash(few_faces) == []


def test_restoring_by_name_and_the_last_batch(few_faces: Path) -> None:
    names = names_of(few_faces)
    move_to_trash(few_faces, names[:2], "one")
    move_to_trash(few_faces, names[2:4], "two")
    assert restore(few_faces, [names[0]]).moved == (names[0],)
    assert restore_last(few_faces).moved == tuple(names[2:4])
    assert restore_last(few_faces).moved == (names[1],)
    assert restore_last(few_faces).moved == ()
    assert names_of(few_faces) == names


def test_missing_faces_are_reported(few_faces: Path) -> None:
    names = names_of(few_faces)
    result = move_to_trash(few_faces, [names[0], "gone.png", names[0]], "")
    assert result.moved == (names[0],)
    assert list(result.skipped) == ["gone.png"]
    assert move_to_trash(few_faces, ["gone.png"], "").moved == ()
    assert list(restore(few_faces, ["other.png"]).skipped) == ["other.png"]


def test_nothing_is_overwritten(few_faces: Path) -> None:
    name = names_of(few_faces)[0]
    first = (few_faces / name).read_bytes()
    move_to_trash(few_faces, [name], "first")
    (few_faces / name).write_bytes(b"second")
    refused = restore(few_faces, [name])
    assert refused.moved == ()
    assert "again" in refused.skipped[name]
    move_to_trash(few_faces, [name], "second")
    (few_faces / name).write_bytes(b"third")
    move_to_trash(few_faces, [name], "third")
    stored = {face.why: face.stored for face in list_trash(few_faces)}
    assert len(set(stored.values())) == 3
    assert stored["first"] == name
    assert (few_faces / "trash" / stored["first"]).read_bytes() == first
    restore(few_faces, [name])
    assert (few_faces / name).read_bytes() == b"third"
    (few_faces / name).unlink()
    restore(few_faces)
    assert (few_faces / name).read_bytes() == b"second"
    assert [face.stored for face in list_trash(few_faces)] == [name]


def test_moved_by_hand_counts_too(few_faces: Path) -> None:
    names = names_of(few_faces)
    move_to_trash(few_faces, [names[0]], "why")
    os.rename(few_faces / names[1], few_faces / "trash" / names[1])
    assert {face.name for face in list_trash(few_faces)} == {names[0], names[1]}
    os.rename(few_faces / "trash" / names[0], few_faces / names[0])
    assert [face.name for face in list_trash(few_faces)] == [names[1]]
    assert restore(few_faces).moved == (names[1],)


def test_a_kill_half_way_loses_nothing(few_faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(few_faces)
    rename = os.rename
    moves: list[str] = []

    def dies(source: Path, target: Path) -> None:
        if len(moves) == 2:
            raise KeyboardInterrupt
        moves.append(str(source))
        rename(source, target)

    monkeypatch.setattr(trash.os, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        move_to_trash(few_faces, names[:5], "cut short")
    monkeypatch.undo()
    assert names_of(few_faces) == names[2:]
    assert [face.why for face in list_trash(few_faces)] == ["cut short"] * 2
    with open(few_faces / "trash" / "log.jsonl", "ab") as log:
        log.write(b'{"name": "half a li')
    move_to_trash(few_faces, names[5:6], "after")
    assert {face.why for face in list_trash(few_faces)} == {"cut short", "after"}
    assert set(restore(few_faces).moved) == {*names[:2], names[5]}


def test_the_log_says_when_and_why(few_faces: Path) -> None:
    name = names_of(few_faces)[0]
    move_to_trash(few_faces, [name], "blurred")
    (line,) = (few_faces / "trash" / "log.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["name"], entry["why"]) == (name, "blurred")
    assert entry["when"].endswith("+00:00")


def test_only_an_explicit_call_deletes(few_faces: Path) -> None:
    names = names_of(few_faces)
    assert empty_trash(few_faces) == 0
    move_to_trash(few_faces, names[:3], "")
    assert empty_trash(few_faces) == 3
    assert list_trash(few_faces) == []
    assert restore(few_faces).moved == ()
    with Faceset.open(few_faces) as faceset:
        assert faceset.names == names[3:]


@pytest.mark.parametrize("name", ["../other.png", "index.sqlite", "", ".lock", "a/b.png", "trash", "..\\x.png"])
def test_only_faces_can_be_moved(name: str, few_faces: Path) -> None:
    with pytest.raises(InvalidInput, match="not the file name of a face"):
        move_to_trash(few_faces, [name], "")
    assert (few_faces / "index.sqlite").is_file()


def test_a_log_cannot_lead_out_of_the_folder(few_faces: Path) -> None:
    name = names_of(few_faces)[0]
    move_to_trash(few_faces, [name], "")
    entry = {"name": "../escaped.png", "stored": name, "why": "", "when": "9", "batch": "9"}
    with open(few_faces / "trash" / "log.jsonl", "a") as log:
        log.write(json.dumps(entry) + "\n[1, 2]\n")
    restore(few_faces)
    assert not (few_faces.parent / "escaped.png").exists()
    assert (few_faces / name).exists()


def test_two_at_once_wait_for_each_other(few_faces: Path) -> None:
    name = names_of(few_faces)[0]
    with trash._locked(few_faces), pytest.raises(Conflict, match="Another process"):
        move_to_trash(few_faces, [name], "")
    assert name in names_of(few_faces)


def test_no_faceset_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        move_to_trash(tmp_path, ["a.png"], "")


def test_packed_faces_go_to_the_trash_and_come_back(few_faces: Path) -> None:
    with Faceset.open(few_faces) as opened:
        names, pixels = list(opened.names), {name: opened.read_image(name) for name in opened.names}
    pack_faceset(few_faces, LoggedRun())
    result = move_to_trash(few_faces, names[:2], "packed")
    assert result.moved == tuple(names[:2])
    with Faceset.open(few_faces) as opened:
        assert opened.names == names[2:]
    assert [face.name for face in list_trash(few_faces)] == names[:2]
    assert restore_last(few_faces).moved == tuple(names[:2])
    with Faceset.open(few_faces) as opened:
        assert opened.names == names
        np.testing.assert_array_equal(opened.read_image(names[0]), pixels[names[0]])
