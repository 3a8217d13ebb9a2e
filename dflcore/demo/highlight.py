"""A face in hard sun, before and after: a frame of the demo lit until the skin's highlight lies at 8.4.

The demo's own highlights, a window, stand far from the face. Here the sun comes in: the plate's light is multiplied by
a gain that falls off across the face, so that values far above 1.0 lie inside the matte, under its edge and beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.demo.one_frame import DemoFrame, Layers, Pixels, cell, rgb_of, square_around, write_sheet
from dflcore.demo.plates import write_plate_frame
from dflcore.qc.exactness import Exactness, measure_exactness
from dflcore.qc.sharpness import LUMA_WEIGHTS
from dflcore.types import FaceRecord, FloatArray

PEAK_LINEAR: Final = 8.4
"""Scene-linear level of the brightest skin, as the brightest of the demo's window."""
SHADE_SHARE: Final = 0.5
"""Gain on the far side of the face as a share of the sunny side's."""
STOPS_DOWN: Final = 3
RESULTS: Final[Mapping[str, Mapping[str, Any]]] = {"overlay": {}, "seamless": {"mode": "seamless"}}
NEAR_PX: Final = 24
"""What lies this near to the matte's edge, outside, is judged as beside the face."""
_CELL_PX: Final = 400
_GRAPH_PX: Final = 240
_PAPER, _GRID, _BAND = 24, 70, (46, 46, 46)
_INKS: Final = {"plate": (225, 225, 225), "overlay": (90, 190, 255), "seamless": (255, 180, 70)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HighlightFigures:
    """Scene-linear values of one picture.

    Attributes:
        inside_max: largest value of any channel where the matte is full; of the plate, and of each result by mode.
        edge_max: the same where it is softer.
        beside_max: the same outside, near the matte.
        clipped_share: share of the matte's pixels, where the plate is above 1.0, whose result is exactly 1.0.
        outside: comparison with the plate outside the matte, bit by bit, by mode.
    """

    inside_max: Mapping[str, float]
    edge_max: Mapping[str, float]
    beside_max: Mapping[str, float]
    clipped_share: Mapping[str, float]
    outside: Mapping[str, Exactness]

    def lines(self) -> list[str]:
        """The figures as text."""
        found = [
            f"highlight: {name}: {what} {values[name]:.2f}"
            for what, values in (
                ("max inside the matte", self.inside_max),
                ("under its edge", self.edge_max),
                ("beside it", self.beside_max),
            )
            for name in values
        ]
        found += [
            f"highlight: {name}: {one.differing_px} of {one.compared_px} pixels outside the matte differ, by up to "
            f"{one.max_difference:g}; {100 * self.clipped_share[name]:.2f} % of the bright ones inside stand at 1.0"
            for name, one in self.outside.items()
        ]
        return found


def write_highlight(stage: DemoFrame, path: Path) -> HighlightFigures:
    """The picture: plate and results at normal exposure and three stops down, and a line across the face as a graph.

    Raises:
        DflError: the frame cannot be merged, or the picture cannot be written.
    """
    image, record = stage.read_plate(), stage.record
    lit = sunlit(image.rgb(), record)
    with tempfile.TemporaryDirectory(prefix="dfl-sun-") as folder:
        write_plate_frame(Path(folder) / f"sun.{stage.frame:04d}.exr", lit, frame=stage.frame, with_alpha=True)
        pattern = Path(folder) / "sun.####.exr"
        merged = {
            name: stage.merge({"layers": "matte", **settings}, plate=pattern) for name, settings in RESULTS.items()
        }
    plate = lit.astype(np.float16)
    figures = measure_highlight(plate, merged)
    pictures = {"plate": plate.astype(np.float32), **{name: rgb_of(layers) for name, layers in merged.items()}}
    rows, columns = square_around(record, (lit.shape[1], lit.shape[0]), 1.35)

    def row(stops: int) -> list[Pixels]:
        label = "normal exposure" if stops == 0 else f"{stops} stops down"
        return [
            cell(
                stage.show(np.ascontiguousarray(rgb[rows, columns]) * np.float32(2.0**-stops), image.color_space),
                _CELL_PX,
                f"{name}, {label}",
                _caption(figures, name),
            )
            for name, rgb in pictures.items()
        ]

    matte = np.asarray(merged["overlay"]["matte.A"], np.float32)
    graph = _graph(pictures, matte, _brightest_row(pictures["plate"], matte), columns)
    write_sheet(path, [row(0), row(STOPS_DOWN), [graph]])
    return figures


def sunlit(rgb_linear: FloatArray, record: FaceRecord) -> FloatArray:
    """A plate whose face stands in the sun: its brightest skin at :data:`PEAK_LINEAR`; (H, W, 3), unbounded."""
    height, width = rgb_linear.shape[:2]
    box = record.box
    across = (np.arange(width, dtype=np.float32) + 0.5 - box.left) / (box.right - box.left)
    away = np.clip(across, 0.0, 1.0)
    falloff = 1.0 + (SHADE_SHARE - 1.0) * away * away * (3.0 - 2.0 * away)
    shaded = rgb_linear * falloff[None, :, None]
    points = np.rint(record.landmarks.points).astype(np.int32)
    face = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), cv2.convexHull(points), (1,))
    brightest = float(shaded.max(axis=2)[face > 0].max())
    return np.asarray(shaded * np.float32(PEAK_LINEAR / brightest), np.float32)


