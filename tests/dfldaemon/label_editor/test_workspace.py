"""Faces, labels and masks as the page is given them, on a real faceset and mask store."""

import threading

import cv2
import numpy as np
import pytest

from dflcore.curate.views import View, save_view
from dflcore.errors import Conflict, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.aligned_image import write_aligned
from dflcore.io.faceset import Faceset
from dflcore.io.lock import take_lock
from dflcore.io.mask_labels import Label, Polygon, rasterize
from dflcore.io.masks import MaskStore
from dfldaemon.label_editor import workspace as workspace_module
from dfldaemon.label_editor.workspace import LOCK_NAME, LabelChanged, Workspace


def square(left: float, *, include: bool = True) -> dict:
    points = [[left, 10.5], [left + 20, 10.5], [left + 20, 30.25], [left, 30.25]]
    return {"polygons": [{"include": include, "points": points}]}


@pytest.fixture
def opened(faceset):
    with Workspace(faceset) as workspace:
        yield workspace


def decode(picture: tuple[bytes, str]) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(picture[0], np.uint8), cv2.IMREAD_UNCHANGED)


def test_each_save_is_a_version_and_an_empty_label_takes_the_label_away(opened, faceset, names):
    assert opened.save_label(names[0], square(10), based_on=0) == 1
    assert opened.save_label(names[0], square(40), based_on=1) == 2
    assert opened.describe()["labelled"] == [0]
    assert opened.save_label(names[0], {"polygons": []}, based_on=2) == 3
    assert opened.label(names[0]).version == 3
    assert opened.label(names[0]).label == Label(())
    assert opened.describe()["labelled"] == []
    with MaskStore.open(faceset) as store:
        assert store.label(names[0], version=1).polygons[0].points[0] == (10.0, 10.5)
        assert store.restore_labels() == 1
    assert opened.label(names[0]).as_json() == {"version": 4, "label": square(40)}


def test_saving_on_an_older_version_changes_nothing_and_shows_what_is_there(opened, faceset, names):
    with Workspace(faceset) as other:
        other.save_label(names[0], square(10), based_on=0)
    for based_on in (0, 2):
        with pytest.raises(LabelChanged) as raised:
            opened.save_label(names[0], square(99), based_on=based_on)
        assert raised.value.answer == {"version": 1, "label": square(10)}
    assert opened.label(names[0]).version == 1


def test_a_label_that_somebody_removed_is_a_change_too(opened, faceset, names):
    opened.save_label(names[0], square(10), based_on=0)
    with MaskStore.open(faceset) as store:
        store.remove_labels()
    with pytest.raises(LabelChanged) as raised:
        opened.save_label(names[0], square(99), based_on=1)
    assert raised.value.answer == {"version": 2, "label": {"polygons": []}}


