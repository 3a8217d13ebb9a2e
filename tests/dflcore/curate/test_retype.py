import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dflcore.curate.derive import MARKER_NAME
from dflcore.curate.retype import change_faces, new_from_old_crop
from dflcore.errors import Conflict, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.aligned_image import write_aligned
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.progress import Notice, StopRequest
from dflcore.quality import measure_sharpness
from dflcore.types import FaceRecord, FaceType
from killing import kill_everywhere
from small_facesets import Watcher, make_record, noise_faceset, plate_landmarks, write_faceset


class PortraitCutter:
    """Cuts from one picture in memory; knows no other plate."""

    def __init__(self, plate: str, picture: np.ndarray) -> None:
        self._plate = plate
        self._tensor = torch.from_numpy(picture.astype(np.float32) / 255.0).permute(2, 0, 1).contiguous()

    def cut(self, record: FaceRecord, aligned_from_plate: np.ndarray, size: int) -> np.ndarray | None:
        if record.plate != self._plate:
            raise NotFound(f"{record.plate} is gone.")
        return warp_to_aligned(self._tensor, aligned_from_plate, size).permute(1, 2, 0).numpy()


def portrait_faceset(folder: Path, picture: np.ndarray, face_type: FaceType, size: int, **changes: object) -> Path:
    record = make_record(1, face_type=face_type, size=size, **changes)
    cut = PortraitCutter(record.plate, picture).cut(record, record.aligned_from_plate, size)
    assert cut is not None
    return write_faceset(folder, [(record, np.rint(np.clip(cut, 0, 1) * 255).astype(np.uint8))])


def only(folder: Path) -> tuple[FaceRecord, np.ndarray]:
    with Faceset.open(folder) as faceset:
        (record,) = faceset.records()
        return record, faceset.read_image(record.name)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


ALL_TYPES = list(FaceType)


@pytest.mark.parametrize("new_type", ALL_TYPES)
@pytest.mark.parametrize("pixel_aspect", [1.0, 2.0])
def test_the_new_square_is_the_one_extraction_would_have_cut(new_type: FaceType, pixel_aspect: float) -> None:
    points = plate_landmarks()
    for old_type in ALL_TYPES:
        record = make_record(1, face_type=old_type, size=256, landmarks=points, pixel_aspect=pixel_aspect)
        step = new_from_old_crop(record, new_type, 320)
        square = affine.apply([[pixel_aspect, 0, 0], [0, 1, 0]] * np.ones((2, 3)), points)
        wanted = affine.apply(aligned_from_landmarks(square, new_type, 320), square)
        got = affine.apply(affine.compose(step, record.aligned_from_plate), points)
        np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_a_square_a_person_moved_stays_moved_by_as_much() -> None:
    record = make_record(1, face_type=FaceType.FULL, size=256)
    moved = replace(record, aligned_from_plate=affine.compose(affine.shift(12.0, -5.0), record.aligned_from_plate))
    step = new_from_old_crop(moved, FaceType.WHOLE, 256)
    straight = affine.compose(new_from_old_crop(record, FaceType.WHOLE, 256), record.aligned_from_plate)
    difference = affine.compose(affine.compose(step, moved.aligned_from_plate), affine.invert(straight))
    ratio = affine.scale_of(step)
    np.testing.assert_allclose(difference, [[1, 0, 12.0 * ratio], [0, 1, -5.0 * ratio]], atol=1e-6)


