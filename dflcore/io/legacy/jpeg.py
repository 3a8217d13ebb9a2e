"""The APP15 segment of the reference's JPEG files: found, replaced, and turned into a checked face and back.

Source of the layout: deepfacelab fact sheet §2.1 and §2.2. The compressed picture is never touched.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.io.legacy.pickle_values import Value, read_value
from dflcore.io.legacy.pickle_writer import write_value
from dflcore.types import FloatArray

MAX_PAYLOAD_BYTES: Final = 65_533
"""What a JPEG segment holds beside its own length."""
MAX_MASK_BYTES: Final = 50_000
"""Encoded masks are kept below this by the reference, so that the rest of the metadata fits."""
MAX_MASK_SIDE_PX: Final = 2048
MAX_PICTURE_SIDE_PX: Final = 4096

FACE_TYPES: Final = (
    "half_face",
    "midfull_face",
    "full_face",
    "full_face_no_align",
    "whole_face",
    "head",
    "head_no_align",
    "mark_only",
)
"""Every face type the reference knows by name."""

_KNOWN_KEYS: Final = frozenset(
    {
        "face_type",
        "landmarks",
        "source_filename",
        "source_rect",
        "source_landmarks",
        "image_to_face_mat",
        "eyebrows_expand_mod",
        "seg_ie_polys",
        "xseg_mask",
    }
)
_SOI, _EOI, _SOS, _APP0, _APP15 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEF
_SIZES: Final = frozenset({0xC0, 0xC1, 0xC2})
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True, slots=True)
class LegacyPolygon:
    """A label polygon: (n, 2) float64, pixels of the aligned image, counted from its corner."""

    include: bool
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyFace:
    """What the reference knows of one aligned face. Points count from pixel centres, see :mod:`dflcore.io.legacy`.

    Attributes:
        face_type: one of :data:`FACE_TYPES`.
        size: (width, height) of the aligned picture in pixels.
        landmarks: (68, 2) float64, pixels of the aligned picture.
        source_filename: base name of the frame; empty where not recorded.
        source_rect: left, top, right, bottom in frame pixels, put in order; None where not recorded.
        source_landmarks: (68, 2) float64, frame pixels; None where not recorded.
        image_to_face_mat: (2, 3) float64, frame pixels to pixels of the aligned picture.
        eyebrows_expand_mod: how far the brows of the hull are pushed up.
        polygons: label, in drawing order.
        mask_image: encoded picture of the applied mask; see :func:`decode_mask`.
        unknown_keys: what else was there and is not read.
        faults: parts that could not be used, in words; the face is whole without them.
    """

    face_type: str
    size: tuple[int, int]
    landmarks: NDArray[np.float64]
    source_filename: str = ""
    source_rect: tuple[float, float, float, float] | None = None
    source_landmarks: NDArray[np.float64] | None = None
    image_to_face_mat: NDArray[np.float64] | None = None
    eyebrows_expand_mod: float = 1.0
    polygons: tuple[LegacyPolygon, ...] = ()
    mask_image: bytes | None = None
    unknown_keys: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Segment:
    """A marker with its bytes [start, end), the marker included."""

    marker: int
    start: int
    end: int


def find_metadata(data: bytes, name: str) -> bytes | None:
    """The payload of the last APP15 segment, None without one.

    Raises:
        DataCorrupt: this is no JPEG, or its segments do not add up.
    """
    found = None
    for segment in _segments(data, name):
        if segment.marker == _APP15:
            found = data[segment.start + 4 : segment.end]
    return found


def insert_metadata(data: bytes, payload: bytes, name: str) -> bytes:
    """The JPEG with the payload as its only APP15 segment, after the last other APPn; the picture byte for byte.

    Raises:
        InvalidInput: the payload is larger than a segment can be.
        DataCorrupt: as :func:`find_metadata`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidInput(
            f"The metadata of {name} has {len(payload)} bytes; the format holds at most {MAX_PAYLOAD_BYTES}. Use a "
            "smaller mask or fewer polygon points.",
            reason="METADATA_TOO_LARGE",
            path=name,
        )
    segments = _segments(data, name)
    place = max((one.end for one in segments if _APP0 <= one.marker < _APP15), default=2)
    kept = [(0, 2), *((one.start, one.end) for one in segments if one.marker != _APP15)]
    rest = segments[-1].end
    before = b"".join(data[start:end] for start, end in kept if end <= place)
    after = b"".join(data[start:end] for start, end in kept if start >= place)
    return before + b"\xff\xef" + struct.pack(">H", len(payload) + 2) + payload + after + data[rest:]


