import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.curate.mask_export import draw_debug, export_debug_pictures, export_labels, export_masks, export_mattes
from dflcore.curate.mask_import import import_labels, import_masks, import_mattes
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.mask_recipe import face_hull
from dflcore.io.masks import MaskStore
from dflcore.io.plate import Window
from dflcore.io.stills import read_still
from dflcore.progress import StopRequest
from masked_faces import ALIGNED_PX, PLATE, PLATE_SIZE, Listener, make_faceset, make_record, write_faceset

FACES = ("shot_001001_0.png", "shot_001002_0.png", "shot_001002_1.png", "shot_001003_0.png")
LABEL = Label((Polygon(True, ((10.0, 12.5), (80.0, 15.0), (44.0, 90.0))), Polygon(False, ((1, 1), (9, 1), (9, 9)))))


@pytest.fixture
def faceset(tmp_path: Path) -> Path:
    return make_faceset(tmp_path / "faces of Zoë")


def make_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((ALIGNED_PX, ALIGNED_PX), dtype=np.float32)


def read_png(path: str | Path) -> np.ndarray:
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize("bits", [8, 16])
def test_exported_masks_come_back_to_the_bit(faceset: Path, tmp_path: Path, bits: int) -> None:
    out = tmp_path / "out"
    with MaskStore.open(faceset, create=True) as store:
        store.add_masks("xseg", [(face, make_mask(1)) for face in FACES[:2]], made_by="test", bits=bits)  # type: ignore[arg-type]
        before = store.mask(FACES[0], "xseg")
    listener = Listener()
    result = export_masks(faceset, out, "xseg", listener)
    assert [Path(path).name for path in result.written] == ["shot_001001_0_mask.png", "shot_001002_0_mask.png"]
    assert result.without == FACES[2:]
    assert listener.reasons == ["MASK_NOT_FOUND"]
    assert listener.progress[-1].done == 4
    assert read_png(result.written[0]).dtype == (np.uint8 if bits == 8 else np.uint16)
    assert import_masks(faceset, out, "back", Listener()).imported == FACES[:2]
    with MaskStore.open(faceset) as store:
        np.testing.assert_allclose(store.mask(FACES[0], "back"), before, atol=1e-7)


def test_a_recipe_is_exported_combined(faceset: Path, tmp_path: Path) -> None:
    with MaskStore.open(faceset, create=True) as store:
        store.add_mask(FACES[0], "xseg", make_mask(1), made_by="test")
    result = export_masks(faceset, tmp_path / "out", "xseg > hull", Listener())
    assert len(result.written) == 4
    assert result.without == ()
    with Faceset.open(faceset) as opened:
        hull = face_hull(opened.record(FACES[1]), ALIGNED_PX)
    np.testing.assert_allclose(read_png(result.written[1]) / 255, hull, atol=1 / 500)


def test_exported_labels_come_back(faceset: Path, tmp_path: Path) -> None:
    with MaskStore.open(faceset, create=True) as store:
        store.set_label(FACES[1], LABEL, made_by="hand")
    result = export_labels(faceset, tmp_path / "out", Listener())
    assert [Path(path).name for path in result.written] == ["shot_001002_0.json"]
    with MaskStore.open(faceset) as store:
        store.remove_labels()
    assert import_labels(faceset, tmp_path / "out", Listener()).imported == (FACES[1],)
    with MaskStore.open(faceset) as store:
        assert store.label(FACES[1]) == LABEL


def test_debug_pictures_show_landmarks_and_hull(faceset: Path, tmp_path: Path) -> None:
    result = export_debug_pictures(faceset, tmp_path / "out", Listener())
    assert [Path(path).name for path in result.written] == [f"{Path(face).stem}_debug.jpg" for face in FACES]
    with Faceset.open(faceset) as opened:
        record = opened.record(FACES[3])
        face = opened.read_image(FACES[3])
    picture = draw_debug(face, record)
    assert (face == 128).all()
    hull = face_hull(record, ALIGNED_PX)
    np.testing.assert_array_equal(picture[0, 0], face[0, 0])
    points = record.landmarks.points @ record.aligned_from_plate[:, :2].T + record.aligned_from_plate[:, 2]
    for x, y in points[[8, 30, 36, 45]]:
        red, green, blue = picture[int(y), int(x)].astype(int)
        assert red > 180
        assert max(green, blue) < 120
    inside = (hull == 1.0) & (picture[..., 1] > picture[..., 0])
    assert inside.sum() > 0.6 * hull.sum()
    assert cv2.imdecode(np.fromfile(result.written[3], np.uint8), cv2.IMREAD_COLOR).shape == (ALIGNED_PX, ALIGNED_PX, 3)


