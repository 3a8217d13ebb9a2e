"""Put faces over a plate inside a window, and nowhere else.

Convention:
    Arrays are (h, w, ...) over a window of the plate, scene-linear in the plate's own primaries, unbounded;
    ``matte`` is (h, w) float32 in [0, 1]. Colours are not premultiplied by the matte. The plate is premultiplied by its
    own alpha, faces are not: :func:`cover` gives them the plate's before the two are mixed. The composite replaces
    colour, coverage stays the plate's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from dflcore.io.plate import Window
from dflcore.types import Affine, FloatArray

HALF_MAX = 65504.0
"""Largest finite half; stands in for an infinite highlight where light is mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceShare:
    """One face's part in a frame: whose it is, what of it is seen, and where its square lies.

    Attributes:
        person: who it is, by the name mattes are given; may be empty.
        window: in the coordinates of the plate's data window.
        matte: (h, w) float32 in [0, 1]: the face's matte less what faces in front of it hide.
        aligned_from_plate: of the painted square, in the same coordinates; None where nobody told.
        size: side of that square in pixels.
    """

    person: str
    window: Window
    matte: FloatArray
    aligned_from_plate: Affine | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceLayers:
    """One face, or all faces of a frame, over a window of the plate.

    Attributes:
        window: in the coordinates of the plate's data window.
        swap, raw: (h, w, 3) float32; 0 outside the aligned square.
        matte, learned_source, learned_target, hull, segmentation: (h, w) float32 in [0, 1].
        st: (2, h, w) float32; 0 outside the aligned square.
        person, aligned_from_plate, size: of a single face, as :class:`FaceShare` has them.
        shares: of several faces as one, rearmost first; empty for a single face.
    """

    window: Window
    swap: FloatArray
    raw: FloatArray
    matte: FloatArray
    learned_source: FloatArray
    learned_target: FloatArray
    hull: FloatArray
    segmentation: FloatArray
    st: FloatArray
    person: str = ""
    aligned_from_plate: Affine | None = None
    size: int = 0
    shares: tuple[FaceShare, ...] = ()

    def parts(self) -> tuple[FaceShare, ...]:
        """Every face's part, rearmost first; a single face's is its own matte."""
        return self.shares or (self._share(),)

    def _share(self) -> FaceShare:
        return FaceShare(
            person=self.person,
            window=self.window,
            matte=self.matte,
            aligned_from_plate=self.aligned_from_plate,
            size=self.size,
        )


def stack_faces(faces: Sequence[FaceLayers]) -> FaceLayers | None:
    """Several faces as one, later ones over earlier ones; None for no face, a single face as it is.

    ``plate + matte * (swap - plate)`` of the result equals compositing the faces one after the other: the matte is
    their "over", ``swap`` the colour that belongs to it. Parts of mattes are the largest of all faces; ``raw`` and
    ``st`` are those of the topmost face that has a matte there. Shares say what of each face is seen: they sum to the
    matte.
    """
    if len(faces) < 2:
        return faces[0] if faces else None
    stacked = extend_to(faces[0], around([face.window for face in faces]))
    shares = _copied(faces[0])
    for face in faces[1:]:
        _lay_over(stacked, face)
        for share in shares:
            _hide(share, face)
        shares += _copied(face)
    return replace(stacked, shares=tuple(shares))


def composite(plate: FloatArray, swap: FloatArray, matte: FloatArray) -> FloatArray:
    """Mix colours by the matte; where it is 1 the result is exactly ``swap``, where it is 0 exactly ``plate``.

    Args:
        plate: (h, w, 3) float32. Infinities count as :data:`HALF_MAX`, NaN as the swapped face.
        swap: (h, w, 3) float32, finite, premultiplied as the plate is.
    """
    weight = matte[..., None]
    if np.isfinite(plate).all():
        return np.asarray(plate * (1.0 - weight) + swap * weight, np.float32)
    finite = np.nan_to_num(plate, nan=0.0, posinf=HALF_MAX, neginf=-HALF_MAX)
    finite = np.where(np.isnan(plate), swap, finite)
    return np.asarray(finite * (1.0 - weight) + swap * weight, np.float32)


def cover(swap: FloatArray, coverage: FloatArray | None) -> FloatArray:
    """A face premultiplied by the plate's alpha, as the plate is; None is a solid plate.

    Args:
        swap: (h, w, 3) float32, unpremultiplied.
        coverage: (h, w) float32 in [0, 1].
    """
    return swap if coverage is None else swap * coverage[..., None]


def uncover(rgb: FloatArray, coverage: FloatArray | None) -> FloatArray:
    """Finite premultiplied light (h, w, 3) without its alpha; light where alpha is 0 stays what it is."""
    if coverage is None:
        return rgb
    divisor = np.where(coverage > 0.0, coverage, np.float32(1.0))[..., None]
    with np.errstate(over="ignore"):  # a glow over next to no alpha
        return np.asarray(np.clip(rgb / divisor, -HALF_MAX, HALF_MAX), np.float32)


def quantise(values: FloatArray, pixel_type: str) -> FloatArray:
    """Values as a file of that pixel type will hold them, so that what is composited is what is delivered."""
    return values if pixel_type != "half" else to_float(to_finite(values, np.float16))


