"""The manifest of a long sequence lies in parts: a merge touches its own, and nothing of older manifests is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dflcore.errors import Conflict, DataCorrupt
from dflcore.io import atomic
from dflcore.merge import provenance
from dflcore.merge.provenance import (
    FrameEntry,
    MergeIdentity,
    SequenceManifest,
    iterate_frames,
    parts_folder,
    read_manifest,
)
from dflcore.types import Authorization, FaceType
from dflhost.results import read_manifest as read_as_host

MASKS = {"a.png": {"xseg": 2}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swap.provenance.json"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PART_FRAMES", 10)


def identity(person: str = "E. Collins", settings: str = "3") -> MergeIdentity:
    return MergeIdentity(
        plate="shot.####.exr",
        color_space="ACEScg",
        output_space="ACEScg",
        model_name="m",
        model_digest="2",
        face_type=FaceType.FULL,
        settings={},
        settings_digest=settings,
        authorization=Authorization(person=person),
    )


def entry(key: str = "k") -> FrameEntry:
    fact = {"swap.exr": {"size": 1, "sha256": "0"}}
    return FrameEntry(key=key, files=fact, plate="p", faces=1, masks=MASKS, written_ns={"swap.exr": 5})


def merge(path: Path, frames: Iterable[int], key: str = "k", **who: str) -> None:
    run = SequenceManifest(path, identity(**who))
    for frame in frames:
        run.begin(frame, key)
        run.finish(frame, entry(key))
    run.close()


def kill(run: SequenceManifest) -> None:
    """Its process is gone: the system has dropped its locks, its journal stays."""
    run._journal.close()


def old_build(path: Path, frames: Iterable[int], unfinished: dict[int, str] | None = None) -> None:
    """One file, whatever the length, as format 1 was."""
    content = provenance.ManifestContent(frames={frame: entry("old") for frame in frames}, unfinished=unfinished or {})
    path.write_text(json.dumps(provenance._document(identity(), content) | {"format": 1}))


def files(path: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of the manifest: its number on disk changes when it is written anew."""
    found = [path, *(parts_folder(path).iterdir() if parts_folder(path).exists() else ())]
    return {one.name: (one.stat().st_ino, one.read_bytes()) for one in found}


def keys(path: Path) -> dict[int, str]:
    known = {frame: one.key for frame, one in read_manifest(path).frames.items()}
    seen = read_as_host(str(path.with_name("swap.####.exr")))
    assert seen is not None
    assert dict(seen.frames) == known  # hosts read the same files
    return known


# Files.


def test_of_a_short_sequence_there_is_one_file(path: Path) -> None:
    merge(path, range(1001, 1006))
    merge(path, range(1006, 1011))
    assert set(json.loads(path.read_text())["frames"]) == {str(frame) for frame in range(1001, 1011)}
    assert not parts_folder(path).exists()


def test_a_long_one_is_in_parts_and_says_where(path: Path) -> None:
    merge(path, range(-3, 18))
    names = sorted(one.name for one in parts_folder(path).iterdir())
    assert names == ["-10--1.json", "0-9.json", "10-19.json"]
    assert read_manifest(path).frames == {frame: entry() for frame in range(-3, 18)}
    assert keys(path) == dict.fromkeys(range(-3, 18), "k")
    head = json.loads(path.read_text())
    assert (head["frames"], head["parts"]) == ({}, "swap.provenance/<first>-<last frame>.json")
    assert (head["synthetic"], head["authorization"]["person"], head["model"]["name"]) == (True, "E. Collins", "m")


def test_a_short_one_that_grows_is_divided(path: Path) -> None:
    merge(path, range(8))
    merge(path, range(6, 12), "new")
    assert keys(path) == dict.fromkeys(range(6), "k") | dict.fromkeys(range(6, 12), "new")
    assert json.loads(path.read_text())["frames"] == {}


def test_a_part_says_who_allowed_its_frames(path: Path) -> None:
    merge(path, range(30))
    merge(path, range(20, 25), "new", person="B. Player")
    stated = {one.name: json.loads(one.read_text()) for one in parts_folder(path).iterdir()}
    people = {name: part["authorization"]["person"] for name, part in stated.items()}
    assert people == {"0-9.json": "E. Collins", "10-19.json": "E. Collins", "20-29.json": "B. Player"}
    assert all(part["frames"]["20"]["masks"] == MASKS for name, part in stated.items() if name == "20-29.json")


