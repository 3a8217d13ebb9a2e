"""What clients without a common disk may read of this machine, and what not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dflcore.errors import DflError, InvalidInput, NotFound
from dfldaemon import made_files
from dfldaemon.made_files import read_piece


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """``made`` with a report, a root with a picture and a text, and something outside."""
    for name in ("made/m/report.json", "root/preview.PNG", "root/notes.txt", "outside.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0123456789")
    return tmp_path


def read(show: Path, name: str, offset: int = 0) -> made_files.Piece:
    return read_piece(str(show / name), offset, (str(show / "root"), str(show / "made")), show / "made")


def test_what_jobs_have_made_is_read_in_pieces(show: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_files, "MAX_CHUNK_BYTES", 4)
    pieces = [read(show, "made/m/report.json", offset) for offset in (0, 4, 8, 10, 99)]
    assert [piece.data for piece in pieces] == [b"0123", b"4567", b"89", b"", b""]
    assert {piece.size for piece in pieces} == {10}
    assert len({piece.stamp for piece in pieces}) == 1
    assert read(show, "root/preview.PNG").data == b"0123"
    (show / "new").write_bytes(b"0123456789")
    os.replace(show / "new", show / "made/m/report.json")
    assert read(show, "made/m/report.json").stamp != pieces[0].stamp


def test_other_files_are_not_read_out(show: Path) -> None:
    (show / "made" / "link.png").symlink_to(show / "outside.png")
    (show / "made" / "text.png").symlink_to(show / "root" / "notes.txt")
    os.mkfifo(show / "made" / "pipe.png")
    cases: list[tuple[str, int, type[DflError], str]] = [
        ("outside.png", 0, InvalidInput, "PATH_OUTSIDE_ROOTS"),
        ("made/link.png", 0, InvalidInput, "PATH_OUTSIDE_ROOTS"),
        ("made/text.png", 0, InvalidInput, "NOT_FOR_CLIENTS"),
        ("root/notes.txt", 0, InvalidInput, "NOT_FOR_CLIENTS"),
        ("made/../root/preview.PNG", 0, InvalidInput, "BAD_PATH"),
        ("root/preview.PNG", -1, InvalidInput, "BAD_CHUNK"),
        ("made/none.png", 0, NotFound, "FILE_NOT_FOUND"),
        ("made/pipe.png", 0, NotFound, "FILE_NOT_FOUND"),
        ("made/m", 0, NotFound, "FILE_NOT_FOUND"),
    ]
    for name, offset, kind, reason in cases:
        with pytest.raises(kind) as refused:
            read(show, name, offset)
        assert refused.value.reason == reason, name
