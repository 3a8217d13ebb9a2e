"""Facesets to and from the reference implementation."""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.curate.interchange import export_legacy, import_legacy
from dflcore.curate.interchange_export import frame_name
from dflcore.curate.interchange_faces import center_from_corner, corner_from_center
from dflcore.errors import Conflict, DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.legacy.jpeg import find_metadata, read_face
from dflcore.io.legacy.pak import PakReader
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.progress import FrameProgress, Notice, StopRequest
from dflcore.types import Authorization, FaceRecord, FaceType, Origin
from legacy_files import (
    dumps,
    face_jpeg,
    loads,
    mask_values,
    metadata,
    pak_bytes,
    plain_jpeg,
    plate_points,
    reference_matrix,
    with_payload,
    write_folder,
)


@dataclass
class Recorder:
    """A run that remembers what it was told and stops after some asking."""

    patience: int = 10**9
    events: list[Any] = field(default_factory=list)

    def emit(self, event: object) -> None:
        self.events.append(event)

    def stop_requested(self) -> StopRequest | None:
        self.patience -= 1
        return StopRequest.CANCEL if self.patience < 0 else None

    def notices(self, reason: str) -> list[str]:
        return [one.message for one in self.events if isinstance(one, Notice) and one.reason == reason]


def records(path: Path) -> list[FaceRecord]:
    with Faceset.open(path) as faceset:
        return list(faceset.records())


def payload(jpeg: bytes) -> dict[str, Any]:
    found = find_metadata(jpeg, "test")
    assert found is not None
    return loads(found)


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


def test_everything_a_face_says_arrives(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "data_a" / "aligned", 3)
    run = Recorder()
    result = import_legacy(source, tmp_path / "set", run, authorization=Authorization(person="Zoë"))
    assert (result.faces, result.frames, result.refused, result.stopped) == (3, 3, (), None)
    assert result.facesets == (tmp_path / "set",)
    with Faceset.open(tmp_path / "set") as faceset:
        assert (faceset.face_type, faceset.aligned_size) == (FaceType.FULL, 64)
        assert faceset.info.plates == ("data_a/#####.png",)
        assert faceset.info.authorization.person == "Zoë"
        assert faceset.names == [f"data_a_{frame:06d}_0.png" for frame in (1, 2, 3)]
        for number, record in enumerate(faceset.records()):
            told = metadata(number)
            assert (record.frame, record.face_index) == (number + 1, 0)
            assert record.origin is Origin.IMPORTED
            assert record.original_name == f"{number + 1:05d}_0.jpg"
            assert record.identity is None
            np.testing.assert_allclose(record.landmarks.points, np.array(told["source_landmarks"]) + 0.5, atol=1e-4)
            in_picture = affine.apply(record.aligned_from_plate, np.array(told["source_landmarks"]) + 0.5)
            np.testing.assert_allclose(in_picture - 0.5, told["landmarks"], atol=1e-9)
            box = record.box
            assert [box.left, box.top, box.right, box.bottom] == told["source_rect"].tolist()
            np.testing.assert_array_equal(
                faceset.read_image(record.name), decoded((source / f"{number + 1:05d}_0.jpg").read_bytes())
            )
            assert abs(record.pose.yaw) < 0.2
            assert record.sharpness > 0
    assert run.notices("IDENTITY_NOT_KNOWN")
    assert run.notices("PLATE_NOT_KNOWN")
    assert [event.done for event in run.events if isinstance(event, FrameProgress)] == [1, 2, 3]


def frame_with_dots(points: np.ndarray) -> np.ndarray:
    """A dot at every point, counted from the corner, of exactly known centre."""
    y, x = np.mgrid[0:600, 0:600] + 0.5
    image = np.zeros((600, 600))
    for px, py in points:
        image += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.5**2))
    return np.clip(image * 250, 0, 255)


