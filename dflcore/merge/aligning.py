"""From landmarks and light to a face ready for the network.

Convention:
    A faceset's landmarks and transforms are relative to the display window's top-left corner; everything else here is
    in the coordinates of the data window ("plate pixels"). The transforms hold the pixel aspect, so faces of a plate
    whose pixels are not square reach the network undistorted and return squeezed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dflcore.color.ocio import ColorConverter
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.geometry.landmarks import hull_mask
from dflcore.geometry.warp import plate_bounds, warp_to_aligned
from dflcore.io.plate import Window
from dflcore.merge.composite import HALF_MAX, intersect, uncover
from dflcore.merge.exposure import Exposure, measure_exposure
from dflcore.merge.light import PlateLight
from dflcore.merge.stages import StepClock
from dflcore.types import Affine, FaceRecord, FaceType, FloatArray

_INPUT_MARGIN_PX = 16
"""Plate pixels kept around the aligned square for the resampling filter."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedFace:
    """One face ready for the network.

    Attributes:
        aligned_from_plate: (2, 3), plate pixels to pixels of the network's square.
        seen: (R, R, 3) float32, the plate's light in aligned space, sRGB-encoded, unbounded.
        hull: (R, R) float32 in [0, 1], aligned space.
        segmentation: (R, R) float32 in [0, 1], aligned space: the stored mask that says where the target's face is
            seen; None where there is none.
        broken_px: plate pixels of the crop that were NaN or infinite.
    """

    record: FaceRecord
    aligned_from_plate: Affine
    seen: FloatArray
    hull: FloatArray
    segmentation: FloatArray | None
    exposure: Exposure
    broken_px: int

    def encoded(self) -> FloatArray:
        """What the network is shown: (R, R, 3) float32 sRGB-encoded in [0, 1]."""
        return np.clip(self.exposure.fit(self.seen), 0.0, 1.0)


class FaceAligner:
    """Cuts faces out of a frame's light for one kind of network."""

    def __init__(self, face_type: FaceType, resolution: int, converter: ColorConverter, clock: StepClock) -> None:
        self._face_type, self._resolution = face_type, resolution
        self._converter = converter
        self._clock = clock

    def align(self, light: PlateLight, record: FaceRecord, segmentation: FloatArray | None) -> AlignedFace | None:
        """None for a face wholly outside the data window.

        Args:
            segmentation: (R, R) in [0, 1], the stored mask in the network's square.

        Raises:
            DataCorrupt: landmarks do not tell where the square of a face of another type lies.
        """
        size = self._resolution
        model_from_display = model_from_plate(record, self._face_type, size)
        display = light.image.display_window
        points = record.landmarks.points.astype(np.float64) + np.array([display.x, display.y])
        aligned_from_plate = affine.compose(model_from_display, affine.shift(-display.x, -display.y))
        left, top, width, height = plate_bounds(aligned_from_plate, size)
        wanted = Window(
            x=left - _INPUT_MARGIN_PX,
            y=top - _INPUT_MARGIN_PX,
            width=width + 2 * _INPUT_MARGIN_PX,
            height=height + 2 * _INPUT_MARGIN_PX,
        )
        window = intersect(wanted, light.data_window)
        if window is None or intersect(Window(x=left, y=top, width=width, height=height), light.data_window) is None:
            return None
        with self._clock.step("warp"):
            crop, broken_px = _sanitise(light.crop(window))
            crop = uncover(crop, light.coverage(window))
            planes = torch.from_numpy(crop).permute(2, 0, 1)
            aligned = warp_to_aligned(planes, aligned_from_plate, size, origin=(window.x, window.y), padding="border")
            rgb = np.ascontiguousarray(aligned.permute(1, 2, 0).numpy())
        with self._clock.step("matte"):
            hull = hull_mask(affine.apply(aligned_from_plate, points), size, size)
        with self._clock.step("colour"):
            seen = self._converter.to_network(rgb, light.color_space)
            exposure = measure_exposure(seen, hull)
        return AlignedFace(
            record=record,
            aligned_from_plate=aligned_from_plate,
            seen=seen,
            hull=hull,
            segmentation=segmentation,
            exposure=exposure,
            broken_px=broken_px,
        )


def _sanitise(rgb: FloatArray) -> tuple[FloatArray, int]:
    """Finite light for the network: infinities become the largest half, NaN the crop's median; how many there were."""
    finite = np.isfinite(rgb)
    if finite.all():
        return rgb, 0
    median = np.median(rgb[finite]) if finite.any() else 0.0
    fixed = np.nan_to_num(rgb, nan=float(median), posinf=HALF_MAX, neginf=0.0)
    return fixed.astype(np.float32), int((~finite).any(axis=2).sum())
