import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.io import masks as masks_module
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MASKS_NAME, MaskStore

LABEL = Label((Polygon(True, ((1.5, 2.0), (9.0, 3.0), (4.0, 8.25))),))
OTHER_LABEL = Label((Polygon(False, ((1.0, 2.0), (9.0, 3.0), (4.0, 8.0))),))


def make_mask(seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size), dtype=np.float32)


@pytest.fixture
def faceset(tmp_path: Path) -> Path:
    folder = tmp_path / "faces of Zoë"
    folder.mkdir()
    return folder


@pytest.fixture
def store(faceset: Path) -> MaskStore:
    return MaskStore.open(faceset, create=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 70), bits=st.sampled_from([8, 16]))
def test_a_mask_comes_back_within_half_a_step(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, bits: masks_module.Bits
) -> None:
    folder = tmp_path_factory.mktemp("faces")
    mask = make_mask(seed, size)
    with MaskStore.open(folder, create=True) as store:
        store.add_mask("a.png", "xseg", mask, made_by="test", bits=bits)
        read = store.mask("a.png", "xseg")
        assert read is not None
        assert read.dtype == np.float32
        assert np.abs(read.astype(np.float64) - mask).max() <= 0.5 / (2**bits - 1) + 1e-7
        store.add_mask("a.png", "xseg", read, made_by="test", bits=bits)
        np.testing.assert_array_equal(store.mask("a.png", "xseg"), read)


def test_versions_count_up_and_old_ones_stay(store: MaskStore) -> None:
    first, second = make_mask(1), make_mask(2, 48)
    assert store.add_mask("a.png", "xseg", first, made_by="xseg 1000 it") == 1
    assert store.add_mask("a.png", "xseg", second, made_by="xseg 2000 it", bits=16) == 2
    assert store.add_mask("b.png", "xseg", first, made_by="xseg") == 1
    assert store.add_mask("a.png", "painted", first, made_by="hand") == 1
    np.testing.assert_allclose(store.mask("a.png", "xseg", version=1), first, atol=1 / 500)
    np.testing.assert_allclose(store.mask("a.png", "xseg"), second, atol=1e-5)
    assert store.mask("a.png", "xseg", version=3) is None
    assert store.mask("c.png", "xseg") is None
    assert store.masks_of("a.png") == {"painted": 1, "xseg": 2}
    assert store.sources() == {"painted": 1, "xseg": 2}
    assert store.faces_with("xseg") == ["a.png", "b.png"]
    history = store.versions("a.png", "xseg")
    assert [(one.version, one.made_by, one.size, one.bits) for one in history] == [
        (1, "xseg 1000 it", 32, 8),
        (2, "xseg 2000 it", 48, 16),
    ]


