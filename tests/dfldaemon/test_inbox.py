"""Sets of files that clients send: whole or not there, within their folder, within the quota, whoever sends them."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound, ResourceExhausted
from dfldaemon.inbox import MAX_CHUNK_BYTES, RECENT_S, Inbox, OpenedSet
from dfldaemon.inbox_names import MAX_FILES, AnnouncedFile

KB = 1e-6
"""In GB."""


class Clock:
    now = 1.8e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(tmp_path: Path, clock: Clock) -> Inbox:
    return Inbox(tmp_path / "inbox", 1.0, clock)


def announced(files: Mapping[str, bytes]) -> list[AnnouncedFile]:
    return [AnnouncedFile(name, len(data), hashlib.sha256(data).digest()) for name, data in files.items()]


def send(inbox: Inbox, files: Mapping[str, bytes], name: str = "shot", chunk: int = 1000) -> OpenedSet:
    """As a client does it."""
    facts = announced(files)
    opened = inbox.open(name, facts)
    for missing in opened.missing:
        file, place, is_whole = facts[missing.index], missing.received, False
        while not is_whole:
            place, is_whole = inbox.put(opened.id, file.name, place, files[file.name][place : place + chunk])
    return opened


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FILES = {"a.0001.exr": noise(2500, 1), "a.0002.exr": noise(10, 2), "sub/deep/c.bin": noise(1000, 3), "empty": b""}


def test_a_set_arrives_whole_under_its_name(inbox: Inbox) -> None:
    opened = send(inbox, FILES)
    assert opened.path.name == "shot"
    assert contents(opened.path) == FILES
    assert str(opened.path / "a.0001.exr") in inbox
    assert "/elsewhere" not in inbox
    again = inbox.open("shot", announced(FILES)[::-1])
    assert (again.id, again.missing) == (opened.id, ())
    assert list((opened.path.parent / ".parts").iterdir()) == []
    assert all((opened.path / name).stat().st_mode & 0o077 == 0 for name in FILES)


def test_nothing_has_its_name_before_it_is_whole(inbox: Inbox) -> None:
    facts = announced(FILES)
    opened = inbox.open("shot", facts)
    assert [one.index for one in opened.missing] == [0, 1, 2, 3]
    assert inbox.put(opened.id, "a.0001.exr", 0, FILES["a.0001.exr"][:2000]) == (2000, False)
    assert contents(opened.path) == {}
    assert inbox.put(opened.id, "a.0001.exr", 2000, FILES["a.0001.exr"][2000:]) == (2500, True)
    assert list(contents(opened.path)) == ["a.0001.exr"]


def test_what_was_broken_off_goes_on_where_it_stopped_also_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = Inbox(tmp_path / "inbox", 1.0, clock)
    opened = first.open("shot", announced(FILES))
    first.put(opened.id, "a.0001.exr", 0, FILES["a.0001.exr"][:1700])
    first.put(opened.id, "a.0002.exr", 0, FILES["a.0002.exr"])
    second = Inbox(tmp_path / "inbox", 1.0, clock)
    again = second.open("shot", announced(FILES))
    assert again.id == opened.id
    assert [(one.index, one.received) for one in again.missing] == [(0, 1700), (2, 0), (3, 0)]
    assert contents(send(second, FILES).path) == FILES


def test_a_chunk_may_come_twice_overlap_or_come_too_early(inbox: Inbox) -> None:
    data = FILES["a.0001.exr"]
    opened = inbox.open("shot", announced(FILES))
    assert inbox.put(opened.id, "a.0001.exr", 500, data[500:600]) == (0, False)
    for _ in range(2):
        assert inbox.put(opened.id, "a.0001.exr", 0, data[:1000]) == (1000, False)
    assert inbox.put(opened.id, "a.0001.exr", 600, data[600:2000]) == (2000, False)
    assert inbox.put(opened.id, "a.0001.exr", 2000, data[2000:]) == (2500, True)
    assert inbox.put(opened.id, "a.0001.exr", 0, b"late and wrong") == (2500, True)
    assert (opened.path / "a.0001.exr").read_bytes() == data


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 700), st.booleans()), max_size=12), st.integers())
def test_true_bytes_in_any_order_make_the_file_or_leave_it_unfinished(
    tmp_path: Path, clock: Clock, chunks: list[tuple[int, int, bool]], seed: int
) -> None:
    """A law: whatever pieces of the file come, in whichever order, through restarts of the daemon too."""
    data = noise(600, seed)
    folder = tmp_path / "inbox"
    inbox = Inbox(folder, 1.0, clock)
    opened = inbox.open("law", announced({"x": data}))
    there = _received(opened)
    for offset, count, restart in chunks:
        inbox = Inbox(folder, 1.0, clock) if restart else inbox
        piece = data[offset : offset + count]
        if offset > len(data):
            continue
        got, is_whole = inbox.put(opened.id, "x", offset, piece)
        there = max(there, offset + len(piece)) if offset <= there else there
        assert (got, is_whole) == (there, there == len(data))
        assert (opened.path / "x").exists() == is_whole
    assert contents(send(inbox, {"x": data}, "law").path) == {"x": data}


def _received(opened: OpenedSet) -> int:
    return opened.missing[0].received if opened.missing else 600


def test_a_wrong_hash_is_told_and_the_file_begins_anew(inbox: Inbox) -> None:
    opened = inbox.open("shot", announced(FILES))
    with pytest.raises(DataCorrupt, match="hash differs") as refused:
        inbox.put(opened.id, "a.0002.exr", 0, b"other-data")
    assert refused.value.reason == "HASH_DIFFERS"
    assert contents(opened.path) == {}
    assert inbox.put(opened.id, "a.0002.exr", 0, FILES["a.0002.exr"]) == (10, True)
    lie = [AnnouncedFile("empty", 0, bytes(32))]
    opened = inbox.open("lie", lie)
    with pytest.raises(DataCorrupt, match="hash differs"):
        inbox.put(opened.id, "empty", 0, b"")


def test_more_than_was_announced_is_refused(inbox: Inbox) -> None:
    opened = inbox.open("shot", announced(FILES))
    inbox.put(opened.id, "a.0002.exr", 0, FILES["a.0002.exr"][:5])
    for offset, data in ((5, b"123456"), (0, bytes(11)), (10, b"x"), (1 << 60, b"x")):
        with pytest.raises(InvalidInput) as refused:
            inbox.put(opened.id, "a.0002.exr", offset, data)
        assert refused.value.reason == "FILE_TOO_LARGE"
    with pytest.raises(InvalidInput, match="at once"):
        inbox.put(opened.id, "a.0001.exr", 0, bytes(MAX_CHUNK_BYTES + 1))
    with pytest.raises(InvalidInput, match="at -1"):
        inbox.put(opened.id, "a.0001.exr", -1, b"x")
    assert contents(send(inbox, FILES).path) == FILES


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "../x", "a/../../x", "a/..", "./a", "a//b", "a/", "..", ".", "a\\..\\b", "C:\\x", "a\0b",
        "a\nb", "x" * 201, "/".join("a" * 17), "/".join(["y" * 150] * 8), "\x7f",
    ],
)  # fmt: skip
def test_names_stay_in_their_folder(inbox: Inbox, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        inbox.open("shot", [AnnouncedFile(name, 1, bytes(32))])
    assert refused.value.reason == "BAD_NAME"
    assert list(inbox.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", ".set.json", ".parts", "a/b", "/a", "x" * 201, "a\\b"])
def test_the_name_of_a_set_is_one_part_of_a_path(inbox: Inbox, name: str) -> None:
    with pytest.raises(InvalidInput):
        inbox.open(name, announced(FILES))


def test_what_cannot_be_is_not_taken(inbox: Inbox) -> None:
    good = AnnouncedFile("a", 1, bytes(32))
    cases = {
        "NO_FILES": [],
        "TOO_MANY_FILES": [good] * (MAX_FILES + 1),
        "BAD_SIZE": [AnnouncedFile("a", -1, bytes(32))],
        "BAD_HASH": [AnnouncedFile("a", 1, bytes(31))],
        "BAD_NAME": [good, AnnouncedFile("a/b", 1, bytes(32))],
    }
    for reason, files in cases.items():
        with pytest.raises(DflError) as refused:
            inbox.open("shot", files)
        assert refused.value.reason == reason
    with pytest.raises(InvalidInput, match="twice"):
        inbox.open("shot", [good, good])


@pytest.mark.parametrize("name", ["", "../inbox", "0" * 32, "f" * 31, "0" * 32 + "/../x", "/"])
def test_sets_that_are_not_there_are_not_found(inbox: Inbox, name: str) -> None:
    with pytest.raises(NotFound, match="announce it again"):
        inbox.put(name, "a", 0, b"")
    opened = inbox.open("shot", announced(FILES))
    with pytest.raises(InvalidInput, match="not announced"):
        inbox.put(opened.id, "../shot/other", 0, b"")


def test_a_link_in_a_set_is_not_followed(inbox: Inbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    opened = inbox.open("shot", announced(FILES))
    (opened.path / "sub").symlink_to(outside)
    with pytest.raises(InvalidInput, match="leads elsewhere"):
        inbox.put(opened.id, "sub/deep/c.bin", 0, FILES["sub/deep/c.bin"])
    (outside / "victim").write_text("untouched")
    part = opened.path.parent / ".parts" / hashlib.sha256(b"a.0002.exr").hexdigest()
    part.symlink_to(outside / "victim")
    with pytest.raises(OSError, match="symbolic"):
        inbox.put(opened.id, "a.0002.exr", 0, FILES["a.0002.exr"][:5])
    assert (outside / "victim").read_text() == "untouched"


def test_what_a_job_has_written_stays_and_the_first_state_is_another_set(inbox: Inbox) -> None:
    first = send(inbox, FILES)
    (first.path / "sub/deep/c.bin").write_bytes(noise(1000, 99))
    (first.path / "new").write_text("a job's own")
    second = send(inbox, FILES)
    assert second.id != first.id
    assert contents(second.path) == FILES
    assert (first.path / "sub/deep/c.bin").read_bytes() == noise(1000, 99)
    assert inbox.open("shot", announced(FILES)).id == second.id


def test_pictures_another_set_has_are_not_sent_again(inbox: Inbox) -> None:
    send(inbox, FILES)
    longer = {**FILES, "a.0003.exr": noise(50, 4)}
    opened = inbox.open("shot", announced(longer))
    assert [one.index for one in opened.missing] == [2, 3, 4]
    assert set(contents(opened.path)) == {"a.0001.exr", "a.0002.exr"}
    assert contents(send(inbox, longer).path) == longer


def test_two_clients_send_one_set_at_once(inbox: Inbox) -> None:
    files = {f"f{number:02d}": noise(5000, number) for number in range(20)}
    failures: list[BaseException] = []

    def client(seed: int) -> None:
        try:
            names = list(files)
            random.Random(seed).shuffle(names)
            send(inbox, {name: files[name] for name in names}, chunk=300 + seed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    opened = inbox.open("shot", announced(files))
    assert opened.missing == ()
    assert contents(opened.path) == files
    assert len(list(inbox.folder.iterdir())) == 1


def test_a_full_disk_is_told_and_what_came_is_kept(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES["a.0001.exr"]
    opened = inbox.open("shot", announced(FILES))
    inbox.put(opened.id, "a.0001.exr", 0, data[:1000])
    real, calls = os.pwrite, iter(range(2))

    def full(descriptor: int, view: bytes, place: int) -> int:
        if next(calls):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, bytes(view[:7]), place)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(ResourceExhausted, match="The disk is full") as refused:
            inbox.put(opened.id, "a.0001.exr", 1000, data[1000:])
    assert refused.value.reason == "DISK_FULL"
    assert inbox.open("shot", announced(FILES)).missing[0].received == 1000
    assert inbox.put(opened.id, "a.0001.exr", 1000, data[1000:]) == (2500, True)


def test_a_disk_without_room_is_told_before_a_byte_is_sent(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(inbox.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(ResourceExhausted, match="disk of the daemon is full") as refused:
        inbox.open("shot", announced(FILES))
    assert refused.value.reason == "DISK_FULL"
    assert list(inbox.folder.iterdir()) == []


def test_the_longest_unused_sets_make_room(tmp_path: Path, clock: Clock) -> None:
    inbox = Inbox(tmp_path / "inbox", 10 * KB, clock)
    sets = []
    for number in range(3):
        sets.append(send(inbox, {"x": noise(3000, number)}, f"set{number}"))
        clock.now += RECENT_S
    inbox.touch(str(sets[0].path / "x"), "/elsewhere", "")
    clock.now += RECENT_S
    send(inbox, {"x": noise(3000, 7)}, "fourth")
    assert [one.path.is_dir() for one in sets] == [True, False, True]
    with pytest.raises(NotFound):
        inbox.put(sets[1].id, "x", 0, b"")


def test_sets_in_use_are_never_removed(tmp_path: Path, clock: Clock) -> None:
    inbox = Inbox(tmp_path / "inbox", 10 * KB, clock)
    used = send(inbox, {"x": noise(6000, 1)}, "used")
    clock.now += 100 * RECENT_S
    wanted = announced({"x": noise(6000, 2)})
    with pytest.raises(ResourceExhausted, match="in use by jobs") as refused:
        inbox.open("next", wanted, is_used=lambda root: root == used.path.parent)
    assert refused.value.reason == "INBOX_FULL"
    assert contents(used.path) == {"x": noise(6000, 1)}
    assert len(list(inbox.folder.iterdir())) == 1
    clock.now += RECENT_S - 1  # the job has ended, but its set was used a moment ago
    with pytest.raises(ResourceExhausted):
        inbox.open("next", wanted)
    clock.now += 2
    assert inbox.open("next", wanted).missing
    assert not used.path.exists()


def test_what_jobs_have_made_in_a_set_is_never_removed(tmp_path: Path, clock: Clock) -> None:
    """A model that was sent and trained on is nowhere else."""
    inbox = Inbox(tmp_path / "inbox", 10 * KB, clock)
    trained = send(inbox, {"weights": noise(3000, 1)}, "trained")
    (trained.path / "weights").write_bytes(noise(3000, 2))
    added = send(inbox, {"weights": noise(3000, 3)}, "added")
    (added.path / "generations").mkdir()
    (added.path / "generations" / "00000002").write_bytes(b"new")
    clock.now += 100 * RECENT_S
    with pytest.raises(ResourceExhausted, match="hold what jobs have made"):
        inbox.open("next", announced({"x": noise(6000, 4)}))
    assert (trained.path / "weights").read_bytes() == noise(3000, 2)
    assert (added.path / "generations" / "00000002").read_bytes() == b"new"
    (trained.path / "weights").unlink()  # taken elsewhere
    (trained.path / ".lock").touch()
    assert inbox.open("next", announced({"x": noise(6000, 4)})).missing
    assert added.path.exists()
    assert not trained.path.exists()


def test_what_a_job_has_written_is_not_written_over(inbox: Inbox) -> None:
    trained = send(inbox, {"weights": noise(3000, 1)})
    (trained.path / "weights").write_bytes(noise(3000, 2))
    with pytest.raises(NotFound, match="announce it again"):
        inbox.put(trained.id, "weights", 0, noise(3000, 1))
    assert (trained.path / "weights").read_bytes() == noise(3000, 2)


def test_a_set_larger_than_the_inbox_removes_nothing(tmp_path: Path, clock: Clock) -> None:
    inbox = Inbox(tmp_path / "inbox", 10 * KB, clock)
    old = send(inbox, {"x": noise(6000, 1)}, "old")
    clock.now += 100 * RECENT_S
    with pytest.raises(ResourceExhausted, match=r"keeps 1e-05 GB at most.*inbox_gb"):
        inbox.open("huge", [AnnouncedFile("x", 1 << 40, bytes(32))])
    assert old.path.is_dir()


def test_a_set_that_vanishes_while_it_is_sent_is_not_found(inbox: Inbox) -> None:
    opened = inbox.open("shot", announced(FILES))
    shutil.rmtree(opened.path.parent)
    with pytest.raises(NotFound, match="announce it again"):
        inbox.put(opened.id, "a.0001.exr", 0, b"x")


def test_a_damaged_set_is_begun_anew(tmp_path: Path, clock: Clock) -> None:
    opened = send(Inbox(tmp_path / "inbox", 1.0, clock), FILES)
    (opened.path.parent / ".set.json").write_text('{"files": [["../../x", 1, "00"]]}')
    (tmp_path / "inbox" / ".removed-x").mkdir()
    again = Inbox(tmp_path / "inbox", 1.0, clock)
    assert len(again.open("shot", announced(FILES)).missing) == len(FILES)
    assert [path.name for path in again.folder.iterdir()] == [opened.id]