def test_pixels_and_transform_agree_to_a_small_part_of_a_pixel(tmp_path: Path) -> None:
    points = plate_points(3)
    matrix = reference_matrix(points, 256)
    dots = points[[17, 26, 30, 48, 54, 8]] + 0.5
    frame = frame_with_dots(dots)
    cut = cv2.warpAffine(frame.astype(np.float32), matrix, (256, 256), flags=cv2.INTER_LINEAR)
    done, jpeg = cv2.imencode(".jpg", np.repeat(np.rint(cut).astype(np.uint8)[..., None], 3, 2), [1, 100])
    assert done
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "1_0.jpg").write_bytes(with_payload(jpeg.tobytes(), dumps(metadata(3, 256, "1.png"))))
    import_legacy(folder, tmp_path / "set", Recorder())
    with Faceset.open(tmp_path / "set") as faceset:
        (record,) = faceset.records()
        image = faceset.read_image(record.name)[..., 1].astype(float)
    y, x = np.mgrid[0:256, 0:256] + 0.5
    reach = 3.5 * 2.5 * affine.scale_of(record.aligned_from_plate)
    for dot in affine.apply(record.aligned_from_plate, dots):
        near = image * (np.hypot(x - dot[0], y - dot[1]) < reach)
        centre = np.array([(near * x).sum(), (near * y).sum()]) / near.sum()
        np.testing.assert_allclose(centre, dot, atol=0.03)
    taken_literally = affine.apply(matrix, dots) - affine.apply(record.aligned_from_plate, dots)
    assert np.abs(taken_literally).max() > 0.1  # what the same check would find without the half pixels


def test_the_change_of_count_is_exact_and_undoes_itself() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(2, 3))
    points = rng.normal(size=(20, 2)) * 100
    moved = affine.apply(corner_from_center(matrix), points + 0.5)
    np.testing.assert_allclose(moved, affine.apply(matrix, points) + 0.5, atol=1e-10)
    np.testing.assert_allclose(center_from_corner(corner_from_center(matrix)), matrix, atol=1e-12)


def test_masks_and_labels_go_to_the_mask_store(tmp_path: Path) -> None:
    encoded, mask = mask_values()
    polygon = np.array([[1.5, 2.0], [30.0, 2.0], [30.0, 40.25]], np.float32)
    source = tmp_path / "a"
    source.mkdir()
    changes = {
        "xseg_mask": encoded,
        "seg_ie_polys": {"polys": [{"type": 0, "pts": polygon + 1}, {"type": 1, "pts": polygon}]},
    }
    (source / "00001_0.jpg").write_bytes(face_jpeg(0, frame="00001.png", **changes))
    (source / "00002_0.jpg").write_bytes(face_jpeg(1, frame="00002.png"))
    result = import_legacy(source, tmp_path / "set", Recorder())
    assert (result.masks, result.labels) == (1, 1)
    names = [record.name for record in records(tmp_path / "set")]
    with MaskStore.open(tmp_path / "set") as store:
        assert store.masks_of(names[0]) == {"xseg": 1}
        stored = store.mask(names[0], "xseg")
        assert stored is not None
        np.testing.assert_allclose(stored * 255, mask, atol=1e-3)
        label = store.label(names[0])
        assert label is not None
        assert [one.include for one in label.polygons] == [True, False]
        np.testing.assert_array_equal(label.polygons[0].points, polygon)
        assert store.masks_of(names[1]) == {}


