import json
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.curate.mask_import import import_labels, import_masks, import_mattes
from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.labelme import write_labelme
from dflcore.io.mask_labels import Label, Polygon, polygon_coverage
from dflcore.io.mask_recipe import resize_mask
from dflcore.io.masks import MaskStore
from dflcore.io.plate import Window
from dflcore.progress import StopRequest
from masked_faces import ALIGNED_PX, FRAMES, PLATE, PLATE_SIZE, Listener, make_faceset, make_record, write_faceset

FACES = ("shot_001001_0.png", "shot_001002_0.png", "shot_001002_1.png", "shot_001003_0.png")
LABEL = Label((Polygon(True, ((10.0, 12.5), (80.0, 15.0), (44.0, 90.0))), Polygon(False, ((1, 1), (9, 1), (9, 9)))))
OUTLINE = ((100.0, 60.0), (200.0, 50.5), (235.25, 120.0), (180.0, 200.0), (150.0, 140.0), (90.0, 190.0))
"""In the plate; concave."""


@pytest.fixture
def faceset(tmp_path: Path) -> Path:
    return make_faceset(tmp_path / "faces of Zoë")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "from elsewhere"
    folder.mkdir()
    return folder


def gradient(size: int = ALIGNED_PX, bits: int = 8) -> np.ndarray:
    top = 2**bits - 1
    values = np.linspace(0, top, size * size).reshape(size, size)
    return np.rint(values).astype(np.uint8 if bits == 8 else np.uint16)


def save(path: Path, pixels: np.ndarray) -> Path:
    is_ok, encoded = cv2.imencode(path.suffix, pixels)
    assert is_ok
    encoded.tofile(path)
    return path


def stored(faceset: Path, face: str, source: str = "painted") -> np.ndarray:
    with MaskStore.open(faceset) as store:
        mask = store.mask(face, source)
    assert mask is not None
    return mask


# Labels


def test_labels_are_matched_by_name_and_strangers_are_named(faceset: Path, files: Path) -> None:
    for face in FACES[:2]:
        write_labelme(files / f"{Path(face).stem}.json", LABEL, image_name=face, size=ALIGNED_PX)
    write_labelme(files / "shot_009999_0.json", LABEL, image_name="x.png", size=ALIGNED_PX)
    (files / "shot_001003_0.json").write_text('{"shapes": [{"la')
    listener = Listener()
    result = import_labels(faceset, files, listener)
    assert result.imported == FACES[:2]
    assert result.without_face == (str(files / "shot_009999_0.json"),)
    assert [Path(one.path).name for one in result.refused] == ["shot_001003_0.json"]
    assert listener.reasons == ["FACE_NOT_FOUND", "FILES_REFUSED"]
    assert "shot_009999_0" in listener.notice("FACE_NOT_FOUND").message
    assert [event.done for event in listener.progress] == [1, 2, 3, 4]
    with MaskStore.open(faceset) as store:
        assert store.labelled_faces() == list(FACES[:2])
        assert store.label(FACES[0]) == LABEL


def test_labels_of_a_picture_of_another_size_are_scaled(faceset: Path, files: Path) -> None:
    path = files / "shot_001001_0.json"
    write_labelme(path, LABEL.scaled(4.0), image_name=FACES[0], size=ALIGNED_PX * 4)
    assert import_labels(faceset, path, Listener()).imported == FACES[:1]
    with MaskStore.open(faceset) as store:
        assert store.label(FACES[0]) == LABEL


def test_one_label_for_a_missing_face_is_refused(faceset: Path, files: Path) -> None:
    path = files / "nobody.json"
    write_labelme(path, LABEL, image_name="nobody.png", size=ALIGNED_PX)
    with pytest.raises(NotFound, match="nobody") as refusal:
        import_labels(faceset, path, Listener())
    assert refusal.value.reason == "FACE_NOT_FOUND"
    with pytest.raises(NotFound, match="nobody"):
        import_labels(faceset, files, Listener())


def test_a_face_deleted_by_hand_is_missing(faceset: Path, files: Path) -> None:
    (faceset / FACES[0]).unlink()
    write_labelme(files / "shot_001001_0.json", LABEL, image_name=FACES[0], size=ALIGNED_PX)
    with pytest.raises(NotFound):
        import_labels(faceset, files, Listener())


