"""Packed facesets: read face by face, written so that the reference finds everything."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound, Unsupported
from dflcore.io.legacy.jpeg import read_face
from dflcore.io.legacy.pak import PackedFace, PakReader, PakWriter
from legacy_files import face_jpeg, loads, pak_bytes

FACES = [(f"{number:05d}_0.jpg", None, face_jpeg(number)) for number in range(5)]


def pak(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "faceset.pak"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_every_face_comes_out_as_it_went_in(tmp_path: Path, protocol: int) -> None:
    faces = [*FACES, ("last.jpg", "Zoë", face_jpeg(9))]
    reader = PakReader(pak(tmp_path, pak_bytes(faces, protocol=protocol)))
    assert len(reader) == 6
    assert [(one.name, one.person or None, one.jpeg) for one in reader] == faces
    assert reader.lost == []
    assert len(list(reader)) == 6  # again


def test_a_last_offset_that_counts_like_the_others_is_read_too(tmp_path: Path) -> None:
    data = bytearray(pak_bytes(FACES))
    (index_bytes,) = struct.unpack("<Q", data[8:16])
    place = 16 + index_bytes + 8 * len(FACES)
    (last,) = struct.unpack("<Q", data[place : place + 8])
    assert last == len(data)
    data[place : place + 8] = struct.pack("<Q", last - (place + 8))
    assert [one.jpeg for one in PakReader(pak(tmp_path, bytes(data)))] == [jpeg for _, _, jpeg in FACES]


@pytest.mark.parametrize(("missing", "lost"), [(1, 1), (len(FACES[4][2]), 1), (len(FACES[4][2]) + 1, 2)])
def test_a_truncated_pak_gives_what_is_whole_and_counts_the_rest(tmp_path: Path, missing: int, lost: int) -> None:
    path = pak(tmp_path, pak_bytes(FACES)[:-missing])
    read = []
    with pytest.raises(DataCorrupt, match=f"{lost} of 5 faces") as caught:
        for one in PakReader(path):
            read.append(one.jpeg)
    assert caught.value.reason == "PAK_TRUNCATED"
    assert read == [jpeg for _, _, jpeg in FACES[: 5 - lost]]
    salvaged = PakReader(path, salvage=True)
    assert [one.jpeg for one in salvaged] == read
    assert salvaged.lost == [name for name, _, _ in FACES[5 - lost :]]


@pytest.mark.parametrize("length", [0, 7, 15, 20, 300])
def test_a_pak_without_its_index_has_lost_everything_and_says_so(tmp_path: Path, length: int) -> None:
    path = pak(tmp_path, pak_bytes(FACES)[:length])
    for salvage in (False, True):
        with pytest.raises(DataCorrupt, match="no face can be read"):
            PakReader(path, salvage=salvage)


def test_faces_are_found_without_a_readable_index(tmp_path: Path) -> None:
    data = bytearray(pak_bytes(FACES))
    data[16:24] = b"\xff" * 8
    path = pak(tmp_path, bytes(data))
    with pytest.raises(DataCorrupt):
        PakReader(path)
    reader = PakReader(path, salvage=True)
    assert [one.jpeg for one in reader] == [jpeg for _, _, jpeg in FACES]
    assert next(one.name for one in reader) == "face_000001.jpg"
    assert "index is damaged" in reader.notes[0]


def test_a_hostile_index_is_refused_even_when_salvaging(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return os.system, ("touch canary",)

    path = pak(tmp_path, pak_bytes(FACES, index=pickle.dumps([{"filename": Evil()}], 4)))
    for salvage in (False, True):
        with pytest.raises(InvalidInput, match="system") as caught:
            PakReader(path, salvage=salvage)
        assert caught.value.reason == "HOSTILE_PICKLE"
    assert not Path("canary").exists()


def test_another_version_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="version 7"):
        PakReader(pak(tmp_path, struct.pack("<QQ", 7, 0) + bytes(100)))
    with pytest.raises(NotFound):
        PakReader(tmp_path / "none.pak")


def test_offsets_that_run_backwards_lose_their_faces_only(tmp_path: Path) -> None:
    data = bytearray(pak_bytes(FACES))
    (index_bytes,) = struct.unpack("<Q", data[8:16])
    place = 16 + index_bytes + 8 * 2
    data[place : place + 8] = struct.pack("<Q", 2**63)
    reader = PakReader(pak(tmp_path, bytes(data)), salvage=True)
    assert [one.name for one in reader] == [FACES[0][0], FACES[3][0], FACES[4][0]]
    assert reader.lost == [FACES[1][0], FACES[2][0]]


def test_the_reference_would_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out" / "faceset.pak"
    with PakWriter(path) as writer:
        for name, _, jpeg in FACES:
            face = read_face(jpeg, name)
            assert face is not None
            writer.add(PackedFace(name, "", jpeg), face)
        assert not path.exists()
    data = path.read_bytes()
    version, index_bytes = struct.unpack("<QQ", data[:16])
    assert version == 1
    index = loads(data[16 : 16 + index_bytes])
    assert data[16:18] == b"\x80\x04"
    count = len(index)
    offsets = struct.unpack(f"<{count + 1}Q", data[16 + index_bytes : 16 + index_bytes + 8 * (count + 1)])
    start = 16 + index_bytes + 8 * (count + 1)
    assert offsets[-1] == len(data)
    for position, (name, _, jpeg) in enumerate(FACES):
        entry = index[position]
        assert (entry["filename"], entry["person_name"], entry["shape"]) == (name, None, (64, 64, 3))
        assert (entry["sample_type"].name, entry["face_type"].name) == ("FACE", "FULL")
        assert np.array(entry["landmarks"]).shape == (68, 2)
        size = offsets[position + 1] - offsets[position]
        assert data[start + offsets[position] :][:size] == jpeg  # the last is clipped by the end of the file
    assert [one.jpeg for one in PakReader(path)] == [jpeg for _, _, jpeg in FACES]


def test_nothing_is_left_of_a_pak_that_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), PakWriter(tmp_path / "a.pak"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1) | st.none(),
    salvage=st.booleans(),
    header=st.booleans(),
)
@settings(max_examples=200, deadline=1000)
def test_damaged_paks_end_in_faces_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory,
    edits: list[tuple[float, int]],
    cut: float | None,
    salvage: bool,
    header: bool,
) -> None:
    data = bytearray(GOOD)
    (index_bytes,) = struct.unpack("<Q", data[8:16])
    reach = 16 + index_bytes + 48 if header else len(data)
    for place, value in edits:
        data[min(int(place * reach), len(data) - 1)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.pak"
    path.write_bytes(data if cut is None else data[: int(cut * len(data))])
    try:
        for one in PakReader(path, salvage=salvage):
            assert one.jpeg.startswith(b"\xff\xd8")
    except DflError:
        pass


GOOD = pak_bytes(FACES)
