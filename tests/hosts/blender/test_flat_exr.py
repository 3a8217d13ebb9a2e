"""A matte that came as a layer becomes a plain picture, with the same pixels in every compression."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.plate import Window

SIZE = (37, 53)


@pytest.fixture
def flat_exr(part: Callable[[str], Any]) -> Any:
    return part("flat_exr")


def write(path: Path, names: tuple[str, ...], compression: str = "zip") -> Any:
    pixels = np.random.default_rng(1).random((SIZE[1], SIZE[0], 1)).astype(np.float16)
    window = Window(x=5, y=-3, width=SIZE[0], height=SIZE[1])
    layers = [ExrLayer(name=name, channels=("A",), pixels=pixels) for name in names]
    write_exr(path, layers=layers, data_window=window, display_window=window, compression=compression)
    return pixels


@pytest.mark.parametrize("compression", ["none", "rle", "zips", "zip", "piz"])
def test_the_channel_is_called_y_and_nothing_else_changes(flat_exr: Any, tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a_swap_matte.0001.exr"
    write(path, ("matte",), compression)
    before = read_exr_layers(path)["matte.A"]
    flat_exr.flatten_channel(str(path))
    after = read_exr_layers(path)
    assert list(after) == ["Y"]
    assert np.array_equal(after["Y"], before)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x76\x2f\x31\x01\x02\x00\x00\x00chan"])
def test_what_is_no_such_picture_is_named_and_left_alone(flat_exr: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.exr"
    path.write_bytes(content)
    with pytest.raises(Exception, match=r"a\.exr cannot be made a plain picture"):
        flat_exr.flatten_channel(str(path))
    assert path.read_bytes() == content


def test_a_compression_that_minds_the_name_is_refused(flat_exr: Any, tmp_path: Path) -> None:
    write(tmp_path / "a.exr", ("matte",), "dwaa")
    with pytest.raises(Exception, match="compression goes by the channel's name"):
        flat_exr.flatten_channel(str(tmp_path / "a.exr"))


def test_two_layers_are_refused(flat_exr: Any, tmp_path: Path) -> None:
    write(tmp_path / "a.exr", ("matte", "other"))
    with pytest.raises(Exception, match="more than one channel"):
        flat_exr.flatten_channel(str(tmp_path / "a.exr"))


def test_siblings_are_named_as_the_daemon_names_them(flat_exr: Any) -> None:
    assert flat_exr.sibling_pattern("/o/v001/a_swap.####.exr", "matte") == "/o/v001/a_swap_matte.####.exr"