def test_what_is_removed_can_be_restored(store: MaskStore) -> None:
    for face in ("a.png", "b.png", "c.png"):
        store.add_mask(face, "xseg", make_mask(1), made_by="test")
    before = store.mask("a.png", "xseg")
    assert store.remove_masks("xseg", ["a.png", "b.png", "nobody.png"]) == 2
    assert store.mask("a.png", "xseg") is None
    assert store.masks_of("a.png") == {}
    assert store.faces_with("xseg") == ["c.png"]
    assert store.remove_masks("xseg", ["a.png"]) == 0
    store.add_mask("b.png", "xseg", make_mask(5), made_by="again")
    assert store.restore_masks("xseg") == 1
    np.testing.assert_array_equal(store.mask("a.png", "xseg"), before)
    np.testing.assert_allclose(store.mask("b.png", "xseg"), make_mask(5), atol=1 / 500)
    assert [one.is_removed for one in store.versions("a.png", "xseg")] == [False, True, False]
    assert store.remove_masks("xseg") == 3
    assert store.remove_masks("xseg") == 0
    assert store.restore_masks("xseg", ["c.png"]) == 1
    assert store.faces_with("xseg") == ["c.png"]
    assert store.restore_masks("painted") == 0


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.sampled_from(["add", "remove", "restore"]), max_size=12))
def test_versions_only_grow_and_the_newest_is_what_was_last_done(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    with MaskStore.open(tmp_path_factory.mktemp("faces"), create=True) as store:
        shown: int | None = None
        last: int | None = None
        count = 0
        for number, step in enumerate(steps, 1):
            if step == "add":
                count += 1
                assert store.add_mask("a", "m", np.full((1, 1), number / 255, np.float32), made_by="") == count
                shown = last = number
            elif step == "remove":
                assert store.remove_masks("m") == (shown is not None)
                count += shown is not None
                shown = None
            else:
                is_back = shown is None and last is not None
                assert store.restore_masks("m") == is_back
                count += is_back
                shown = last if is_back else shown
            read = store.mask("a", "m")
            assert (None if read is None else round(float(read[0, 0]) * 255)) == shown
            assert [one.version for one in store.versions("a", "m")] == list(range(1, count + 1))


def test_labels_are_kept_the_same_way(store: MaskStore) -> None:
    assert store.label("a.png") is None
    assert store.set_label("a.png", LABEL, made_by="hand") == 1
    assert store.set_label("a.png", OTHER_LABEL, made_by="hand") == 2
    store.set_labels({"b.png": LABEL, "c.png": LABEL}, made_by="import")
    assert store.label("a.png") == OTHER_LABEL
    assert store.label("a.png", version=1) == LABEL
    assert store.labelled_faces() == ["a.png", "b.png", "c.png"]
    assert dict(store.labels()) == {"a.png": OTHER_LABEL, "b.png": LABEL, "c.png": LABEL}
    assert store.remove_labels(["a.png"]) == 1
    assert store.label("a.png") is None
    assert store.restore_labels() == 1
    assert store.label("a.png") == OTHER_LABEL
    assert store.masks_of("a.png") == {}
    assert store.sources() == {}
    assert len(store.versions("a.png", "label")) == 4


def test_a_label_without_polygons_is_a_removal(store: MaskStore) -> None:
    store.set_label("a.png", LABEL, made_by="hand")
    assert store.set_label("a.png", Label(()), made_by="hand") == 2
    assert store.label("a.png") is None
    assert store.labelled_faces() == []
    assert store.restore_labels() == 1
    assert store.label("a.png") == LABEL


def test_masks_come_in_the_order_asked_and_only_where_there_are_any(store: MaskStore) -> None:
    names = [f"face_{number:04d}.png" for number in range(200)]
    store.add_masks("xseg", [(name, make_mask(number, 4)) for number, name in enumerate(names)], made_by="test")
    asked = [*names[150:], "nobody.png", *names[:10]]
    read = dict(store.masks(asked, "xseg"))
    assert list(read) == [*names[150:], *names[:10]]
    np.testing.assert_allclose(read[names[3]], make_mask(3, 4), atol=1 / 500)
    assert list(store.masks(names, "painted")) == []


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((4, 5), np.float32),
        np.zeros((0, 0), np.float32),
        np.zeros((4, 4, 1), np.float32),
        np.full((4, 4), 1.5, np.float32),
        np.full((4, 4), -0.1, np.float32),
        np.full((4, 4), np.nan, np.float32),
        np.full((4, 4), np.inf, np.float32),
    ],
)
def test_what_is_no_mask_is_refused_and_nothing_is_stored(store: MaskStore, mask: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        store.add_masks("xseg", [("a.png", make_mask(1)), ("b.png", mask)], made_by="test")
    assert store.faces_with("xseg") == []


@pytest.mark.parametrize("source", ["", "XSeg", "x seg", "x" * 33, "hull", "label", "ä", "a\n"])
def test_names_that_are_no_source_are_refused(store: MaskStore, source: str) -> None:
    with pytest.raises(InvalidInput):
        store.add_mask("a.png", source, make_mask(1), made_by="test")
    with pytest.raises(InvalidInput):
        store.faces_with(source)


def test_unicode_and_long_face_names(store: MaskStore) -> None:
    names = ["顔 👩‍🎤 'quoted\"; DROP TABLE version; --.png", "x" * 250 + ".png", "A.png", "a.png"]
    for number, name in enumerate(names):
        store.add_mask(name, "xseg", make_mask(number), made_by="Zoë")
    assert sorted(store.faces_with("xseg")) == sorted(names)
    np.testing.assert_allclose(store.mask(names[1], "xseg"), make_mask(1), atol=1 / 500)
    for name in ("", "x" * 5000, "byte \udcff.png"):
        with pytest.raises(InvalidInput):
            store.add_mask(name, "xseg", make_mask(1), made_by="test")


def test_a_faceset_without_masks_reads_as_empty_until_somebody_makes_some(faceset: Path) -> None:
    reader = MaskStore.open(faceset)
    assert reader.faces_with("xseg") == []
    assert reader.mask("a.png", "xseg") is None
    assert reader.label("a.png") is None
    assert list(reader.masks(["a.png"], "xseg")) == []
    assert reader.versions("a.png", "xseg") == []
    assert not (faceset / MASKS_NAME).exists()
    with pytest.raises(InvalidInput, match="reading only"):
        reader.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    with MaskStore.open(faceset, create=True) as writer:
        writer.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    assert reader.faces_with("xseg") == ["a.png"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        MaskStore.open(tmp_path / "none", create=True)


@pytest.mark.parametrize("whole", [True, False])
def test_a_faceset_deleted_while_in_use(faceset: Path, store: MaskStore, whole: bool) -> None:
    store.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    if whole:
        shutil.rmtree(faceset)
    else:
        (faceset / MASKS_NAME).unlink()
    with pytest.raises(NotFound, match="deleted while in use"):
        store.mask("a.png", "xseg")
    if whole:
        with pytest.raises(NotFound, match="deleted while in use"):
            store.add_mask("a.png", "xseg", make_mask(1), made_by="test")
        assert not faceset.exists()


def test_a_file_put_in_its_place_is_found(tmp_path: Path, faceset: Path, store: MaskStore) -> None:
    store.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    backup = tmp_path / "backup.sqlite"
    shutil.copy(store.path, backup)
    store.add_mask("b.png", "xseg", make_mask(2), made_by="test")
    os.replace(backup, store.path)
    assert store.faces_with("xseg") == ["a.png"]


def test_another_layout_is_not_touched(faceset: Path, store: MaskStore) -> None:
    store.close()
    with sqlite3.connect(faceset / MASKS_NAME) as database:
        database.execute("UPDATE about SET value = '99' WHERE key = 'schema'")
    database.close()
    before = (faceset / MASKS_NAME).read_bytes()
    with pytest.raises(Unsupported, match="layout 99"):
        MaskStore.open(faceset, create=True)
    assert (faceset / MASKS_NAME).read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "cut", "another database"])
