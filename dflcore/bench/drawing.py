"""Pictures of figures: curves over time, and grids of faces with words at their sides. All (H, W, 3) uint8 RGB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Curve = Sequence[tuple[float, float]]
"""Seconds and values, in order of time."""

_PAPER: Final = (250, 250, 248)
_INK: Final = (40, 40, 44)
_FAINT: Final = (214, 214, 210)
_COLORS: Final = ((0, 96, 168), (200, 84, 16), (20, 128, 72), (140, 60, 150), (120, 104, 20), (90, 90, 96))
_WIDTH, _HEIGHT = 900, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 24, 58, 40
_SUBPIXEL_BITS: Final = 4
_TICKS: Final = 5
_WORDS: Final = cv2.FONT_HERSHEY_SIMPLEX
_LABEL_PX: Final = 26


def plot_curves(title: str, curves: Mapping[str, Curve], lines: Mapping[str, float] | None = None) -> Pixels:
    """Values over time, time on a logarithmic scale that doubles from mark to mark.

    Args:
        curves: name → points with times above 0; at least one point in all.
        lines: name → a value that does not change, drawn faintly across.
    """
    points = [point for curve in curves.values() for point in curve]
    lines = lines or {}
    values = [value for _, value in points] + list(lines.values())
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1
    bottom = max(low - margin, 0.0) if low >= 0.0 else low - margin
    area = _Area(min(t for t, _ in points), max(t for t, _ in points), bottom, high + margin)
    picture = np.full((_HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    _write(picture, title, (_LEFT, 24), 0.55)
    _draw_axes(picture, area)
    for name, value in lines.items():
        y = round(area.y(value))
        cv2.line(picture, (_LEFT, y), (_WIDTH - _RIGHT, y), _COLORS[-1], 1)
        _write(picture, name, (_LEFT + 6, y - 4), 0.38, _COLORS[-1])
    for number, (name, curve) in enumerate(curves.items()):
        color = _COLORS[number % (len(_COLORS) - 1)]
        _draw_curve(picture, [area.place(point) for point in curve], color)
        _write(picture, name, (_LEFT + 150 * number, 46), 0.45, color)
    return picture


def stack(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures one above the other, narrower ones filled up with paper."""
    width = max(picture.shape[1] for picture in pictures)
    filled = [_pad(picture, width) for picture in pictures]
    return np.concatenate(filled, axis=0)


def label_grid(
    rows: Sequence[Sequence[Pixels]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    cell_px: int = 128,
    label_width_px: int = 240,
) -> Pixels:
    """Faces in rows and columns. Rows may be of different length; a label's lines are divided by line breaks.

    Args:
        rows: square pictures, uint8, of any size.
        row_labels, column_labels: words left of every row and above every column.
    """
    columns = max(len(row) for row in rows)
    sheet = np.full((_LABEL_PX + len(rows) * cell_px, label_width_px + columns * cell_px, 3), _PAPER, np.uint8)
    for column, label in enumerate(column_labels):
        _write(sheet, label, (label_width_px + column * cell_px + 4, 18), 0.42)
    for index, (row, label) in enumerate(zip(rows, row_labels, strict=True)):
        top = _LABEL_PX + index * cell_px
        for number, line in enumerate(label.split("\n")):
            _write(sheet, line, (8, top + 20 + 17 * number), 0.42)
        for column, face in enumerate(row):
            method = cv2.INTER_AREA if face.shape[0] > cell_px else cv2.INTER_CUBIC
            left = label_width_px + column * cell_px
            sheet[top : top + cell_px, left : left + cell_px] = cv2.resize(
                face, (cell_px, cell_px), interpolation=method
            )
    return sheet


class _Area:
    """Where in the picture a time and a value are."""

    def __init__(self, first_s: float, last_s: float, low: float, high: float) -> None:
        self.first_s, self.last_s, self.low, self.high = first_s, max(last_s, first_s * 1.01), low, high

    def x(self, seconds: float) -> float:
        share = math.log(seconds / self.first_s) / math.log(self.last_s / self.first_s)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        return self.x(point[0]), self.y(point[1])


def _draw_axes(picture: Pixels, area: _Area) -> None:
    for value in np.linspace(area.low, area.high, _TICKS):
        y = round(area.y(float(value)))
        cv2.line(picture, (_LEFT, y), (_WIDTH - _RIGHT, y), _FAINT, 1)
        _write(picture, f"{value:.2f}", (14, y + 4), 0.4)
    seconds = area.first_s
    while seconds <= area.last_s * 1.05:
        x = round(area.x(seconds))
        cv2.line(picture, (x, _TOP), (x, _HEIGHT - _BOTTOM), _FAINT, 1)
        _write(picture, time_label(seconds), (x - 14, _HEIGHT - _BOTTOM + 18), 0.4)
        seconds *= 2.0


def time_label(seconds: float) -> str:
    """``45 s``, ``2 min``, ``7.5 min``."""
    return f"{seconds:.0f} s" if seconds < 60.0 else f"{round(seconds / 60.0, 1):g} min"


def _draw_curve(picture: Pixels, places: Sequence[tuple[float, float]], color: tuple[int, int, int]) -> None:
    fixed = np.rint(np.array(places) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(picture, [fixed.reshape(-1, 1, 2)], False, color, 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    for x, y in places:
        cv2.circle(picture, (round(x), round(y)), 3, color, -1, cv2.LINE_AA)


def _pad(picture: Pixels, width: int) -> Pixels:
    padded = np.full((picture.shape[0], width, 3), _PAPER, np.uint8)
    padded[:, : picture.shape[1]] = picture
    return padded


def _write(picture: Pixels, text: str, at: tuple[int, int], scale: float, color: tuple[int, int, int] = _INK) -> None:
    cv2.putText(picture, text, at, _WORDS, scale, color, 1, cv2.LINE_AA)
