"""From figures to what a person should look at: flags, runs of flagged frames, the order to look in.

A figure is flagged beyond its limit, and where it departs from what is usual for that face in this shot: a model that
is weak everywhere is one remark, one frame that breaks is another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from dflcore.config.qc import QcSettings
from dflcore.frames import FrameRange
from dflcore.qc.measures import MEASURES, STATES
from dflcore.qc.report import (
    FaceFigures,
    FaceSummary,
    Finding,
    Flag,
    FrameFigures,
    MeasureInfo,
    Summary,
    printable,
    rounded,
)
from dflcore.qc.shot import MeasuredFace, MeasuredFrame

MOST_SEVERE: Final = 10.0
MIN_USUAL_FRAMES: Final = 8
"""Fewer frames of a face do not tell what is usual."""
_SHARE_OF_OTHERS: Final = 0.2
"""What further flags of a frame add to its place in the order."""
_LEAST: Final = 1e-3


class Flagger:
    """Compares figures with limits and with what is usual.

    Args:
        untouched: labels of faces that nothing was put on in the whole shot; they are not judged.
    """

    def __init__(self, settings: QcSettings, frames: Sequence[MeasuredFrame], untouched: Iterable[str] = ()) -> None:
        self.measures = {name: measure.info(settings) for name, measure in MEASURES.items()}
        self._untouched = frozenset(untouched)
        self._usual = _usual_values(frames)

    def figures(self, frame: MeasuredFrame) -> FrameFigures:
        """A frame as the report has it."""
        flags = self._flags(None, frame.values)
        for face in frame.faces:
            flags += self._flags(face.label, face.values)
        return FrameFigures(
            frame=frame.frame,
            values=_tidy(frame.values),
            faces=[
                FaceFigures(face=face.label, name=printable(face.name), values=_tidy(face.values), note=face.note)
                for face in frame.faces
            ],
            flags=sorted(flags, key=lambda flag: (flag.level != "error", -flag.severity, flag.measure)),
            note=printable(frame.error),
        )

    def _flags(self, label: str | None, values: Mapping[str, float]) -> list[Flag]:
        flags: list[Flag] = []
        for name, value in values.items():
            info = self.measures.get(name)
            if info is None or info.level == "info" or not math.isfinite(value):
                continue
            if label in self._untouched and name != "confidence":
                continue
            severity = max(_beyond(value, info), self._departed(label, value, info))
            if severity > 0.0:
                severity = rounded(min(severity, MOST_SEVERE))
                flags.append(Flag(measure=name, level=info.level, face=label, value=rounded(value), severity=severity))
        return flags

    def _departed(self, label: str | None, value: float, info: MeasureInfo) -> float:
        usual = self._usual.get((label, info.name))
        if usual is None or info.departure is None:
            return 0.0
        apart = value - usual if info.worse == "high" else usual - value
        return apart / info.departure if apart > info.departure else 0.0


def find_runs(figures: Sequence[FrameFigures]) -> list[Finding]:
    """Neighbouring frames flagged for the same reason, as one finding each; errors first, then the worst."""
    runs: dict[tuple[str, str | None], list[list[tuple[int, Flag]]]] = {}
    for index, frame in enumerate(figures):
        for flag in frame.flags:
            of_reason = runs.setdefault((flag.measure, flag.face), [])
            if of_reason and of_reason[-1][-1][0] == index - 1:
                of_reason[-1].append((index, flag))
            else:
                of_reason.append([(index, flag)])
    found = [_finding(figures, run) for of_reason in runs.values() for run in of_reason]
    return sorted(found, key=lambda one: (one.level != "error", -one.severity, one.worst_frame, one.measure))


def order_frames(figures: Sequence[FrameFigures]) -> list[int]:
    """Flagged frames, the worst first."""

    def rank(frame: FrameFigures) -> tuple[bool, float, int]:
        severities = [flag.severity for flag in frame.flags]
        others = sum(severities) - max(severities)
        has_error = any(flag.level == "error" for flag in frame.flags)
        return not has_error, -(max(severities) + _SHARE_OF_OTHERS * others), frame.frame

    return [frame.frame for frame in sorted((one for one in figures if one.flags), key=rank)]


def frames_to_show(look_first: Sequence[int], findings: Sequence[Finding], count: int) -> list[int]:
    """The worst frame of every finding, then the rest of the order: a dozen pictures of one fault help nobody."""
    ordered = dict.fromkeys([*(one.worst_frame for one in findings), *look_first])
    chosen = list(ordered)[:count]
    return [frame for frame in look_first if frame in chosen]


def summarise(figures: Sequence[FrameFigures], faces: Mapping[str, int | None]) -> list[FaceSummary]:
    """Every face over the shot.

    Args:
        faces: label → track.
    """
    summaries: list[FaceSummary] = []
    for label, track in faces.items():
        rows = [(frame.frame, face) for frame in figures for face in frame.faces if face.face == label]
        measures: dict[str, Summary] = {}
        for name, measure in MEASURES.items():
            series = [(frame, face.values[name]) for frame, face in rows if name in face.values]
            if measure.of_face and series and name not in STATES:
                measures[name] = summary_of(series, is_low_worse=measure.worse == "low")
        frames = str(FrameRange.of(frame for frame, _ in rows))
        summaries.append(FaceSummary(face=label, track=track, frames=frames, measures=measures))
    return summaries


def summary_of(series: Sequence[tuple[int, float]], *, is_low_worse: bool) -> Summary:
    """Of (frame, value) pairs."""
    values = np.array([value for _, value in series])
    worst_frame, worst = (min if is_low_worse else max)(series, key=lambda pair: pair[1])
    return Summary(
        median=rounded(float(np.median(values))),
        low=rounded(float(np.percentile(values, 5))),
        high=rounded(float(np.percentile(values, 95))),
        worst=rounded(worst),
        worst_frame=worst_frame,
        count=len(series),
    )


def untouched_faces(frames: Sequence[MeasuredFrame]) -> list[str]:
    """Labels of faces that nothing was put on in any frame."""
    faces = [face for frame in frames for face in frame.faces]
    touched = {face.label for face in faces if not face.values.get("empty_matte")}
    return sorted({face.label for face in faces} - touched)


def faces_of(frames: Sequence[MeasuredFrame]) -> dict[str, int | None]:
    """Label → track, those seen most often first."""
    seen: dict[str, list[MeasuredFace]] = {}
    for frame in frames:
        for face in frame.faces:
            seen.setdefault(face.label, []).append(face)
    ordered = sorted(seen, key=lambda label: (-len(seen[label]), label))
    return {label: seen[label][0].track for label in ordered}


def _finding(figures: Sequence[FrameFigures], run: Sequence[tuple[int, Flag]]) -> Finding:
    index, worst = max(run, key=lambda one: one[1].severity)
    return Finding(
        measure=worst.measure,
        level=worst.level,
        face=worst.face,
        frames=str(FrameRange.of(figures[one].frame for one, _ in run)),
        count=len(run),
        worst_frame=figures[index].frame,
        worst=worst.value,
        severity=worst.severity,
    )


def _beyond(value: float, info: MeasureInfo) -> float:
    """1 and more beyond a limit, 0 within."""
    if info.high is not None and value > info.high:
        return value / info.high if info.high > _LEAST else 1.0 + math.log10(max(value, 1.0))
    if info.low is not None and value < info.low:
        return 1.0 + (info.low - value) * (2.0 / info.low if info.low > _LEAST else 10.0)
    return 0.0


def _usual_values(frames: Sequence[MeasuredFrame]) -> dict[tuple[str | None, str], float]:
    """Median of every measure of every face, where there are enough frames."""
    series: dict[tuple[str | None, str], list[float]] = {}
    for frame in frames:
        for face in frame.faces:
            for name, value in face.values.items():
                series.setdefault((face.label, name), []).append(value)
    return {key: float(np.median(values)) for key, values in series.items() if len(values) >= MIN_USUAL_FRAMES}


def _tidy(values: Mapping[str, float]) -> dict[str, float]:
    """In the table's order, rounded, without what is no number."""
    return {name: rounded(values[name]) for name in MEASURES if name in values and math.isfinite(values[name])}