def test_a_damaged_file_is_said_to_be(faceset: Path, store: MaskStore, damage: str) -> None:
    names = [f"{number}.png" for number in range(50)]
    store.add_masks("xseg", [(name, make_mask(1)) for name in names], made_by="test")
    store.close()
    path = faceset / MASKS_NAME
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE other (x)")
        database.close()
    with pytest.raises(DataCorrupt, match=r"masks\.sqlite"), MaskStore.open(faceset, create=True) as opened:
        list(opened.masks(names, "xseg"))


@pytest.mark.parametrize("blob", [b"", b"\x89PNG\r\n", b"a picture"])
def test_a_damaged_mask_is_named_and_the_others_are_read(faceset: Path, store: MaskStore, blob: bytes) -> None:
    store.add_masks("xseg", [("a.png", make_mask(1)), ("b.png", make_mask(2))], made_by="test")
    with sqlite3.connect(faceset / MASKS_NAME) as database:
        database.execute("UPDATE content SET data = ? WHERE id = 1", (blob,))
    database.close()
    with pytest.raises(DataCorrupt, match=r"a\.png"):
        store.mask("a.png", "xseg")
    np.testing.assert_allclose(store.mask("b.png", "xseg"), make_mask(2), atol=1 / 500)


def test_a_locked_file_is_waited_for_and_then_named(
    faceset: Path, store: MaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks_module, "BUSY_TIMEOUT_S", 0.2)
    blocker = sqlite3.connect(faceset / MASKS_NAME, isolation_level=None, check_same_thread=False)
    patient = MaskStore.open(faceset)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Conflict, match="locked"):
        patient.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    monkeypatch.setattr(masks_module, "BUSY_TIMEOUT_S", 10.0)
    timer = threading.Timer(0.3, lambda: blocker.execute("ROLLBACK"))
    timer.start()
    assert MaskStore.open(faceset).add_mask("a.png", "xseg", make_mask(1), made_by="test") == 1
    timer.join()
    blocker.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(faceset: Path, store: MaskStore) -> None:
    store.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    store.close()
    (faceset / MASKS_NAME).chmod(0o444)
    faceset.chmod(0o555)
    try:
        with MaskStore.open(faceset, create=True) as reader:
            np.testing.assert_allclose(reader.mask("a.png", "xseg"), make_mask(1), atol=1 / 500)
            with pytest.raises(InvalidInput, match="Cannot write"):
                reader.add_mask("a.png", "xseg", make_mask(1), made_by="test")
        faceset.chmod(0o755)
        (faceset / MASKS_NAME).unlink()
        faceset.chmod(0o555)
        with pytest.raises(InvalidInput, match="Cannot write"):
            MaskStore.open(faceset, create=True)
    finally:
        faceset.chmod(0o755)