def test_faces_of_one_frame_are_told_apart_the_largest_first(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    for index, side in enumerate((50, 90, 70)):
        data = face_jpeg(index, frame="shot_0012.png", source_rect=np.array([0, 0, side, side]))
        (source / f"{index}.jpg").write_bytes(data)
    import_legacy(source, tmp_path / "set", Recorder())
    found = records(tmp_path / "set")
    assert [(one.frame, one.face_index, one.original_name) for one in found] == [
        (12, 0, "1.jpg"),
        (12, 1, "2.jpg"),
        (12, 2, "0.jpg"),
    ]
    assert {one.plate for one in found} == {"a/shot_####.png"}
    assert found[0].name == "shot_000012_0.png"


def test_frames_without_a_number_are_numbered_and_reported(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    for index, frame in enumerate(("portrait.png", None, "0007.png", "7.png", "99999999999999999999.png")):
        (source / f"{index}.jpg").write_bytes(face_jpeg(index, frame=frame))
    run = Recorder()
    result = import_legacy(source, tmp_path / "set", run)
    assert (result.faces, result.unnumbered) == (5, 4)
    found = {one.original_name: (one.plate, one.frame) for one in records(tmp_path / "set")}
    assert found["2.jpg"] == ("a/#.png", 7)
    assert [found[name] for name in ("0.jpg", "1.jpg", "3.jpg", "4.jpg")] == [
        ("a/unnumbered", number) for number in (1, 2, 3, 4)
    ]
    assert "4 faces" in run.notices("FRAME_NUMBERS_MADE_UP")[0]


def test_a_plate_can_be_named(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 2)
    plate = "/plates/shot010.####.exr"
    run = Recorder()
    import_legacy(source, tmp_path / "set", run, plate=plate, plate_size=(1920, 1080))
    found = records(tmp_path / "set")
    assert {(one.plate, one.plate_size) for one in found} == {(plate, (1920, 1080))}
    assert found[0].name == "shot010_000001_0.png"
    assert not run.notices("PLATE_NOT_KNOWN")
    (source / "x.jpg").write_bytes(face_jpeg(5, frame="other_0001.png"))
    with pytest.raises(InvalidInput, match=r"2 name patterns .*other_####\.png"):
        import_legacy(source, tmp_path / "set2", Recorder(), plate=plate)
    import_legacy(source, tmp_path / "set3", Recorder())
    assert len({one.name for one in records(tmp_path / "set3")}) == 3


def test_what_cannot_be_taken_is_named_and_the_rest_imported(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 2)
    good = face_jpeg(7, frame="00007.png")
    bad = {
        "corrupt.jpg": b"\xff\xd8" + bytes(50),
        "cut.jpg": good[:-300],
        "empty.jpg": b"",
        "frame.jpg": face_jpeg(1, face_type="mark_only", image_to_face_mat=None),
        "noalign.jpg": face_jpeg(1, face_type="full_face_no_align"),
        "holiday.jpg": plain_jpeg(),
        "wide.jpg": face_jpeg(2).replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 64, 48), 1),
        "nowhere.jpg": face_jpeg(2, source_landmarks=None, image_to_face_mat=None),
        "mixed up.jpg": face_jpeg(2, landmarks=np.random.default_rng(0).uniform(0, 64, (68, 2)).tolist()),
        "flat.jpg": face_jpeg(2, source_landmarks=None, image_to_face_mat=np.zeros((2, 3))),
        "point.jpg": face_jpeg(2, source_landmarks=[[5.0, 5.0]] * 68, landmarks=[[5.0, 5.0]] * 68),
    }
    for name, data in bad.items():
        (source / name).write_bytes(data)
    (source / "notes.txt").write_text("not a face")
    run = Recorder()
    result = import_legacy(source, tmp_path / "set", run)
    assert result.faces == 2
    assert {one.name for one in result.refused} == set(bad)
    notices = [event for event in run.events if isinstance(event, Notice) and event.reason == "FACE_NOT_IMPORTED"]
    assert {event.details["path"] for event in notices} == set(bad)
    assert all(event.details["path"] in event.message for event in notices)


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    with pytest.raises(InvalidInput, match="neither JPEG files"):
        import_legacy(source, tmp_path / "set", Recorder())
    with pytest.raises(NotFound):
        import_legacy(tmp_path / "none", tmp_path / "set", Recorder())
    (source / "a.jpg").write_bytes(plain_jpeg())
    with pytest.raises(InvalidInput, match=r"None of the 1 faces.*holds no face metadata"):
        import_legacy(source, tmp_path / "set", Recorder())
    assert not (tmp_path / "set").exists()


def test_many_refusals_are_summed_up(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 1)
    for number in range(30):
        (source / f"x{number}.jpg").write_bytes(b"")
    run = Recorder()
    assert len(import_legacy(source, tmp_path / "set", run).refused) == 30
    told = run.notices("FACE_NOT_IMPORTED")
    assert len(told) == 21
    assert "10 more" in told[-1]


class Evil:
    def __reduce__(self) -> object:
        return os.system, ("touch canary",)