def test_from_the_plate_a_larger_type_shows_what_was_not_in_the_aligned_image(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    source = portrait_faceset(tmp_path / "full", astronaut, FaceType.FULL, 192)
    wanted = portrait_faceset(tmp_path / "wanted", astronaut, FaceType.WHOLE, 256)
    control = Watcher()
    cutter = PortraitCutter(make_record(1).plate, astronaut)
    result = change_faces(
        source, tmp_path / "whole", control, face_type=FaceType.WHOLE, aligned_size=256, cutter=cutter
    )
    assert (result.faces, result.from_aligned, result.left_out, result.stopped) == (1, 0, 0, None)
    assert result.path == tmp_path / "whole"
    assert control.reasons() == []
    record, image = only(tmp_path / "whole")
    wanted_record, wanted_image = only(wanted)
    np.testing.assert_array_equal(image, wanted_image)
    np.testing.assert_allclose(record.aligned_from_plate, wanted_record.aligned_from_plate, atol=1e-6)
    assert (record.face_type, record.aligned_size) == (FaceType.WHOLE, 256)
    assert record.sharpness == measure_sharpness(image)


def test_everything_else_of_the_record_is_kept(tmp_path: Path, astronaut: np.ndarray) -> None:
    source = portrait_faceset(tmp_path / "a", astronaut, FaceType.FULL, 128, original_name="old name.jpg")
    change_faces(source, tmp_path / "b", Watcher(), face_type=FaceType.HALF)
    before, _ = only(source)
    after, _ = only(tmp_path / "b")
    np.testing.assert_array_equal(after.landmarks.points, before.landmarks.points)
    np.testing.assert_array_equal(after.landmarks.depth, before.landmarks.depth)
    np.testing.assert_array_equal(after.identity, before.identity)
    same: dict[str, object] = {
        "landmarks": None,
        "identity": None,
        "aligned_from_plate": None,
        "face_type": None,
        "aligned_size": 0,
        "sharpness": 0.0,
    }
    assert replace(after, **same) == replace(before, **same)
    with Faceset.open(tmp_path / "b") as faceset:
        assert faceset.info.authorization.person == "Eileen Collins"
        assert faceset.info.settings["face_type"] == "half"
        assert faceset.info.settings["detector"] == "dlib_hog"


def test_there_and_back_again(tmp_path: Path, astronaut: np.ndarray) -> None:
    source = portrait_faceset(tmp_path / "a", astronaut, FaceType.MIDFULL, 256)
    change_faces(source, tmp_path / "b", Watcher(), face_type=FaceType.WHOLE, aligned_size=512)
    change_faces(tmp_path / "b", tmp_path / "c", Watcher(), face_type=FaceType.MIDFULL, aligned_size=256)
    before, old = only(source)
    after, new = only(tmp_path / "c")
    points = before.landmarks.points
    wanted, got = (affine.apply(record.aligned_from_plate, points) for record in (before, after))
    np.testing.assert_allclose(got, wanted, atol=1e-3)
    assert psnr(old, new) > 38.0
    assert np.abs(old.astype(int) - new).mean() < 1.5


def test_a_larger_type_from_aligned_images_repeats_the_edge_and_says_so(tmp_path: Path) -> None:
    gray = np.full((64, 64, 3), 90, np.uint8)
    source = write_faceset(tmp_path / "a", [(make_record(frame), gray) for frame in (1, 2)])
    control = Watcher()
    result = change_faces(source, tmp_path / "b", control, face_type=FaceType.HEAD)
    assert (result.faces, result.from_aligned) == (2, 2)
    with Faceset.open(tmp_path / "b") as faceset:
        assert all((faceset.read_image(name) == 90).all() for name in faceset.names)
    (notice,) = [event for event in control.events if isinstance(event, Notice)]
    assert (notice.reason, notice.severity) == ("CUT_FROM_ALIGNED", "warning")
    assert "2 of 2 faces" in notice.message


def test_a_plate_that_is_gone_is_named(tmp_path: Path, astronaut: np.ndarray) -> None:
    source = noise_faceset(tmp_path / "a", 2)
    control = Watcher()
    cutter = PortraitCutter("/another/plate.exr", astronaut)
    result = change_faces(source, tmp_path / "b", control, face_type=FaceType.HALF, cutter=cutter)
    assert result.from_aligned == 2
    (notice,) = [event for event in control.events if isinstance(event, Notice)]
    assert "is gone" in notice.message
    assert notice.details["plates"] == make_record(1).plate


def test_masks_and_labels_move_with_the_pixels(tmp_path: Path) -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[100:200, 200:300] = 255  # the mask is this square, and so is the image
    source = portrait_faceset(tmp_path / "a", picture, FaceType.FULL, 256)
    record, image = only(source)
    triangle = ((10.0, 20.0), (200.0, 30.0), (40.0, 300.0))
    with MaskStore.open(source, create=True) as store:
        store.add_mask(record.name, "xseg", np.zeros((32, 32), np.float32), made_by="first try")
        store.add_mask(record.name, "xseg", image[..., 0] / np.float32(255.0), made_by="xseg 1000")
        store.add_mask(record.name, "fine", np.full((128, 128), 0.12345, np.float32), made_by="matte", bits=16)
        store.set_label(record.name, Label((Polygon(False, triangle),)), made_by="somebody")
    change_faces(source, tmp_path / "b", Watcher(), face_type=FaceType.WHOLE, aligned_size=320)
    after, new_image = only(tmp_path / "b")
    step = affine.compose(after.aligned_from_plate, affine.invert(record.aligned_from_plate))
    with MaskStore.open(tmp_path / "b") as store:
        mask = store.mask(record.name, "xseg")
        assert mask is not None
        assert mask.shape == (256, 256)
        shown = np.asarray(torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], 320, mode="area"))[0, 0]
        assert np.abs(shown - new_image[..., 0] / 255.0).mean() < 0.01
        (entry,) = store.versions(record.name, "xseg")
        assert entry.made_by == "xseg 1000; change_faces"
        fine = store.mask(record.name, "fine")
        assert fine is not None
        assert (fine.shape, float(fine[64, 64])) == ((128, 128), pytest.approx(0.12345, abs=1e-5))
        assert float(fine[0, 0]) == 0.0  # the old crop did not show this corner
        label = store.label(record.name)
        assert label is not None
        assert label.polygons[0].include is False
        np.testing.assert_allclose(label.polygons[0].points, affine.apply(step, triangle), atol=1e-9)


