"""JPEG files with metadata of the reference."""

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import DataCorrupt, DflError, InvalidInput
from dflcore.io.legacy.jpeg import (
    LegacyPolygon,
    decode_mask,
    decode_picture,
    encode_mask,
    face_from_metadata,
    find_metadata,
    insert_metadata,
    metadata_from_face,
    picture_size,
    read_face,
    write_face,
)
from legacy_files import (
    PROTOCOLS,
    dumps,
    face_jpeg,
    loads,
    mask_values,
    metadata,
    picture,
    plain_jpeg,
    with_payload,
)


def markers(data: bytes) -> list[int]:
    """Every marker up to the picture, found the slow way."""
    found, place = [], 2
    while True:
        found.append(data[place + 1])
        if found[-1] == 0xDA:
            return found
        place += 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]


@pytest.mark.parametrize("old_numpy", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_face_of_the_reference_is_read_whole(protocol: int, old_numpy: bool) -> None:
    encoded, mask = mask_values()
    polygon = np.array([[1.5, 2.0], [30.0, 2.0], [30.0, 40.25]], np.float32)
    values = metadata(
        7,
        seg_ie_polys={"polys": [{"type": 0, "pts": polygon + 1}, {"type": 1, "pts": polygon}]},
        xseg_mask=encoded,
        eyebrows_expand_mod=1.25,
        relighted=True,
    )
    face = read_face(with_payload(plain_jpeg(7), dumps(values, protocol, old_numpy=old_numpy)), "a.jpg")
    assert face is not None
    assert (face.face_type, face.size, face.source_filename) == ("full_face", (64, 64), "00012.png")
    np.testing.assert_array_equal(face.landmarks, values["landmarks"])
    np.testing.assert_array_equal(face.source_landmarks, values["source_landmarks"])
    np.testing.assert_array_equal(face.image_to_face_mat, values["image_to_face_mat"])
    assert face.source_rect == tuple(values["source_rect"])
    assert face.eyebrows_expand_mod == 1.25
    assert face.unknown_keys == ("relighted",)
    assert face.faults == ()
    assert [one.include for one in face.polygons] == [True, False]  # drawn in this order
    np.testing.assert_array_equal(face.polygons[0].points, polygon)
    assert face.mask_image is not None
    np.testing.assert_array_equal(decode_mask(face.mask_image, "a.jpg") * 255.0, mask)


def test_old_and_odd_forms_are_understood() -> None:
    points = [(1, 2), (3, 4), (5.5, 6)]
    values = metadata(
        face_type=None,
        source_rect=np.array([90, 80, 10, 20], np.int64),  # the detector had turned the frame
        seg_ie_polys=[(1, points), (0, np.array(points)), (1, [])],
        landmarks=np.array(metadata()["landmarks"]),
        xseg_mask=mask_values()[0].ravel(),
    )
    face = face_from_metadata(values, (64, 64), "a.jpg")
    assert face.face_type == "full_face"
    assert face.source_rect == (10, 20, 90, 80)
    assert [one.include for one in face.polygons] == [True, False]
    assert face.mask_image == mask_values()[0].tobytes()
    assert face.faults == ()


def test_without_metadata_there_is_no_face() -> None:
    assert read_face(plain_jpeg(), "a.jpg") is None


def test_the_last_of_several_segments_counts_and_one_remains() -> None:
    stale = with_payload(face_jpeg(1, frame="late.png"), dumps(metadata(2, frame="early.png")))
    face = read_face(stale, "a.jpg")
    assert face is not None
    assert face.source_filename == "late.png"
    written = write_face(stale, face, "a.jpg")
    assert markers(stale).count(0xEF) == 2
    assert markers(written).count(0xEF) == 1
    again = read_face(written, "a.jpg")
    assert again is not None
    assert again.source_filename == "late.png"


def test_writing_leaves_everything_else_alone_byte_for_byte() -> None:
    plain = plain_jpeg()
    comment = b"\xff\xfe\x00\x06abcd"
    exif = b"\xff\xe1\x00\x08Exif\x00\x00"
    first = 4 + struct.unpack(">H", plain[4:6])[0]
    plain = plain[:first] + comment + exif + plain[first:]
    written = insert_metadata(plain, b"payload", "a.jpg")
    assert find_metadata(written, "a.jpg") == b"payload"
    assert written.replace(b"\xff\xef\x00\x09payload", b"") == plain
    assert markers(written)[:4] == [0xE0, 0xFE, 0xE1, 0xEF]  # after the last of the others
    np.testing.assert_array_equal(decode_picture(written, "a"), decode_picture(plain, "a"))
    replaced = insert_metadata(written, b"other", "a.jpg")
    assert replaced.replace(b"\xff\xef\x00\x07other", b"") == plain


def test_a_segment_has_an_end() -> None:
    full = insert_metadata(plain_jpeg(), bytes(65_533), "a.jpg")
    assert find_metadata(full, "a.jpg") == bytes(65_533)
    with pytest.raises(InvalidInput, match=r"a\.jpg") as caught:
        insert_metadata(plain_jpeg(), bytes(65_534), "a.jpg")
    assert caught.value.reason == "METADATA_TOO_LARGE"


def test_python_reads_back_what_is_written() -> None:
    encoded, _ = mask_values()
    polygons = {"polys": [{"type": 1, "pts": np.array([[1, 2], [3, 4], [5, 7]], np.float32)}]}
    values = metadata(3, seg_ie_polys=polygons, xseg_mask=encoded)
    face = read_face(with_payload(plain_jpeg(3), dumps(values)), "a.jpg")
    assert face is not None
    payload = find_metadata(write_face(plain_jpeg(3), face, "a.jpg"), "a.jpg")
    assert payload is not None
    loaded = loads(payload)
    assert loaded.keys() == values.keys()
    assert loaded["landmarks"] == values["landmarks"]
    assert loaded["source_landmarks"] == values["source_landmarks"]
    assert loaded["source_rect"].dtype == np.int32
    np.testing.assert_array_equal(loaded["source_rect"], values["source_rect"])
    np.testing.assert_array_equal(loaded["image_to_face_mat"], values["image_to_face_mat"])
    np.testing.assert_array_equal(loaded["xseg_mask"], encoded)
    np.testing.assert_array_equal(loaded["seg_ie_polys"]["polys"][0]["pts"], polygons["polys"][0]["pts"])
    assert loaded["seg_ie_polys"]["polys"][0]["type"] == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n", "not a JPEG"),
        (b"\xff\xd8", "no segment"),
        (b"\xff\xd8" + b"\xff" * 50, "cut off"),
        (plain_jpeg()[:100], "does not fit|cut off|no segment"),
        (plain_jpeg().replace(b"\xff\xe0\x00\x10", b"\xff\xe0\x00\x01"), "does not fit"),
        (b"\xff\xd8\xff\xd9", "cut off"),
    ],
)
def test_a_damaged_file_is_named(data: bytes, words: str) -> None:
    with pytest.raises(DataCorrupt, match=words) as caught:
        read_face(data, "folder/a.jpg")
    assert caught.value.details["path"] == "folder/a.jpg"


