"""Planes of a decoded movie frame → RGB, in float.

swscale converts YUV to RGB in 8- to 16-bit integers and clips; here the matrix is float32 and nothing is clipped, so
that what a limited-range signal holds above white or below black survives.

Convention:
    Chroma of 4:2:0 and 4:2:2 is sited as H.264, HEVC, ProRes and DNxHR define it: on the left of a pair of columns,
    between a pair of rows. It is interpolated linearly.

Source: ITU-R BT.601-7, BT.709-6, BT.2020-2 (matrix and quantisation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import Unsupported
from dflcore.types import FloatArray

LIMITED, FULL = 1, 2
"""FFmpeg's AVCOL_RANGE_MPEG and AVCOL_RANGE_JPEG."""
UNSPECIFIED = 2
"""FFmpeg's number for a colour tag that is not there (matrix, primaries, transfer)."""
BT709, BT601 = 1, 6
"""FFmpeg's AVCOL_SPC_BT709 and AVCOL_SPC_SMPTE170M."""

_LUMA_WEIGHTS = {  # AVColorSpace → (Kr, Kb)
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_PLANAR_YUV = re.compile(
    r"yuv(?P<alpha>a?)(?P<jpeg>j?)(?P<sampling>410|411|420|422|440|444)p(?P<bits>\d+)?(?P<big>be)?"
)
_PLANAR_RGB = re.compile(r"gbr(?P<alpha>a?)p(?P<bits>\d+)?(?P<big>be)?")
_GRAY = re.compile(r"gray(?P<bits>\d+)?(?P<big>be)?")
_REPACKED = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010": "yuv420p10",
    "p012": "yuv420p12",
    "p016": "yuv420p16",
    "p210": "yuv422p10",
    "p212": "yuv422p12",
    "y210": "yuv422p10",
    "y212": "yuv422p12",
    "xv30": "yuv444p10",
    "xv36": "yuv444p12",
}
"""The same samples in another order; swscale moves them without arithmetic."""


@dataclass(frozen=True, slots=True)
class SignalTags:
    """How code values are to be read: FFmpeg's numbers for matrix and range, never unspecified."""

    matrix: int
    range: int


def frame_to_rgb(frame: av.VideoFrame, tags: SignalTags) -> FloatArray:
    """Decode one frame's planes.

    Returns:
        (H, W, 3) float32 display-referred R'G'B', black 0, white 1, unclipped; (H, W, 4) with straight alpha where the
        movie has one.

    Raises:
        Unsupported: a matrix (ICtCp, constant luminance) or a pixel format that cannot be read.
    """
    name = re.sub(r"le$", "", frame.format.name)
    if name in _REPACKED:
        frame = frame.reformat(format=_little_endian(_REPACKED[name]))
        name = _REPACKED[name]
    if match := _PLANAR_YUV.fullmatch(name):
        return _yuv_to_rgb(frame, match, tags)
    if match := _PLANAR_RGB.fullmatch(name):
        bits = int(match["bits"] or 8)
        green, blue, red, *alpha = _planes(frame, bits, big=bool(match["big"]))
        return np.stack([red, green, blue, *alpha], axis=2) * np.float32(1 / (2**bits - 1))
    if match := _GRAY.fullmatch(name):
        bits = int(match["bits"] or 8)
        offset, scale = _luma_coding(bits, tags.range)
        gray = (_planes(frame, bits, big=bool(match["big"]))[0] - offset) * scale
        return np.repeat(gray[..., None], 3, axis=2)
    return _packed_rgb(frame)


def is_yuv(frame: av.VideoFrame) -> bool:
    """The frame holds luma and chroma, so that matrix and range matter."""
    return not frame.format.is_rgb and not frame.format.has_palette


