"""The coverage report as one picture to print: a map of poses, and a strip for every measure."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.curate.coverage import BIN_DEG, CoverageReport, MeasureCoverage, MissingBin
from dflcore.curate.drawing import (
    BOLD,
    Color,
    Pixels,
    fill,
    frame,
    paper,
    shorten_to,
    write_png,
    write_text_on,
)

_PAPER: Final[Color] = (255, 255, 255)
_INK: Final[Color] = (30, 30, 34)
_FAINT: Final[Color] = (118, 120, 126)
_GRID: Final[Color] = (226, 228, 232)
_SOURCE_PALE: Final[Color] = (222, 235, 247)
_SOURCE_DEEP: Final[Color] = (33, 94, 160)
_SOURCE: Final[Color] = (66, 133, 196)
_TARGET: Final[Color] = (222, 124, 20)
_LACK: Final[Color] = (196, 28, 36)
_FLAW: Final[Color] = (232, 130, 130)
_NEAR: Final[Color] = (250, 214, 214)

_WIDTH: Final = 1800
_MARGIN: Final = 60
_MAP_TOP: Final = 190
_MAP_LEFT: Final = 150
_MAP_WIDTH: Final = 1110
_MAP_MAX_HEIGHT: Final = 640
_SIDE_LEFT: Final = 1310
_STRIP_HEIGHT: Final = 230
_STRIP_GAP: Final = 36
_STRIP_BINS: Final = 36
_LIST_LINES: Final = 9


def write_coverage(report: CoverageReport, path: Path) -> Path:
    """Draw the report into a PNG. Raises InvalidInput, ResourceExhausted."""
    write_png(path, draw_coverage(report))
    return path


def draw_coverage(report: CoverageReport) -> Pixels:
    """(H, 1800, 3) uint8 RGB."""
    rows, columns = report.target_counts.shape
    cell = min(_MAP_WIDTH // columns, _MAP_MAX_HEIGHT // rows)
    map_height = max(rows * cell, 420)
    strips_top = _MAP_TOP + map_height + 130
    picture = paper(_WIDTH, strips_top + _STRIP_HEIGHT + 150, _PAPER)
    _draw_heading(picture, report)
    _draw_map(picture, report, cell)
    _draw_side(picture, report)
    _draw_strips(picture, report.measures, strips_top)
    return picture


def _draw_heading(picture: Pixels, report: CoverageReport) -> None:
    source, target = Path(report.source_path).name, Path(report.target_path).name
    title = shorten_to(f"Does “{source}” cover what “{target}” needs?", 40, _WIDTH - 2 * _MARGIN)
    write_text_on(picture, (_MARGIN, 78), title, 40, _INK, weight=BOLD)
    line = (
        f"{report.reach:.0%} of the target’s {report.target_faces} faces have a source face of like pose and "
        f"expression; {report.pose_reach:.0%} one of like pose. Source: {report.source_faces} faces."
    )
    write_text_on(picture, (_MARGIN, 120), line, 22, _FAINT)
    write_text_on(picture, (_MAP_LEFT, _MAP_TOP - 18), "Poses", 24, _INK, weight=BOLD)


def _draw_map(picture: Pixels, report: CoverageReport, cell: int) -> None:
    """Yaw across, positive on the left as the nose points; pitch upwards."""
    rows, columns = report.target_counts.shape
    lacks = {(lack.yaw_deg, lack.pitch_deg): lack for lack in report.missing}
    deepest = max(int(report.source_counts.max()), 2)
    left, top = _MAP_LEFT, _MAP_TOP
    for row in range(rows):
        for column in range(columns):
            x, y = left + (columns - 1 - column) * cell, top + (rows - 1 - row) * cell
            _draw_cell(
                picture,
                (x, y, cell),
                int(report.source_counts[row, column]),
                int(report.target_counts[row, column]),
                lacks.get((float(report.yaw_edges[column]), float(report.pitch_edges[row]))),
                deepest,
            )
    right, bottom = left + columns * cell, top + rows * cell
    frame(picture, left - 1, top - 1, right + 1, bottom + 1, _FAINT)
    _draw_axes(picture, report, cell, (left, top, right, bottom))


def _draw_cell(
    picture: Pixels, place: tuple[int, int, int], source: int, target: int, lack: MissingBin | None, deepest: int
) -> None:
    x, y, cell = place
    inside = (x + 1, y + 1, x + cell, y + cell)
    ink = _TARGET
    if source:
        share = np.log1p(source) / np.log1p(deepest)
        fill(picture, *inside, _blend(_SOURCE_PALE, _SOURCE_DEEP, float(share)))
        ink = _PAPER if share > 0.45 else _INK
    elif lack is not None:
        is_beyond = lack.beyond_faces > 0
        fill(picture, *inside, _blend(_FLAW, _LACK, lack.beyond_faces / target) if is_beyond else _NEAR)
        ink = _PAPER if is_beyond else _LACK
    frame(picture, x, y, x + cell + 1, y + cell + 1, _GRID)
    if not target:
        return
    if lack is None:
        frame(picture, x + 2, y + 2, x + cell - 1, y + cell - 1, _TARGET, 3)
    elif lack.beyond_faces:
        _draw_corners(picture, x, y, cell)
    else:
        frame(picture, x + 2, y + 2, x + cell - 1, y + cell - 1, _LACK, 3)
    size = max(min(cell // 3, 20), 9)
    write_text_on(
        picture, (x + cell // 2, y + cell // 2 + size // 3), _short(target), size, ink, weight=BOLD, align="center"
    )


def _draw_corners(picture: Pixels, x: int, y: int, cell: int) -> None:
    """Strokes from the corners inwards: a cross that leaves the number alone, and shows without colour too."""
    short = cell // 4
    for across in (False, True):
        for down in (False, True):
            corner = (x + cell - 5 if across else x + 5, y + cell - 5 if down else y + 5)
            end = (x + cell - short if across else x + short, y + cell - short if down else y + short)
            cv2.line(picture, corner, end, _PAPER, 2, cv2.LINE_AA)


def _draw_axes(picture: Pixels, report: CoverageReport, cell: int, edges: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = edges
    every = 1 if cell >= 40 else 2 if cell >= 22 else 3
    columns, rows = len(report.yaw_edges) - 1, len(report.pitch_edges) - 1
    for number, angle in enumerate(report.yaw_edges):
        if round(angle / BIN_DEG) % every == 0:
            x = left + (columns - number) * cell
            fill(picture, x, bottom + 1, x + 1, bottom + 8, _FAINT)
            write_text_on(picture, (x, bottom + 28), _signed(angle), 16, _FAINT, align="center")
    for number, angle in enumerate(report.pitch_edges):
        if round(angle / BIN_DEG) % every == 0:
            y = top + (rows - number) * cell
            fill(picture, left - 8, y, left - 1, y + 1, _FAINT)
            write_text_on(picture, (left - 14, y + 6), _signed(angle), 16, _FAINT, align="right")
    write_text_on(picture, (left, bottom + 58), "← nose to image left", 18, _FAINT)
    write_text_on(picture, ((left + right) // 2, bottom + 58), "yaw, degrees", 18, _INK, align="center")
    write_text_on(picture, (right, bottom + 58), "nose to image right →", 18, _FAINT, align="right")
    write_text_on(picture, (_MARGIN, top + 24), "up", 18, _FAINT)
    write_text_on(picture, (_MARGIN, (top + bottom) // 2 - 6), "pitch,", 18, _INK)
    write_text_on(picture, (_MARGIN, (top + bottom) // 2 + 16), "deg", 18, _INK)
    write_text_on(picture, (_MARGIN, bottom - 14), "down", 18, _FAINT)


def _draw_side(picture: Pixels, report: CoverageReport) -> None:
    left, y = _SIDE_LEFT, _MAP_TOP
    for words, source, target, beyond in (
        ("source has faces, darker is more", 4, 0, None),
        ("and the target needs them: how many", 4, 12, None),
        (f"lacking, but the source is within {report.reach_deg:g}°", 0, 12, 0),
        ("LACKING and out of reach, some or all", 0, 12, 12),
    ):
        sample = None
        if beyond is not None:
            sample = MissingBin(yaw_deg=0.0, pitch_deg=0.0, target_faces=target, beyond_faces=beyond, gap_deg=0.0)
        _draw_cell(picture, (left, y, 40), source, target, sample, 12)
        write_text_on(picture, (left + 56, y + 27), words, 18, _INK)
        y += 52
    _draw_wanted(picture, report, left, y + 34)


def _draw_wanted(picture: Pixels, report: CoverageReport, left: int, y: int) -> None:
    """The bins to shoot or to find footage for."""
    lacks = [lack for lack in report.missing if lack.beyond_faces]
    beyond = sum(lack.beyond_faces for lack in lacks)
    write_text_on(picture, (left, y), f"Poses to find: {beyond} faces out of reach", 20, _INK, weight=BOLD)
    y += 32
    for lack in lacks[:_LIST_LINES]:
        write_text_on(picture, (left, y), f"yaw {_span(lack.yaw_deg)}", 18, _INK)
        write_text_on(picture, (left + 150, y), f"pitch {_span(lack.pitch_deg)}", 18, _INK)
        words = f"{lack.beyond_faces} of {lack.target_faces}"
        write_text_on(picture, (_WIDTH - _MARGIN, y), words, 18, _LACK, align="right")
        y += 27
    if len(lacks) > _LIST_LINES:
        write_text_on(picture, (left, y), f"and {len(lacks) - _LIST_LINES} more bins", 18, _FAINT)
    elif not lacks:
        write_text_on(picture, (left, y), "none: every pose is within reach", 18, _FAINT)


def _draw_strips(picture: Pixels, measures: tuple[MeasureCoverage, ...], top: int) -> None:
    heading = "Expression and light"
    write_text_on(picture, (_MARGIN, top - 12), heading, 24, _INK, weight=BOLD)
    x = _MARGIN + 270
    for words, color in (
        ("source, upwards", _SOURCE),
        ("target, downwards", _TARGET),
        ("target beyond the source", _LACK),
    ):
        fill(picture, x, top - 26, x + 16, top - 10, color)
        write_text_on(picture, (x + 24, top - 12), words, 18, _INK)
        x += 230
    width = (_WIDTH - 2 * _MARGIN - _STRIP_GAP * (len(measures) - 1)) // max(len(measures), 1)
    for number, measure in enumerate(measures):
        _draw_strip(picture, measure, (_MARGIN + number * (width + _STRIP_GAP), top + 20, width))
    footer = (
        "Expression in steps a viewer notices; but for the open mouth, counted from each person’s own median. "
        "Bars are shares of each set."
    )
    write_text_on(picture, (_MARGIN, top + _STRIP_HEIGHT + 112), footer, 16, _FAINT)


def _draw_strip(picture: Pixels, measure: MeasureCoverage, place: tuple[int, int, int]) -> None:
    left, top, width = place
    write_text_on(picture, (left, top + 18), shorten_to(measure.title, 18, width), 18, _INK, weight=BOLD)
    base, half = top + 30 + (_STRIP_HEIGHT - 40) // 2, (_STRIP_HEIGHT - 40) // 2
    both = np.concatenate([measure.source, measure.target])
    if not both.size:
        return
    low, high = float(both.min()), float(both.max())
    pad = max((high - low) * 0.04, measure.step * 0.1)
    edges = np.linspace(low - pad, high + pad, _STRIP_BINS + 1)
    source, target = (_shares(values, edges) for values in (measure.source, measure.target))
    tallest = max(float(source.max()), float(target.max()), 1e-9)
    for number in range(_STRIP_BINS):
        x, right = (left + round(width * step / _STRIP_BINS) for step in (number, number + 1))
        fill(picture, x, base - round(half * source[number] / tallest), right - 1, base, _SOURCE)
        middle = (edges[number] + edges[number + 1]) / 2.0
        is_beyond = middle < measure.source.min() - measure.step or middle > measure.source.max() + measure.step
        color = _LACK if is_beyond else _TARGET
        fill(picture, x, base + 1, right - 1, base + 1 + round(half * target[number] / tallest), color)
    fill(picture, left, base, left + width, base + 1, _INK)
    write_text_on(picture, (left, base + half + 24), f"{low:.1f}", 15, _FAINT)
    write_text_on(picture, (left + width, base + half + 24), f"{high:.1f} {measure.unit}", 15, _FAINT, align="right")
    if measure.beyond > 0.0:
        words = f"{measure.beyond:.1%} of target beyond"
        write_text_on(picture, (left, base + half + 46), shorten_to(words, 15, width), 15, _LACK, weight=BOLD)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.histogram(values, edges)[0] / max(len(values), 1)


def _blend(first: Color, second: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _span(low: float) -> str:
    return f"{_signed(low)}…{_signed(low + BIN_DEG)}°"


def _signed(angle: float) -> str:
    return f"{angle:+.0f}" if round(angle) else "0"


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