def test_a_label_without_shapes_leaves_the_face_alone(faceset: Path, files: Path) -> None:
    with MaskStore.open(faceset, create=True) as store:
        store.set_label(FACES[0], LABEL, made_by="hand")
    write_labelme(files / "shot_001001_0.json", Label(()), image_name=FACES[0], size=ALIGNED_PX)
    listener = Listener()
    result = import_labels(faceset, files, listener)
    assert (result.imported, len(result.empty)) == ((), 1)
    assert listener.reasons == ["LABELS_EMPTY"]
    with MaskStore.open(faceset) as store:
        assert store.label(FACES[0]) == LABEL


def test_names_nobody_knows_are_said(faceset: Path, files: Path) -> None:
    shape = {"label": "pipe", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    (files / "shot_001001_0.json").write_text(json.dumps({"shapes": [shape]}))
    listener = Listener()
    import_labels(faceset, files, listener)
    assert "'pipe'" in listener.notice("LABEL_NAMES_UNKNOWN").message
    listener = Listener()
    import_labels(faceset, files, listener, exclude_names=["pipe"])
    assert listener.reasons == []
    with MaskStore.open(faceset) as store:
        label = store.label(FACES[0])
        assert label is not None
        assert not label.has_includes


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_and_very_long_names_are_matched(tmp_path: Path, files: Path, form: str) -> None:
    names = ["Gesicht Zoë 顔.png", "x" * 200 + ".png"]
    records = [make_record(1001 + index, name=name) for index, name in enumerate(names)]
    faceset = write_faceset(tmp_path / "set", records)
    for name in names:
        stem = unicodedata.normalize(form, Path(name).stem)
        write_labelme(tmp_path / "l.json", LABEL, image_name=name, size=ALIGNED_PX)
        os.replace(tmp_path / "l.json", files / f"{stem}.json")
    assert sorted(import_labels(faceset, files, Listener()).imported) == sorted(names)


def test_faces_that_differ_in_suffix_only_ask_for_the_full_name(tmp_path: Path, files: Path) -> None:
    records = [make_record(1001, name="a.png"), make_record(1002, name="a.jpg")]
    faceset = write_faceset(tmp_path / "set", records)
    label_a = files / "a.json"
    write_labelme(label_a, LABEL, image_name="a.png", size=ALIGNED_PX)
    with pytest.raises(InvalidInput, match=r"a\.png or a\.jpg"):
        import_labels(faceset, label_a, Listener())
    label_a.rename(files / "a.jpg.json")
    assert import_labels(faceset, files, Listener()).imported == ("a.jpg",)


def test_an_import_stops_when_asked_and_keeps_what_it_has(faceset: Path, files: Path) -> None:
    for face in FACES:
        write_labelme(files / f"{Path(face).stem}.json", LABEL, image_name=face, size=ALIGNED_PX)
    result = import_labels(faceset, files, Listener(stop_after=2))
    assert result.imported == FACES[:2]
    assert result.stopped is StopRequest.CANCEL
    with MaskStore.open(faceset) as store:
        assert store.labelled_faces() == list(FACES[:2])


# Masks


@pytest.mark.parametrize(
    ("suffix", "bits", "channels"),
    [(".png", 8, 1), (".png", 16, 1), (".png", 8, 3), (".png", 16, 3), (".tif", 8, 1), (".tiff", 16, 1)],
)
def test_painted_masks_come_in_to_the_bit(faceset: Path, files: Path, suffix: str, bits: int, channels: int) -> None:
    pixels = gradient(bits=bits)
    save(files / f"shot_001001_0{suffix}", np.dstack([pixels] * channels))
    assert import_masks(faceset, files, "painted", Listener()).imported == FACES[:1]
    np.testing.assert_allclose(stored(faceset, FACES[0]), pixels / (2**bits - 1), atol=1e-7)


def test_alpha_counts_where_it_varies_and_luma_else(faceset: Path, files: Path) -> None:
    pixels, white = gradient(), np.full((ALIGNED_PX, ALIGNED_PX), 255, np.uint8)
    save(files / "shot_001001_0.png", np.dstack([white, white, white, pixels]))
    save(files / "shot_001002_0.png", np.dstack([pixels, pixels, pixels, white]))
    blue_green_red = np.dstack([white, white * 0, white * 0])
    save(files / "shot_001002_1.png", blue_green_red)
    import_masks(faceset, files, "painted", Listener())
    np.testing.assert_allclose(stored(faceset, FACES[0]), pixels / 255, atol=1e-7)
    np.testing.assert_allclose(stored(faceset, FACES[1]), pixels / 255, atol=1e-7)
    np.testing.assert_allclose(stored(faceset, FACES[2]), 0.0722, atol=1e-4)


def test_a_jpeg_is_near_enough(faceset: Path, files: Path) -> None:
    save(files / "shot_001001_0.jpg", gradient())
    import_masks(faceset, files, "painted", Listener())
    assert np.abs(stored(faceset, FACES[0]) - gradient() / 255).mean() < 0.01


def test_a_float_mask_is_kept_fine_and_clipped_with_a_word(faceset: Path, files: Path) -> None:
    values = np.linspace(-0.5, 1.5, ALIGNED_PX**2).reshape(ALIGNED_PX, ALIGNED_PX, 1).astype(np.float32)
    window = Window(x=0, y=0, width=ALIGNED_PX, height=ALIGNED_PX)
    layer = ExrLayer(name="", channels=("A",), pixels=values, pixel_type="float")
    write_exr(files / "shot_001001_0.exr", layers=[layer], data_window=window, display_window=window)
    listener = Listener()
    assert import_masks(faceset, files, "painted", listener).clipped == 1
    assert listener.reasons == ["MASKS_CLIPPED"]
    np.testing.assert_allclose(stored(faceset, FACES[0]), np.clip(values[..., 0], 0, 1), atol=1e-5)


def test_a_cropped_exr_is_zero_outside_its_data_window(faceset: Path, files: Path) -> None:
    layer = ExrLayer(name="", channels=("A",), pixels=np.ones((20, 30, 1), np.float32))
    write_exr(
        files / "shot_001001_0.exr",
        layers=[layer],
        data_window=Window(x=80, y=-5, width=30, height=20),
        display_window=Window(x=0, y=0, width=ALIGNED_PX, height=ALIGNED_PX),
    )
    import_masks(faceset, files, "painted", Listener())
    wanted = np.zeros((ALIGNED_PX, ALIGNED_PX))
    wanted[:15, 80:] = 1.0
    np.testing.assert_array_equal(stored(faceset, FACES[0]), wanted)


def test_a_mask_of_another_size_is_resized_and_that_is_said(faceset: Path, files: Path) -> None:
    save(files / "shot_001001_0.png", gradient(ALIGNED_PX * 2))
    save(files / "shot_001002_0_mask.png", gradient(ALIGNED_PX // 2))
    listener = Listener()
    result = import_masks(faceset, files, "painted", listener)
    assert (result.imported, result.resized) == (FACES[:2], 2)
    assert listener.reasons == ["MASKS_RESIZED"]
    wanted = resize_mask((gradient(ALIGNED_PX * 2) / 255).astype(np.float32), ALIGNED_PX)
    np.testing.assert_allclose(stored(faceset, FACES[0]), wanted, atol=1 / 500)


def test_what_is_no_mask_is_refused_by_name(faceset: Path, files: Path) -> None:
    save(files / "shot_001001_0.png", np.zeros((ALIGNED_PX, ALIGNED_PX // 2), np.uint8))
    whole = save(files / "shot_001002_0.png", gradient()).read_bytes()
    (files / "shot_001002_1.png").write_bytes(whole[: len(whole) // 2])
    (files / "shot_001003_0.png").write_bytes(b"no picture")
    (files / "readme.txt").write_text("not looked at")
    save(files / "stranger.png", gradient())
    listener = Listener()
    result = import_masks(faceset, files, "painted", listener)
    assert result.imported == FACES[1:2]
    assert [Path(one.path).stem for one in result.refused] == ["shot_001001_0", "shot_001002_1", "shot_001003_0"]
    assert "48x96" in result.refused[0].message
    assert [Path(path).name for path in result.without_face] == ["stranger.png"]
    assert sorted(listener.reasons) == ["FACE_NOT_FOUND", "FILES_REFUSED"]
    for refusal in result.refused:
        with pytest.raises((InvalidInput, DataCorrupt)):
            import_masks(faceset, Path(refusal.path), "painted", Listener())


def test_nan_is_no_coverage(faceset: Path, files: Path) -> None:
    window = Window(x=0, y=0, width=ALIGNED_PX, height=ALIGNED_PX)
    pixels = np.full((ALIGNED_PX, ALIGNED_PX, 1), np.nan, np.float32)
    layer = ExrLayer(name="", channels=("A",), pixels=pixels)
    write_exr(files / "shot_001001_0.exr", layers=[layer], data_window=window, display_window=window)
    with pytest.raises(InvalidInput, match="no numbers"):
        import_masks(faceset, files, "painted", Listener())


def test_two_images_for_one_face_are_not_both_taken(faceset: Path, files: Path) -> None:
    save(files / "shot_001001_0.png", gradient())
    save(files / "shot_001001_0_mask.png", gradient() // 2)
    result = import_masks(faceset, files, "painted", Listener())
    assert result.imported == FACES[:1]
    assert "second file" in result.refused[0].message
    np.testing.assert_allclose(stored(faceset, FACES[0]), gradient() / 255, atol=1e-7)


def test_importing_again_makes_a_new_version(faceset: Path, files: Path) -> None:
    path = save(files / "shot_001001_0.png", gradient())
    import_masks(faceset, path, "painted", Listener())
    import_masks(faceset, path, "painted", Listener())
    with MaskStore.open(faceset) as store:
        assert [one.version for one in store.versions(FACES[0], "painted")] == [1, 2]


@pytest.mark.parametrize("source", ["hull", "label", "Mine"])
def test_reserved_and_bad_sources_are_refused(faceset: Path, files: Path, source: str) -> None:
    save(files / "shot_001001_0.png", gradient())
    with pytest.raises(InvalidInput):
        import_masks(faceset, files, source, Listener())


def test_folders_without_anything(faceset: Path, files: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no mask images"):
        import_masks(faceset, files, "painted", Listener())
    with pytest.raises(NotFound, match="no file or folder"):
        import_labels(faceset, tmp_path / "nothing", Listener())
    with pytest.raises(NotFound, match="no faceset"):
        import_masks(tmp_path / "nothing", save(files / "a.png", gradient()), "painted", Listener())


# Mattes


def matte_pixels(scale: float = 1.0, outline: tuple[tuple[float, float], ...] = OUTLINE) -> np.ndarray:
    """(H, W) float32 coverage of the outline in the plate, or in a proxy of it."""
    width, height = round(PLATE_SIZE[0] * scale), round(PLATE_SIZE[1] * scale)
    return polygon_coverage(outline, max(width, height), scale=scale)[:height, :width]


def write_matte(path: Path, matte: np.ndarray, channels: tuple[str, ...] = ("A",), left: int = 0, top: int = 0) -> None:
    """Cropped to a data window that starts at (left, top)."""
    pixels = np.repeat(matte[top:, left:, None], len(channels), axis=2)
    height, width = matte.shape
    write_exr(
        path,
        layers=[ExrLayer(name="", channels=channels, pixels=pixels, pixel_type="float")],
        data_window=Window(x=left, y=top, width=width - left, height=height - top),
        display_window=Window(x=0, y=0, width=width, height=height),
    )


def drawn_directly(faceset: Path, face: str) -> np.ndarray:
    """The same outline, drawn in the aligned face; what lies outside the plate is not matte."""
    with Faceset.open(faceset) as opened:
        points = affine.apply(opened.record(face).aligned_from_plate, OUTLINE)
    return polygon_coverage([tuple(point) for point in points.tolist()], ALIGNED_PX)


@pytest.mark.parametrize("left", [0, 37])
def test_a_matte_of_the_plate_is_the_outline_drawn_in_each_face(faceset: Path, files: Path, left: int) -> None:
    for frame in FRAMES:
        write_matte(files / f"roto.{frame}.exr", matte_pixels(), left=left, top=left // 2)
    listener = Listener()
    result = import_mattes(faceset, str(files / "roto.####.exr"), PLATE, "roto", listener)
    assert result.imported == FACES
    assert not result.missing_frames
    assert listener.reasons == []
    for face in FACES:
        difference = np.abs(stored(faceset, face, "roto") - drawn_directly(faceset, face))
        assert difference.mean() <= 1 / 255
        assert difference.max() < 0.5


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_proxy_of_the_plate_will_do(faceset: Path, files: Path, scale: float) -> None:
    write_matte(files / "roto.1001.exr", matte_pixels(scale))
    write_matte(files / "roto.1002.exr", matte_pixels(scale))
    import_mattes(faceset, str(files), None, "roto", Listener())
    difference = np.abs(stored(faceset, FACES[0], "roto") - drawn_directly(faceset, FACES[0]))
    assert difference.mean() <= (1 / 255 if scale >= 1 else 2 / 255)


def test_an_8_bit_png_matte(faceset: Path, files: Path) -> None:
    save(files / "roto.1003.png", np.rint(matte_pixels() * 255).astype(np.uint8))
    save(files / "roto.1004.png", np.rint(matte_pixels() * 255).astype(np.uint8))
    listener = Listener()
    result = import_mattes(faceset, str(files / "roto.####.png"), None, "roto", listener)
    assert result.imported == FACES[3:]
    assert str(result.missing_frames) == "1001-1002"
    assert "1001-1002" in listener.notice("FRAMES_MISSING").message
    assert np.abs(stored(faceset, FACES[3], "roto") - drawn_directly(faceset, FACES[3])).mean() <= 1 / 255


def test_channels_alpha_first_else_luma_or_the_one_named(faceset: Path, files: Path) -> None:
    matte = matte_pixels()
    other = np.ones_like(matte)
    pixels = np.dstack([matte, other, other, other])
    window = Window(x=0, y=0, width=PLATE_SIZE[0], height=PLATE_SIZE[1])
    layer = ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=pixels, pixel_type="float")
    write_exr(files / "roto.1001.exr", layers=[layer], data_window=window, display_window=window)
    pattern = str(files / "roto.####.exr")
    listener = Listener()
    import_mattes(faceset, pattern, PLATE, "roto", listener)
    assert "MATTE_FULL" in listener.reasons
    assert stored(faceset, FACES[0], "roto").mean() > 0.9
    import_mattes(faceset, pattern, PLATE, "roto", Listener(), channel="R")
    assert np.abs(stored(faceset, FACES[0], "roto") - drawn_directly(faceset, FACES[0])).mean() <= 1 / 255
    with pytest.raises(InvalidInput, match="no channel 'Z'"):
        import_mattes(faceset, pattern, PLATE, "roto", Listener(), channel="Z")
    write_matte(files / "gray.1001.exr", matte, channels=("R", "G", "B"))
    import_mattes(faceset, str(files / "gray.####.exr"), PLATE, "gray", Listener())
    assert np.abs(stored(faceset, FACES[0], "gray") - drawn_directly(faceset, FACES[0])).mean() <= 1 / 255


def test_a_face_the_matte_leaves_out_has_an_empty_mask_and_that_is_said(faceset: Path, files: Path) -> None:
    matte = matte_pixels()
    matte[:, :140] = 0.0  # where the second face of frame 1002 is
    write_matte(files / "roto.1002.exr", matte)
    listener = Listener()
    result = import_mattes(faceset, str(files / "roto.####.exr"), PLATE, "roto", listener)
    assert result.empty == (FACES[2],)
    assert stored(faceset, FACES[2], "roto").max() == 0.0
    assert "MATTE_EMPTY" in listener.reasons


@pytest.mark.parametrize("fault", ["cut", "shape"])
def test_a_frame_that_cannot_be_used_is_named_and_the_others_are_taken(faceset: Path, files: Path, fault: str) -> None:
    for frame in (1001, 1002, 1003):
        write_matte(files / f"roto.{frame}.exr", matte_pixels())
    bad = files / "roto.1002.exr"
    if fault == "cut":
        bad.write_bytes(bad.read_bytes()[:1500])
    else:
        write_matte(bad, matte_pixels()[:200])
    listener = Listener()
    result = import_mattes(faceset, str(files / "roto.####.exr"), PLATE, "roto", listener)
    assert result.imported == (FACES[0], FACES[3])
    assert "1002" in result.refused[0].path
    assert listener.reasons == ["FILES_REFUSED"]


def test_a_matte_of_another_shape_is_refused(faceset: Path, files: Path) -> None:
    write_matte(files / "roto.1001.exr", matte_pixels()[:200])
    with pytest.raises(InvalidInput, match="320x200"):
        import_mattes(faceset, str(files / "roto.####.exr"), PLATE, "roto", Listener())


def test_plates_and_frames_that_do_not_fit(tmp_path: Path, faceset: Path, files: Path) -> None:
    write_matte(files / "roto.0007.exr", matte_pixels())
    pattern = str(files / "roto.####.exr")
    with pytest.raises(InvalidInput, match="no frame is in both"):
        import_mattes(faceset, pattern, PLATE, "roto", Listener())
    with pytest.raises(NotFound, match="has no plate"):
        import_mattes(faceset, pattern, "another", "roto", Listener())
    with pytest.raises(DflError):
        import_mattes(faceset, str(files / "none.####.exr"), PLATE, "roto", Listener())
    several = write_faceset(tmp_path / "several", [make_record(7), make_record(7, plate="B", name="b.png")])
    with pytest.raises(InvalidInput, match="several plates"):
        import_mattes(several, pattern, None, "roto", Listener())
    assert import_mattes(several, pattern, "B", "roto", Listener()).imported == ("b.png",)


def test_importing_mattes_stops_when_asked(faceset: Path, files: Path) -> None:
    for frame in FRAMES:
        write_matte(files / f"roto.{frame}.exr", matte_pixels())
    result = import_mattes(faceset, str(files), PLATE, "roto", Listener(stop_after=1))
    assert result.imported == FACES[:1]
    assert result.stopped is StopRequest.CANCEL
