"""One frame of a finished demo merged again with other settings, and pictures of the manual made from it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.demo.layout import DemoLayout
from dflcore.demo.pictures import label_picture
from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange
from dflcore.io.aligned_image import to_uint8
from dflcore.io.atomic import write_bytes
from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import PlateImage
from dflcore.merge.pipeline import merge_range
from dflcore.merge.swapper import ModelSwapper, open_swapper
from dflcore.merge.tools import MergeTools
from dflcore.progress import LoggedRun
from dflcore.types import FaceRecord, FloatArray

Pixels = NDArray[np.uint8]
Layers = Mapping[str, NDArray[Any]]
"""Full channel name → (H, W), as a merged file holds it."""
JPEG_QUALITIES: Final = (88, 84, 80, 76, 72, 68)
MAX_PICTURE_BYTES: Final = 200_000
"""A picture of the manual takes the best quality that fits; at the last one it is kept whatever its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFrame:
    """What all pictures have in common: a demo, its model kept open, and the frame that is looked at."""

    layout: DemoLayout
    swapper: ModelSwapper
    converter: ColorConverter
    frame: int

    @classmethod
    def open(cls, layout: DemoLayout, frame: int | None = None) -> DemoFrame:
        """Open a finished demo.

        Args:
            frame: of its target plate; None for the middle.

        Raises:
            DflError: the demo is not finished.
        """
        converter = ColorConverter()
        frames = open_plate(str(layout.target_plate), resolve_space=converter.find).frames.frames
        swapper, _ = open_swapper(layout.model)
        middle = frames[len(frames) // 2]
        return cls(layout=layout, swapper=swapper, converter=converter, frame=middle if frame is None else frame)

    @property
    def record(self) -> FaceRecord:
        """The largest face of the frame. Raises InvalidInput where there is none."""
        with Faceset.open(self.layout.target_faceset) as faceset:
            records = faceset.records_by_frame(faceset.info.plates[0]).get(self.frame)
        if not records:
            raise InvalidInput(
                f"Frame {self.frame} of the demo shows no face; take another.", reason="NO_FACE_FOUND", frame=self.frame
            )
        return records[0]

    def read_plate(self) -> PlateImage:
        """The frame as it was shot. Raises DflError where it cannot be read."""
        return open_plate(str(self.layout.target_plate), frames=FrameRange((self.frame,))).read(self.frame)

    def merge(
        self, settings: Mapping[str, Any], *, plate: Path | None = None, tools: MergeTools | None = None
    ) -> Layers:
        """The frame with these settings, as its file holds it.

        Args:
            plate: pattern of another plate of the same size to merge over; None for the demo's target.
            tools: networks the settings name beside the model.

        Raises:
            DflError: the frame cannot be merged.
        """
        with tempfile.TemporaryDirectory(prefix="dfl-looks-") as folder:
            self.merge_into(Path(folder), FrameRange((self.frame,)), settings, plate=plate, tools=tools)
            return read_exr_layers(next(Path(folder).glob("*.exr")))

    def merge_into(
        self,
        folder: Path,
        frames: FrameRange,
        settings: Mapping[str, Any],
        *,
        plate: Path | None = None,
        tools: MergeTools | None = None,
    ) -> None:
        """As :meth:`merge`, for several frames, into a folder as ``look.####.exr``."""
        opened = open_plate(str(plate or self.layout.target_plate), frames=frames, resolve_space=self.converter.find)
        with Faceset.open(self.layout.target_faceset) as faceset:
            merge_range(
                opened,
                self.swapper,
                faceset,
                str(folder / "look.####.exr"),
                MergeSettings(**{"layers": "", **settings}),
                LoggedRun(),
                converter=self.converter,
                tools=tools,
            )

    def show(self, rgb_linear: FloatArray, space: str) -> Pixels:
        """(H, W, 3) as a display shows it: under the sRGB curve, clipped to [0, 1]."""
        return to_uint8(self.converter.to_network(np.ascontiguousarray(rgb_linear, np.float32), space))


def rgb_of(layers: Layers, prefix: str = "") -> FloatArray:
    """(H, W, 3) float32 colour of a layer; the beauty's without a prefix."""
    return np.stack([layers[f"{prefix}{channel}"] for channel in "RGB"], axis=2).astype(np.float32)


def square_around(record: FaceRecord, size: tuple[int, int], factor: float = 1.5) -> tuple[slice, slice]:
    """Rows and columns of a square around a face, inside a picture.

    Args:
        size: width and height of the picture. factor: the square's side as a share of the face's box.
    """
    box, (width, height) = record.box, size
    side = min(round(factor * max(box.right - box.left, box.bottom - box.top)), width, height)
    left = int(np.clip((box.left + box.right - side) / 2, 0, width - side))
    top = int(np.clip((box.top + box.bottom - side) / 2, 0, height - side))
    return slice(top, top + side), slice(left, left + side)


def cell(picture: Pixels, width_px: int, *lines: str) -> Pixels:
    """A picture at a sheet's column width with lines of text above it."""
    for line in reversed(lines):
        picture = label_picture(picture, line, width_px)
    return picture


def write_sheet(path: Path, rows: Sequence[Sequence[Pixels]]) -> Path:
    """Cells of one size, side by side in rows, as a JPEG the manual may hold. Raises DflError: it cannot be written."""
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])[..., ::-1]
    for quality in JPEG_QUALITIES:
        done, encoded = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        if encoded.size <= MAX_PICTURE_BYTES:
            break
    write_bytes(path, encoded.tobytes())
    return path
