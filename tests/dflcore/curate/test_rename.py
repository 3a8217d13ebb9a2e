import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dflcore.curate.metric_store import METRICS_NAME, MetricStore
from dflcore.curate.pack import pack_faceset
from dflcore.curate.rename import PLAN_NAME, STAGING_NAME, is_unfinished, recover_names
from dflcore.curate.views import View, load_view, save_view
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.faceset import INDEX_NAME, Faceset, lock_faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.progress import StopRequest
from killing import kill_everywhere
from small_facesets import Watcher, make_image, make_record, noise_faceset, write_faceset

LABEL = Label((Polygon(True, ((1.0, 2.0), (3.0, 40.0), (50.0, 6.0))),))


def imported(folder: Path, originals: dict[str, str | None]) -> Path:
    """Faces of frames 1, 2, 3... with these names and earlier names; each face's pixels are those of its frame."""
    faces = [
        (make_record(frame, name=name, original_name=original), make_image(frame))
        for frame, (name, original) in enumerate(originals.items(), 1)
    ]
    return write_faceset(folder, faces)


def names_by_frame(folder: Path) -> dict[int, str]:
    """Every face, its picture checked to be that of its frame."""
    with Faceset.open(folder) as faceset:
        for record in faceset.records():
            np.testing.assert_array_equal(faceset.read_image(record.name), make_image(record.frame))
        return {record.frame: record.name for record in faceset.records()}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".png")


def test_imported_faces_get_their_earlier_names_and_others_those_of_their_plate(tmp_path: Path) -> None:
    folder = imported(tmp_path / "a", {"a.png": "Zoë 0007.jpg", "b.png": None, "c.png": "old\\folder\\x.y.png"})
    control = Watcher()
    result = recover_names(folder, control)
    assert (result.renamed, result.kept, result.finished_earlier, result.stopped) == (3, 0, False, None)
    assert names_by_frame(folder) == {1: "Zoë 0007.png", 2: "shot_Zo_000002_0.png", 3: "x.y.png"}
    assert files(folder) == ["Zoë 0007.png", "shot_Zo_000002_0.png", "x.y.png"]
    assert control.progress()[-1].done == 3
    assert recover_names(folder, Watcher()).renamed == 0
    assert not (folder / STAGING_NAME).exists()


def test_faces_may_swap_names(tmp_path: Path) -> None:
    folder = imported(tmp_path / "a", {"a.png": "b.png", "b.png": "c.png", "c.png": "a.png", "d.png": "d.png"})
    assert recover_names(folder, Watcher()).renamed == 3
    assert names_by_frame(folder) == {1: "b.png", 2: "c.png", 3: "a.png", 4: "d.png"}


def test_names_that_meet_are_numbered_and_stay_so(tmp_path: Path) -> None:
    folder = imported(
        tmp_path / "a", {"1.png": "x/same.png", "2.png": "y/SAME.png", "3.png": "same.png", "same.png": "same.png"}
    )
    (folder / "same_2.png").write_bytes(b"no face of ours")
    recover_names(folder, Watcher())
    wanted = {1: "same_3.png", 2: "SAME_4.png", 3: "same_5.png", 4: "same.png"}
    assert names_by_frame(folder) == wanted
    assert recover_names(folder, Watcher()).renamed == 0
    assert names_by_frame(folder) == wanted
    assert (folder / "same_2.png").read_bytes() == b"no face of ours"


def test_several_faces_of_a_frame_and_two_plates_of_one_name(tmp_path: Path) -> None:
    other = "/plates/zz/shot Zoë.%04d.png"
    faces = [
        (make_record(1, 0, name="p.png"), make_image(1)),
        (make_record(1, 1, name="q.png"), make_image(1)),
        (make_record(1, 0, name="r.png", plate=other), make_image(1)),
    ]
    folder = write_faceset(tmp_path / "a", faces)
    recover_names(folder, Watcher())
    first, second, third = files(folder)
    assert re.fullmatch(r"shot_Zo-[0-9a-f]{6}_000001_0\.png", first)
    assert (second, third) == ("shot_Zo_000001_0.png", "shot_Zo_000001_1.png")
    with Faceset.open(folder) as faceset:
        assert faceset.record(first).plate != faceset.record(second).plate == faceset.record(third).plate


