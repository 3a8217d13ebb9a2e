"""Small pictures of chosen frames for the report: plate, result and matte around the faces."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DflError, Internal
from dflcore.io.plate import PlateImage, Window
from dflcore.merge.composite import inside, intersect, to_float
from dflcore.merge.light import PlateDeveloper
from dflcore.merge.stages import run_stages
from dflcore.qc.delivery import DeliveredFrame
from dflcore.qc.faces import as_bytes
from dflcore.qc.shot import ShotMaterial
from dflcore.types import FaceRecord, FloatArray

SIDE_PX: Final = 400
"""Square, so that an upright face fills them."""
JPEG_QUALITY: Final = 84
_AIR: Final = 1.7
"""How much more than the faces' boxes is shown."""
_LARGEST_FINITE: Final = 65504.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePictures:
    """JPEG files of one frame; None where there is nothing to show."""

    plate: bytes | None = None
    result: bytes | None = None
    matte: bytes | None = None


class Photographer:
    """Makes the pictures of a shot's frames."""

    def __init__(self, material: ShotMaterial) -> None:
        self._material = material
        self._developer = PlateDeveloper(material.converter)

    def read(self, frame: int) -> tuple[int, PlateImage | None, DeliveredFrame | None]:
        """The frame's files; what cannot be read is left out, the report says why."""
        image = result = None
        try:
            image = self._material.plate.read(frame)
            result = self._material.delivery.read(frame)
        except DflError:
            pass
        return frame, image, result

    def photograph(self, files: tuple[int, PlateImage | None, DeliveredFrame | None]) -> tuple[int, FramePictures]:
        """The pictures of a frame that was read."""
        frame, image, result = files
        if image is None:
            return frame, FramePictures()
        light = self._developer.develop(image, "float")
        window = _view(self._material.records.get(frame, ()), image)
        aspect = image.pixel_aspect
        plate = self._tile(light.beauty, light.data_window, window, light.color_space, aspect)
        if result is not None:
            result = self._material.delivery.over_plate(result, light)
        if result is None or result.window != light.data_window:
            return frame, FramePictures(plate=plate)
        rows, columns = inside(window, result.window)
        matte = np.clip(np.nan_to_num(to_float(np.ascontiguousarray(result.matte[rows, columns]))), 0.0, 1.0)
        return frame, FramePictures(
            plate=plate,
            result=self._tile(result.beauty, result.window, window, light.color_space, aspect),
            matte=_encode(np.repeat(matte[..., None], 3, axis=2), aspect),
        )

    def _tile(self, beauty: NDArray[Any], whole: Window, window: Window, space: str, aspect: float) -> bytes:
        rows, columns = inside(window, whole)
        light = to_float(np.ascontiguousarray(beauty[rows, columns, :3]))
        finite = np.nan_to_num(light, nan=0.0, posinf=_LARGEST_FINITE, neginf=0.0)
        return _encode(np.clip(self._material.converter.to_network(finite, space), 0.0, 1.0), aspect)


def spread_evenly(frames: Sequence[int], count: int) -> list[int]:
    """At most ``count`` frames over the whole range, first and last among them."""
    if not frames or count <= 0:
        return []
    indices = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[index] for index in sorted({*indices.tolist()})]


def _view(records: Sequence[FaceRecord], image: PlateImage) -> Window:
    """The square of the plate that shows its faces with some air; all of it without one."""
    whole = image.data_window
    display = image.display_window
    if not records:
        return intersect(display, whole) or whole
    points = np.concatenate([record.landmarks.points for record in records])
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2.0
    height = max(float(high[1] - low[1]), float(high[0] - low[0]) * image.pixel_aspect, 8.0) * _AIR
    width = height / image.pixel_aspect
    wanted = Window(
        x=display.x + int(middle[0] - width / 2.0),
        y=display.y + int(middle[1] - height / 2.0),
        width=max(int(width), 1),
        height=max(int(height), 1),
    )
    return intersect(wanted, whole) or whole


def _encode(picture: FloatArray, pixel_aspect: float) -> bytes:
    """(h, w, 3) in [0, 1] → JPEG that fits into the pictures' size."""
    height, width = picture.shape[:2]
    scale = SIDE_PX / max(width * pixel_aspect, height)
    size = (max(round(width * pixel_aspect * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.float32)
    is_ok, data = cv2.imencode(".jpg", as_bytes(resized)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not is_ok:
        raise Internal("A picture of the report cannot be encoded.", reason="CANNOT_ENCODE")
    return bytes(data.tobytes())


def take_pictures(photographer: Photographer, frames: Sequence[int]) -> Iterator[tuple[int, FramePictures]]:
    """Pictures of frames, one after the other, read in a thread of their own (colour conversion is not slowed)."""
    yield from run_stages(iter(frames), (photographer.read, photographer.photograph), depth=1, stop=threading.Event())