def test_a_picture_that_is_cut_off_is_not_passed_off_as_whole() -> None:
    data = face_jpeg()
    np.testing.assert_allclose(decode_picture(data, "a").astype(int), picture(), atol=40)
    with pytest.raises(DataCorrupt, match="cut off"):
        decode_picture(data[:-200], "a.jpg")


def test_a_picture_larger_than_any_face_is_not_decoded() -> None:
    data = plain_jpeg().replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 60_000, 60_000), 1)
    assert picture_size(data, "a") == (60_000, 60_000)
    with pytest.raises(InvalidInput, match="60000x60000"):
        decode_picture(data, "a.jpg")


@pytest.mark.parametrize(
    "changes",
    [
        {"landmarks": None},
        {"landmarks": [[1.0, 2.0]]},
        {"landmarks": [[float("nan"), 1.0]] * 68},
        {"landmarks": "text"},
        {"landmarks": [["1", {}]] * 68},
        {"source_landmarks": np.zeros((67, 2))},
        {"image_to_face_mat": np.eye(3)},
        {"face_type": "half_a_face"},
        {"face_type": np.zeros(3)},
        {"source_filename": 12},
    ],
)
def test_metadata_that_makes_no_face_is_damaged(changes: dict[str, Any]) -> None:
    with pytest.raises(DataCorrupt, match=r"a\.jpg"):
        read_face(face_jpeg(**changes), "a.jpg")
    with pytest.raises(DataCorrupt, match="dictionary"):
        face_from_metadata([1, 2], (64, 64), "a.jpg")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seg_ie_polys": {"polys": [{"type": 7, "pts": np.zeros((3, 2), np.float32)}]}}, "polygon"),
        ({"seg_ie_polys": [(np.zeros(2), np.zeros((3, 2)))]}, "polygon"),
        ({"seg_ie_polys": "text"}, "polygon"),
        ({"xseg_mask": np.zeros((4, 4), np.uint8)}, "xseg_mask"),
        ({"xseg_mask": np.zeros((4, 1), np.float32)}, "xseg_mask"),
        ({"source_rect": np.zeros(3, np.int32)}, "source_rect"),
    ],
)
def test_a_face_survives_a_broken_part_and_says_so(changes: dict[str, Any], words: str) -> None:
    face = read_face(face_jpeg(**changes), "a.jpg")
    assert face is not None
    assert len(face.faults) == 1
    assert words in face.faults[0]


