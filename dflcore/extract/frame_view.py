"""One plate frame as the networks want to see it: small and whole for detection, sharp and cropped for each face.

Convention:
    Plate points have their origin at the top-left corner of the display window, in pixels as stored. The networks see
    *square* pixels: x is multiplied by the pixel aspect first. Only what is looked at is converted to sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.detect.base import shrink_image
from dflcore.geometry import affine
from dflcore.geometry.warp import plate_bounds, warp_to_aligned
from dflcore.io.aligned_image import to_uint8
from dflcore.io.plate import PlateImage
from dflcore.types import Affine, Box, Detection, FloatArray

_FACE_REACH = 1.4
"""A face's view reaches this many box sides from the box's centre: room for every landmarker's second look."""
_FACE_VIEW_PX = 768
"""Faces larger than this are shrunk for landmarks and identity, which look at 192 to 400 pixels."""
_ALIGN_MARGIN_PX = 8
"""Plate pixels around the aligned square that the resampling may touch, per pixel of shrinkage."""


@dataclass(frozen=True, slots=True)
class FaceView:
    """A face and its surroundings.

    Attributes:
        image: (h, w, 3) uint8 RGB, sRGB-encoded, square pixels.
        box: the detection, in pixels of ``image``.
        view_from_plate: (2, 3), plate pixels to pixels of ``image``.
    """

    image: NDArray[np.uint8]
    box: Box
    view_from_plate: Affine


class FrameView:
    """Looks at one frame. Not for the thread that reads files (see :mod:`dflcore.color.ocio`)."""

    def __init__(self, image: PlateImage, converter: ColorConverter) -> None:
        self._converter = converter
        self._space = image.color_space
        self._rgb = image.rgb()  # (H, W, 3) float32, plate's colour space, data window
        self._aspect = image.pixel_aspect
        self._origin = (image.data_window.x - image.display_window.x, image.data_window.y - image.display_window.y)

    def shrunk(self, longest_side: int) -> NDArray[np.uint8]:
        """The whole frame for detection: (h, w, 3) uint8 RGB, sRGB-encoded, square pixels, sides up to that long."""
        height, width = self._rgb.shape[:2]
        wanted_width = width * self._aspect
        scale = min(1.0, longest_side / max(wanted_width, height))
        small_width, small_height = max(round(wanted_width * scale), 1), max(round(height * scale), 1)
        return self._encode(shrink_image(self._rgb, small_width, small_height))

    def in_plate(self, detection: Detection, shrunk: NDArray[np.uint8]) -> Detection:
        """A detection in :meth:`shrunk` as one in plate pixels."""
        x, y = self._origin
        scale_x, scale_y = self._rgb.shape[1] / shrunk.shape[1], self._rgb.shape[0] / shrunk.shape[0]
        box = detection.box
        return replace(
            detection,
            box=Box(box.left * scale_x + x, box.top * scale_y + y, box.right * scale_x + x, box.bottom * scale_y + y),
        )

    def shows(self, box: Box) -> bool:
        """A part of the box lies in the picture."""
        height, width = self._rgb.shape[:2]
        x, y = self._origin
        return box.right > x and box.bottom > y and box.left < x + width and box.top < y + height

    def face(self, box: Box) -> FaceView:
        """The surroundings of a detection, for landmarks and identity."""
        center_x, center_y = (box.left + box.right) / 2.0, (box.top + box.bottom) / 2.0
        reach_y = _FACE_REACH * max(box.height, box.width * self._aspect)
        reach_x = reach_y / self._aspect
        left, top, right, bottom = self._clip(
            center_x - reach_x, center_y - reach_y, center_x + reach_x, center_y + reach_y
        )
        part = self._rgb[top:bottom, left:right]
        scale = min(1.0, _FACE_VIEW_PX / max(part.shape[0], part.shape[1] * self._aspect))
        width, height = max(round(part.shape[1] * self._aspect * scale), 1), max(round(part.shape[0] * scale), 1)
        view_from_plate = affine.compose(
            np.array([[width / part.shape[1], 0.0, 0.0], [0.0, height / part.shape[0], 0.0]]),
            affine.shift(-left - self._origin[0], -top - self._origin[1]),
        )
        corners = affine.apply(view_from_plate, [[box.left, box.top], [box.right, box.bottom]])
        image = self._encode(shrink_image(part, width, height))
        return FaceView(image, Box(*(float(value) for value in corners.ravel())), view_from_plate)

    def align(self, aligned_from_plate: Affine, size: int) -> FloatArray:
        """(size, size, 3) float32 RGB, sRGB-encoded, unbounded; the frame's edge is repeated outside it."""
        x, y, width, height = plate_bounds(aligned_from_plate, size)
        margin = int(_ALIGN_MARGIN_PX * max(1.0, 1.0 / affine.scale_of(aligned_from_plate)))
        left, top, right, bottom = self._clip(x - margin, y - margin, x + width + margin, y + height + margin)
        part = self._converter.to_network(self._rgb[top:bottom, left:right], self._space)
        tensor = torch.from_numpy(part).permute(2, 0, 1).contiguous()  # (3, h, w)
        origin = (left + self._origin[0], top + self._origin[1])
        aligned = warp_to_aligned(tensor, aligned_from_plate, size, origin=origin, padding="border")
        return aligned.permute(1, 2, 0).numpy()

    @property
    def pixel_aspect(self) -> float:
        """Width of a plate pixel in heights."""
        return self._aspect

    @property
    def square_from_plate(self) -> Affine:
        """Plate pixels to square pixels."""
        return np.array([[self._aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])

    def _clip(self, left: float, top: float, right: float, bottom: float) -> tuple[int, int, int, int]:
        """Plate coordinates to whole array columns and rows inside the data window, at least one of each."""
        height, width = self._rgb.shape[:2]
        x, y = self._origin
        first_column = min(max(int(np.floor(left - x)), 0), width - 1)
        first_row = min(max(int(np.floor(top - y)), 0), height - 1)
        last_column = max(min(int(np.ceil(right - x)), width), first_column + 1)
        last_row = max(min(int(np.ceil(bottom - y)), height), first_row + 1)
        return first_column, first_row, last_column, last_row

    def _encode(self, rgb: FloatArray) -> NDArray[np.uint8]:
        """Plate colours to 8-bit sRGB."""
        return to_uint8(self._converter.to_network(rgb, self._space))
