"""Curves and bars of the report as inline SVG, without any library.

Colours are classes of the page's style sheet, so that the same drawing serves on light paper, on a dark screen and in
print. Every drawing has the same scale of frames, which the page's script uses to show values under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from dflcore.frames import FrameRange
from dflcore.qc.report import Finding, MeasureInfo

WIDTH: Final = 560
HEIGHT: Final = 176
LEFT: Final = 46
RIGHT: Final = 548
TOP: Final = 10
BOTTOM: Final = 150
ROW_HEIGHT: Final = 18
LABEL_WIDTH: Final = 236
BAND_WIDTH: Final = 1148
_MIN_BAR: Final = 2.5
_TICKS: Final = 4
_FRAME_TICKS: Final = 6
_HEADROOM: Final = 0.08
_LIMIT_REACH: Final = 2.2
"""A limit further away than so many times the curve's height is not drawn: it would flatten the curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve: (frame, value) in order; gaps are where frames are absent. ``style`` is a class of the page."""

    label: str
    style: str
    points: Sequence[tuple[int, float]]
    flagged: Mapping[int, str] = field(default_factory=dict)
    """Frame → level of its flag."""


@dataclass(frozen=True, slots=True)
class FrameScale:
    """Frames along a drawing, from ``left`` to ``right``."""

    first: int
    last: int
    left: float = LEFT
    right: float = RIGHT

    def at(self, frame: float) -> float:
        if self.last == self.first:
            return (self.left + self.right) / 2.0
        return self.left + (frame - self.first) / (self.last - self.first) * (self.right - self.left)


def draw_plot(info: MeasureInfo, series: Sequence[Series], scale: FrameScale, gap: int, *, zone: bool = True) -> str:
    """Curves of one measure over the shot, with its limits.

    Args:
        gap: neighbouring frames are this far apart; wider gaps break the curve.
        zone: tint what is beyond the limits; not where a curve stands there that has none.
    """
    values = [value for one in series for _, value in one.points]
    low, high, step = _value_range(values, info)

    def height_of(value: float) -> float:
        return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)

    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(info.title)}" '
        f'data-measure="{escape(info.name)}">'
    ]
    parts += _value_axis(low, high, step, height_of)
    parts += _frame_axis(scale, BOTTOM)
    parts += _limits(info, low, high, height_of, zone)
    for one in series:
        parts += _curve(one, scale, gap, height_of)
    for one in series:
        parts += _flags(one, info, scale, height_of)
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{BOTTOM}"/></svg>')
    return "".join(parts)