WRITER = """
import sys, numpy as np
from pathlib import Path
from dflcore.io.masks import MaskStore
store = MaskStore.open(Path(sys.argv[1]), create=True)
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    store.add_mask("shared.png", "xseg", np.full((64, 64), number % 256 / 255, np.float32), made_by=sys.argv[2])
    print(number, flush=True)
"""


def start_writer(faceset: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(faceset), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once_while_a_third_reads(faceset: Path) -> None:
    reader = MaskStore.open(faceset)
    writers = [start_writer(faceset, name, 60) for name in ("one", "two")]
    slowest = 0.0
    while any(writer.poll() is None for writer in writers):
        start = time.monotonic()
        mask = reader.mask("shared.png", "xseg")
        slowest = max(slowest, time.monotonic() - start)
        assert mask is None or (mask == mask[0, 0]).all()
    for writer in writers:
        output, _ = writer.communicate()
        assert writer.returncode == 0, output
    history = reader.versions("shared.png", "xseg")
    assert [one.version for one in history] == list(range(1, 121))
    assert sorted(one.made_by for one in history) == ["one"] * 60 + ["two"] * 60
    assert slowest < 5.0


def test_a_reader_half_way_through_blocks_no_writer(store: MaskStore, faceset: Path) -> None:
    names = [f"{number:03d}.png" for number in range(130)]
    store.add_masks("xseg", [(name, make_mask(1, 8)) for name in names], made_by="test")
    reading = store.masks(names, "xseg")
    next(reading)
    start = time.monotonic()
    with MaskStore.open(faceset) as writer:
        writer.add_mask("another.png", "xseg", make_mask(2), made_by="test")
    assert time.monotonic() - start < 5.0
    assert len(list(reading)) == 129


def test_threads_may_share_a_store(store: MaskStore) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                store.add_mask("a.png", f"s{number}", make_mask(number, 8), made_by="test")
                np.testing.assert_allclose(store.mask("a.png", f"s{number}"), make_mask(number, 8), atol=1 / 500)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.masks_of("a.png") == {f"s{number}": 10 for number in range(4)}


def test_a_forked_child_uses_its_own_connection(store: MaskStore) -> None:
    store.add_mask("a.png", "xseg", make_mask(1), made_by="test")
    child = os.fork()
    if child == 0:
        os._exit(0 if store.add_mask("a.png", "xseg", make_mask(2), made_by="child") == 2 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.masks_of("a.png") == {"xseg": 2}


@pytest.mark.slow
def test_a_writer_killed_at_any_time_leaves_a_readable_store(faceset: Path) -> None:
    rng = np.random.default_rng(1)
    done = 0
    for attempt in range(6):
        writer = start_writer(faceset, f"attempt {attempt}", 10**6)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(float(rng.uniform(0.05, 0.3)))
        writer.send_signal(signal.SIGKILL)
        reported = len(writer.communicate()[0].split())
        with MaskStore.open(faceset, create=True) as store:
            versions = store.versions("shared.png", "xseg")
            assert [one.version for one in versions] == list(range(1, len(versions) + 1))
            assert len(versions) >= done + reported
            done = len(versions)
            if done:
                mask = store.mask("shared.png", "xseg")
                assert mask is not None
                assert (mask == mask[0, 0]).all()
    assert done
    with sqlite3.connect(faceset / MASKS_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


@pytest.mark.slow
def test_a_hundred_thousand_faces_are_listed_at_once(faceset: Path) -> None:
    store = MaskStore.open(faceset, create=True)
    names = [f"plate_name_{number:06d}_0.png" for number in range(100_000)]
    mask = np.zeros((4, 4), np.float32)
    store.add_masks("xseg", ((name, mask) for name in names), made_by="test")
    store.set_labels(dict.fromkeys(names[::2], LABEL), made_by="test")
    start = time.monotonic()
    assert len(store.faces_with("xseg")) == 100_000
    assert len(store.labelled_faces()) == 50_000
    assert time.monotonic() - start < 2.0
    assert store.remove_masks("xseg") == 100_000
    assert store.restore_masks("xseg") == 100_000
    start = time.monotonic()
    for name in names[::1000]:
        assert store.mask(name, "xseg") is not None
        assert store.masks_of(name) == {"xseg": 3}
    assert time.monotonic() - start < 2.0
