import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dflcore.curate import pack as packing
from dflcore.curate.metadata import save_metadata
from dflcore.curate.pack import pack_faceset, unpack_faceset
from dflcore.curate.restore import restore_metadata
from dflcore.curate.retype import change_faces
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound, ResourceExhausted
from dflcore.io.faceset import Faceset, lock_faceset
from dflcore.io.pack import PACK_NAME, TRASH_LIST_NAME, FaceFiles, FacePack, trash_members, trashed_members
from dflcore.progress import StopRequest
from killing import kill_everywhere
from small_facesets import Watcher, make_image, noise_faceset


@pytest.fixture
def faceset(tmp_path: Path) -> Path:
    folder = noise_faceset(tmp_path / "faces of Zoë", 6)
    (folder / "holiday.png").write_bytes(b"not ours")
    return folder


def loose(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shot_*.png")}


def all_images(folder: Path) -> dict[str, bytes]:
    with FaceFiles.open(folder) as files:
        return {name: files.read(name) for name in files.names() if name.startswith("shot_")}


def test_packing_and_unpacking_gives_the_same_files(faceset: Path) -> None:
    before = loose(faceset)
    times = {name: (faceset / name).stat().st_mtime_ns for name in before}
    control = Watcher()
    result = pack_faceset(faceset, control)
    assert (result.faces, result.stopped) == (6, None)
    assert result.bytes == (faceset / PACK_NAME).stat().st_size
    assert loose(faceset) == {}
    assert all_images(faceset) == before
    assert (faceset / "holiday.png").exists()
    with Faceset.open(faceset) as opened:
        assert set(opened.names) == set(before)
        np.testing.assert_array_equal(opened.read_image("shot_000003_0.png"), make_image(3))
    done = [event.done for event in control.progress()]
    assert done == sorted(done)
    assert done[-1] == 6

    result = unpack_faceset(faceset, control)
    assert (result.faces, result.stopped) == (6, None)
    assert loose(faceset) == before
    assert {name: (faceset / name).stat().st_mtime_ns for name in before} == times
    assert not (faceset / PACK_NAME).exists()
    assert sorted(path.name for path in faceset.iterdir() if path.name.startswith(".")) == [".lock"]


def test_what_was_extracted_since_joins_the_pack_and_newer_images_win(faceset: Path) -> None:
    pack_faceset(faceset, Watcher())
    newer = {"shot_000002_0.png": b"edited since"}
    (faceset / "shot_000002_0.png").write_bytes(newer["shot_000002_0.png"])
    before = all_images(faceset)
    assert before.items() >= newer.items()
    assert pack_faceset(faceset, Watcher()).faces == 6
    assert loose(faceset) == {}
    assert all_images(faceset) == before


def test_an_image_edited_while_packed_is_not_lost(faceset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "shot_000003_0.png"
    real = packing.write_pack

    def edit_behind(path: Path, members: object) -> None:
        real(path, members)
        (faceset / name).write_bytes(b"saved by an artist just now")
        (faceset / "shot_000004_0.png").unlink()

    monkeypatch.setattr(packing, "write_pack", edit_behind)
    control = Watcher()
    pack_faceset(faceset, control)
    assert control.reasons() == ["CHANGED_WHILE_PACKED"]
    assert loose(faceset) == {name: b"saved by an artist just now"}
    assert all_images(faceset)[name] == b"saved by an artist just now"
    assert "shot_000004_0.png" not in all_images(faceset)  # deleted by hand: gone, but recoverable
    assert trashed_members(faceset) == {"shot_000004_0.png"}


def test_faces_put_aside_stay_so(faceset: Path) -> None:
    before = loose(faceset)
    name = "shot_000003_0.png"
    pack_faceset(faceset, Watcher())
    trash_members(faceset, [name])
    unpack_faceset(faceset, Watcher())
    assert (faceset / "trash" / name).read_bytes() == before.pop(name)
    assert loose(faceset) == before
    assert not (faceset / TRASH_LIST_NAME).exists()


def test_a_face_put_aside_and_cut_again_is_there_again(faceset: Path) -> None:
    name = "shot_000003_0.png"
    old = loose(faceset)[name]
    pack_faceset(faceset, Watcher())
    trash_members(faceset, [name])
    (faceset / name).write_bytes(b"cut again")
    pack_faceset(faceset, Watcher())
    assert all_images(faceset)[name] == b"cut again"
    assert (faceset / "trash" / name).read_bytes() == old


@pytest.mark.parametrize("asked", [0, 3, 7, 11, 14])
def test_stopping_loses_nothing_and_a_second_run_finishes(faceset: Path, asked: int) -> None:
    before = loose(faceset)
    result = pack_faceset(faceset, Watcher(stop_after=asked))
    assert result.stopped is StopRequest.CANCEL
    assert all_images(faceset) == before
    assert pack_faceset(faceset, Watcher()).stopped is None
    assert loose(faceset) == {}
    assert unpack_faceset(faceset, Watcher(stop_after=asked % 6)).stopped is StopRequest.CANCEL
    assert all_images(faceset) == before
    assert unpack_faceset(faceset, Watcher()).stopped is None
    assert loose(faceset) == before


@pytest.mark.slow
@pytest.mark.parametrize("step", ["pack_faceset", "unpack_faceset"])
def test_killed_anywhere_every_image_is_still_whole(tmp_path: Path, step: str) -> None:
    original = noise_faceset(tmp_path / "original", 3)
    before = loose(original)
    if step == "unpack_faceset":
        pack_faceset(original, Watcher())
    folders = kill_everywhere("dflcore.curate.pack", step, original)
    assert len(folders) > 12
    for folder in folders:
        assert all_images(folder) == before
        if step == "pack_faceset" or (folder / PACK_NAME).exists():
            getattr(packing, step)(folder, Watcher())
        assert all_images(folder) == before
        assert bool(loose(folder)) == (step == "unpack_faceset")
        assert (folder / PACK_NAME).exists() == (step == "pack_faceset")


def test_a_damaged_pack_is_named_and_nothing_is_touched(faceset: Path) -> None:
    pack_faceset(faceset, Watcher())
    path = faceset / PACK_NAME
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataCorrupt, match="checksum"):
        unpack_faceset(faceset, Watcher())
    assert path.read_bytes() == data
    assert loose(faceset) == {}
    assert not (faceset / ".unpacking").exists()


def test_a_disk_that_lies_is_found_out_before_anything_is_removed(
    faceset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loose(faceset)
    real = FacePack.read
    monkeypatch.setattr(FacePack, "read", lambda self, name: real(self, name) + b"?")
    with pytest.raises(DataCorrupt, match="does not read back"):
        pack_faceset(faceset, Watcher())
    assert loose(faceset) == before
    assert not (faceset / PACK_NAME).exists()


def test_a_disk_without_room_is_named_first(faceset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ResourceExhausted, match="nothing was changed"):
        pack_faceset(faceset, Watcher())
    assert len(loose(faceset)) == 6


def test_refusals(faceset: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no pack"):
        unpack_faceset(faceset, Watcher())
    with pytest.raises(NotFound, match="no faceset"):
        pack_faceset(tmp_path / "nowhere", Watcher())
    lock = lock_faceset(faceset)
    with pytest.raises(Conflict, match="Another process"):
        pack_faceset(faceset, Watcher())
    os.close(lock)
    for path in faceset.glob("shot_*.png"):
        path.unlink()
    with pytest.raises(NotFound, match="no faces to pack"):
        pack_faceset(faceset, Watcher())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(faceset: Path) -> None:
    faceset.chmod(0o500)
    try:
        with pytest.raises(InvalidInput, match="may write"):
            pack_faceset(faceset, Watcher())
    finally:
        faceset.chmod(0o700)


def test_a_link_stays_a_link(faceset: Path) -> None:
    name = "shot_000001_0.png"
    (faceset / name).rename(faceset.parent / name)
    (faceset / name).symlink_to(faceset.parent / name)
    assert pack_faceset(faceset, Watcher()).faces == 5
    assert (faceset / name).is_symlink()


def test_packed_faces_can_be_resized_and_saved(faceset: Path, tmp_path: Path) -> None:
    pack_faceset(faceset, Watcher())
    assert change_faces(faceset, tmp_path / "larger", Watcher(), aligned_size=96).faces == 6
    assert save_metadata(faceset, tmp_path / "meta.json", Watcher()).faces == 6
    (faceset / "index.sqlite").unlink()
    assert restore_metadata(faceset, tmp_path / "meta.json", Watcher()).is_recreated
    with Faceset.open(faceset) as opened:
        np.testing.assert_array_equal(opened.read_image("shot_000003_0.png"), make_image(3))