def picture_size(data: bytes, name: str) -> tuple[int, int]:
    """(width, height) in pixels as the header says.

    Raises:
        DataCorrupt: no JPEG, no size in it, or a size of zero.
    """
    for segment in _segments(data, name):
        if segment.marker in _SIZES and segment.end - segment.start >= 9:
            height, width = struct.unpack(">HH", data[segment.start + 5 : segment.start + 9])
            if width and height:
                return int(width), int(height)
    raise _damaged(name, "its header states no picture size")


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, sRGB-encoded as the reference takes it.

    Raises:
        DataCorrupt: truncated, or not decodable.
        InvalidInput: larger than any aligned face.
    """
    width, height = picture_size(data, name)
    if max(width, height) > MAX_PICTURE_SIDE_PX:
        raise InvalidInput(
            f"{name} is {width}x{height} px; aligned faces of up to {MAX_PICTURE_SIDE_PX} px are read.",
            reason="IMAGE_TOO_LARGE",
            path=name,
        )
    if data.find(b"\xff\xd9", _segments(data, name)[-1].end) < 0:
        raise _damaged(name, "the picture is cut off")
    decoded = _decode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.shape != (height, width, 3):
        raise _damaged(name, "the picture cannot be decoded")
    return decoded


def read_face(data: bytes, name: str) -> LegacyFace | None:
    """The face a JPEG file describes, None when it holds no metadata.

    Raises:
        InvalidInput: the metadata asks for something to be run (``HOSTILE_PICKLE``).
        DataCorrupt: file or metadata are damaged.
    """
    payload = find_metadata(data, name)
    if payload is None:
        return None
    return face_from_metadata(read_value(payload, name), picture_size(data, name), name)


def face_from_metadata(values: Value, size: tuple[int, int], name: str) -> LegacyFace:
    """Checked metadata.

    Args:
        values: the dictionary as read.
        size: (width, height) of the aligned picture.
        name: for messages.

    Raises:
        DataCorrupt: what a face cannot do without is missing or makes no sense.
    """
    if not isinstance(values, dict):
        raise _damaged(name, "its metadata is no dictionary")
    found = {key: value for key, value in values.items() if value is not None}
    face_type = found.get("face_type", "full_face")
    if not isinstance(face_type, str) or face_type not in FACE_TYPES:
        raise _damaged(name, f"it is of the unknown face type {face_type!r:.60}")
    landmarks = _points(found, "landmarks", name)
    if landmarks is None:
        raise _damaged(name, "its metadata holds no landmarks")
    matrix = found.get("image_to_face_mat")
    frame_name = found.get("source_filename", "")
    if not isinstance(frame_name, str):
        raise _damaged(name, "its source_filename is no text")
    brows = found.get("eyebrows_expand_mod", 1.0)
    faults: list[str] = []
    return LegacyFace(
        face_type=face_type,
        size=size,
        landmarks=landmarks,
        source_filename=frame_name,
        source_rect=_rectangle(found.get("source_rect"), faults),
        source_landmarks=_points(found, "source_landmarks", name),
        image_to_face_mat=None if matrix is None else _numbers(matrix, (2, 3), "image_to_face_mat", name),
        eyebrows_expand_mod=float(brows) if isinstance(brows, (int, float)) else 1.0,
        polygons=_polygons(found.get("seg_ie_polys"), faults),
        mask_image=_mask_image(found.get("xseg_mask"), faults),
        unknown_keys=tuple(sorted(str(key)[:40] for key in found if key not in _KNOWN_KEYS)),
        faults=tuple(faults),
    )


def metadata_from_face(face: LegacyFace) -> dict[str, Value]:
    """The dictionary the reference writes for this face, types as it writes them."""
    values: dict[str, Value] = {"face_type": face.face_type, "landmarks": face.landmarks.tolist()}
    if face.source_filename:
        values["source_filename"] = face.source_filename
    if face.source_rect is not None:
        values["source_rect"] = np.rint(np.array(face.source_rect)).astype(np.int32)
    if face.source_landmarks is not None:
        values["source_landmarks"] = face.source_landmarks.tolist()
    if face.image_to_face_mat is not None:
        values["image_to_face_mat"] = np.asarray(face.image_to_face_mat, dtype=np.float64)
    if face.eyebrows_expand_mod != 1.0:
        values["eyebrows_expand_mod"] = face.eyebrows_expand_mod
    if face.polygons:
        values["seg_ie_polys"] = polygon_values(face.polygons)
    if face.mask_image is not None:
        values["xseg_mask"] = np.frombuffer(face.mask_image, dtype=np.uint8).reshape(-1, 1)
    return values


def polygon_values(polygons: tuple[LegacyPolygon, ...]) -> Value:
    """Label polygons as the reference writes them."""
    return {"polys": [{"type": int(one.include), "pts": one.points.astype(np.float32)} for one in polygons]}


def write_face(jpeg: bytes, face: LegacyFace, name: str) -> bytes:
    """A JPEG with the face's metadata.

    Raises:
        InvalidInput, DataCorrupt: as :func:`insert_metadata`.
    """
    return insert_metadata(jpeg, write_value(metadata_from_face(face)), name)


def decode_mask(encoded: bytes, name: str) -> FloatArray:
    """An applied mask: (h, w) float32 in [0, 1], 1 = face, of the size it was stored in.

    Raises:
        DataCorrupt: it is neither PNG nor JPEG, is too large, or cannot be decoded.
    """
    if encoded[:8] == b"\x89PNG\r\n\x1a\n" and encoded[12:16] == b"IHDR" and len(encoded) >= 24:
        width, height = struct.unpack(">II", encoded[16:24])
    elif encoded[:2] == b"\xff\xd8":
        width, height = picture_size(encoded, f"the mask of {name}")
    else:
        raise _damaged(name, "its mask is neither PNG nor JPEG")
    if not 0 < max(width, height) <= MAX_MASK_SIDE_PX:
        raise _damaged(name, f"its mask claims {width}x{height} px; up to {MAX_MASK_SIDE_PX} px are read")
    decoded = _decode(np.frombuffer(encoded, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if decoded is None or decoded.shape != (height, width):
        raise _damaged(name, "its mask cannot be decoded")
    return decoded.astype(np.float32) / np.float32(255.0)


def encode_mask(mask: FloatArray, room: int = MAX_MASK_BYTES) -> bytes:
    """(h, w) float32 in [0, 1] as PNG, or where that is larger than ``room`` as the best JPEG that fits.

    Raises:
        InvalidInput: even the smallest JPEG does not fit.
    """
    grey = np.rint(np.clip(mask, 0.0, 1.0) * 255.0).astype(np.uint8)
    done, png = cv2.imencode(".png", grey)
    if done and png.size <= room:
        return png.tobytes()
    for quality in range(100, 0, -1):
        done, jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and jpeg.size <= room:
            return jpeg.tobytes()
    raise InvalidInput(f"A mask of {mask.shape} does not fit into {room} bytes.", reason="METADATA_TOO_LARGE")


def _segments(data: bytes, name: str) -> list[_Segment]:
    """Everything between SOI and the picture data, SOS last."""
    if data[:2] != bytes([0xFF, _SOI]):
        raise _damaged(name, "it is not a JPEG file")
    segments: list[_Segment] = []
    place = 2
    while True:
        start = place
        if data[place : place + 1] != b"\xff":
            raise _damaged(name, f"there is no segment at byte {place}")
        while data[place : place + 1] == b"\xff":  # any number of fill bytes
            place += 1
        if place + 3 > len(data):
            raise _damaged(name, "it is cut off before the picture begins")
        marker = data[place]
        if marker in _STANDALONE:
            place += 1
            continue
        (length,) = struct.unpack(">H", data[place + 1 : place + 3])
        end = place + 1 + length
        if length < 2 or end > len(data) or marker in (0, _EOI):
            raise _damaged(name, f"the segment at byte {start} does not fit")
        segments.append(_Segment(marker, place - 1, end))
        if marker == _SOS:
            return segments
        place = end


def _decode(encoded: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
    try:
        decoded = cv2.imdecode(encoded, flags)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)


def _points(found: Mapping[Any, Value], key: str, name: str) -> NDArray[np.float64] | None:
    value = found.get(key)
    return None if value is None else _numbers(value, (68, 2), key, name)


def _numbers(value: Value, shape: tuple[int, ...], key: str, name: str) -> NDArray[np.float64]:
    numbers = _as_numbers(value)
    if numbers is None or numbers.shape != shape:
        raise _damaged(name, f"its {key} is not {' x '.join(map(str, shape))} numbers")
    return numbers


def _as_numbers(value: Value) -> NDArray[np.float64] | None:
    """Finite float64 of moderate size, or None."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    try:
        numbers = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if np.isfinite(numbers).all() and np.abs(numbers).max(initial=0.0) < 1e7 else None


