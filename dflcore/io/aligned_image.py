"""Files of aligned faces: how one is written, and how any of them is read.

=========  =======  ==========================================================
format     suffix   pixels
=========  =======  ==========================================================
``png``    .png     8-bit, sRGB-encoded
``png16``  .png     16-bit, sRGB-encoded
``jpeg``   .jpg     8-bit, sRGB-encoded, 4:4:4
``exr``    .exr     half float, scene-linear Rec.709, light above 1 kept
=========  =======  ==========================================================

A faceset may hold them side by side; a file is read by what it is, not by what the faceset was told to write.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.color.transfer import linear_from_srgb, srgb_from_linear
from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.io.atomic import atomic_path
from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.plate import Window
from dflcore.types import FloatArray

AlignedFormat = Literal["png", "png16", "exr", "jpeg"]
SUFFIXES: dict[AlignedFormat, str] = {"png": ".png", "png16": ".png", "jpeg": ".jpg", "exr": ".exr"}
EXR_COLOR_SPACE = "lin_rec709_scene"
"""What the header of an aligned EXR says its numbers are, as OpenColorIO's built-in configs name it."""
_BEAUTY = ("R", "G", "B")
_HALF_MAX = 65504.0


def write_aligned(
    path: Path, face: FloatArray | NDArray[np.uint8], format: AlignedFormat, *, jpeg_quality: int = 95
) -> None:
    """Write one aligned face whole or not at all.

    Args:
        path: has the suffix of the format.
        face: (S, S, 3) RGB, sRGB-encoded: uint8, or float32 unbounded, which integer formats clip to [0, 1].

    Raises:
        InvalidInput: the file cannot be written there.
    """
    if format == "exr":
        _write_exr(path, to_float(face))
        return
    data = _encode_integers(face, format, jpeg_quality)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def to_uint8(face: FloatArray | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """sRGB-encoded, any shape, to 8 bits: clips, since this is display encoding; NaN is black."""
    if face.dtype == np.uint8:
        return np.asarray(face, dtype=np.uint8)
    return np.asarray(np.rint(np.clip(to_float(face), 0.0, 1.0) * 255.0), dtype=np.uint8)


def to_float(face: FloatArray | NDArray[np.uint8]) -> FloatArray:
    """sRGB-encoded, any shape, 255 → 1.0; finite."""
    if face.dtype == np.uint8:
        return np.asarray(face, dtype=np.float32) / np.float32(255.0)
    return np.nan_to_num(np.asarray(face, dtype=np.float32), nan=0.0, posinf=_HALF_MAX, neginf=0.0)


def decode_aligned(data: bytes, path: Path) -> FloatArray | NDArray[np.uint8]:
    """One aligned face from the bytes of its file.

    Args:
        path: where they come from; its suffix says how EXR is told from the rest.

    Returns:
        (H, W, 3) RGB, sRGB-encoded: uint8 for 8-bit files, else float32, unbounded for EXR.

    Raises:
        DataCorrupt: it cannot be decoded.
    """
    if path.suffix.lower() == ".exr":
        return _decode_exr(data, path)
    encoded = np.frombuffer(data, dtype=np.uint8)
    decoded: NDArray[Any] | None = None
    if encoded.size:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(encoded, flags)
    if decoded is None or decoded.ndim != 3 or decoded.dtype not in (np.uint8, np.uint16):
        raise _damaged(path)
    if decoded.dtype == np.uint16:
        return np.asarray(decoded, dtype=np.float32) / np.float32(65535.0)
    return np.asarray(decoded, dtype=np.uint8)


def _encode_integers(face: FloatArray | NDArray[np.uint8], format: AlignedFormat, jpeg_quality: int) -> bytes:
    pixels: NDArray[Any] = face[..., ::-1]  # OpenCV writes BGR
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if format == "png16":
        pixels = np.rint(np.clip(to_float(pixels), 0.0, 1.0) * 65535.0).astype(np.uint16)
    else:
        pixels = to_uint8(pixels)
    if format == "jpeg":
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    is_encoded, encoded = cv2.imencode(SUFFIXES[format], np.ascontiguousarray(pixels), parameters)
    if not is_encoded:
        raise InvalidInput(f"An aligned face cannot be encoded as {format}.", reason="ENCODE_FAILED")
    return encoded.tobytes()


def _write_exr(path: Path, face: FloatArray) -> None:
    linear = linear_from_srgb(torch.from_numpy(np.ascontiguousarray(face))).numpy()
    window = Window(x=0, y=0, width=face.shape[1], height=face.shape[0])
    layer = ExrLayer(name="", channels=_BEAUTY, pixels=np.clip(linear, -_HALF_MAX, _HALF_MAX))
    write_exr(path, layers=[layer], data_window=window, display_window=window, color_space=EXR_COLOR_SPACE)


def _decode_exr(data: bytes, path: Path) -> FloatArray:
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(data)
        file.flush()
        try:
            channels = read_exr_layers(Path(file.name))
            linear = np.stack([channels[name] for name in _BEAUTY], axis=-1).astype(np.float32)
        except (KeyError, DataCorrupt) as error:
            raise _damaged(path) from error
    return srgb_from_linear(torch.from_numpy(linear)).numpy()


def _damaged(path: Path) -> DataCorrupt:
    return DataCorrupt(
        f"The aligned face {path} is damaged; delete it, or extract its frame again.", reason="FACE_DAMAGED", path=path
    )
