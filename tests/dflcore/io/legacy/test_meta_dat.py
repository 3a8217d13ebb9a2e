"""Metadata saved apart from the pictures."""

import os
from pathlib import Path

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.legacy.meta_dat import read_meta_dat
from legacy_files import PROTOCOLS, dumps, metadata


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_entry_comes_back(tmp_path: Path, protocol: int) -> None:
    saved = {f"{number:05d}_0.jpg": ((64, 48, 3), metadata(number)) for number in range(20)}
    path = tmp_path / "meta.dat"
    path.write_bytes(dumps(saved, protocol, old_numpy=False))
    read = list(read_meta_dat(path))
    assert [one.name for one in read] == list(saved)
    assert read[3].face.size == (48, 64)
    np.testing.assert_array_equal(read[3].face.landmarks, metadata(3)["landmarks"])


@pytest.mark.parametrize(
    "value",
    [
        {1: ((64, 64, 3), {})},
        {"a.jpg": None},
        {"a.jpg": ((0, 64, 3), metadata())},
        {"a.jpg": ((64, 64, 3), {})},
        {"a.jpg": (64, metadata())},
        ["a.jpg"],
        "a.jpg",
    ],
)
def test_what_is_no_saved_metadata_is_damaged(tmp_path: Path, value: object) -> None:
    path = tmp_path / "meta.dat"
    path.write_bytes(dumps(value))
    with pytest.raises(DataCorrupt, match=r"meta\.dat"):
        list(read_meta_dat(path))


def test_hostile_or_absent(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return os.system, ("touch canary",)

    with pytest.raises(NotFound):
        list(read_meta_dat(tmp_path / "meta.dat"))
    path = tmp_path / "meta.dat"
    path.write_bytes(dumps({"a.jpg": ((64, 64, 3), Evil())}))
    with pytest.raises(InvalidInput, match="system"):
        list(read_meta_dat(path))
    path.write_bytes(b"")
    with pytest.raises(DataCorrupt):
        list(read_meta_dat(path))