# What a merge costs.


def test_a_merge_opens_without_writing_and_closes_into_its_own_parts(path: Path) -> None:
    merge(path, range(100))
    before = files(path)
    run = SequenceManifest(path, identity())
    assert {name: one for name, one in files(path).items() if not name.endswith(".journal")} == before
    run.finish(55, entry("new"))
    run.close()
    after = files(path)
    assert {name for name in after if after[name] != before.get(name)} == {"50-59.json"}
    assert set(after) == set(before)


def test_only_the_parts_asked_about_are_read(path: Path) -> None:
    merge(path, range(30))
    (parts_folder(path) / "20-29.json").write_text("{")
    known = read_manifest(path, range(5, 12))
    assert set(range(5, 12)) <= set(known.frames)
    assert known.run_key == identity().run_key
    merge(path, range(5, 12), "new")
    with pytest.raises(DataCorrupt, match=r"20-29\.json is damaged.*Move it away"):
        read_manifest(path)
    (parts_folder(path) / "20-29.json").unlink()
    assert len(read_manifest(path).frames) == 20


def test_frames_are_told_in_order_and_from_the_middle_on(path: Path) -> None:
    old_build(path, [*range(-3, 5), 31, 33], unfinished={7: "torn"})
    assert [frame for frame, _ in iterate_frames(path)] == [*range(-3, 5), 31, 33]
    merge(path, range(40))
    run = SequenceManifest(path, identity())
    run.finish(15, entry("newest"))
    run.finish(44, entry("newest"))
    whole = dict(iterate_frames(path))
    assert whole == read_manifest(path).frames
    assert list(whole) == sorted(whole) == [*range(-3, 40), 44]
    assert (whole[15].key, whole[16].key) == ("newest", "k")
    for after in (-4, -3, 9, 14, 39, 43, 44, 99):
        assert list(iterate_frames(path, after)) == [(frame, one) for frame, one in whole.items() if frame > after]
    run.close()
    (parts_folder(path) / "0-9.json").write_text("{")
    assert [frame for frame, _ in iterate_frames(path, 12)] == [*range(13, 40), 44]
    with pytest.raises(DataCorrupt, match=r"0-9\.json is damaged"):
        list(iterate_frames(path, 8))
    assert list(iterate_frames(path.with_name("other.provenance.json"))) == []


# Merges that work at once, or were killed.


def test_several_at_once_keep_what_each_has_finished(path: Path) -> None:
    merge(path, range(20))
    first, second = SequenceManifest(path, identity()), SequenceManifest(path, identity())
    first.finish(3, entry("first"))
    second.finish(4, entry("second"))
    second.begin(21, "second")
    for closing in (None, first, second):
        if closing is not None:
            closing.close()
        known = read_manifest(path)
        assert (known.frames[3].key, known.frames[4].key, known.frames[5].key) == ("first", "second", "k")
        assert known.unfinished == {21: "second"}


def test_a_killed_ones_journal_is_folded_by_the_next(path: Path) -> None:
    merge(path, range(20))
    killed = SequenceManifest(path, identity())
    killed.finish(31, entry("killed"))
    killed.begin(32, "torn")
    kill(killed)
    merge(path, [5], "new")
    assert read_manifest(path).frames[31].key == "killed"
    assert read_manifest(path).unfinished == {32: "torn"}
    assert not list(parts_folder(path).glob(".*"))
    merge(path, [32])
    assert not read_manifest(path).unfinished


def test_one_made_otherwise_waits_for_those_at_work(path: Path) -> None:
    merge(path, range(20))
    run = SequenceManifest(path, identity())
    with pytest.raises(Conflict, match="Another merge is writing"):
        SequenceManifest(path, identity(settings="4"))
    run.close()
    merge(path, [3], settings="4")
    assert provenance.read_run_key(path) == identity(settings="4").run_key