@pytest.mark.parametrize("where", ["jpeg", "pak", "packed face", "meta.dat"])
def test_a_hostile_file_ends_the_import_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_folder(tmp_path / "a", 2)
    hostile = with_payload(plain_jpeg(), dumps({"landmarks": Evil()}))
    restore = None
    if where == "jpeg":
        (source / "z.jpg").write_bytes(hostile)
    elif where == "meta.dat":
        restore = tmp_path / "meta.dat"
        restore.write_bytes(dumps({"00001_0.jpg": ((64, 64, 3), Evil())}))
    else:
        index = dumps([{"filename": Evil()}]) if where == "pak" else None
        source = tmp_path / "b.pak"
        source.write_bytes(pak_bytes([("a.jpg", None, face_jpeg()), ("b.jpg", None, hostile)], index=index))
    with pytest.raises(InvalidInput, match="system") as caught:
        import_legacy(source, tmp_path / "set", Recorder(), restore_meta=restore)
    assert caught.value.reason == "HOSTILE_PICKLE"
    assert not (tmp_path / "set").exists()
    assert not (tmp_path / "canary").exists()


def test_a_mixed_set_is_refused_with_a_listing_and_can_be_taken_apart(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 3)
    matrix = reference_matrix(plate_points(8), 96)
    (source / "big.jpg").write_bytes(face_jpeg(8, size=96, frame="00008.png"))
    (source / "half.jpg").write_bytes(face_jpeg(9, frame="00009.png", face_type="half_face"))
    with pytest.raises(InvalidInput, match=r"3 of full 64 px \(00001_0.jpg\.\.\.\); 1 of full 96 px \(big") as caught:
        import_legacy(source, tmp_path / "set", Recorder())
    assert caught.value.reason == "MIXED_FACESET"
    assert not (tmp_path / "set").exists()
    result = import_legacy(source, tmp_path / "set", Recorder(), only=(FaceType.FULL, 96))
    assert (result.faces, len(result.refused)) == (1, 4)
    (record,) = records(tmp_path / "set")
    np.testing.assert_allclose(center_from_corner(record.aligned_from_plate), matrix, atol=1e-12)


