import errno
import os
import time
from pathlib import Path

import pytest

from dflcore.errors import InvalidInput, ResourceExhausted
from dflcore.io import atomic


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    final = tmp_path / "frame.exr"
    final.write_text("old")
    with pytest.raises(RuntimeError), atomic.atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert final.read_text() == "old"
    assert os.listdir(tmp_path) == ["frame.exr"]


def test_temporary_keeps_suffix_and_is_hidden(tmp_path: Path) -> None:
    with atomic.atomic_path(tmp_path / "a.0001.exr") as temporary:
        assert temporary.suffix == ".exr"
        assert temporary.name.startswith(".")
        assert atomic.TEMPORARY_MARK in temporary.name
        temporary.write_text("x")
    assert (tmp_path / "a.0001.exr").read_text() == "x"


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, ResourceExhausted), (errno.EROFS, InvalidInput)])
def test_disk_errors_say_what_to_do(tmp_path: Path, number: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"full|may write"), atomic.atomic_path(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))


def test_makes_the_folder(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "deep" / "er" / "a.txt", "ü")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text(encoding="utf-8") == "ü"


def test_leftovers_of_killed_writers_go_when_they_are_old(tmp_path: Path) -> None:
    old = tmp_path / f".a{atomic.TEMPORARY_MARK}1-ff.exr"
    young = tmp_path / f".b{atomic.TEMPORARY_MARK}2-ff.exr"
    frame = tmp_path / "a.exr"
    for path in (old, young, frame):
        path.write_text("x")
    long_ago = young.stat().st_mtime - 2 * atomic.LEFTOVER_AGE_S
    for path in (old, frame):
        os.utime(path, (long_ago, long_ago))
    assert atomic.remove_leftovers(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == sorted([young.name, frame.name])


def test_a_machine_whose_clock_is_wrong_takes_no_file_away_from_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server dates files by its own clock, whatever the machine's that looks at them."""
    young = tmp_path / f".b{atomic.TEMPORARY_MARK}2-ff.exr"
    young.write_text("x")
    now = time.time()
    for skew_s in (-86_400.0, 86_400.0):
        monkeypatch.setattr(time, "time", lambda skew_s=skew_s: now + skew_s)
        assert atomic.remove_leftovers(tmp_path) == 0
    # A server whose clock is a day behind: what was written there just now looks a day old from here.
    old = tmp_path / f".a{atomic.TEMPORARY_MARK}1-ff.exr"
    old.write_text("x")
    touch = Path.touch

    def dated(path: Path, *words: object, **named: object) -> None:
        touch(path, *words, **named)
        os.utime(path, (now - 86_400.0,) * 2)

    monkeypatch.setattr(Path, "touch", dated)
    os.utime(young, (now - 86_410.0,) * 2)
    os.utime(old, (now - 86_400.0 - 2 * atomic.LEFTOVER_AGE_S,) * 2)
    assert atomic.remove_leftovers(tmp_path) == 1
    assert os.listdir(tmp_path) == [young.name]


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    final = tmp_path / ("é" * 124 + ".json")  # 253 bytes
    atomic.write_text(final, "x")
    assert final.read_text() == "x"
    with pytest.raises(InvalidInput, match="too long"):
        atomic.write_text(tmp_path / ("é" * 200 + ".json"), "x")
