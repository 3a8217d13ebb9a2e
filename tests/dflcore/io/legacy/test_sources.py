"""Finding the faces of a folder or a pak."""

import os
from pathlib import Path

import pytest

from dflcore.errors import InvalidInput, NotFound, Unsupported
from dflcore.io.legacy.sources import open_source
from legacy_files import face_jpeg, pak_bytes, write_folder


def test_folders_persons_and_what_is_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data_b" / "aligned", 2)
    write_folder(folder / "Zoë", 1)
    write_folder(folder / ".hidden", 1)
    (folder / "UPPER.JPG").write_bytes(face_jpeg())
    (folder / "old.png").write_bytes(b"")
    (folder / "meta.dat").write_bytes(b"")
    source = open_source(folder)
    assert source.label == "data_b"
    assert [(one.name, one.person) for one in source.entries] == [
        ("00001_0.jpg", ""),
        ("00002_0.jpg", ""),
        ("UPPER.JPG", ""),
        ("00001_0.jpg", "Zoë"),
    ]
    assert source.read(2) == face_jpeg()
    assert source.saved_metadata == folder / "meta.dat"
    assert source.notes[0].startswith("1 pictures")
    (folder / "00001_0.jpg").unlink()
    assert source.read(0) is None


def test_paks_by_file_and_by_folder(tmp_path: Path) -> None:
    pak = tmp_path / "shot" / "faceset.pak"
    pak.parent.mkdir()
    pak.write_bytes(pak_bytes([("a.jpg", "Anna", face_jpeg())]))
    for path in (pak, pak.parent):
        source = open_source(path)
        assert source.label == "shot"
        assert [(one.name, one.person) for one in source.entries] == [("a.jpg", "Anna")]
        assert source.read(0) == face_jpeg()
    named = pak.rename(pak.parent / "anna.pak")
    assert open_source(named).label == "anna"
    named.write_bytes(pak_bytes([]))
    with pytest.raises(InvalidInput, match="no faces"):
        open_source(named)
    named.write_bytes(b"a text file, not a packed faceset")
    with pytest.raises(Unsupported):
        open_source(named)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_source(tmp_path / "none")
    with pytest.raises(InvalidInput):
        open_source(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 1)
    folder.chmod(0)
    try:
        with pytest.raises(InvalidInput, match="cannot be read"):
            open_source(folder)
    finally:
        folder.chmod(0o755)