def test_a_transform_that_is_missing_or_of_another_picture_is_made_up_for(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    wrong = reference_matrix(plate_points(2), 128)
    (source / "0.jpg").write_bytes(face_jpeg(0, frame="0.png", image_to_face_mat=None))
    (source / "1.jpg").write_bytes(face_jpeg(1, frame="1.png", source_landmarks=None))
    (source / "2.jpg").write_bytes(face_jpeg(2, frame="2.png", image_to_face_mat=wrong))
    (source / "3.jpg").write_bytes(face_jpeg(3, frame="3.png", source_rect=None))
    run = Recorder()
    assert import_legacy(source, tmp_path / "set", run).faces == 4
    for number, record in enumerate(records(tmp_path / "set")):
        told = metadata(number)
        np.testing.assert_allclose(record.landmarks.points, np.array(told["source_landmarks"]) + 0.5, atol=2e-3)
        in_picture = affine.apply(record.aligned_from_plate, np.array(told["source_landmarks"]) + 0.5)
        np.testing.assert_allclose(in_picture - 0.5, told["landmarks"], atol=2e-3)
        assert record.box.width > 50
    assert ["2.jpg" in message for message in run.notices("FACE_PARTLY_IMPORTED")] == [True]


def test_broken_parts_and_unknown_keys_are_reported(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    junk = np.frombuffer(b"\x89PNG\r\n\x1a\n" + bytes(100), np.uint8)
    (source / "0.jpg").write_bytes(face_jpeg(0, xseg_mask=junk, relighted=True, eyebrows_expand_mod=1.5))
    (source / "1.jpg").write_bytes(face_jpeg(1, frame="2.png", seg_ie_polys="?", relighted=True))
    run = Recorder()
    result = import_legacy(source, tmp_path / "set", run)
    assert (result.faces, result.masks, result.labels) == (2, 0, 0)
    assert len(run.notices("FACE_PARTLY_IMPORTED")) == 2
    assert "eyebrows_expand_mod (1 faces), relighted (2 faces)" in run.notices("METADATA_IGNORED")[0]


def test_persons_become_facesets_of_their_own(tmp_path: Path) -> None:
    faces = [
        ("00001_0.jpg", "Zoë", face_jpeg(1, frame="00001.png")),
        ("00001_0.jpg", "../../etc", face_jpeg(2, frame="00001.png")),
        ("00002_0.jpg", "Zoë", face_jpeg(3, frame="00002.png")),
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "faceset.pak").write_bytes(pak_bytes(faces))
    result = import_legacy(tmp_path / "in", tmp_path / "out" / "set", Recorder())
    assert result.faces == 3
    assert result.facesets == (tmp_path / "out" / "set" / "Zoë", tmp_path / "out" / "set" / "etc")
    assert len(records(tmp_path / "out" / "set" / "Zoë")) == 2
    folder = tmp_path / "folders"
    write_folder(folder / "anna", 2)
    write_folder(folder / "bob", 1)
    assert [one.name for one in import_legacy(folder, tmp_path / "set2", Recorder()).facesets] == ["anna", "bob"]


def test_a_pak_wins_over_files_beside_it_and_says_so(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 2)
    (source / "faceset.pak").write_bytes(pak_bytes([("00001_0.jpg", None, face_jpeg(1, frame="00001.png"))]))
    run = Recorder()
    assert import_legacy(source, tmp_path / "set", run).faces == 1
    assert "2 JPEG files" in run.notices("LEGACY_SOURCE")[0]


def test_a_truncated_pak_is_imported_as_far_as_it_goes(tmp_path: Path) -> None:
    faces = [(f"{number:05d}_0.jpg", None, face_jpeg(number, frame=f"{number:05d}.png")) for number in range(4)]
    pak = tmp_path / "faceset.pak"
    pak.write_bytes(pak_bytes(faces)[: -len(faces[3][2]) - 5])
    run = Recorder()
    result = import_legacy(pak, tmp_path / "set", run)
    assert result.faces == 2
    assert [one.name for one in result.refused] == ["00002_0.jpg", "00003_0.jpg"]


def test_saved_metadata_is_restored_to_edited_pictures(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 2)
    small = cv2.resize(decoded((source / "00001_0.jpg").read_bytes()), (40, 40))
    (source / "00001_0.jpg").write_bytes(cv2.imencode(".jpg", small[..., ::-1])[1].tobytes())  # edited: all is gone
    meta = source / "meta.dat"
    saved = {f"0000{one + 1}_0.jpg": ((64, 64, 3), metadata(one, frame=f"0000{one + 1}.png")) for one in range(3)}
    meta.write_bytes(dumps(saved))
    run = Recorder()
    assert len(import_legacy(source, tmp_path / "without", run).refused) == 1
    assert run.notices("META_DAT_NOT_USED")
    run = Recorder()
    result = import_legacy(source, tmp_path / "set", run, restore_meta=meta)
    assert (result.faces, result.refused) == (2, ())
    found = records(tmp_path / "set")
    assert [one.aligned_size for one in found] == [64, 64]
    np.testing.assert_allclose(found[0].landmarks.points, np.array(metadata(0)["source_landmarks"]) + 0.5, atol=1e-3)
    assert run.notices("META_DAT_UNMATCHED")
    meta.write_bytes(b"\x80\x03}")
    with pytest.raises(DataCorrupt, match=r"meta\.dat"):
        import_legacy(source, tmp_path / "set3", Recorder(), restore_meta=meta)


def test_a_stopped_import_goes_on_where_it_was(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 5, xseg_mask=mask_values()[0])
    first = import_legacy(source, tmp_path / "set", Recorder(patience=7))
    assert (first.faces, first.stopped) == (2, StopRequest.CANCEL)
    assert import_legacy(source, tmp_path / "other", Recorder(patience=2)).facesets == ()
    second = import_legacy(source, tmp_path / "set", Recorder())
    assert (second.faces, second.frames, second.masks, second.stopped) == (5, 5, 3, None)
    (tmp_path / "set" / records(tmp_path / "set")[0].name).unlink()
    third = import_legacy(source, tmp_path / "set", Recorder())
    assert (third.faces, third.masks) == (4, 0)  # what a person deleted stays deleted
    assert len(records(tmp_path / "set")) == 4


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", 1)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious.txt").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        import_legacy(source, taken, Recorder())
    import_legacy(source, tmp_path / "set", Recorder())
    with pytest.raises(Conflict, match="another faceset"):
        import_legacy(write_folder(tmp_path / "b", 1), tmp_path / "set", Recorder())


def full_source(tmp_path: Path) -> Path:
    """Masks, labels, several faces in a frame."""
    source = tmp_path / "data_a" / "aligned"
    source.mkdir(parents=True)
    polygon = np.array([[1.5, 2.0], [30.0, 2.0], [30.0, 40.25]], np.float32)
    for number in range(4):
        data = face_jpeg(
            number,
            frame=f"{number // 2 + 1:05d}.png",
            xseg_mask=mask_values()[0] if number % 2 else None,
            seg_ie_polys={"polys": [{"type": 1, "pts": polygon}]} if number == 2 else None,
        )
        (source / f"{number // 2 + 1:05d}_{number % 2}.jpg").write_bytes(data)
    return source


@pytest.mark.parametrize("output", ["out", "out.pak"])
def test_what_comes_in_goes_out_again(tmp_path: Path, output: str) -> None:
    source = full_source(tmp_path)
    import_legacy(source, tmp_path / "set", Recorder())
    run = Recorder()
    result = export_legacy(tmp_path / "set", tmp_path / output, run)
    assert (result.faces, result.masks, result.labels, result.refused) == (4, 2, 1, ())
    if output.endswith(".pak"):
        written = {one.name: one.jpeg for one in PakReader(tmp_path / output)}
    else:
        written = {path.name: path.read_bytes() for path in (tmp_path / output).iterdir()}
    with Faceset.open(tmp_path / "set") as faceset:
        assert sorted(written) == [f"data_a_{frame:06d}_{index}.jpg" for frame in (1, 2) for index in (0, 1)]
        for record in faceset.records():
            original = payload((source / str(record.original_name)).read_bytes())
            data = written[f"{Path(record.name).stem}.jpg"]
            again = payload(data)
            assert again.keys() == original.keys()
            for key in ("face_type", "source_filename"):
                assert again[key] == original[key]
            for key in ("landmarks", "source_landmarks", "image_to_face_mat", "source_rect"):
                np.testing.assert_allclose(again[key], original[key], atol=2e-4)
            if "xseg_mask" in original:
                masks = [cv2.imdecode(one["xseg_mask"], cv2.IMREAD_GRAYSCALE) for one in (again, original)]
                np.testing.assert_array_equal(*masks)
            if "seg_ie_polys" in original:
                np.testing.assert_array_equal(
                    again["seg_ie_polys"]["polys"][0]["pts"], original["seg_ie_polys"]["polys"][0]["pts"]
                )
            difference = decoded(data).astype(int) - faceset.read_image(record.name)
            assert np.abs(difference).max() <= 4
    import_legacy(tmp_path / output, tmp_path / "again", Recorder())
    for one, other in zip(records(tmp_path / "set"), records(tmp_path / "again"), strict=True):
        assert (one.frame, one.face_index, one.face_type) == (other.frame, other.face_index, other.face_type)
        np.testing.assert_allclose(one.aligned_from_plate, other.aligned_from_plate, atol=1e-9)
        np.testing.assert_allclose(one.landmarks.points, other.landmarks.points, atol=1e-4)


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    import_legacy(write_folder(tmp_path / "a", 2), tmp_path / "set", Recorder())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    (tmp_path / "there.pak").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    for output in ("full", "there.pak", "file", "a"):
        with pytest.raises(Conflict) as caught:
            export_legacy(tmp_path / "set", tmp_path / output, Recorder())
        assert caught.value.reason == "OUTPUT_EXISTS"
    (tmp_path / "empty").mkdir()
    assert export_legacy(tmp_path / "set", tmp_path / "empty", Recorder()).faces == 2
    with pytest.raises(InvalidInput):
        export_legacy(tmp_path / "set", tmp_path / "new", Recorder(), jpeg_quality=0)
    with pytest.raises(NotFound):
        export_legacy(tmp_path / "none", tmp_path / "new", Recorder())


def test_a_stopped_export_leaves_whole_faces_or_no_pak(tmp_path: Path) -> None:
    import_legacy(write_folder(tmp_path / "a", 4), tmp_path / "set", Recorder())
    result = export_legacy(tmp_path / "set", tmp_path / "out", Recorder(patience=2))
    assert (result.faces, result.stopped) == (2, StopRequest.CANCEL)
    assert len(list((tmp_path / "out").iterdir())) == 2
    result = export_legacy(tmp_path / "set", tmp_path / "paks" / "out.pak", Recorder(patience=2))
    assert result.stopped is StopRequest.CANCEL
    assert list((tmp_path / "paks").iterdir()) == []


def test_an_export_says_what_it_leaves_out(tmp_path: Path) -> None:
    import_legacy(
        write_folder(tmp_path / "a", 3), tmp_path / "set", Recorder(), authorization=Authorization(person="Zoë")
    )
    names = [record.name for record in records(tmp_path / "set")]
    rng = np.random.default_rng(0)
    points = tuple((float(x), float(y)) for x, y in rng.uniform(0, 64, (8000, 2)))
    with MaskStore.open(tmp_path / "set", create=True) as store:
        noise = rng.random((512, 512), dtype=np.float32)
        store.set_label(names[0], Label((Polygon(True, points),)), made_by="test")  # 8000 points do not fit
        store.set_label(names[1], Label((Polygon(False, points[:3]), Polygon(True, points[:7000]))), made_by="test")
        store.add_mask(names[1], "xseg", noise, made_by="test")
        store.add_mask(names[2], "painted", noise, made_by="test")
    (tmp_path / "set" / names[2]).write_bytes(b"damaged")
    run = Recorder()
    result = export_legacy(tmp_path / "set", tmp_path / "out", run, mask_source="painted")
    assert [one.name for one in result.refused] == [names[2]] or len(result.refused) == 2
    assert run.notices("AUTHORIZATION_NOT_CARRIED")
    run = Recorder()
    result = export_legacy(tmp_path / "set", tmp_path / "out2", run)
    assert {one.name for one in result.refused} == {names[0], names[2]}
    assert result.faces == 1
    face = read_face((tmp_path / "out2" / f"{Path(names[1]).stem}.jpg").read_bytes(), "x")
    assert face is not None
    assert [one.include for one in face.polygons] == [True, False]
    assert bool(face.mask_image) != bool(run.notices("MASK_NOT_EXPORTED"))


def test_a_faceset_without_faces_is_not_exported(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"face_type": FaceType.FULL, "aligned_size": 64, "settings": {}}
    with FacesetWriter(tmp_path / "set", authorization=Authorization(), **arguments) as writer:
        writer.add_frame("p", 1, (10, 10), [])
    with pytest.raises(InvalidInput, match="no faces"):
        export_legacy(tmp_path / "set", tmp_path / "out", Recorder())
    assert not (tmp_path / "out").exists()


def test_frame_names_follow_the_plates_pattern() -> None:
    assert frame_name("/plates/shot.####.exr", 12) == "shot.0012.exr"
    assert frame_name("data_a/#####.png", 7) == "00007.png"
    assert frame_name("a.%04d.dpx", 7) == "a.0007.dpx"
    assert frame_name("/movies/take.mov", 7) == "00007.png"


@given(edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6), cut=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_damaged_neighbour_never_breaks_an_import(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int]], cut: float
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    source = write_folder(folder / "a", 1)
    data = bytearray(face_jpeg(5, frame="00009.png", xseg_mask=mask_values()[0]))
    for place, value in edits:
        data[min(int(place * 6000), len(data) - 1)] = value
    (source / "x.jpg").write_bytes(data if cut > 0.3 else data[: int(cut * len(data))])
    try:
        result = import_legacy(source, folder / "set", Recorder())
    except DflError:  # a hostile name or another face type by accident
        return
    assert result.faces + len(result.refused) == 2