def test_masks_keep_their_size_and_fit() -> None:
    mask = np.zeros((48, 48), np.float32)
    mask[10:30, 5:40] = 1.0
    np.testing.assert_array_equal(decode_mask(encode_mask(mask), "a"), mask)
    noise = np.random.default_rng(0).random((600, 600), dtype=np.float32)
    encoded = encode_mask(noise)
    assert len(encoded) <= 50_000
    assert encoded[:2] == b"\xff\xd8"
    assert decode_mask(encoded, "a").shape == (600, 600)
    with pytest.raises(InvalidInput):
        encode_mask(noise, room=100)


def test_masks_that_claim_too_much_are_not_decoded() -> None:
    done, png = cv2.imencode(".png", np.zeros((8, 8), np.uint8))
    assert done
    data = png.tobytes()
    bomb = data[:16] + struct.pack(">II", 100_000, 100_000) + data[24:]
    done, tiff = cv2.imencode(".tiff", np.zeros((8, 8), np.uint8))
    assert done
    for broken in (bomb, data[:30], b"", b"\x89PNG\r\n\x1a\n", tiff.tobytes()):
        with pytest.raises(DataCorrupt, match=r"a\.jpg"):
            decode_mask(broken, "a.jpg")


def test_metadata_survives_a_round_trip() -> None:
    values = metadata(4, seg_ie_polys=[(1, [(1.0, 2.0), (3.0, 4.0), (5.0, 1.0)])], eyebrows_expand_mod=0.5)
    face = face_from_metadata(values, (64, 64), "a.jpg")
    again = face_from_metadata(metadata_from_face(face), (64, 64), "a.jpg")
    np.testing.assert_array_equal(again.landmarks, face.landmarks)
    assert again.source_rect == face.source_rect
    assert again.eyebrows_expand_mod == 0.5
    assert isinstance(again.polygons[0], LegacyPolygon)
    np.testing.assert_array_equal(again.polygons[0].points, face.polygons[0].points)


@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1) | st.none(),
    header=st.booleans(),
)
@settings(max_examples=300, deadline=1000)
def test_damaged_files_end_in_a_face_or_an_error_of_ours(
    edits: list[tuple[float, int]], cut: float | None, header: bool
) -> None:
    data = bytearray(face_jpeg(5, xseg_mask=mask_values()[0]))
    reach = 400 if header else len(data)
    for place, value in edits:
        data[min(int(place * reach), len(data) - 1)] = value
    damaged = bytes(data if cut is None else data[: int(cut * len(data))])
    try:
        face = read_face(damaged, "a.jpg")
        decode_picture(damaged, "a.jpg")
        if face is not None and face.mask_image is not None:
            decode_mask(face.mask_image, "a.jpg")
    except DflError:
        pass


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=1000)
def test_any_bytes_end_in_an_error_of_ours(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff"):
        with pytest.raises(DflError):
            read_face(start + data, "a.jpg")