@pytest.mark.parametrize("step", ["_journals", "_read", "_parts"])
@pytest.mark.parametrize("frames", [range(4), range(9), range(12)])
def test_a_reader_misses_nothing_while_another_folds(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, frames: range
) -> None:
    """Of a sequence that stays short, becomes long, is long; the fold comes between two of the reader's steps."""
    merge(path, frames)
    run = SequenceManifest(path, identity())
    for frame in (3, 20):
        run.finish(frame, entry("new"))
    real = getattr(provenance, step)

    def folding(*arguments: Any) -> Any:
        found = real(*arguments)
        monkeypatch.setattr(provenance, step, real)
        run.close()
        return found

    monkeypatch.setattr(provenance, step, folding)
    known = {frame: one.key for frame, one in read_manifest(path).frames.items()}
    assert known == dict.fromkeys(frames, "k") | {3: "new", 20: "new"}
    assert keys(path) == known


@pytest.mark.parametrize("writes", range(4))
def test_a_fold_cut_short_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """While a short sequence becomes a long one: after each of the files that are written."""
    merge(path, range(9))
    run = SequenceManifest(path, identity())
    for frame in range(5, 25):
        run.finish(frame, entry("new"))
    real, left = atomic.write_bytes, writes

    def dying(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(provenance, "write_bytes", dying)
    with pytest.raises(KeyboardInterrupt):
        run.close()
    monkeypatch.setattr(provenance, "write_bytes", real)
    kill(run)
    wanted = dict.fromkeys(range(5), "k") | dict.fromkeys(range(5, 25), "new")
    assert {frame: one.key for frame, one in read_manifest(path).frames.items()} == wanted
    merge(path, [])
    assert keys(path) == wanted
    assert not list(parts_folder(path).glob(".*"))


# Manifests of older builds.


def test_a_long_one_in_one_file_is_carried_over(path: Path) -> None:
    old_build(path, range(1000, 1050), {1055: "torn"})
    assert len(read_manifest(path, [1003]).frames) == 50
    merge(path, [1020], "new")
    assert keys(path) == dict.fromkeys(range(1000, 1050), "old") | {1020: "new"}
    assert read_manifest(path).unfinished == {1055: "torn"}
    assert read_manifest(path).frames[1049] == entry("old")
    assert json.loads(path.read_text())["frames"] == {}


def test_a_short_one_stays_one_file(path: Path) -> None:
    old_build(path, range(5))
    merge(path, [5])
    assert keys(path) == dict.fromkeys(range(5), "old") | {5: "k"}
    assert not parts_folder(path).exists()


def test_a_journal_beside_the_frames_is_folded(path: Path) -> None:
    old_build(path, range(5))
    journal = path.with_name(".swap.provenance.77-abcd.journal")
    lines = [{"run_key": identity().run_key}, {"frame": 8, "begin": "torn"}, {"frame": 9, "key": "killed", "files": {}}]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_manifest(path).frames[9].key == "killed"
    merge(path, [5])
    assert keys(path)[9] == "killed"
    assert read_manifest(path).unfinished == {8: "torn"}
    assert not journal.exists()


def test_what_an_old_build_adds_to_one_in_parts_is_found(path: Path) -> None:
    merge(path, range(12))
    old_build(path, [40])
    assert set(read_manifest(path).frames) == {*range(12), 40}
    merge(path, [12])
    assert set(keys(path)) == {*range(13), 40}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of folders that are listed."""
    seen: list[str] = []
    real = provenance._files_in

    def listing(folder: Path) -> list[str]:
        seen.append(folder.name)
        return real(folder)

    monkeypatch.setattr(provenance, "_files_in", listing)
    return seen


def test_the_folder_with_the_frames_is_not_listed(path: Path, watched: list[str]) -> None:
    merge(path, range(12))
    read_manifest(path, [3])
    assert set(watched) == {"swap.provenance"}


def test_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    """A part or a journal that leads elsewhere is not ours."""
    merge(path, range(12))
    secret = tmp_path / "elsewhere.json"
    secret.write_text("{")
    for name in ("20-29.json", ".1-ab.journal"):
        (parts_folder(path) / name).symlink_to(secret)
    merge(path, [3])
    assert secret.read_text() == "{"
    assert len(read_manifest(path).frames) == 12