def _rectangle(value: Value, faults: list[str]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom; sides come swapped when the detector had turned the frame."""
    if value is None:
        return None
    numbers = _as_numbers(value)
    if numbers is None or numbers.shape != (4,):
        faults.append("its source_rect is no rectangle")
        return None
    left, top, right, bottom = numbers.tolist()
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def _polygons(value: Value, faults: list[str]) -> tuple[LegacyPolygon, ...]:
    """Either form: ``{'polys': [{'type', 'pts'}]}`` or a list of (type, points)."""
    if value is None:
        return ()
    listed = value.get("polys") if isinstance(value, dict) else value
    polygons: list[LegacyPolygon] = []
    dropped = 0
    for one in listed if isinstance(listed, (list, tuple)) else [None]:
        pair = (one.get("type"), one.get("pts")) if isinstance(one, dict) else one
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            dropped += 1
            continue
        kind, points = pair[0], _as_numbers(pair[1])
        if isinstance(pair[1], (list, tuple, np.ndarray)) and len(pair[1]) == 0:
            continue  # a polygon that was begun and left
        if type(kind) is not int or kind not in (0, 1) or points is None or points.ndim != 2 or points.shape[1] != 2:
            dropped += 1
        elif len(points) >= 3:
            polygons.append(LegacyPolygon(bool(kind), points))
    if dropped:
        faults.append(f"{dropped} of its label polygons cannot be read")
    return tuple(sorted(polygons, key=lambda one: not one.include))  # drawing order: includes first


def _mask_image(value: Value, faults: list[str]) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.size == max(value.shape, default=0):
        return value.tobytes()
    faults.append("its xseg_mask is no encoded picture")
    return None


def _damaged(name: str, what: str) -> DataCorrupt:
    return DataCorrupt(f"{name} cannot be read: {what}.", reason="LEGACY_FACE_DAMAGED", path=name)
