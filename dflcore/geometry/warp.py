"""Resampling between plate and aligned space. The only place that turns a transform into pixels.

Convention:
    Points are (x, y), origin at the top-left corner, centre of pixel column i at i + 0.5; tensors are (..., H, W).
    ``aligned_from_plate`` maps plate points to aligned points. Windows are (x, y, width, height) in whole plate pixels.
    Outside the source image, ``border`` repeats its edge and ``zeros`` is black; an image's edge pixels count as
    full, so ``zeros`` fades within one to two pixels of the edge. Values are never clipped: light above 1.0, negative
    values and the cubic's small overshoot at hard edges all pass.

Sampling: a cubic that returns the pixels themselves at pixel centres, and straight ramps exactly. When the result is
coarser than the source, the source is first blurred in proportion (``antialias``).

On a CPU the cubic's sixteen taps are rows of a table of pixels, summed by torch's ``embedding_bag``: one look-up brings
all channels of a pixel, which is several times as fast as ``grid_sample``. Both give the same numbers to within the
fineness of the table of weights, 1/16384 of a pixel.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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
_KEYS = -0.75
"""PyTorch's parameter of the cubic (Keys 1981, "Cubic convolution interpolation for digital image processing")."""
_PHASE_BITS = 14
"""Positions between pixels are told apart to 1 / 2 ** this."""
_PHASES = 1 << _PHASE_BITS
_FRINGE = 5
"""Pixels put around an image: a tap that reaches them sees the edge, or black, whatever lies further out."""
_CHUNK_PIXELS = 1 << 14
"""Target pixels sampled at once: their weights and indices stay in the processor's cache."""


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
        (C, size, size) or (B, C, size, size), dtype and device of ``plate``; in memory the channels may lie together.

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
    inside: NDArray[np.bool_] | None = None,
) -> Tensor:
    """Put an aligned image back where it came from, for one window of the plate.

    Args:
        aligned: (C, S, S) or (B, C, S, S) floating point, any colour space, unbounded. Alpha must be premultiplied.
        aligned_from_plate: (2, 3), plate pixels to pixels of ``aligned``.
        window: (x, y, width, height) in plate pixels; see :func:`plate_bounds`.
        padding: what lies outside the aligned square.
        antialias: blur before shrinking.
        inside: (height, width), the target pixels that are wanted; the others come out as 0 and cost little.

    Returns:
        (C, height, width) or (B, C, height, width), dtype and device of ``aligned``; in memory the channels may lie
        together.

    Raises:
        InvalidInput: the window is empty, or the tensor is not an image.
    """
    x, y, width, height = window
    aligned_from_window = affine.compose(aligned_from_plate, affine.shift(x, y))
    return _resample(aligned, aligned_from_window, width, height, padding, antialias, inside)


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
    m = aligned_from_plate
    # Sums in float32 of numbers that are small in the window's middle: exact to 1e-7 wherever the window lies.
    middle = (x + 0.5 * width, y + 0.5 * height)
    columns = x + np.arange(width, dtype=np.float64) + 0.5 - middle[0]
    rows = y + np.arange(height, dtype=np.float64) + 0.5 - middle[1]
    at_middle = affine.apply(m, middle)
    result = np.empty((2, height, width), np.float32)
    for axis, (sign, start) in enumerate(((1.0, 0.0), (-1.0, 1.0))):
        by_row = start + sign * (m[axis, 1] * rows + at_middle[axis]) / size
        by_column = sign * m[axis, 0] * columns / size
        np.add(by_row[:, None].astype(np.float32), by_column[None].astype(np.float32), out=result[axis])
    return result


