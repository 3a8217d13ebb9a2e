"""Pixels in mapped files: what is written is read, what was overwritten is told, what is not ours is refused."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dflcore.errors import Cancelled, InvalidInput, NotFound, ResourceExhausted
from dfldaemon import frame_slots
from dfldaemon.frame_slots import MAX_CLIENTS, FrameSlots, SlotReference, iterate_slot, read_slot


@pytest.fixture
def slots(tmp_path: Path) -> FrameSlots:
    (tmp_path / "pixels").mkdir()
    return FrameSlots([tmp_path / "pixels"])


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * (1 << 20) + 17])
def test_what_is_written_is_read(slots: FrameSlots, size: int) -> None:
    data = os.urandom(size)
    reference = slots.write("viewer", [data[: size // 3], memoryview(data)[size // 3 :]])
    assert read_slot(reference) == data
    assert b"".join(iterate_slot(reference, 1 << 20)) == data
    assert Path(reference.path).stat().st_mode & 0o777 == 0o600


def test_memory_is_used_again(slots: FrameSlots) -> None:
    room = bytearray(8)
    reference = slots.write("viewer", [b"picture"])
    found = read_slot(reference, room)
    assert (found, found.obj) == (b"picture", room)
    assert read_slot(slots.write("viewer", [b"a larger picture"]), room) == b"a larger picture"


def test_an_answer_outlives_the_next_but_not_the_one_after_it(slots: FrameSlots) -> None:
    first = slots.write("viewer", [b"first"])
    second = slots.write("viewer", [b"2nd"])
    assert (read_slot(first), read_slot(second)) == (b"first", b"2nd")
    third = slots.write("viewer", [b"third"])
    assert third.path == first.path, "memory is used again"
    with pytest.raises(Cancelled) as caught:
        read_slot(first)
    assert caught.value.reason == "SUPERSEDED"
    assert (read_slot(second), read_slot(third)) == (b"2nd", b"third")
    other = slots.write("another viewer", [b"other"])
    assert (read_slot(second), read_slot(other)) == (b"2nd", b"other")


def test_a_larger_picture_takes_a_new_file(slots: FrameSlots) -> None:
    small = [slots.write("viewer", [b"small"]) for _ in range(2)]
    large = slots.write("viewer", [bytes(2 << 20)])
    assert large.path not in {one.path for one in small}
    assert not Path(small[0].path).exists()
    assert read_slot(large) == bytes(2 << 20)


def test_only_some_clients_have_memory(slots: FrameSlots, tmp_path: Path) -> None:
    references = [slots.write(f"viewer {number}", [b"x"]) for number in range(MAX_CLIENTS + 2)]
    with pytest.raises(NotFound, match="stream"):
        read_slot(references[0])
    assert [read_slot(one) for one in references[2:]] == [b"x"] * MAX_CLIENTS
    slots.forget("viewer 3")
    slots.close()
    assert list((tmp_path / "pixels").iterdir()) == []


def test_a_full_memory_file_system(slots: FrameSlots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    both = FrameSlots([tmp_path / "pixels", tmp_path / "disk"])
    monkeypatch.setattr(frame_slots, "_has_room", lambda folder, size: folder.name == "disk")
    assert Path(both.write("viewer", [b"x"]).path).parent == tmp_path / "disk"
    assert both.scratch_folder(5) == tmp_path / "disk"
    with pytest.raises(ResourceExhausted, match="no room"):
        slots.write("viewer", [b"x"])


@pytest.mark.parametrize(
    ("total", "free", "room"),
    [
        pytest.param(4_000, 40, True, id="a disk that is 99 % full and still has 40 GiB"),
        pytest.param(4_000, 1.1, False, id="a full disk"),
        pytest.param(2, 0.5, True, id="a small memory file system"),
        pytest.param(2, 0.3, False, id="a small memory file system that others need"),
    ],
)
def test_some_room_is_left_for_others(
    slots: FrameSlots, monkeypatch: pytest.MonkeyPatch, total: float, free: float, room: bool
) -> None:
    blocks = [int(gibibytes * (1 << 18)) for gibibytes in (total, free)]
    about = SimpleNamespace(f_frsize=4096, f_blocks=blocks[0], f_bavail=blocks[1])
    monkeypatch.setattr(os, "statvfs", lambda folder: about)
    picture = bytes(150 << 20)
    if room:
        assert read_slot(slots.write("viewer", [picture])) == picture
    else:
        with pytest.raises(ResourceExhausted, match="150 MiB"):
            slots.write("viewer", [picture])


def test_what_is_not_a_slot(slots: FrameSlots, tmp_path: Path) -> None:
    reference = slots.write("viewer", [b"secret"])
    link = tmp_path / "link.slot"
    link.symlink_to(reference.path)
    with pytest.raises(NotFound):
        read_slot(SlotReference(str(link), reference.offset, reference.size, reference.generation))
    (tmp_path / "short.slot").write_bytes(b"short")
    with pytest.raises(InvalidInput):
        read_slot(SlotReference(str(tmp_path / "short.slot"), 4096, 5, 1))
    with pytest.raises(InvalidInput):
        read_slot(SlotReference("/dev/null", 4096, 5, 1))
