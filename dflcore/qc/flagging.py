"""From figures to what a person should look at: flags, runs of flagged frames, the order to look in.

A figure is flagged beyond its limit, and where it departs from what is usual for that face in this shot: a model that
is weak everywhere is one remark, one frame that breaks is another.
"""

from __future__ import annotations

import math
from collections import Counter
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
    Worse,
    printable,
    rounded,
)
from dflcore.qc.shot import MeasuredFace, MeasuredFrame

MOST_SEVERE: Final = 10.0
MIN_USUAL_FRAMES: Final = 8
"""Fewer frames of a face do not tell what is usual."""
THROUGHOUT: Final = 0.6
"""A reason that flags this share of the frames is a remark on the shot, not on frames."""
MUCH_WORSE: Final = 1.5
"""Severity of a frame that stands out all the same, as a multiple of the usual one."""
_SHARE_OF_OTHERS: Final = 0.2
"""What further flags of a frame add to its place in the order."""
_LEAST: Final = 1e-3


Reason = tuple[str, str | None]
"""Measure and face."""


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
            flags=flags,
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
            limit, beyond = _beyond(value, info)
            usual, departed = self._departed(label, value, info)
            severity = min(max(beyond, departed), MOST_SEVERE)
            if severity > 0.0:
                flags.append(
                    Flag(
                        measure=name,
                        level=info.level,
                        face=label,
                        value=rounded(value),
                        limit=limit,
                        usual=usual,
                        severity=rounded(severity),
                    )
                )
        return flags

    def _departed(self, label: str | None, value: float, info: MeasureInfo) -> tuple[float | None, float]:
        """What is usual and how far beyond the allowed departure the value is; nothing where it is within."""
        usual = self._usual.get((label, info.name))
        if usual is None or info.departure is None:
            return None, 0.0
        apart = value - usual if info.worse == "high" else usual - value
        return (rounded(usual), apart / info.departure) if apart > info.departure else (None, 0.0)


def mark_throughout(figures: Sequence[FrameFigures]) -> list[FrameFigures]:
    """The same with flags marked that most of the shot has, unless a frame is much worse than the rest."""
    severities: dict[Reason, list[float]] = {}
    for frame in figures:
        for flag in frame.flags:
            severities.setdefault((flag.measure, flag.face), []).append(flag.severity)
    measured = _count_measured(figures)
    common = {
        reason: float(np.median(ones))
        for reason, ones in severities.items()
        if len(ones) >= max(MIN_USUAL_FRAMES, THROUGHOUT * measured[reason])
    }

    def marked(flag: Flag) -> Flag:
        usual = common.get((flag.measure, flag.face))
        if usual is None or flag.level == "error" or flag.severity > MUCH_WORSE * usual:
            return flag
        return flag.model_copy(update={"throughout": True})

    def order(flag: Flag) -> tuple[bool, bool, float, str]:
        return flag.throughout, flag.level != "error", -flag.severity, flag.measure

    return [
        frame.model_copy(update={"flags": sorted((marked(flag) for flag in frame.flags), key=order)})
        for frame in figures
    ]


def _count_measured(figures: Sequence[FrameFigures]) -> Counter[Reason]:
    """In how many frames each measure of each face has a value."""
    counts: Counter[Reason] = Counter()
    for frame in figures:
        counts.update((name, None) for name in frame.values)
        for face in frame.faces:
            counts.update((name, face.face) for name in face.values)
    return counts


def find_runs(figures: Sequence[FrameFigures]) -> list[Finding]:
    """Neighbouring frames flagged for the same reason, as one finding each; errors first, then the worst.

    What runs through the shot is one finding, however many gaps it has.
    """
    runs: dict[Reason, list[list[tuple[int, Flag]]]] = {}
    throughout = {(flag.measure, flag.face) for frame in figures for flag in frame.flags if flag.throughout}
    for index, frame in enumerate(figures):
        for flag in frame.flags:
            reason = (flag.measure, flag.face)
            of_reason = runs.setdefault(reason, [])
            if of_reason and (reason in throughout or of_reason[-1][-1][0] == index - 1):
                of_reason[-1].append((index, flag))
            else:
                of_reason.append([(index, flag)])
    found = [_finding(figures, run, reason in throughout) for reason, ones in runs.items() for run in ones]
    return sorted(found, key=lambda one: (one.level != "error", -one.severity, one.worst_frame, one.measure))


def order_frames(figures: Sequence[FrameFigures], findings: Sequence[Finding]) -> list[int]:
    """Frames that stand out, the worst first; then the worst of every reason that runs through the shot."""

    def own(frame: FrameFigures) -> list[Flag]:
        return [flag for flag in frame.flags if not flag.throughout]

    def rank(frame: FrameFigures) -> tuple[bool, float, int]:
        severities = [flag.severity for flag in own(frame)]
        others = sum(severities) - max(severities)
        has_error = any(flag.level == "error" for flag in frame.flags)
        return not has_error, -(max(severities) + _SHARE_OF_OTHERS * others), frame.frame

    standing_out = sorted((frame for frame in figures if own(frame)), key=rank)
    examples = [one.worst_frame for one in findings if one.throughout]
    return list(dict.fromkeys([*(frame.frame for frame in standing_out), *examples]))


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
                measures[name] = summary_of(series, measure.worse)
        frames = str(FrameRange.of(frame for frame, _ in rows))
        summaries.append(FaceSummary(face=label, track=track, frames=frames, measures=measures))
    return summaries


def summary_of(series: Sequence[tuple[int, float]], worse: Worse) -> Summary:
    """Of (frame, value) pairs; of a ratio that has limits on both sides, the worst is the furthest from 1."""
    values = np.array([value for _, value in series])

    def badness(pair: tuple[int, float]) -> float:
        if worse == "both":
            return abs(math.log(max(pair[1], _LEAST)))
        return -pair[1] if worse == "low" else pair[1]

    worst_frame, worst = max(series, key=badness)
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


def _finding(figures: Sequence[FrameFigures], run: Sequence[tuple[int, Flag]], throughout: bool) -> Finding:
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
        throughout=throughout,
    )


def _beyond(value: float, info: MeasureInfo) -> tuple[float | None, float]:
    """The limit that a value is beyond, and how far: 1 and more; nothing within the limits."""
    if info.high is not None and value > info.high:
        return info.high, value / info.high if info.high > _LEAST else 1.0 + math.log10(max(value, 1.0))
    if info.low is not None and value < info.low:
        return info.low, 1.0 + (info.low - value) * (2.0 / info.low if info.low > _LEAST else 10.0)
    return None, 0.0


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