def test_resizing_keeps_masks_as_they_are_and_scales_labels(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 1)
    record, _ = only(source)
    mask = np.random.default_rng(0).uniform(size=(48, 48)).astype(np.float32)
    with MaskStore.open(source, create=True) as store:
        store.add_mask(record.name, "xseg", mask, made_by="x")
        stored = store.mask(record.name, "xseg")
        store.set_label(record.name, Label((Polygon(True, ((1.0, 2.0), (3.0, 4.0), (5.0, 60.0))),)), made_by="x")
    control = Watcher()
    change_faces(source, tmp_path / "b", control, aligned_size=96)
    with MaskStore.open(tmp_path / "b") as store:
        np.testing.assert_array_equal(store.mask(record.name, "xseg"), stored)
        label = store.label(record.name)
        assert label is not None
        assert label.polygons[0].points == ((1.5, 3.0), (4.5, 6.0), (7.5, 90.0))


def test_a_set_without_masks_gets_no_mask_file(tmp_path: Path) -> None:
    change_faces(noise_faceset(tmp_path / "a", 1), tmp_path / "b", Watcher(), aligned_size=96)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [".lock", "index.sqlite", "shot_000001_0.png"]


def test_files_keep_their_kind(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1.0, 64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3)
    names = {"a.png": "png16", "b.exr": "exr", "c.jpg": "jpeg", "d.png": "png"}
    records = [make_record(frame, name=name) for frame, name in enumerate(names)]
    source = write_faceset(tmp_path / "a", [(record, None) for record in records])  # type: ignore[list-item]
    for name, format in names.items():
        write_aligned(source / name, ramp * (3.0 if format == "exr" else 1.0), format, jpeg_quality=100)  # type: ignore[arg-type]
    change_faces(source, tmp_path / "b", Watcher(), aligned_size=128)
    change_faces(tmp_path / "b", tmp_path / "c", Watcher(), aligned_size=64)
    with Faceset.open(tmp_path / "c") as faceset:
        deep, light = faceset.read_float("a.png"), faceset.read_float("b.exr")
        assert len(np.unique(deep)) > 4000  # more than 8 bits hold
        assert light.max() > 2.5
        assert (tmp_path / "c" / "c.jpg").read_bytes()[:2] == b"\xff\xd8"
        assert len(np.unique(faceset.read_float("d.png"))) <= 256


def test_a_face_deleted_or_damaged_in_the_old_set_is_left_out(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 4)
    (source / "shot_000002_0.png").unlink()
    (source / "shot_000003_0.png").write_bytes(b"half a picture")
    control = Watcher()
    result = change_faces(source, tmp_path / "b", control, aligned_size=96)
    assert (result.faces, result.left_out) == (2, 1)
    assert "FACES_LEFT_OUT" in control.reasons()
    with Faceset.open(tmp_path / "b") as faceset:
        assert faceset.names == ["shot_000001_0.png", "shot_000004_0.png"]


def test_stopped_midway_it_is_clearly_unfinished_and_goes_on(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 5)
    (source / "shot_000001_0.png").write_bytes(b"damaged")
    output = tmp_path / "b"
    result = change_faces(source, output, Watcher(stop_after=3), aligned_size=96)
    assert result.stopped is StopRequest.CANCEL
    assert not output.exists()
    assert result.path == tmp_path / "b.unfinished"
    assert json.loads((result.path / MARKER_NAME).read_text())["aligned_size"] == 96
    untouched = (result.path / "shot_000002_0.png").stat().st_mtime_ns
    result = change_faces(source, output, Watcher(), aligned_size=96)
    assert (result.faces, result.left_out, result.stopped) == (4, 1, None)
    assert (output / "shot_000002_0.png").stat().st_mtime_ns == untouched
    assert not (tmp_path / "b.unfinished").exists()
    assert not (output / MARKER_NAME).exists()
    assert change_faces(source, tmp_path / "straight", Watcher(), aligned_size=96).faces == 4
    for path in output.glob("*.png"):
        assert path.read_bytes() == (tmp_path / "straight" / path.name).read_bytes()


