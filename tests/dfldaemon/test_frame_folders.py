"""Folders for pixels are private, held by one daemon, and gone when it is."""

from pathlib import Path

import pytest

from dflcore.errors import Conflict, InvalidInput
from dfldaemon.frame_folders import FALLBACK_NAME, pixel_folders


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    (tmp_path / "memory").mkdir()
    return tmp_path / "memory"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def test_they_are_there_while_held(state: Path, memory: Path) -> None:
    with pixel_folders(state, memory) as folders:
        assert [folder.parent for folder in folders] == [memory, state]
        for folder in folders:
            assert folder.stat().st_mode & 0o777 == 0o700
            (folder / "1-abc.slot").write_bytes(b"x")
            (folder / "exr-1").mkdir()
    assert list(memory.iterdir()) == list(state.iterdir()) == []


def test_what_killed_daemons_left_goes(state: Path, memory: Path, tmp_path: Path) -> None:
    (state / FALLBACK_NAME).mkdir(mode=0o700)
    (state / FALLBACK_NAME / "1-abc.slot").write_bytes(b"x")
    with pixel_folders(state, memory) as (mine, _):
        name = mine.name
    for left in (name, name[:-1] + "!"):
        (memory / left).mkdir(mode=0o700)
        (memory / left / "2-abc.slot").write_bytes(b"x")
    (memory / "dfl-other").mkdir()
    with pixel_folders(state, memory) as folders:
        assert [list(folder.iterdir()) for folder in folders] == [[], []]
        assert {entry.name for entry in memory.iterdir()} == {name, "dfl-other"}
        (tmp_path / "state 2").mkdir()
        with pixel_folders(tmp_path / "state 2", memory) as (second, _):
            assert second != mine
            assert mine.is_dir(), "what a running daemon holds stays"
        with pytest.raises(Conflict), pixel_folders(state, memory):
            pass


def test_without_memory(state: Path, tmp_path: Path) -> None:
    with pixel_folders(state, tmp_path / "none") as folders:
        assert folders == (state / FALLBACK_NAME,)


def test_a_link_may_lead_anywhere(state: Path, memory: Path, tmp_path: Path) -> None:
    with pixel_folders(state, memory) as (mine, _):
        pass
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_bytes(b"x")
    mine.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="link"), pixel_folders(state, memory):
        pass
    assert (tmp_path / "elsewhere" / "precious").exists()