def measure_highlight(plate: NDArray[np.float16], merged: Mapping[str, Layers]) -> HighlightFigures:
    """What became of the light inside the matte, under its edge and beside it.

    Args:
        plate: (H, W, 3) scene-linear, as it was merged over.
        merged: name → layers of a result, ``matte`` among them; all with the same matte.
    """
    matte = np.asarray(next(iter(merged.values()))["matte.A"], np.float32)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR_PX + 1, 2 * NEAR_PX + 1))
    beside = (cv2.dilate((matte > 0).astype(np.uint8), reach) > 0) & (matte == 0)
    pictures = {"plate": plate.astype(np.float32), **{name: rgb_of(layers) for name, layers in merged.items()}}
    peaks = {name: rgb.max(axis=2) for name, rgb in pictures.items()}
    full = matte > 0.99 * matte.max(initial=0.0)
    bright = full & (peaks["plate"] > 1.0)

    def of(where: NDArray[np.bool_]) -> dict[str, float]:
        return {name: float(peak[where].max(initial=0.0)) for name, peak in peaks.items()}

    return HighlightFigures(
        inside_max=of(full),
        edge_max=of((matte > 0.0) & ~full),
        beside_max=of(beside),
        clipped_share={name: float((peaks[name][bright] == 1.0).sum()) / max(int(bright.sum()), 1) for name in merged},
        outside={
            name: measure_exactness(
                plate, np.stack([np.asarray(layers[channel], plate.dtype) for channel in "RGB"], axis=2), matte
            )
            for name, layers in merged.items()
        },
    )


def _caption(figures: HighlightFigures, name: str) -> str:
    text = f"max in matte {figures.inside_max[name]:.2f}, edge {figures.edge_max[name]:.2f}"
    if name in figures.outside:
        return f"{text}, outside: {figures.outside[name].differing_px} px differ"
    return f"{text}, beside {figures.beside_max[name]:.2f}"


def _brightest_row(rgb: FloatArray, matte: FloatArray) -> int:
    """Of the rows that cross the matte widely, the one whose light inside it is the most."""
    inside = matte > 0.99 * matte.max(initial=0.0)
    across = inside.sum(axis=1)
    light = np.where(inside, rgb @ LUMA_WEIGHTS, 0.0).sum(axis=1) / np.maximum(across, 1)
    return int(np.where(across > 0.6 * across.max(), light, 0.0).argmax())


def _graph(pictures: Mapping[str, FloatArray], matte: FloatArray, row: int, columns: slice) -> Pixels:
    """The luminance of one row of every picture, 0 to 8, over the columns shown; the matte as a lighter band."""
    width = _CELL_PX * len(pictures)
    sheet = np.full((_GRAPH_PX, width, 3), _PAPER, np.uint8)
    x = np.linspace(0.0, width - 1.0, columns.stop - columns.start)
    top, bottom, most = 34, _GRAPH_PX - 14, 8.0
    inside = x[matte[row, columns] > 0.0]
    if inside.size:
        sheet[:, round(inside[0]) : round(inside[-1])] = _BAND
    for level in (0, 1, 2, 4, 6, 8):
        y = round(bottom - (bottom - top) * level / most)
        cv2.line(sheet, (0, y), (width, y), (_GRID,) * 3, 1)
        _write(sheet, str(level), (4, y - 3), (150, 150, 150))
    for name, rgb in pictures.items():
        line = rgb[max(row - 1, 0) : row + 2, columns].mean(axis=0) @ LUMA_WEIGHTS
        y_px = bottom - (bottom - top) * np.clip(line, 0.0, most) / most
        points = np.stack([x, y_px], axis=1).round().astype(np.int32)
        cv2.polylines(sheet, [points], False, _INKS[name], 1 if name == "plate" else 2, cv2.LINE_AA)
    _write(sheet, f"luminance along row {row}, scene-linear; band: the matte", (30, 20), (190, 190, 190))
    for index, name in enumerate(pictures):
        _write(sheet, name, (width - 300 + 100 * index, 20), _INKS[name])
    return sheet


def _write(picture: Pixels, text: str, at: tuple[int, int], ink: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, 1, cv2.LINE_AA)
