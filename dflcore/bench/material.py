"""A shot to measure on: a public-domain portrait enlarged to a 1280×720 plate with a face of about 320 px."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dflcore.color.ocio import ColorConverter
from dflcore.demo.stage import load_source_portrait, load_target_portrait
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.plate import Window
from dflcore.types import FloatArray

PLATE_SIZE = (1280, 720)
PATTERN = "bench.####.exr"
FIRST_FRAME = 1001
_ENLARGEMENT = 2.0
_SHIFT_PX = 3.0
"""How far the picture moves from frame to frame, so that no two frames are alike."""


def shoot_bench_plate(folder: Path, frame_count: int, portrait: str) -> str:
    """Write ``frame_count`` ACEScg half-float EXR frames and return their pattern.

    Args:
        portrait: ``source`` or ``target``, the portraits of the demo.
    """
    converter = ColorConverter()
    picture = load_source_portrait() if portrait == "source" else load_target_portrait()
    window = Window(x=0, y=0, width=PLATE_SIZE[0], height=PLATE_SIZE[1])
    for index in range(frame_count):
        linear = converter.convert(_framed(picture, index), "srgb_tx", "ACEScg")
        layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=linear.astype(np.float16))
        path = folder / PATTERN.replace("####", f"{FIRST_FRAME + index:04d}")
        write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")
    return str(folder / PATTERN)


def _framed(picture: FloatArray, index: int) -> FloatArray:
    height, width = picture.shape[:2]
    shift_x = PLATE_SIZE[0] / 2 - _ENLARGEMENT * width / 2 + _SHIFT_PX * index
    shift_y = 40.0 - 0.1 * _ENLARGEMENT * height
    matrix = np.array([[_ENLARGEMENT, 0.0, shift_x], [0.0, _ENLARGEMENT, shift_y]])
    framed = cv2.warpAffine(picture, matrix, PLATE_SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(framed, 0.0, 1.0).astype(np.float32)