def draw_timeline(rows: Sequence[tuple[str, Sequence[Finding]]], scale: FrameScale, gap: int) -> str:
    """One row per reason, a bar where it is flagged."""
    height = TOP + ROW_HEIGHT * len(rows) + 30
    bottom = TOP + ROW_HEIGHT * len(rows)
    parts = [f'<svg class="timeline" viewBox="0 0 {BAND_WIDTH} {height}" role="img" aria-label="Flags over the shot">']
    for number, (label, findings) in enumerate(rows):
        y = TOP + number * ROW_HEIGHT
        parts.append(f'<line class="grid" x1="{scale.left}" x2="{scale.right}" y1="{y + 13}" y2="{y + 13}"/>')
        parts.append(f'<text class="row" x="{LABEL_WIDTH - 12}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        for one in findings:
            first, last = _ends(one.frames)
            left, right = scale.at(first - gap / 2.0), scale.at(last + gap / 2.0)
            left, right = max(left, scale.left), min(right, scale.right)
            title = f"{label}: {one.frames}, worst at {one.worst_frame}"
            style = f"{one.level} throughout" if one.throughout else one.level
            width = max(right - left, _MIN_BAR)
            place = f'x="{left:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW_HEIGHT - 6}"'
            parts.append(f'<rect class="{style}" {place} rx="1.5"><title>{escape(title)}</title></rect>')
    parts += _frame_axis(scale, bottom)
    parts.append("</svg>")
    return "".join(parts)


def number_text(value: float, digits: int) -> str:
    """As it stands on the page: so many decimals, or short where it is huge."""
    if abs(value) >= 1e6:
        return f"{value:.3g}"
    text = f"{value:.{digits}f}"
    return "0" if digits == 0 and float(text) == 0.0 else text


def frames_text(frames: str) -> str:
    """A frame range with the dashes of print, and room to break after commas."""
    spaced = frames.replace(",", ", ")
    has_negative = frames.startswith("-") or "--" in frames or ",-" in frames
    return spaced if has_negative else spaced.replace("-", "–")


def nice_step(span: float, count: int) -> float:
    """A round step that cuts a span into about ``count`` parts."""
    if span <= 0.0:
        return 1.0
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return float(next(factor for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999) * magnitude)


def _ends(frames: str) -> tuple[int, int]:
    numbers = FrameRange.parse(frames).frames
    return numbers[0], numbers[-1]


def _value_range(values: Sequence[float], info: MeasureInfo) -> tuple[float, float, float]:
    """Lower and upper end of the axis, and its step."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low >= 0.0 and low < 0.6 * high:
        low = 0.0
    reach = max(high - low, abs(high) * 0.05, 10.0**-info.digits)
    least, most = low, high
    least, most = low - _LIMIT_REACH * reach, high + _LIMIT_REACH * reach
    for limit, is_upper in ((info.low, False), (info.high, True)):
        if limit is None:
            continue
        # How far beyond a limit a curve lies is to be seen; one that all of it keeps by far would flatten it.
        is_beyond = max(values, default=limit) > limit if is_upper else min(values, default=limit) < limit
        if is_beyond or least <= limit <= most:
            low, high = min(low, limit), max(high, limit)
    span = max(high - low, 10.0**-info.digits)
    step = nice_step(span * (1.0 + _HEADROOM), _TICKS)
    bottom = math.floor(low / step) * step
    top = math.ceil((high + _HEADROOM * span) / step) * step
    return bottom, max(top, bottom + step), step


def _value_axis(low: float, high: float, step: float, height_of: Callable[[float], float]) -> list[str]:
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if f"{step:.6e}".startswith("2.5") else 0)
    parts: list[str] = []
    for index in range(round((high - low) / step) + 1):
        value = low + index * step
        y = height_of(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{value:.{digits}f}</text>')
    return parts


def _frame_axis(scale: FrameScale, bottom: float) -> list[str]:
    parts = [f'<line class="axis" x1="{scale.left}" x2="{scale.right}" y1="{bottom}" y2="{bottom}"/>']
    for frame in _frame_ticks(scale):
        x = scale.at(frame)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{frame}</text>')
    return parts


def _frame_ticks(scale: FrameScale) -> list[int]:
    """First and last frame, and round numbers between that leave both room."""
    if scale.first == scale.last:
        return [scale.first]
    span = scale.last - scale.first
    step = max(1, math.ceil(nice_step(span, _FRAME_TICKS)))
    room = 0.6 * span / _FRAME_TICKS
    between = range((scale.first // step + 1) * step, scale.last, step)
    inner = [one for one in between if one - scale.first >= room and scale.last - one >= room]
    return [scale.first, *inner, scale.last]


def _limits(info: MeasureInfo, low: float, high: float, height_of: Callable[[float], float], zone: bool) -> list[str]:
    parts: list[str] = []
    for limit, is_upper in ((info.high, True), (info.low, False)):
        if limit is None or not low <= limit <= high:
            continue
        y = height_of(limit)
        top, bottom = (TOP, y) if is_upper else (y, BOTTOM)
        if zone and bottom - top > 0.5:
            parts.append(
                f'<rect class="beyond" x="{LEFT}" y="{top:.1f}" width="{RIGHT - LEFT}" height="{bottom - top:.1f}"/>'
            )
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return parts


def _curve(series: Series, scale: FrameScale, gap: int, height_of: Callable[[float], float]) -> list[str]:
    parts: list[str] = []
    for run in _unbroken(series.points, gap):
        places = [(scale.at(frame), height_of(value)) for frame, value in run]
        if len(places) == 1:
            parts.append(
                f'<circle class="dot {series.style}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="2.2"/>'
            )
        else:
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="line {series.style}" points="{text}"/>')
    return parts


def _unbroken(points: Iterable[tuple[int, float]], gap: int) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = []
    for frame, value in points:
        if runs and frame - runs[-1][-1][0] <= gap:
            runs[-1].append((frame, value))
        else:
            runs.append([(frame, value)])
    return runs


def _flags(series: Series, info: MeasureInfo, scale: FrameScale, height_of: Callable[[float], float]) -> list[str]:
    parts: list[str] = []
    for frame, value in series.points:
        level = series.flagged.get(frame)
        if level is not None:
            title = f"{frame}: {number_text(value, info.digits)} {info.unit}".strip()
            y = height_of(value)
            parts.append(
                f'<circle class="flag {level}" cx="{scale.at(frame):.1f}" cy="{y:.1f}" r="3">'
                f"<title>{escape(title)}</title></circle>"
            )
    return parts
