"""Files of the reference implementation, made with Python's own pickle and without any code of the product."""

from __future__ import annotations

import enum
import pickle
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PROTOCOLS = (2, 3, 4, 5)


class FaceType(enum.IntEnum):
    HALF = 0
    FULL = 2
    WHOLE_FACE = 4
    MARK_ONLY = 100


class SampleType(enum.IntEnum):
    FACE = 1
    FACE_PERSON = 2


def dumps(value: Any, protocol: int = 3, *, old_numpy: bool = True) -> bytes:
    """Pickle bytes as a writer with numpy 1 or 2 makes them."""
    with _reference_modules():
        data = pickle.dumps(value, protocol)
    if not old_numpy:
        return data
    if protocol >= 4 and b"numpy._core" in data:
        assert data[2:3] == b"\x95"
        data = data[:2] + data[11:]  # the frame's length would be wrong; readers do without
        assert b"\x95" not in data[2:3]
    for name in ("multiarray", "numeric"):
        module = f"numpy._core.{name}".encode()
        older = f"numpy.core.{name}".encode()
        data = data.replace(b"\x8c" + bytes([len(module)]) + module, b"\x8c" + bytes([len(older)]) + older)
        data = data.replace(b"c" + module + b"\n", b"c" + older + b"\n")
    return data


def loads(data: bytes) -> Any:
    """What the reference would read from bytes that a test has just made."""
    with _reference_modules():
        return pickle.loads(data)  # noqa: S301


@contextmanager
def _reference_modules() -> Iterator[None]:
    """The enumerations under the names the reference gives them."""
    names = {"facelib.FaceType": FaceType, "samplelib.Sample": SampleType}
    saved = {kind: kind.__module__ for kind in names.values()}
    try:
        for module_name, kind in names.items():
            module = types.ModuleType(module_name)
            setattr(module, kind.__name__, kind)
            sys.modules[module_name] = module
            sys.modules.setdefault(module_name.split(".")[0], types.ModuleType(module_name.split(".")[0]))
            kind.__module__ = module_name
        yield
    finally:
        for kind, name in saved.items():
            kind.__module__ = name
        for name in [*names, "facelib", "samplelib"]:
            sys.modules.pop(name, None)


def plate_points(seed: int = 0) -> np.ndarray:
    """(68, 2) a face somewhere in a frame, counted from pixel centres as the reference does."""
    from dflcore.geometry.template import HEAD_MODEL

    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.3, 0.3), rng.uniform(1.2, 2.0)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return HEAD_MODEL[:, :2] @ turn.T + rng.uniform(300, 400, 2)


def reference_matrix(points: np.ndarray, size: int, padding: float = 0.2109375) -> np.ndarray:
    """Frame to aligned pixels as the fact sheet describes it for centred face types, solved with OpenCV."""
    from skimage.transform import SimilarityTransform

    from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE

    template_from_frame = SimilarityTransform.from_estimate(points[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
    half = 0.5 + np.sqrt(2.0) * padding
    square = np.array([[0.5 - half, 0.5 - half], [0.5 + half, 0.5 - half], [0.5 + half, 0.5 + half]])
    corners = template_from_frame.inverse(square).astype(np.float32)
    return cv2.getAffineTransform(corners, np.array([[0, 0], [size, 0], [size, size]], np.float32))


def metadata(seed: int = 0, size: int = 64, frame: str = "00012.png", **changes: Any) -> dict[str, Any]:
    """Everything the reference writes for a face; a change to None leaves the key out."""
    points = plate_points(seed)
    matrix = reference_matrix(points, size)
    low, high = points.min(0).astype(int), points.max(0).astype(int)
    values = {
        "face_type": "full_face",
        "landmarks": (points @ matrix[:, :2].T + matrix[:, 2]).tolist(),
        "source_filename": frame,
        "source_rect": np.array([*low, *high], np.int32),
        "source_landmarks": points.tolist(),
        "image_to_face_mat": matrix,
    } | changes
    return {key: value for key, value in values.items() if value is not None}


def picture(seed: int = 0, size: int = 64) -> np.ndarray:
    """(size, size, 3) uint8 RGB, soft enough for JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def plain_jpeg(seed: int = 0, size: int = 64) -> bytes:
    done, data = cv2.imencode(".jpg", picture(seed, size)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()


def with_payload(jpeg: bytes, payload: bytes) -> bytes:
    """APP15 put right behind the JFIF segment."""
    assert jpeg[2:4] == b"\xff\xe0"
    end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:end] + b"\xff\xef" + struct.pack(">H", len(payload) + 2) + payload + jpeg[end:]


def face_jpeg(seed: int = 0, *, protocol: int = 3, size: int = 64, old_numpy: bool = True, **changes: Any) -> bytes:
    values = metadata(seed, size, **changes)
    return with_payload(plain_jpeg(seed, size), dumps(values, protocol, old_numpy=old_numpy))


def mask_values(size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """An encoded mask as the reference stores it, and the mask: (n, 1) uint8, (size, size) uint8."""
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : -size // 4, size // 3 :] = 255
    done, data = cv2.imencode(".png", mask)
    assert done
    return data.reshape(-1, 1), mask


def pak_bytes(faces: list[tuple[str, str | None, bytes]], *, protocol: int = 4, index: bytes | None = None) -> bytes:
    """A packed faceset of (name, person, JPEG), the last offset counted from the start of the file."""
    mask, _ = mask_values()
    entries = [
        {
            "sample_type": SampleType.FACE if person is None else SampleType.FACE_PERSON,
            "filename": name,
            "face_type": FaceType.FULL,
            "shape": (64, 64, 3),
            "landmarks": plate_points(position).tolist(),
            "seg_ie_polys": {"polys": []},
            "xseg_mask": None,
            "xseg_mask_compressed": mask if position % 2 else None,
            "eyebrows_expand_mod": 1.0,
            "source_filename": f"{position:05d}.png",
            "person_name": person,
        }
        for position, (name, person, _) in enumerate(faces)
    ]
    listing = dumps(entries, protocol, old_numpy=False) if index is None else index
    start = 16 + len(listing) + 8 * (len(faces) + 1)
    offsets = np.concatenate([[0], np.cumsum([len(jpeg) for _, _, jpeg in faces])]).astype("<u8")
    offsets[-1] += np.uint64(start)
    data = b"".join(jpeg for _, _, jpeg in faces)
    return struct.pack("<QQ", 1, len(listing)) + listing + offsets.tobytes() + data


def write_folder(folder: Path, count: int = 3, **changes: Any) -> Path:
    """A folder of faces ``00001_0.jpg``..."""
    folder.mkdir(parents=True, exist_ok=True)
    for position in range(count):
        frame = f"{position + 1:05d}"
        (folder / f"{frame}_0.jpg").write_bytes(face_jpeg(position, frame=f"{frame}.png", **changes))
    return folder
