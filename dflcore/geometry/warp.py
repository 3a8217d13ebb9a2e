"""Resampling between plate and aligned space. The only place that turns a transform into pixels.

Convention:
    Points are (x, y), origin at the top-left corner, centre of pixel column i at i + 0.5; tensors are (..., H, W).
    ``aligned_from_plate`` maps plate points to aligned points. Windows are (x, y, width, height) in whole plate pixels.
    Outside the source image, ``border`` repeats its edge and ``zeros`` is black; an image's edge pixels count as
    full, so ``zeros`` fades within one to two pixels of the edge. Values are never clipped: light above 1.0, negative
    values and the cubic's small overshoot at hard edges all pass.

Sampling: a cubic that returns the pixels themselves at pixel centres, and straight ramps exactly. When the result is
coarser than the source, the source is first blurred in proportion (``antialias``).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.types import Affine, FloatArray

Padding = Literal["border", "zeros"]
Window = tuple[int, int, int, int]

_PIXEL_SIGMA = 0.4
"""Standard deviation, in pixels, of the blur an image is taken to have been sampled with; sets the antialiasing."""
_LEAST_SIGMA = 0.15
"""Blurs narrower than this, in pixels, change nothing and are left out."""
_SNAP = 1e-9
"""Transforms this close to a whole-pixel shift, in pixels, copy the pixels."""
_REACH = 3
"""Source pixels the cubic may touch on either side, one spare."""


def warp_to_aligned(
    plate: Tensor,
    aligned_from_plate: Affine,
    size: int,
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    padding: Padding = "border",
    antialias: bool = True,
) -> Tensor:
    """Cut the aligned face out of a plate, or out of a part of it.

    Args:
        plate: (C, H, W) or (B, C, H, W) floating point, any colour space, unbounded. Alpha must be premultiplied.
        aligned_from_plate: (2, 3), plate pixels to aligned pixels.
        size: side of the aligned square in pixels.
        origin: plate point of the tensor's top-left corner, for a crop or a data window that does not start at 0.
        padding: what lies outside the tensor.
        antialias: blur before shrinking.

    Returns:
        (C, size, size) or (B, C, size, size), dtype and device of ``plate``.

    Raises:
        InvalidInput: the transform has no inverse, or the tensor is not an image.
    """
    local_from_aligned = affine.compose(affine.shift(-origin[0], -origin[1]), affine.invert(aligned_from_plate))
    return _resample(plate, local_from_aligned, size, size, padding, antialias)


def warp_to_plate(
    aligned: Tensor,
    aligned_from_plate: Affine,
    window: Window,
    *,
    padding: Padding = "zeros",
    antialias: bool = True,
) -> Tensor:
    """Put an aligned image back where it came from, for one window of the plate.

    Args:
        aligned: (C, S, S) or (B, C, S, S) floating point, any colour space, unbounded. Alpha must be premultiplied.
        aligned_from_plate: (2, 3), plate pixels to pixels of ``aligned``.
        window: (x, y, width, height) in plate pixels; see :func:`plate_bounds`.
        padding: what lies outside the aligned square.
        antialias: blur before shrinking.

    Returns:
        (C, height, width) or (B, C, height, width), dtype and device of ``aligned``.

    Raises:
        InvalidInput: the window is empty, or the tensor is not an image.
    """
    x, y, width, height = window
    aligned_from_window = affine.compose(aligned_from_plate, affine.shift(x, y))
    return _resample(aligned, aligned_from_window, width, height, padding, antialias)


def plate_bounds(aligned_from_plate: Affine, size: int) -> Window:
    """The smallest window of whole plate pixels that holds the aligned square; it may reach outside the plate."""
    corners = np.array([[0.0, 0.0], [size, 0.0], [size, size], [0.0, size]])
    in_plate = affine.apply(affine.invert(aligned_from_plate), corners)
    left, top = np.floor(in_plate.min(0) + _SNAP).astype(int)
    right, bottom = np.ceil(in_plate.max(0) - _SNAP).astype(int)
    return int(left), int(top), int(right - left), int(bottom - top)


def st_map(aligned_from_plate: Affine, size: int, window: Window) -> FloatArray:
    """For every plate pixel of the window, where it lies in the aligned square.

    Convention: as Nuke's STMap node reads it: s = x / size runs right, t = 1 - y / size runs **up** from the
    bottom-left corner; values are those at pixel centres and leave [0, 1] outside the square.

    Returns:
        (2, height, width) float32: s, t.
    """
    x, y, width, height = window
    columns = x + np.arange(width, dtype=np.float64) + 0.5
    rows = (y + np.arange(height, dtype=np.float64) + 0.5)[:, None]
    m = aligned_from_plate
    s = (m[0, 0] * columns + m[0, 1] * rows + m[0, 2]) / size
    t = 1.0 - (m[1, 0] * columns + m[1, 1] * rows + m[1, 2]) / size
    return np.stack([s, t]).astype(np.float32)


def _resample(
    image: Tensor, image_from_target: Affine, width: int, height: int, padding: Padding, antialias: bool
) -> Tensor:
    """(…, height, width): every target pixel centre looked up in ``image`` ((C, H, W) or (B, C, H, W))."""
    if image.ndim not in (3, 4) or not image.is_floating_point() or 0 in image.shape:
        raise InvalidInput(
            f"Expected a floating-point image (C, H, W) or (B, C, H, W), got {tuple(image.shape)} {image.dtype}.",
            reason="BAD_IMAGE",
        )
    if width < 1 or height < 1:
        raise InvalidInput(f"The window to fill is empty: {width} x {height} pixels.", reason="EMPTY_WINDOW")
    copied = _copy_if_whole_pixels(image, image_from_target, width, height, padding)
    if copied is not None:
        return copied
    planes = image.reshape(1, -1, *image.shape[-2:])  # (1, B*C, H, W): one transform serves all
    shrinkage = affine.scale_of(image_from_target) if antialias else 1.0
    prepared, prepared_from_image = _prefilter(planes, image_from_target, width, height, padding, shrinkage)
    grid = _sampling_grid(
        affine.compose(prepared_from_image, image_from_target), width, height, prepared.shape[-1], prepared.shape[-2]
    )
    sampled = F.grid_sample(
        prepared, grid.to(prepared), mode="bicubic", padding_mode=padding, align_corners=False
    )  # (1, B*C, height, width)
    return sampled.reshape(*image.shape[:-2], height, width)


def _copy_if_whole_pixels(
    image: Tensor, image_from_target: Affine, width: int, height: int, padding: Padding
) -> Tensor | None:
    """The exact pixels when the transform is a shift by whole pixels that stays inside the image, else None."""
    x, y = round(image_from_target[0, 2]), round(image_from_target[1, 2])
    far = float(max(width, height))
    deviation = np.abs(image_from_target - affine.shift(x, y))
    if deviation[:, :2].max() * far > _SNAP * far or deviation[:, 2].max() > _SNAP:
        return None
    left, top = max(-x, 0), max(-y, 0)
    right, bottom = max(x + width - image.shape[-1], 0), max(y + height - image.shape[-2], 0)
    inside = image[..., max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    if 0 in inside.shape:
        return None
    if not (left or top or right or bottom):
        return inside.clone()
    pads = (left, right, top, bottom)
    return F.pad(inside, pads) if padding == "zeros" else F.pad(inside, pads, mode="replicate")


def _prefilter(
    planes: Tensor, image_from_target: Affine, width: int, height: int, padding: Padding, shrinkage: float
) -> tuple[Tensor, Affine]:
    """The part of the image the target needs, blurred and shrunk so that sampling it cannot alias.

    Cutting first keeps float32 sampling coordinates exact on large plates and costs only the pixels used. The blur is
    the one that turns the image's own pixel into the target's, ``sigma² = pixel_sigma² (shrinkage² - 1)``; strong
    shrinking first averages blocks of ``shrinkage / 2`` pixels.

    Returns:
        (1, N, h, w) and the transform from pixels of ``planes`` to its pixels.
    """
    block = max(int(shrinkage / 2.0), 1)
    residual = shrinkage / block
    sigma = _PIXEL_SIGMA * math.sqrt(max(residual * residual - 1.0, 0.0))
    radius = math.ceil(3.0 * sigma) if sigma > _LEAST_SIGMA else 0
    margin = (_REACH + radius) * block
    corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    needed = affine.apply(image_from_target, corners)
    edge = margin if radius or block > 1 else 0  # how much of the outside the blur must see
    left, right = _span(needed[:, 0].min(), needed[:, 0].max(), planes.shape[-1], margin, edge)
    top, bottom = _span(needed[:, 1].min(), needed[:, 1].max(), planes.shape[-2], margin, edge)
    right += -(right - left) % block
    bottom += -(bottom - top) % block
    region = _cut(planes, left, top, right, bottom, padding)
    if block > 1:
        region = F.avg_pool2d(region, block)
    if radius:
        region = _blur(region, sigma, radius)
    region_from_image = np.array([[1.0 / block, 0.0, -left / block], [0.0, 1.0 / block, -top / block]])
    return region, region_from_image


def _span(first: float, last: float, length: int, margin: int, edge: int) -> tuple[int, int]:
    """Pixels [start, stop) that cover first..last with a margin, at most ``edge`` outside the image, never empty."""
    start = min(max(math.floor(first) - margin, -edge), length + edge - 1)
    stop = max(min(math.ceil(last) + margin, length + edge), start + 1)
    return start, stop


def _cut(planes: Tensor, left: int, top: int, right: int, bottom: int, padding: Padding) -> Tensor:
    """A region that may reach outside the image."""
    height, width = planes.shape[-2:]
    if padding == "zeros" and (right <= 0 or bottom <= 0 or left >= width or top >= height):
        return planes.new_zeros(*planes.shape[:-2], bottom - top, right - left)
    x0, x1 = min(max(left, 0), width - 1), max(min(right, width), 1)
    y0, y1 = min(max(top, 0), height - 1), max(min(bottom, height), 1)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    inside = planes[..., y0:y1, x0:x1]
    pads = (x0 - left, right - x1, y0 - top, bottom - y1)
    if not any(pads):
        return inside
    if padding == "zeros":
        return F.pad(inside, pads)
    grow = tuple(max(pad, 0) for pad in pads)
    grown = F.pad(inside, grow, mode="replicate") if any(grow) else inside
    drop = [max(-pad, 0) for pad in pads]
    return grown[..., drop[2] : grown.shape[-2] - drop[3], drop[0] : grown.shape[-1] - drop[1]]


def _blur(planes: Tensor, sigma: float, radius: int) -> Tensor:
    """Separable Gaussian; the outermost pixels are repeated."""
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    total = sum(weights)
    for axis, pads in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        length = planes.shape[axis]
        padded = F.pad(planes, pads, mode="replicate")
        # Adding shifted copies is several times faster than a convolution with one channel per group.
        planes = padded.narrow(axis, 0, length) * (weights[0] / total)
        for index, weight in enumerate(weights[1:], 1):
            planes = planes.add_(padded.narrow(axis, index, length), alpha=weight / total)
    return planes


def _sampling_grid(
    source_from_target: Affine, width: int, height: int, source_width: int, source_height: int
) -> Tensor:
    """(1, height, width, 2) float32 in grid_sample's units for ``align_corners=False``.

    PyTorch's cubic uses Keys' parameter -0.75, which bends straight ramps by up to 0.05 px between pixel centres. Its
    first moment at phase t is ``0.5 + 0.75 s + s³`` with s = t - 0.5; asking for the phase whose moment is the wanted
    one makes ramps exact and leaves pixel centres alone.
    """
    columns = torch.arange(width, dtype=torch.float64) + 0.5
    rows = (torch.arange(height, dtype=torch.float64) + 0.5)[:, None]
    axes = []
    for row, length in zip(source_from_target, (source_width, source_height), strict=True):
        position = float(row[0]) * columns + (float(row[1]) * rows + (float(row[2]) - 0.5))  # in pixel centres
        whole = position.floor()
        phase = (position - whole - 0.5).float()
        corrected = torch.sinh(torch.asinh(4.0 * phase) / 3.0) + 0.5
        axes.append((whole.float() + corrected + 0.5) * (2.0 / length) - 1.0)
    return torch.stack(axes, dim=-1)[None]
