"""One frame of a finished demo through every mode, colour transfer and effect, as pictures with labels.

The manual's pictures are made by it: ``python -m dflcore.demo looks --demo build/demo --output docs/images``.
"""

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
from dflcore.frames import FrameRange
from dflcore.io.aligned_image import to_uint8
from dflcore.io.atomic import write_bytes
from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import Faceset
from dflcore.io.plate import open_plate
from dflcore.merge.pipeline import merge_range
from dflcore.merge.swapper import ModelSwapper, open_swapper
from dflcore.progress import LoggedRun
from dflcore.types import FloatArray

Pixels = NDArray[np.uint8]
JPEG_QUALITY: Final = 88
CELL_PX: Final = 300
COLUMNS: Final = 4
SHEETS: Final[Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]] = {
    "modes": [
        ("the plate", {"mode": "original"}),
        ("overlay", {}),
        ("seamless", {"mode": "seamless"}),
        ("histogram", {"mode": "histogram", "color_transfer": "none"}),
        ("seamless_histogram", {"mode": "seamless_histogram", "color_transfer": "none"}),
        ("overlay, no colour transfer", {"color_transfer": "none"}),
        ("seamless, no colour transfer", {"mode": "seamless", "color_transfer": "none"}),
        ("raw_rgb", {"mode": "raw_rgb"}),
    ],
    "color_transfers": [
        ("none", {"color_transfer": "none"}),
        ("rct", {"color_transfer": "rct"}),
        ("lct", {"color_transfer": "lct"}),
        ("mkl", {"color_transfer": "mkl"}),
        ("idt", {"color_transfer": "idt"}),
        ("sot", {"color_transfer": "sot"}),
        ("mix", {"color_transfer": "mix"}),
        ("rct, color_area square", {"color_transfer": "rct", "color_area": "square"}),
    ],
    "effects": [
        ("as painted", {}),
        ("sharpen 60", {"sharpen": 60.0}),
        ("sharpen -100", {"sharpen": -100.0}),
        ("denoise 200", {"denoise": 200.0}),
        ("degrade 60", {"degrade": 60.0}),
        ("color_degrade 100", {"color_degrade": 100.0}),
        ("grain 100", {"grain": 100.0}),
        ("motion_blur 100", {"motion_blur": 100.0}),
    ],
}
"""Sheet → what stands on a picture, and the settings that made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What all pictures have in common."""

    layout: DemoLayout
    swapper: ModelSwapper
    converter: ColorConverter
    frame: int


def write_looks(layout: DemoLayout, output: Path, *, frame: int | None = None) -> list[Path]:
    """One JPEG per sheet of :data:`SHEETS`.

    Args:
        layout: of a finished demo.
        frame: of its target plate; None for the middle.

    Raises:
        DflError: the demo is not finished, or a file cannot be written.
    """
    converter = ColorConverter()
    frames = open_plate(str(layout.target_plate), resolve_space=converter.find).frames.frames
    swapper, _ = open_swapper(layout.model)
    stage = _Stage(
        layout=layout,
        swapper=swapper,
        converter=converter,
        frame=frames[len(frames) // 2] if frame is None else frame,
    )
    written = []
    for name, looks in SHEETS.items():
        cells = [label_picture(_picture(stage, settings), label, CELL_PX) for label, settings in looks]
        rows = [np.concatenate(cells[first : first + COLUMNS], axis=1) for first in range(0, len(cells), COLUMNS)]
        path = output / f"{name}.jpg"
        done, encoded = cv2.imencode(".jpg", np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert done
        write_bytes(path, encoded.tobytes())
        written.append(path)
    return written


def _picture(stage: _Stage, settings: Mapping[str, Any]) -> Pixels:
    """The surroundings of the face, merged with these settings, under the sRGB curve."""
    with (
        tempfile.TemporaryDirectory(prefix="dfl-looks-") as folder,
        Faceset.open(stage.layout.target_faceset) as faceset,
    ):
        plate = open_plate(
            str(stage.layout.target_plate), frames=FrameRange((stage.frame,)), resolve_space=stage.converter.find
        )
        record = faceset.records_by_frame(faceset.info.plates[0])[stage.frame][0]
        merge_range(
            plate,
            stage.swapper,
            faceset,
            str(Path(folder) / "look.####.exr"),
            MergeSettings(layers="", **settings),
            LoggedRun(),
            converter=stage.converter,
        )
        layers = read_exr_layers(next(Path(folder).glob("*.exr")))
        rgb = np.stack([layers[channel] for channel in "RGB"], axis=2).astype(np.float32)
        shown: Pixels = to_uint8(stage.converter.to_network(_around(rgb, record.box), plate.color_space))
    return shown


def _around(rgb: FloatArray, box: Any) -> FloatArray:
    """A square around a face, half as large again as its box."""
    side = round(1.5 * max(box.right - box.left, box.bottom - box.top))
    left = int(np.clip((box.left + box.right - side) / 2, 0, max(rgb.shape[1] - side, 0)))
    top = int(np.clip((box.top + box.bottom - side) / 2, 0, max(rgb.shape[0] - side, 0)))
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])