def to_finite(values: FloatArray, dtype: DTypeLike) -> NDArray[Any]:
    """float32 → the type of a file; what half cannot hold becomes its largest number, where rounding would overflow."""
    if np.dtype(dtype) != np.float16:
        return values
    clamped = torch.from_numpy(np.ascontiguousarray(values)).clamp(-HALF_MAX, HALF_MAX)
    return np.asarray(clamped.half().numpy())


def to_half(values: NDArray[Any]) -> NDArray[np.float16]:
    """float32 → float16, many times faster than numpy's own conversion; the same rounding."""
    if values.dtype == np.float16:
        return values
    return np.asarray(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).half().numpy())


def to_float(values: NDArray[Any]) -> FloatArray:
    """float16 → float32, exact, many times faster than numpy's own conversion."""
    if values.dtype == np.float32:
        return values
    return np.asarray(torch.from_numpy(np.ascontiguousarray(values)).float().numpy())


def cast(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Between half and float; same-type values are returned as they are, bit for bit."""
    return to_half(values) if np.dtype(dtype) == np.float16 else to_float(values)


def empty_pixels(window: Window, channel_count: int, dtype: DTypeLike) -> NDArray[Any]:
    """(h, w, c) zeros. Only three channels lie side by side in memory, as a file's colours do; others plane by plane,
    as EXR packs them, so that writing them costs no further copy."""
    if channel_count == 3:
        return np.zeros((window.height, window.width, channel_count), dtype)
    return np.zeros((channel_count, window.height, window.width), dtype).transpose(1, 2, 0)


def inside(window: Window, data_window: Window) -> tuple[slice, slice]:
    """Row and column slices of an array over ``data_window`` that select ``window``."""
    top, left = window.y - data_window.y, window.x - data_window.x
    return slice(top, top + window.height), slice(left, left + window.width)


def intersect(a: Window, b: Window) -> Window | None:
    """The common rectangle, None if there is none."""
    left, top = max(a.x, b.x), max(a.y, b.y)
    right, bottom = min(a.x + a.width, b.x + b.width), min(a.y + a.height, b.y + b.height)
    if right <= left or bottom <= top:
        return None
    return Window(x=left, y=top, width=right - left, height=bottom - top)


def around(windows: Sequence[Window]) -> Window:
    """The smallest rectangle that holds all of them."""
    left, top = min(one.x for one in windows), min(one.y for one in windows)
    right = max(one.x + one.width for one in windows)
    bottom = max(one.y + one.height for one in windows)
    return Window(x=left, y=top, width=right - left, height=bottom - top)


def crop_to(face: FaceLayers, window: Window) -> FaceLayers:
    """A single face over a smaller window."""
    if face.window == window:
        return face
    area = inside(window, face.window)
    return replace(
        face,
        window=window,
        swap=np.ascontiguousarray(face.swap[area]),
        raw=np.ascontiguousarray(face.raw[area]),
        matte=np.ascontiguousarray(face.matte[area]),
        learned_source=face.learned_source[area],
        learned_target=face.learned_target[area],
        hull=face.hull[area],
        segmentation=face.segmentation[area],
        st=np.ascontiguousarray(face.st[:, *area]),
    )


def extend_to(face: FaceLayers, window: Window) -> FaceLayers:
    """A copy of the face over a larger window, 0 where it was not."""
    area = inside(face.window, window)

    def grow(values: FloatArray) -> FloatArray:
        grown = np.zeros((window.height, window.width, *values.shape[2:]), np.float32)
        grown[area] = values
        return grown

    return FaceLayers(
        window=window,
        swap=grow(face.swap),
        raw=grow(face.raw),
        matte=grow(face.matte),
        learned_source=grow(face.learned_source),
        learned_target=grow(face.learned_target),
        hull=grow(face.hull),
        segmentation=grow(face.segmentation),
        st=np.stack([grow(plane) for plane in face.st]),
    )


def _lay_over(stacked: FaceLayers, face: FaceLayers) -> None:
    """Put a face over the arrays of those stacked so far, inside the face's own window."""
    area = inside(face.window, stacked.window)
    below = stacked.matte[area]
    matte = below + face.matte * (1.0 - below)
    is_free = (below <= 0) & face.st.any(axis=0)  # inside the square, whatever is in front of the face
    share = np.divide(face.matte, matte, out=is_free.astype(np.float32), where=matte > 0)[..., None]
    is_top = (face.matte > 0) | is_free
    swap, st = stacked.swap[area], stacked.st[:, *area]
    swap += share * (face.swap - swap)
    np.copyto(stacked.raw[area], face.raw, where=is_top[..., None])
    np.copyto(st, face.st, where=is_top[None])
    below[...] = matte
    for name in ("learned_source", "learned_target", "hull", "segmentation"):
        mask = getattr(stacked, name)[area]
        np.maximum(mask, getattr(face, name), out=mask)


def _copied(face: FaceLayers) -> list[FaceShare]:
    return [replace(share, matte=share.matte.copy()) for share in face.parts()]


def _hide(share: FaceShare, face: FaceLayers) -> None:
    """Take out of a share what a face over it covers."""
    common = intersect(share.window, face.window)
    if common is not None:
        share.matte[inside(common, share.window)] *= 1.0 - face.matte[inside(common, face.window)]