def test_of_many_editors_that_save_at_once_exactly_one_wins_each_round(faceset, names):
    editors = [Workspace(faceset) for _ in range(6)]
    for version in range(4):
        won, lost = [], []
        barrier = threading.Barrier(len(editors))

        def save(position, version=version, won=won, lost=lost, barrier=barrier):
            barrier.wait()
            try:
                won.append((editors[position].save_label(names[0], square(position + 1), based_on=version), position))
            except LabelChanged as error:
                lost.append(error.answer)

        threads = [threading.Thread(target=save, args=(position,)) for position in range(len(editors))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [number for number, _ in won] == [version + 1]
        assert lost == [{"version": version + 1, "label": square(won[0][1] + 1)}] * (len(editors) - 1)
    for editor in editors:
        editor.close()


def test_a_lock_nobody_lets_go_of_is_said_and_not_waited_for_long(opened, faceset, names, monkeypatch):
    monkeypatch.setattr(workspace_module, "LOCK_DEADLINE_S", 0.05)
    lock = take_lock(faceset / LOCK_NAME, Conflict("busy"))
    with pytest.raises(Conflict, match="holds the labels"):
        opened.save_label(names[0], square(10), based_on=0)
    workspace_module.os.close(lock)
    assert opened.save_label(names[0], square(10), based_on=0) == 1


@pytest.mark.parametrize(
    "values", [None, [], {}, {"polygons": [{"include": True, "points": [[0, 0], [1, 1]]}]}, {"polygons": "x"}]
)
def test_what_is_no_label_is_refused(opened, names, values):
    with pytest.raises(InvalidInput):
        opened.save_label(names[0], values, based_on=0)
    assert opened.label(names[0]).version == 0


def test_only_faces_of_the_list_have_anything(opened):
    for ask in (opened.image, opened.thumbnail, opened.label, opened.masks_of, opened.hull, opened.trash):
        for name in ("index.sqlite", "../faces.png", "", ".", "nobody.png"):
            with pytest.raises(NotFound):
                ask(name)
    with pytest.raises(NotFound):
        opened.save_label("nobody.png", square(10), based_on=0)


def test_an_image_is_the_file_itself_where_a_browser_shows_it_right(opened, faceset, names):
    data, kind = opened.image(names[0])
    assert (data, kind) == ((faceset / names[0]).read_bytes(), "image/png")
    thumbnail = decode(opened.thumbnail(names[0]))
    assert thumbnail.shape == (96, 96, 3)


@pytest.mark.parametrize(("format", "suffix"), [("png16", ".png"), ("exr", ".exr")])
def test_deep_and_linear_faces_are_shown_in_8_bits(tmp_path, astronaut, format, suffix, names):
    from dfldaemon.label_editor import pictures  # for the type the page is told

    face = np.ascontiguousarray(astronaut[:256, :256])
    path = tmp_path / f"face{suffix}"
    write_aligned(path, face, format)
    assert pictures.browser_type(path, path.read_bytes()[:64]) is None
    shown = decode((pictures.encode_face(face), pictures.PNG))
    np.testing.assert_array_equal(shown[..., ::-1], face)


def test_a_file_that_is_no_picture_is_not_handed_out(opened, faceset, names):
    (faceset / names[0]).write_bytes(b"<html><script>alert(1)</script>")
    for ask in (opened.image, opened.thumbnail):
        with pytest.raises(Exception, match="damaged"):
            ask(names[0])


def test_a_thumbnail_follows_its_file(opened, faceset, names):
    before = opened.thumbnail(names[0])
    (faceset / names[0]).write_bytes((faceset / names[7]).read_bytes())
    assert decode(opened.thumbnail(names[0])).mean() < decode(before).mean() / 2


def test_masks_of_any_size_come_as_grey_pictures(opened, faceset, names):
    mask = np.linspace(0.0, 1.0, 64 * 64, dtype=np.float32).reshape(64, 64)
    with MaskStore.open(faceset) as store:
        store.add_mask(names[0], "xseg", mask, made_by="test")
        store.add_mask(names[0], "painted", np.ones((8, 8), np.float32), made_by="test")
    assert opened.masks_of(names[0]) == {"painted": 1, "xseg": 1}
    shown = decode(opened.mask(names[0], "xseg"))
    np.testing.assert_array_equal(shown, np.rint(mask * 255.0))
    assert opened.faces(0, 2)["faces"][0]["is_masked"]
    assert not opened.faces(0, 2)["faces"][1]["is_masked"]
    with pytest.raises(NotFound):
        opened.mask(names[1], "xseg")


def test_the_suggested_polygon_is_the_hull(opened, faceset, names):
    points = opened.hull(names[0])
    assert 8 <= len(points) <= 60  # few enough to drag
    with Faceset.open(faceset) as opened_faceset:
        record = opened_faceset.record(names[0])
    truth = hull_mask(affine.apply(record.aligned_from_plate, record.landmarks.points), 256, 256)
    drawn = rasterize(Label((Polygon(True, tuple(points)),)), 256, label_size=256)
    assert np.minimum(drawn, truth).sum() / np.maximum(drawn, truth).sum() > 0.985


def test_a_view_chooses_and_orders(faceset, names):
    save_view(faceset, View(name="by sharpness", title="sharpness", names=(names[4], "gone.png", names[1])))
    with Workspace(faceset, view="by sharpness") as viewed:
        assert [face["name"] for face in viewed.faces(0, 10)["faces"]] == [names[4], names[1]]
        viewed.save_label(names[1], square(10), based_on=0)
        assert viewed.describe(face=names[1]) | {"sources": []} == {
            "name": "faces of Zoë",
            "view": "by sharpness",
            "face_type": "whole",
            "size": 256,
            "total": 2,
            "revision": 1,
            "position": 1,
            "labelled": [1],
            "sources": [],
        }
        with pytest.raises(NotFound):
            viewed.label(names[0])
    for view in ("none", "../views/by sharpness", ""):
        with pytest.raises((NotFound, InvalidInput)):
            Workspace(faceset, view=view)


def test_faces_that_come_and_go_change_the_list_and_its_revision(opened, faceset, names):
    before = opened.describe()
    assert opened.describe(look_again=True) == before
    (faceset / names[2]).unlink()
    with pytest.raises(NotFound):
        opened.image(names[2])
    after = opened.describe(look_again=True)
    assert (after["total"], after["revision"]) == (len(names) - 1, before["revision"] + 1)


def test_a_face_in_the_trash_is_off_the_list_and_comes_back_with_its_label(opened, faceset, names):
    opened.save_label(names[1], square(10), based_on=0)
    opened.trash(names[1])
    assert not (faceset / names[1]).exists()
    assert names[1] not in [face["name"] for face in opened.faces(0, 100)["faces"]]
    with pytest.raises(NotFound):
        opened.image(names[1])
    opened.restore(names[1])
    assert opened.describe(face=names[1], look_again=True)["position"] == 1
    assert opened.label(names[1]).as_json() == {"version": 1, "label": square(10)}
    with pytest.raises(NotFound):
        opened.restore(names[1])


def test_a_faceset_that_is_none_is_said_at_once(tmp_path):
    with pytest.raises(NotFound):
        Workspace(tmp_path)
    with pytest.raises(NotFound):
        Workspace(tmp_path / "nothing")
