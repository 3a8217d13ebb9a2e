"""Views keep an order, outlive faces, and can be looked at."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.curate.drawing import shorten_to, text_width
from dflcore.curate.pack import pack_faceset
from dflcore.curate.sheets import write_sheets
from dflcore.curate.sorts import sort_faces
from dflcore.curate.table import FaceTable
from dflcore.curate.trash import move_to_trash
from dflcore.curate.views import View, delete_view, list_views, load_view, save_view, view_of, write_browse_folder
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.faceset import Faceset
from dflcore.progress import LoggedRun


def test_an_order_comes_back(few_faces: Path) -> None:
    result = sort_faces(FaceTable.open(few_faces), "face-yaw")
    save_view(few_faces, view_of(result, "by yaw"))
    with Faceset.open(few_faces) as faceset:
        view = load_view(faceset, "by yaw")
    assert view.names == result.order
    assert view.values == dict(result.values)
    assert (view.title, view.unit) == ("face-yaw", "deg")
    assert view.when
    assert list_views(few_faces) == ["by yaw"]


def test_gone_faces_are_passed_over(few_faces: Path) -> None:
    names = FaceTable.open(few_faces).names
    save_view(few_faces, View(name="v", title="t", names=(*names, "never.png"), values={names[1]: 2.0}))
    move_to_trash(few_faces, names[1:3], "")
    with Faceset.open(few_faces) as faceset:
        view = load_view(faceset, "v")
    assert view.names == (names[0], *names[3:])
    assert view.values == {}


def test_saving_again_replaces_and_deleting_removes(few_faces: Path) -> None:
    names = FaceTable.open(few_faces).names
    for chosen in (names[:3], names[3:5]):
        save_view(few_faces, View(name="v", title="t", names=tuple(chosen)))
    with Faceset.open(few_faces) as faceset:
        assert load_view(faceset, "v").names == tuple(names[3:5])
        delete_view(few_faces, "v")
        with pytest.raises(NotFound, match="none yet"):
            load_view(faceset, "v")
    with pytest.raises(NotFound):
        delete_view(few_faces, "v")
    assert len(FaceTable.open(few_faces)) == 12


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65, "tab\t", "end "])
def test_names_are_those_of_files(name: str, few_faces: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot name a view"):
        save_view(few_faces, View(name=name, title="", names=()))


@pytest.mark.parametrize("text", ["", "[]", '{"names": 3}', '{"names": ["a"], "values": {}, "title": 1}', "\x00"])
def test_a_damaged_view_says_so(text: str, few_faces: Path) -> None:
    path = save_view(few_faces, View(name="v", title="t", names=()))
    path.write_text(text)
    with Faceset.open(few_faces) as faceset, pytest.raises(DataCorrupt, match=r"v\.json"):
        load_view(faceset, "v")


def test_unknown_values_stay_valid_json(few_faces: Path) -> None:
    names = FaceTable.open(few_faces).names
    path = save_view(few_faces, View(name="v", title="t", names=tuple(names[:2]), values={names[0]: float("nan")}))
    assert "NaN" not in path.read_text()
    assert json.loads(path.read_text())["values"] == {}


def test_a_folder_to_browse_shows_the_order(few_faces: Path, tmp_path: Path) -> None:
    order = FaceTable.open(few_faces).names[::-1]
    made = write_browse_folder(few_faces, [*order[:3], "gone.png"], tmp_path / "look")
    shown = sorted(path.name for path in made.path.iterdir())
    assert shown == [f"{place:05d}__{name}" for place, name in enumerate(order[:3], 1)]
    assert made.linked == 3
    assert os.path.samefile(made.path / shown[0], few_faces / order[0])
    write_browse_folder(few_faces, order[3:5], tmp_path / "look")
    assert len(list((tmp_path / "look").iterdir())) == 2
    assert (few_faces / order[0]).exists()


def test_browsing_copies_where_links_fail(few_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    name = FaceTable.open(few_faces).names[0]
    made = write_browse_folder(few_faces, [name], tmp_path / "look")
    assert (made.linked, made.copied) == (0, 1)
    assert (made.path / f"00001__{name}").read_bytes() == (few_faces / name).read_bytes()


def test_a_folder_with_other_things_is_left_alone(few_faces: Path, tmp_path: Path) -> None:
    (tmp_path / "look").mkdir()
    (tmp_path / "look" / "thesis.txt").write_text("precious")
    with pytest.raises(Conflict, match=r"thesis\.txt"):
        write_browse_folder(few_faces, FaceTable.open(few_faces).names, tmp_path / "look")
    assert (tmp_path / "look" / "thesis.txt").read_text() == "precious"


def test_very_long_names_are_shortened(few_faces: Path, tmp_path: Path) -> None:
    long = "é" * 123 + ".png"
    os.rename(few_faces / FaceTable.open(few_faces).names[0], few_faces / long)
    made = write_browse_folder(few_faces, [long], tmp_path / "look")
    (shown,) = made.path.iterdir()
    assert shown.name.startswith("00001__é")
    assert shown.suffix == ".png"
    assert made.linked == 1


def test_sheets_show_every_face_in_order(few_faces: Path, tmp_path: Path) -> None:
    names = FaceTable.open(few_faces).names[::-1]
    (few_faces / names[1]).write_bytes(b"broken")
    with Faceset.open(few_faces) as faceset:
        pages = write_sheets(
            faceset, names, tmp_path, title="order", values={names[0]: 1.5}, unit="deg", columns=4, rows=2, cell_px=64
        )
        assert [page.name for page in pages] == ["sheet_001.png", "sheet_002.png"]
        first = cv2.imread(str(pages[0]), cv2.IMREAD_COLOR_RGB)
        face = cv2.resize(faceset.read_image(names[0]), (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(first[44:108, 20:84], face)
    assert write_sheets(faceset, [], tmp_path, title="none") == []


def test_captions_fit() -> None:
    assert shorten_to("short", 12, 200) == "short"
    shorter = shorten_to("a_very_long_name_of_a_face_000123_0.png", 12, 100)
    assert text_width(shorter, 12) <= 100
    assert shorter.startswith("a_v")
    assert shorter.endswith("png")
    assert np.all(np.diff([text_width("W" * count, 12) for count in (1, 3, 9)]) > 0)


def test_packed_faces_are_copied_to_browse(few_faces: Path, tmp_path: Path) -> None:
    name = str(FaceTable.open(few_faces).names[0])
    picture = (few_faces / name).read_bytes()
    pack_faceset(few_faces, LoggedRun())
    assert not (few_faces / name).exists()
    made = write_browse_folder(few_faces, [name], tmp_path / "look")
    assert (made.linked, made.copied) == (0, 1)
    assert (made.path / f"00001__{name}").read_bytes() == picture