def _resample(
    image: Tensor,
    image_from_target: Affine,
    width: int,
    height: int,
    padding: Padding,
    antialias: bool,
    inside: NDArray[np.bool_] | None = None,
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
        return copied if inside is None else copied * torch.from_numpy(inside).to(copied)
    planes = image.reshape(1, -1, *image.shape[-2:])  # (1, B*C, H, W): one transform serves all
    shrinkage = affine.scale_of(image_from_target) if antialias else 1.0
    prepared, prepared_from_image = _prefilter(planes, image_from_target, width, height, padding, shrinkage)
    prepared_from_target = affine.compose(prepared_from_image, image_from_target)
    if _is_plain(prepared):
        sampled = _sample_rows(prepared, prepared_from_target, width, height, padding, inside)
    else:
        sampled = _sample_grid(prepared, prepared_from_target, width, height, padding)
        if inside is not None:
            sampled = sampled * torch.from_numpy(inside).to(sampled)
    return sampled.reshape(*image.shape[:-2], height, width)


def _is_plain(planes: Tensor) -> bool:
    """float32 in the processor's own memory that nobody wants gradients of."""
    return planes.device.type == "cpu" and planes.dtype == torch.float32 and not planes.requires_grad


def _sample_grid(planes: Tensor, planes_from_target: Affine, width: int, height: int, padding: Padding) -> Tensor:
    """(1, N, height, width) by torch's own sampler: any device, any type, differentiable."""
    grid = _sampling_grid(planes_from_target, width, height, planes.shape[-1], planes.shape[-2])
    return F.grid_sample(planes, grid.to(planes), mode="bicubic", padding_mode=padding, align_corners=False)


def _sample_rows(
    planes: Tensor,
    planes_from_target: Affine,
    width: int,
    height: int,
    padding: Padding,
    inside: NDArray[np.bool_] | None,
) -> Tensor:
    """(1, N, height, width), channels together in memory: every target pixel a weighted sum of sixteen rows."""
    pixels = _with_fringe(planes, padding)  # (h + 2 fringe, w + 2 fringe, N)
    rows, stride, channels = pixels.shape
    table = torch.from_numpy(pixels).view(-1, channels)
    across, down = _weight_tables()
    tap = torch.arange(4, dtype=torch.int32)
    taps = (tap[:, None] * stride + tap[None]).reshape(1, 16) + (_FRINGE - 1) * (stride + 1)
    result = torch.empty(height, width, channels) if inside is None else torch.zeros(height, width, channels)
    step = max(_CHUNK_PIXELS // width, 1)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        wanted = None if inside is None else np.flatnonzero(inside[top:bottom].any(axis=0))
        if wanted is not None and not len(wanted):
            continue
        left, right = (0, width) if wanted is None else (int(wanted[0]), int(wanted[-1]) + 1)
        x, y = _positions(planes_from_target, (left, right), (top, bottom), (stride, rows))
        weights = down.index_select(0, y & (_PHASES - 1))
        weights *= across.index_select(0, x & (_PHASES - 1))  # (n, 16)
        corner = (y >> _PHASE_BITS) * stride + (x >> _PHASE_BITS)
        found = F.embedding_bag(corner[:, None] + taps, table, mode="sum", per_sample_weights=weights)
        found = found.view(bottom - top, right - left, channels)
        if inside is not None:
            found *= torch.from_numpy(inside[top:bottom, left:right, None].astype(np.float32))
        result[top:bottom, left:right] = found
    return result.permute(2, 0, 1)[None]


def _with_fringe(planes: Tensor, padding: Padding) -> NDArray[np.float32]:
    """(h + 2 fringe, w + 2 fringe, N), channels together: the edge repeated, or black."""
    pixels = planes[0].permute(1, 2, 0).contiguous().numpy()
    mode = cv2.BORDER_REPLICATE if padding == "border" else cv2.BORDER_CONSTANT
    height, width, channels = pixels.shape
    fringed = np.empty((height + 2 * _FRINGE, width + 2 * _FRINGE, channels), np.float32)
    cv2.copyMakeBorder(pixels, _FRINGE, _FRINGE, _FRINGE, _FRINGE, mode, dst=fringed)
    return fringed


def _positions(
    source_from_target: Affine, columns: tuple[int, int], rows: tuple[int, int], fringed: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """x and y of every target pixel of a rectangle, row by row: (n,) int32 source pixels times :data:`_PHASES`.

    Kept where all taps lie in the image with its fringe, whose size ``fringed`` is.
    """
    across = torch.arange(*columns, dtype=torch.float64) + 0.5
    down = torch.arange(*rows, dtype=torch.float64) + 0.5
    found = []
    for (by_x, by_y, offset), length in zip(source_from_target.tolist(), fringed, strict=True):
        position = (across * (by_x * _PHASES))[None] + ((down * by_y + (offset - 0.5)) * _PHASES)[:, None]
        low, high = (1 - _FRINGE) * _PHASES, (length - _FRINGE - 3) * _PHASES
        found.append(position.clamp_(low, high).round_().to(torch.int32).reshape(-1))
    return found[0], found[1]


@functools.cache
def _weight_tables() -> tuple[Tensor, Tensor]:
    """The cubic's weights by phase, each (:data:`_PHASES`, 16): those across repeated per row, those down per column.

    The product of a row of each is the weights of the four by four taps. Phases are corrected as
    :func:`_corrected_phase` says.
    """
    phase = _corrected_phase(np.arange(_PHASES) / _PHASES)
    weights = np.stack([_far(1.0 + phase), _near(phase), _near(1.0 - phase), _far(2.0 - phase)], axis=1)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return torch.from_numpy(np.tile(weights, (1, 4))), torch.from_numpy(np.repeat(weights, 4, axis=1))


def _near(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic up to one pixel away."""
    return ((_KEYS + 2.0) * distance - (_KEYS + 3.0)) * distance * distance + 1.0


def _far(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic from one to two pixels away."""
    return ((_KEYS * distance - 5.0 * _KEYS) * distance + 8.0 * _KEYS) * distance - 4.0 * _KEYS


def _corrected_phase(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """The phase in [0, 1] at which the cubic is to be asked so that straight ramps come out exactly.

    Keys' parameter -0.75 bends ramps by up to 0.05 px between pixel centres: the first moment of its weights at phase t
    is ``0.5 + 0.75 s + s³`` with s = t - 0.5. The phase whose moment is the wanted one makes ramps exact and leaves
    pixel centres alone.
    """
    return np.asarray(np.sinh(np.arcsinh(4.0 * (phase - 0.5)) / 3.0) + 0.5)


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
    if _is_plain(planes):
        kernel = np.array(weights) / total
        pixels = planes[0].permute(1, 2, 0).contiguous().numpy()
        blurred = cv2.sepFilter2D(pixels, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
        return torch.from_numpy(blurred.reshape(pixels.shape)).permute(2, 0, 1)[None]
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

    Asks for the phases that :func:`_corrected_phase` explains.
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