def test_mattes_lie_where_the_faces_are_and_come_back(faceset: Path, tmp_path: Path) -> None:
    pattern = str(tmp_path / "mattes" / "roto.####.exr")
    result = export_mattes(faceset, pattern, PLATE, "hull", Listener())
    assert [Path(path).name for path in result.written] == [f"roto.{frame}.exr" for frame in (1001, 1002, 1003)]
    image = read_still(Path(result.written[1]))
    assert image.display_window == Window(x=0, y=0, width=PLATE_SIZE[0], height=PLATE_SIZE[1])
    assert image.pixels.dtype == np.float16
    alpha = image.alpha()
    assert alpha is not None
    np.testing.assert_array_equal(alpha, image.rgb()[..., 0])
    at = lambda x, y: alpha[y - image.data_window.y, x - image.data_window.x]  # noqa: E731
    assert at(230, 120) > 0.99
    assert at(70, 100) > 0.99
    assert at(150, 110) < 0.01
    import_mattes(faceset, pattern, PLATE, "back", Listener())
    with Faceset.open(faceset) as opened, MaskStore.open(faceset) as store:
        for record in opened.records():
            mask = store.mask(record.name, "back")
            assert mask is not None
            assert np.abs(mask - face_hull(record, ALIGNED_PX)).mean() < 0.02


def test_a_face_at_the_edge_of_the_plate_has_a_matte_inside_it(tmp_path: Path) -> None:
    faceset = write_faceset(tmp_path / "set", [make_record(1001, center=(5.0, 235.0))])
    result = export_mattes(faceset, str(tmp_path / "m.#.exr"), None, "hull", Listener())
    image = read_still(Path(result.written[0]))
    window = image.data_window
    assert window.x == 0
    assert window.y + window.height == PLATE_SIZE[1]
    assert image.rgb().max() > 0.99


@pytest.mark.parametrize("pattern", ["roto.exr", "roto.####.png", "ro##.##.exr", ""])
def test_what_is_no_exr_sequence_is_refused(faceset: Path, tmp_path: Path, pattern: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        export_mattes(faceset, str(tmp_path / pattern) if pattern else "", PLATE, "hull", Listener())


def test_a_bad_recipe_is_refused_before_anything_is_written(faceset: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="character 3"):
        export_masks(faceset, tmp_path / "out", "a b", Listener())
    assert not (tmp_path / "out").exists()


def test_a_damaged_mask_is_named(faceset: Path, tmp_path: Path) -> None:
    import sqlite3

    with MaskStore.open(faceset, create=True) as store:
        store.add_mask(FACES[2], "xseg", make_mask(1), made_by="test")
        database = sqlite3.connect(store.path)
    database.execute("UPDATE content SET data = x'00'")
    database.commit()
    database.close()
    with pytest.raises(DataCorrupt, match="shot_001002_1"):
        export_masks(faceset, tmp_path / "out", "xseg", Listener())


def test_faces_that_differ_in_suffix_only_do_not_overwrite_each_other(tmp_path: Path) -> None:
    faceset = write_faceset(tmp_path / "set", [make_record(1, name="a.png"), make_record(2, name="a.jpg")])
    result = export_masks(faceset, tmp_path / "out", "hull", Listener())
    assert [Path(path).name for path in result.written] == ["a.png_mask.png", "a.jpg_mask.png"]
    assert import_masks(faceset, tmp_path / "out", "back", Listener()).imported == ("a.jpg", "a.png")


def test_an_export_stops_when_asked(faceset: Path, tmp_path: Path) -> None:
    result = export_masks(faceset, tmp_path / "out", "hull", Listener(stop_after=2))
    assert len(result.written) == 2
    assert result.stopped is StopRequest.CANCEL
    result = export_mattes(faceset, str(tmp_path / "m.####.exr"), PLATE, "hull", Listener(stop_after=1))
    assert len(result.written) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(faceset: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(InvalidInput, match="Cannot write"):
        export_masks(faceset, closed, "hull", Listener())
