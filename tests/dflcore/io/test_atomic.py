import errno
import os
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


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    final = tmp_path / ("é" * 124 + ".json")  # 253 bytes
    atomic.write_text(final, "x")
    assert final.read_text() == "x"
    with pytest.raises(InvalidInput, match="too long"):
        atomic.write_text(tmp_path / ("é" * 200 + ".json"), "x")
