"""What was merged, as the Python client asks for it: page by page, from the real daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dflcore.errors import InvalidInput
from dfldaemon import client as client_module
from dfldaemon.client import DaemonClient


def merged_output(folder: Path, frames: int) -> str:
    """The pattern of an output that has a manifest and empty files."""
    entry = {"key": "k", "files": {}}
    document = {"run_key": "r", "unfinished": {}, "frames": {str(number): entry for number in range(frames)}}
    (folder / "swap.provenance.json").write_text(json.dumps(document))
    for number in range(frames):
        (folder / f"swap.{number:04d}.exr").touch()
    return str(folder / "swap.####.exr")


def test_all_pages_are_gathered(client: DaemonClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = merged_output(tmp_path, 25)
    whole = list(client.merged_frames(pattern))
    assert [frame.frame for frame in whole] == list(range(25))
    assert {frame.key for frame in whole} == {"k"}
    monkeypatch.setattr(client_module, "MERGED_PAGE", 4)
    pages = client.merged_frames(pattern)
    assert next(pages) == whole[0]
    Path(whole[1].path).unlink()  # of the page that has come
    Path(whole[9].path).unlink()  # of one that is still to come
    assert [frame.frame for frame in pages] == [number for number in range(1, 25) if number != 9]
    assert list(client.merged_frames(str(tmp_path / "nothing.####.exr"))) == []


def test_what_is_no_output_is_refused_in_words(client: DaemonClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="must be an EXR"):
        list(client.merged_frames(str(tmp_path / "swap.####.png")))