@pytest.mark.parametrize("original", ["..", ".hidden.png", "a" * 300, "tab\there.png", "CON:1.png"])
def test_earlier_names_no_file_may_have_are_not_taken(tmp_path: Path, original: str) -> None:
    folder = imported(tmp_path / "a", {"a.png": original, "b.png": "fine.png"})
    result = recover_names(folder, Watcher())
    assert (result.renamed, result.kept) == (1, 1)
    assert names_by_frame(folder) == {1: "a.png", 2: "fine.png"}


def decorate(folder: Path) -> None:
    with MaskStore.open(folder, create=True) as store:
        for name in ("a.png", "b.png"):
            store.add_mask(name, "xseg", np.zeros((32, 32), np.float32), made_by=f"first of {name}")
            store.add_mask(name, "xseg", np.ones((32, 32), np.float32), made_by=f"second of {name}")
        store.set_label("a.png", LABEL, made_by="x")
    MetricStore.open(folder, create=True).close()
    database = sqlite3.connect(folder / METRICS_NAME)
    with database:
        for name, blur in (("a.png", 1.0), ("b.png", 2.0)):
            database.execute("INSERT INTO measure (name, bytes, mtime_ns, blur) VALUES (?, 1, 1, ?)", (name, blur))
    database.close()
    save_view(folder, View(name="sharpest", title="t", names=("b.png", "a.png"), values={"b.png": 2.0, "a.png": 1.0}))


def check_decoration(folder: Path, first: str, second: str) -> None:
    with MaskStore.open(folder) as store:
        assert [entry.made_by for entry in store.versions(first, "xseg")] == ["first of a.png", "second of a.png"]
        assert store.label(first) == LABEL
        assert store.faces_with("xseg") == sorted([first, second])
    database = sqlite3.connect(folder / METRICS_NAME)
    assert dict(database.execute("SELECT name, blur FROM measure")) == {first: 1.0, second: 2.0}
    database.close()
    with Faceset.open(folder) as faceset:
        view = load_view(faceset, "sharpest")
        assert view.names == (second, first)
        assert view.values == {second: 2.0, first: 1.0}


def test_masks_labels_measures_and_views_follow(tmp_path: Path) -> None:
    folder = imported(tmp_path / "a", {"a.png": "b.png", "b.png": "Zoë.png"})
    decorate(folder)
    recover_names(folder, Watcher())
    check_decoration(folder, "b.png", "Zoë.png")


def test_faces_in_the_trash_keep_their_names_and_can_come_back(tmp_path: Path) -> None:
    folder = imported(tmp_path / "a", {"a.png": "x.png", "x.png": "y.png"})
    (folder / "trash").mkdir()
    (folder / "x.png").rename(folder / "trash" / "x.png")
    recover_names(folder, Watcher())
    (folder / "trash" / "x.png").rename(folder / "x.png")
    assert names_by_frame(folder) == {1: "x_2.png", 2: "x.png"}


def test_stopping_takes_everything_back(tmp_path: Path) -> None:
    folder = imported(tmp_path / "a", {"a.png": "b.png", "b.png": "c.png", "c.png": "a.png"})
    result = recover_names(folder, Watcher(stop_after=2))
    assert (result.stopped, result.renamed) == (StopRequest.CANCEL, 0)
    assert names_by_frame(folder) == {1: "a.png", 2: "b.png", 3: "c.png"}
    assert not (folder / STAGING_NAME).exists()


