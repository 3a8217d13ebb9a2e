import json
import math
from pathlib import Path

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.io.labelme import read_labelme, write_labelme
from dflcore.io.mask_labels import Label, Polygon, rasterize

SQUARE = [[8, 8], [24, 8], [24, 24], [8, 24]]


def shape(label: str = "face", points: object = SQUARE, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


def write(path: Path, *shapes: dict, **more: object) -> Path:
    content = {"version": "5.0.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    path.write_text(json.dumps(content | {"imageWidth": 64, "imageHeight": 64} | more))
    return path


def includes(path: Path, **more: object) -> list[bool]:
    return [polygon.include for polygon in read_labelme(path, 64, **more).label.polygons]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    label = Label((Polygon(True, ((0.5, 1.25), (60.0, 2.0), (30.0, 63.9))), Polygon(False, ((1, 1), (2, 1), (2, 2)))))
    path = tmp_path / "Gesicht Zoë.json"
    write_labelme(path, label, image_name="Gesicht Zoë.png", size=64)
    read = read_labelme(path, 64)
    assert read.label == label
    assert read.unknown_names == ()
    assert json.loads(path.read_text(encoding="utf-8"))["imagePath"] == "Gesicht Zoë.png"


def test_names_flags_and_marks_tell_what_excludes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        shape("face"),
        shape("Hand"),
        shape("left_hand 2"),
        shape("!face"),
        shape("mic-1"),
        shape("face", flags={"exclude": True}),
        shape("hand", flags={"include": True}),
        shape("pipe"),
        shape(""),
    )
    assert includes(path) == [True, False, False, False, False, False, True, True, True]
    assert read_labelme(path, 64).unknown_names == ("pipe", "")
    assert includes(path, exclude_names=["Pipe"])[-2:] == [False, True]


def test_points_follow_the_size_of_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", shape(), imageWidth=32, imageHeight=32)
    assert read_labelme(path, 256).label.polygons[0].points[0] == (64.0, 64.0)
    bare = write(tmp_path / "b.json", shape(), imageWidth=None, imageHeight=None)
    assert read_labelme(bare, 256).label.polygons[0].points[0] == (8.0, 8.0)


def test_rectangles_and_circles_become_polygons_of_their_area(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", shape(points=[[24, 40], [8, 8]], kind="rectangle"))
    assert rasterize(read_labelme(path, 64).label, 64, label_size=64).sum() == pytest.approx(16 * 32)
    path = write(tmp_path / "b.json", shape(points=[[32, 32], [32, 42]], kind="circle"))
    mask = rasterize(read_labelme(path, 64).label, 64, label_size=64)
    assert mask.sum() == pytest.approx(math.pi * 100, rel=1e-4)
    y, x = np.mgrid[0:64, 0:64] + 0.5
    assert (mask[(x - 32) ** 2 + (y - 32) ** 2 < 81] == 1.0).all()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kind": "linestrip"}, "shape 1 .*linestrip"),
        ({"kind": "mask"}, "shape 1"),
        ({"kind": "point", "points": [[1, 1]]}, "shape 1"),
        ({"kind": ["x"] * 1000}, "shape 1"),
        ({"points": [[1, 1], [2, 2]]}, "shape 1 .*2 points"),
        ({"points": None}, "shape 1"),
        ({"points": [[1, 1], [2, 2], {"x": 1}]}, "shape 1"),
        ({"points": [[1, 1], [2, 2], [1e300, 1]]}, "no place"),
        ({"points": [[[[1]]], [2, 2], [3, 3]]}, "shape 1"),
        ({"points": [[1, 2]] * 1_000_000}, "at most"),
    ],
)
def test_a_shape_that_cannot_be_used_is_named_with_its_file(tmp_path: Path, changes: dict, what: str) -> None:
    path = write(tmp_path / "label of 1001.json", shape(), shape("hand", **changes))
    with pytest.raises(InvalidInput, match=what) as refusal:
        read_labelme(path, 64)
    assert "label of 1001.json" in refusal.value.message
    assert len(refusal.value.message) < 500


def test_a_picture_that_is_not_square_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="64x48"):
        read_labelme(write(tmp_path / "a.json", shape(), imageHeight=48), 64)
    with pytest.raises(InvalidInput, match="no size"):
        read_labelme(write(tmp_path / "a.json", shape(), imageWidth=0, imageHeight=0), 64)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"shapes": [{"label": "fa', DataCorrupt),
        (b"", DataCorrupt),
        (b"\xff\xd8\xff\xe0 a picture", DataCorrupt),
        (b"[1, 2]", InvalidInput),
        (b'{"shapes": {}}', InvalidInput),
        (b'{"shapes": [7]}', InvalidInput),
        (b'{"shapes": [{"label": "a", "points": [[NaN, 1], [2, 2], [3, 4]]}]}', InvalidInput),
        (b'{"shapes": [{"label": "a", "points": [[Infinity, 1], [2, 2], [3, 4]]}]}', InvalidInput),
        (b'{"shapes": ' + b"[" * 300_000, InvalidInput),
        (b'{"a":' * 300_000, InvalidInput),
        (b'{"shapes": [], "imageWidth": ' + b"9" * 5000 + b"}", DataCorrupt),
    ],
)
def test_files_that_are_something_else_are_refused_by_name(
    tmp_path: Path, content: bytes, error: type[DflError]
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(error, match=r"a\.json"):
        read_labelme(path, 64)


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_labelme(tmp_path / "none.json", 64)
    with pytest.raises(InvalidInput):
        read_labelme(tmp_path, 64)


def test_a_byte_order_mark_and_unicode_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"shapes": [shape("顔"), shape("hand")], "imageWidth": 64, "imageHeight": 64}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode())
    assert read_labelme(path, 64).unknown_names == ("顔",)
