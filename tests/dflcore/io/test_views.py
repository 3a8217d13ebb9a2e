"""Views of stereo plates: asked for by name, found in every way a file may hold them, and part of the plate's name."""

import numpy as np
import OpenEXR
import pytest

from dflcore.errors import InvalidInput
from dflcore.io.open_plate import open_plate
from dflcore.io.sequence import SequencePattern
from dflcore.io.views import channels_of_view, names_view, split_view, with_view

LEFT, RIGHT = 0.25, 4.0


def plane(value):
    return np.full((8, 16), value, np.float16)


def write_one_part(path, *, header):
    """Both views in one part; the header lists them, or only the channels' names tell."""
    values = [("", LEFT), ("right.", RIGHT)] if header else [("left.", LEFT), ("right.", RIGHT)]
    channels = {f"{prefix}{name}": plane(value) for prefix, value in values for name in "RGBA"}
    channels |= {"spec.R": plane(1.0), "spec.right.R": plane(2.0)}
    views = {"multiView": ["left", "right"]} if header else {}
    OpenEXR.File({"type": OpenEXR.scanlineimage, **views}, channels).write(str(path))


def write_two_parts(path):
    parts = [
        OpenEXR.Part(
            {"name": f"rgb.{view}", "view": view, "type": OpenEXR.scanlineimage}, {name: plane(value) for name in "RGB"}
        )
        for view, value in (("left", LEFT), ("right", RIGHT))
    ]
    OpenEXR.File(parts).write(str(path))


@pytest.fixture(params=["listed", "by name", "two parts"])
def stereo(request, tmp_path):
    path = tmp_path / "shot.1001.exr"
    if request.param == "two parts":
        write_two_parts(path)
    else:
        write_one_part(path, header=request.param == "listed")
    return tmp_path / "shot.####.exr"


@pytest.mark.parametrize(("view", "value"), [("left", LEFT), ("right", RIGHT)])
def test_the_view_asked_for_is_read_and_named(stereo, view, value):
    plate = open_plate(with_view(str(stereo), view))
    image = plate.read(1001)
    assert (image.rgb() == value).all()
    assert not any(view in name.split(".") for name in image.channel_names for view in ("left", "right"))
    assert image.metadata["view"].value == view
    assert plate.name.endswith(f"?view={view}")
    assert SequencePattern.parse(plate.name).view == view
    assert not [notice for notice in plate.notices if notice.reason == "VIEW_ASSUMED"]


def test_layers_go_with_their_view(tmp_path):
    write_one_part(tmp_path / "shot.1001.exr", header=True)
    for view, value in (("left", 1.0), ("right", 2.0)):
        image = open_plate(with_view(str(tmp_path / "shot.1001.exr"), view)).read(1001)
        assert image.channel_names.count("spec.R") == 1
        assert (image.pixels[..., image.channel_names.index("spec.R")] == value).all()


def test_without_a_view_the_first_is_read_and_the_way_to_another_told(stereo, tmp_path):
    plate = open_plate(str(stereo))
    assert (plate.read(1001).rgb() == LEFT).all()
    told = [notice for notice in plate.notices if notice.reason == "VIEW_ASSUMED"]
    if told:
        assert told[0].details["views"] == "left,right"
        assert f"{stereo}?view=right" in told[0].message


def test_a_view_that_is_not_there(stereo):
    with pytest.raises(InvalidInput, match=r"has no view middle; it has (left, right|none that its header names)\."):
        open_plate(with_view(str(stereo), "middle"))


def test_only_exr_holds_views(tmp_path):
    with pytest.raises(InvalidInput, match="only EXR files"):
        open_plate(str(tmp_path / "shot.####.dpx?view=left"))


def test_a_view_in_a_name_and_back():
    assert split_view("/a/b.####.exr?view=right") == ("/a/b.####.exr", "right")
    assert split_view("/a/b.####.exr") == ("/a/b.####.exr", "")
    assert split_view("/a?view=x/b.exr") == ("/a?view=x/b.exr", "")
    assert with_view(*split_view("b.####.exr?view=left")) == "b.####.exr?view=left"
    assert str(SequencePattern.parse("b.####.exr?view=left")) == "b.####.exr?view=left"


def test_every_channel_belongs_to_one_view():
    names = ("R", "G", "left.B", "spec.R", "right.R", "spec.right.R", "right", "a.left.b.Z")
    found = {view: channels_of_view(names, ("left", "right"), view) for view in ("left", "right")}
    assert sorted(index for channels in found.values() for index, _ in channels) == list(range(len(names)))
    assert found["right"] == [(4, "R"), (5, "spec.R")]
    assert (2, "B") in found["left"]
    assert names_view(names, "right")
    assert not names_view(("right", "R"), "right")