@pytest.mark.slow
def test_killed_anywhere_the_next_call_finishes(tmp_path: Path) -> None:
    original = imported(tmp_path / "original", {"a.png": "b.png", "b.png": "Zoë.png", "c.png": "a.png"})
    decorate(original)
    folders = kill_everywhere("dflcore.curate.rename", "recover_names", original)
    assert len(folders) > 20
    finished = 0
    for folder in folders:
        was_unfinished = is_unfinished(folder)
        result = recover_names(folder, Watcher())
        assert result.finished_earlier == was_unfinished
        finished += result.finished_earlier
        assert names_by_frame(folder) == {1: "b.png", 2: "Zoë.png", 3: "a.png"}
        assert files(folder) == ["Zoë.png", "a.png", "b.png"]
        check_decoration(folder, "b.png", "Zoë.png")
        assert not (folder / STAGING_NAME).exists()
    assert finished > 5


_DIE_IN_TRANSACTION = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from dflcore.curate import rename
from small_facesets import Watcher
real = rename._rename_column
calls = 0
def rename_and_die(database, table, column):
    global calls
    calls += 1
    schema = table.partition(".")[0]
    database.execute(f"PRAGMA {schema}.cache_size = 2")  # so that changed pages are written before the commit
    real(database, table, column)
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
rename._rename_column = rename_and_die
rename.recover_names(Path(sys.argv[1]), Watcher())
"""


@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, 3])
def test_killed_within_the_transaction_no_file_is_ahead_of_the_others(tmp_path: Path, calls: int) -> None:
    count = 120
    faces = [(make_record(n, name=f"f{n}.png", original_name=f"f{n + 1}.png"), make_image(n)) for n in range(1, count)]
    folder = write_faceset(tmp_path / "a", faces)
    with MaskStore.open(folder, create=True) as store:
        masks = [(f"f{n}.png", np.full((8, 8), n / count, np.float32)) for n in range(1, count)]
        store.add_masks("xseg", masks, made_by="x")
    support = Path(__file__).parents[2] / "support"
    command = [sys.executable, "-c", _DIE_IN_TRANSACTION, str(folder), str(support), str(calls)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (folder / f"{INDEX_NAME}-journal").exists()
    assert recover_names(folder, Watcher()).finished_earlier
    assert names_by_frame(folder) == {n: f"f{n + 1}.png" for n in range(1, count)}
    with MaskStore.open(folder) as store:
        for n in range(1, count):
            mask = store.mask(f"f{n + 1}.png", "xseg")
            assert mask is not None
            np.testing.assert_allclose(mask, n / count, atol=1 / 255)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        recover_names(tmp_path / "nowhere", Watcher())
    folder = noise_faceset(tmp_path / "a", 2)
    lock = lock_faceset(folder)
    with pytest.raises(Conflict, match="Another process"):
        recover_names(folder, Watcher())
    os.close(lock)
    (folder / STAGING_NAME / "images").mkdir(parents=True)
    (folder / STAGING_NAME / PLAN_NAME).write_text('{"number": "1", "names": {"a.png": "../b.png"}}')
    with pytest.raises(DataCorrupt, match=PLAN_NAME):
        recover_names(folder, Watcher())
    (folder / STAGING_NAME / PLAN_NAME).unlink()
    (folder / STAGING_NAME / "images" / "a.png").write_bytes(b"the only copy")
    with pytest.raises(DataCorrupt, match="move them back"):
        recover_names(folder, Watcher())
    (folder / STAGING_NAME / "images" / "a.png").unlink()
    pack_faceset(folder, Watcher())
    with pytest.raises(Conflict, match="unpack"):
        recover_names(folder, Watcher())


def test_a_locked_or_damaged_index_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflcore.curate.rename._BUSY_TIMEOUT_S", 0.1)
    folder = imported(tmp_path / "a", {"a.png": "b.png"})
    database = sqlite3.connect(folder / INDEX_NAME, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    with pytest.raises(Conflict, match="in use"):
        recover_names(folder, Watcher())
    database.execute("ROLLBACK")
    database.close()
    assert recover_names(folder, Watcher()).finished_earlier
    assert names_by_frame(folder) == {1: "b.png"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    folder = noise_faceset(tmp_path / "a", 1)
    folder.chmod(0o500)
    try:
        with pytest.raises(InvalidInput, match="may write"):
            recover_names(folder, Watcher())
    finally:
        folder.chmod(0o700)