def test_a_frame_changed_in_between_is_made_again(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 3)
    change_faces(source, tmp_path / "b", Watcher(stop_after=2), aligned_size=128)
    write_aligned(source / "shot_000001_0.png", np.full((64, 64, 3), 200, np.uint8), "png")
    change_faces(source, tmp_path / "b", Watcher(), aligned_size=128)
    with Faceset.open(tmp_path / "b") as faceset:
        assert (faceset.read_image("shot_000001_0.png") == 200).all()


def test_other_wishes_begin_anew(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 3)
    change_faces(source, tmp_path / "b", Watcher(stop_after=2), aligned_size=96)
    assert change_faces(source, tmp_path / "b", Watcher(), aligned_size=128).faces == 3
    with Faceset.open(tmp_path / "b") as faceset:
        assert faceset.aligned_size == 128


def test_after_a_power_cut_it_begins_anew_but_not_after_a_clean_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = noise_faceset(tmp_path / "a", 3)
    unfinished = change_faces(source, tmp_path / "b", Watcher(stop_after=2), aligned_size=96).path
    made = (unfinished / "shot_000001_0.png").stat().st_mtime_ns
    monkeypatch.setattr("dflcore.curate.derive._boot", lambda: "the next day")
    with monkeypatch.context() as broken:
        broken.setattr("dflcore.curate.derive._Run.all_frames", lambda run: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            change_faces(source, tmp_path / "b", Watcher(), aligned_size=96)
    assert (unfinished / "shot_000001_0.png").stat().st_mtime_ns == made
    monkeypatch.setattr("dflcore.curate.derive._boot", lambda: "after the power cut")
    assert change_faces(source, tmp_path / "b", Watcher(stop_after=0), aligned_size=96).stopped
    assert not (unfinished / "shot_000001_0.png").exists()


def _change(folder: Path, control: Watcher) -> None:
    change_faces(folder / "a", folder / "b", control, face_type=FaceType.HALF)


@pytest.mark.slow
def test_killed_anywhere_the_same_call_finishes(tmp_path: Path) -> None:
    original = tmp_path / "original"
    noise_faceset(original / "a", 2)
    with MaskStore.open(original / "a", create=True) as store:
        store.add_mask("shot_000001_0.png", "xseg", np.ones((32, 32), np.float32), made_by="x")
    folders = kill_everywhere("test_retype", "_change", original, Path(__file__).parent)
    assert len(folders) > 10
    for folder in folders:
        if not (folder / "b").exists():
            _change(folder, Watcher())
        with Faceset.open(folder / "b") as faceset, MaskStore.open(folder / "b") as store:
            assert len(faceset) == 2
            assert [faceset.read_image(name).shape for name in faceset.names] == [(64, 64, 3)] * 2
            assert store.faces_with("xseg") == ["shot_000001_0.png"]
        assert not (folder / "b.unfinished").exists()


def test_refusals(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 1)
    with pytest.raises(Conflict, match="exists already"):
        change_faces(source, source, Watcher(), aligned_size=96)
    with pytest.raises(InvalidInput, match="64 to 2048"):
        change_faces(source, tmp_path / "b", Watcher(), aligned_size=4096)
    with pytest.raises(InvalidInput, match="full faces of 64 px already"):
        change_faces(source, tmp_path / "b", Watcher(), face_type=FaceType.FULL)
    with pytest.raises(NotFound):
        change_faces(tmp_path / "nowhere", tmp_path / "b", Watcher(), aligned_size=96)
    holiday = tmp_path / "b.unfinished"
    holiday.mkdir()
    (holiday / "holiday.jpg").write_bytes(b"not ours")
    with pytest.raises(Conflict, match="in the way"):
        change_faces(source, tmp_path / "b", Watcher(), aligned_size=96)
    assert (holiday / "holiday.jpg").exists()
    (tmp_path / "empty").mkdir()
    assert change_faces(source, tmp_path / "empty", Watcher(), aligned_size=96).faces == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 1)
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InvalidInput, match="may write"):
        change_faces(source, tmp_path / "locked" / "b", Watcher(), aligned_size=96)
