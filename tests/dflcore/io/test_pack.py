import io
import os
import struct
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.pack import (
    PACK_NAME,
    TRASH_LIST_NAME,
    FaceFiles,
    FacePack,
    is_image_name,
    restore_members,
    trash_members,
    trashed_members,
    write_pack,
)

FACES = {"shot_000001_0.png": b"first", "Zoë_000002_0.png": os.urandom(5000), "empty_0.jpg": b""}


TIME_NS = 1_700_000_000_123_456_789


def members(faces: dict[str, bytes]) -> list[tuple[str, bytes, int]]:
    return [(name, data, TIME_NS + number) for number, (name, data) in enumerate(faces.items())]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / PACK_NAME
    write_pack(path, members(FACES))
    return path


def zip_bytes(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def test_members_come_back_and_any_zip_tool_reads_them(pack: Path) -> None:
    with FacePack.open(pack) as opened:
        assert opened.names() == list(FACES)
        assert {name: opened.read(name) for name in opened.names()} == FACES
        assert (len(opened), opened.size("shot_000001_0.png")) == (3, 5)
        assert "shot_000001_0.png" in opened
        assert [opened.mtime_ns(name) for name in FACES] == [TIME_NS, TIME_NS + 1, TIME_NS + 2]
        with pytest.raises(NotFound, match="other"):
            opened.read("other.png")
    with zipfile.ZipFile(pack) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FACES


def test_the_same_faces_make_the_same_pack(pack: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "again.pack", members(FACES))
    assert (tmp_path / "again.pack").read_bytes() == pack.read_bytes()


def test_threads_read_at_once(pack: Path) -> None:
    with FacePack.open(pack) as opened, ThreadPoolExecutor(8) as pool:
        names = list(FACES) * 200
        assert list(pool.map(opened.read, names)) == [FACES[name] for name in names]


@pytest.mark.parametrize(
    "name",
    [
        "../up.png",
        "/etc/a.png",
        "a/b.png",
        "a\\b.png",
        "..",
        "C:a.png",
        ".hidden.png",
        "index.sqlite",
        "x" * 260 + ".png",
    ],
)
def test_names_that_could_do_harm_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / PACK_NAME
    path.write_bytes(zip_bytes((name, b"x")))
    with pytest.raises(DataCorrupt, match="not the plain name"):
        FacePack.open(path)
    with pytest.raises(InvalidInput):
        write_pack(tmp_path / "mine.pack", [(name, b"x", 0)])
    assert not is_image_name(name)


def test_compressed_members_are_refused_whatever_they_would_grow_to(tmp_path: Path) -> None:
    path = tmp_path / PACK_NAME
    path.write_bytes(zip_bytes(("bomb.png", bytes(10_000_000)), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(DataCorrupt, match="compressed"):
        FacePack.open(path)


def patched(data: bytes, place: int, layout: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, place, value)
    return bytes(changed)


def test_overlapping_and_oversized_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / PACK_NAME
    good = zip_bytes(("a.png", b"a" * 100), ("b.png", b"b" * 100))
    first = good.index(b"PK\1\2")
    second = good.index(b"PK\1\2", first + 1)
    for size in (101, 1 << 31):  # the first member reaches into the second, then past the end of the file
        hostile = patched(patched(good, first + 20, "<L", size), first + 24, "<L", size)
        path.write_bytes(hostile)
        with pytest.raises(DataCorrupt, match="overlaps"):
            FacePack.open(path)
    path.write_bytes(patched(good, second + 42, "<L", 0))  # both claim the first one's bytes
    with pytest.raises(DataCorrupt, match="same place"):
        FacePack.open(path)
    path.write_bytes(patched(good, good.rindex(b"PK\5\6") + 10, "<H", 60000))
    with pytest.raises(DataCorrupt, match="directory"):
        FacePack.open(path)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / PACK_NAME
    path.write_bytes(zip_bytes(("aa.png", b"1"), ("ab.png", b"2")).replace(b"ab.png", b"aa.png"))
    with pytest.raises(DataCorrupt, match="twice"):
        FacePack.open(path)


def test_a_changed_byte_is_noticed_when_the_member_is_read(pack: Path) -> None:
    data = pack.read_bytes()
    pack.write_bytes(data.replace(b"first", b"fIrst"))
    with FacePack.open(pack) as opened:
        with pytest.raises(DataCorrupt, match="checksum of shot_000001_0"):
            opened.read("shot_000001_0.png")
        opened.read("empty_0.jpg")


def test_every_truncation_is_refused(pack: Path) -> None:
    data = pack.read_bytes()
    for length in (*range(0, len(data) - 1, 97), len(data) - 1):
        pack.write_bytes(data[:length])
        with pytest.raises(DataCorrupt, match=PACK_NAME):
            FacePack.open(pack)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_garbled_packs_give_the_right_bytes_or_a_plain_error(tmp_path: Path, place: float, value: int) -> None:
    faces = {"a.png": b"a" * 40, "Zoë.png": b"b" * 30}
    path = tmp_path / PACK_NAME
    write_pack(path, members(faces))
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        with FacePack.open(path) as opened:
            for name in opened.names():
                assert opened.read(name) in faces.values()
    except DataCorrupt:
        pass


def test_more_members_than_the_old_zip_format_holds(tmp_path: Path) -> None:
    path = tmp_path / PACK_NAME
    write_pack(path, ((f"face_{number:06d}_0.png", b"%d" % number, number) for number in range(70_000)))
    begin = time.perf_counter()
    with FacePack.open(path) as opened:
        took = time.perf_counter() - begin
        assert len(opened) == 70_000
        assert opened.read("face_069999_0.png") == b"69999"
        assert opened.mtime_ns("face_069999_0.png") == 69_999
    assert took < 5.0  # a tenth of it on a quiet machine; a parser that is slow by nature takes longer


def test_members_beyond_four_gigabytes_are_found(tmp_path: Path) -> None:
    path = tmp_path / PACK_NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", b"near")
        archive.fp.seek(5 << 30)  # a hole: the disk holds next to nothing
        archive.start_dir = archive.fp.tell()
        archive.writestr("b.png", b"far away")
    with FacePack.open(path) as opened:
        assert (opened.read("a.png"), opened.read("b.png")) == (b"near", b"far away")


def test_loose_and_packed_images_are_one_faceset(pack: Path) -> None:
    folder = pack.parent
    (folder / "shot_000001_0.png").write_bytes(b"edited since")
    (folder / "loose_0.png").write_bytes(b"loose")
    trash_members(folder, ["Zoë_000002_0.png"])
    with FaceFiles.open(folder) as files:
        assert {"shot_000001_0.png", "loose_0.png", "empty_0.jpg"} <= files.names()
        assert "Zoë_000002_0.png" not in files.names()
        assert files.read("shot_000001_0.png") == b"edited since"
        assert files.read("empty_0.jpg") == b""
        for gone in ("Zoë_000002_0.png", "never.png"):
            with pytest.raises(NotFound, match="gone"):
                files.read(gone)
        stat = (folder / "loose_0.png").stat()
        stamps = files.stamps()
        assert stamps["loose_0.png"] == (5, stat.st_mtime_ns)
        assert stamps["empty_0.jpg"] == (0, TIME_NS + 2)
        assert "Zoë_000002_0.png" not in stamps
        assert {name: files.stamp(name) for name in stamps} == stamps
        assert files.stamp("never.png") is None
    restore_members(folder, ["Zoë_000002_0.png"])
    assert trashed_members(folder) == frozenset()
    assert not (folder / TRASH_LIST_NAME).exists()
    with FaceFiles.open(folder) as files:
        assert files.read("Zoë_000002_0.png") == FACES["Zoë_000002_0.png"]


def test_a_garbled_trash_list_is_named(pack: Path) -> None:
    (pack.parent / TRASH_LIST_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(DataCorrupt, match=TRASH_LIST_NAME):
        FaceFiles.open(pack.parent)


def test_a_folder_without_a_pack_is_just_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    with FaceFiles.open(tmp_path) as files:
        assert files.names() == {"a.png"}
        assert files.read("a.png") == b"a"
    with pytest.raises(NotFound):
        FacePack.open(tmp_path / PACK_NAME)
