"""Layered frames become plain ones without a number being touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813 - its own short name
import pytest

from dflcore.io.exr import read_exr_layers
from dflhost.errors import HostError
from dflhost.results import read_result
from dflresolve import exr_parts

NAMES = ["R", "G", "B", "A", "swap.R", "swap.G", "swap.B", "matte.A"]


def write(path: Path, names: list[str] = NAMES, compression: str = "none") -> np.ndarray:
    """A small half-float frame, its data window beside the display window."""
    pixels = np.random.default_rng(7).normal(0.5, 2.0, (5, 7, len(names))).astype(np.float16)
    spec = oiio.ImageSpec(7, 5, len(names), oiio.HALF)
    spec.channelnames = names
    spec.x, spec.y, spec.full_width, spec.full_height = -2, 3, 20, 10
    spec.attribute("compression", compression)
    spec.attribute("dfl:software", "kept")
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(pixels)
    output.close()
    return pixels


def test_a_layered_frame_becomes_picture_face_and_matte(tmp_path: Path) -> None:
    pixels = write(tmp_path / "a_swap.0001.exr")
    write(tmp_path / "a_swap.0002.exr")
    exr_parts.take_apart(str(tmp_path / "a_swap.####.exr"))
    result = read_result(str(tmp_path / "a_swap.####.exr"))
    assert sorted(result.siblings) == ["face", "matte"]
    columns = dict(zip(NAMES, np.moveaxis(pixels, -1, 0), strict=True))
    wanted = {
        "": {name: columns[name] for name in "RGBA"},
        "_face": {**{name: columns[f"swap.{name}"] for name in "RGB"}, "A": columns["matte.A"]},
        "_matte": dict.fromkeys("RGBA", columns["matte.A"]),
    }
    for name, layers in wanted.items():
        path = tmp_path / f"a_swap{name}.0001.exr"
        found = read_exr_layers(path)
        assert sorted(found) == sorted(layers)
        assert all(np.array_equal(found[one], layers[one]) for one in layers)
        image = oiio.ImageInput.open(str(path))
        spec = image.spec()
        image.close()
        assert (spec.x, spec.y, spec.full_width, spec.full_height) == (-2, 3, 20, 10)
        assert spec.get_string_attribute("dfl:software") == "kept"
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    exr_parts.take_apart(str(tmp_path / "a_swap.####.exr"))  # plain already: nothing is done
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("names", "compression"), [(NAMES, "zip"), (["R", "G", "B", "matte.A"], "none")])
def test_another_kind_of_file_is_told_and_stays(tmp_path: Path, names: list[str], compression: str) -> None:
    path = tmp_path / "a.0001.exr"
    write(path, names, compression)
    before = path.read_bytes()
    with pytest.raises(HostError, match="cannot be taken apart") as caught:
        exr_parts.take_apart(str(tmp_path / "a.####.exr"))
    assert caught.value.reason == "EXR_NOT_PLAIN"
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [before]


def test_a_frame_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.0001.exr"
    write(path)
    whole = path.read_bytes()
    for length in (len(whole) - 30, len(whole) // 2, whole.index(b"matte.A\0") + 12):
        path.write_bytes(whole[:length])
        with pytest.raises(HostError, match="cannot be taken apart"):
            exr_parts.take_apart(str(tmp_path / "a.####.exr"))


def test_plain_frames_and_folders_that_are_not_there_stay(tmp_path: Path) -> None:
    (tmp_path / "a.0001.exr").write_bytes(b"exr")
    exr_parts.take_apart(str(tmp_path / "a.####.exr"))
    exr_parts.take_apart(str(tmp_path / "none" / "a.####.exr"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.0001.exr"]