def _yuv_to_rgb(frame: av.VideoFrame, match: re.Match[str], tags: SignalTags) -> FloatArray:
    if tags.matrix not in _LUMA_WEIGHTS:
        raise Unsupported(
            f"The movie's colour matrix (FFmpeg number {tags.matrix}) is not supported; transcode it to BT.709.",
            reason="MOVIE_MATRIX_NOT_SUPPORTED",
        )
    bits = int(match["bits"] or 8)
    signal_range = FULL if match["jpeg"] else tags.range
    luma, blue, red, *alpha = _planes(frame, bits, big=bool(match["big"]))
    height, width = luma.shape
    offset, scale = _luma_coding(bits, signal_range)
    luma = (luma - offset) * scale
    blue, red = (_upsample(_center_chroma(plane, bits, signal_range), height, width) for plane in (blue, red))

    weight_red, weight_blue = _LUMA_WEIGHTS[tags.matrix]
    weight_green = 1.0 - weight_red - weight_blue
    rgb = np.empty((height, width, 4 if alpha else 3), np.float32)
    rgb[..., 0] = luma + np.float32(2 * (1 - weight_red)) * red
    rgb[..., 2] = luma + np.float32(2 * (1 - weight_blue)) * blue
    rgb[..., 1] = (
        luma
        - np.float32(2 * weight_red * (1 - weight_red) / weight_green) * red
        - np.float32(2 * weight_blue * (1 - weight_blue) / weight_green) * blue
    )
    if alpha:
        rgb[..., 3] = alpha[0] / np.float32(2**bits - 1)
    return rgb


def _luma_coding(bits: int, signal_range: int) -> tuple[np.float32, np.float32]:
    """Code value of black, and the factor that brings white to 1."""
    if signal_range == FULL:
        return np.float32(0), np.float32(1 / (2**bits - 1))
    step = 2 ** (bits - 8)
    return np.float32(16 * step), np.float32(1 / (219 * step))


def _center_chroma(plane: FloatArray, bits: int, signal_range: int) -> FloatArray:
    """Code values → -0.5..0.5."""
    span = 2**bits - 1 if signal_range == FULL else 224 * 2 ** (bits - 8)
    return (plane - np.float32(2 ** (bits - 1))) * np.float32(1 / span)


def _planes(frame: av.VideoFrame, bits: int, *, big: bool) -> list[FloatArray]:
    """Every plane as (h, w) float32 code values."""
    dtype: np.dtype[Any] = np.dtype("u1") if bits <= 8 else np.dtype(">u2" if big else "<u2")
    planes: list[FloatArray] = []
    for plane in frame.planes:
        # The buffer may be padded at the right and below.
        rows: NDArray[Any] = np.frombuffer(memoryview(plane), dtype)[: plane.height * plane.line_size // dtype.itemsize]
        rows = rows.reshape(plane.height, plane.line_size // dtype.itemsize)
        planes.append(rows[:, : plane.width].astype(np.float32))
    return planes


def _upsample(plane: FloatArray, height: int, width: int) -> FloatArray:
    """(h, w) chroma → (height, width); columns co-sited with the left luma, rows centred."""
    if plane.shape[1] != width:
        plane = _interpolate(plane, np.arange(width) / _factor(width, plane.shape[1]), axis=1)
    if plane.shape[0] != height:
        factor = _factor(height, plane.shape[0])
        plane = _interpolate(plane, (np.arange(height) + 0.5) / factor - 0.5, axis=0)
    return plane


def _factor(full: int, reduced: int) -> int:
    return 2 if full <= 2 * reduced else 4


def _interpolate(plane: FloatArray, positions: NDArray[np.float64], *, axis: int) -> FloatArray:
    """Linear interpolation at fractional indices, the edge repeated."""
    last = plane.shape[axis] - 1
    positions = positions.clip(0, last)
    before = np.floor(positions).astype(np.intp)
    after = np.minimum(before + 1, last)
    weight = (positions - before).astype(np.float32)
    weight = weight if axis == 1 else weight[:, None]
    low: FloatArray = plane.take(before, axis=axis)
    high: FloatArray = plane.take(after, axis=axis)
    return low + (high - low) * weight


def _packed_rgb(frame: av.VideoFrame) -> FloatArray:
    """RGB in any other order: 8 bit exactly, deeper ones through 16 bit."""
    bits = max((component.bits for component in frame.format.components), default=8)
    has_alpha = any(component.is_alpha for component in frame.format.components) or frame.format.has_palette
    if not (frame.format.is_rgb or frame.format.has_palette):
        raise Unsupported(
            f"The movie's pixel format {frame.format.name} is not read; transcode it to ProRes, DNxHR or H.264.",
            reason="MOVIE_FORMAT_NOT_SUPPORTED",
        )
    if bits <= 8:
        pixels: NDArray[Any] = frame.to_ndarray(format="rgba" if has_alpha else "rgb24")
        return pixels.astype(np.float32) / np.float32(255)
    pixels = frame.to_ndarray(format="rgba64le" if has_alpha else "rgb48le")
    return pixels.astype(np.float32) / np.float32(65535)


def _little_endian(name: str) -> str:
    return name + "le" if re.search(r"p1\d$", name) else name
