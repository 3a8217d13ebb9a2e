"""The report of a shot as data: what was measured, what is flagged, in which order to look.

The JSON file is :class:`ShotReport` as it stands, UTF-8, no NaN; :func:`json_schema` describes every field for
programs. ``format`` rises by one whenever a field changes its meaning or goes; fields and measures may be added without
that. The keys a pipeline needs::

    kind, format            "dfl.qc", 1
    key                     16 hex digits of result and plate
    software, created       "dfl 0.1.0"; UTC, ISO 8601
    result, plate           pattern of the merged frames with its version filled in; the plate as it was named
    target, source          facesets; source is "" without one
    frames, frame_count     range text such as "1001-1048" or "1001-1010x3"; how many
    source_to_target        distance of the two people; null without a source
    measures[]              name, title, unit, low, high, departure, level, meaning, change: what numbers mean
    figures[]               one per frame, in order
      .frame                number as on disk
      .values               {measure: number} of the frame
      .faces[]              face (label), name (picture in the faceset), values {measure: number}, note
      .flags[]              measure, face (null for the frame's), level, value, limit, usual, severity, throughout
      .note                 why the frame could not be measured, else ""
    faces[]                 face, track, frames, measures {measure: median, low, high, worst, worst_frame, count}
    findings[]              measure, face, level, frames, count, worst_frame, worst, severity, throughout
    look_first[]            frame numbers
    notes[]                 sentences for people

Units are those of the measure's row: ``%``, ``deg``, ``px`` or none. What could not be measured is left out, not zero.
A frame must be repaired where a flag's level is ``error``; ``throughout`` marks what most of the shot has.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dflcore.errors import DataCorrupt, NotFound

FORMAT: Final = 1
KIND: Final = "dfl.qc"
KEY_DIGITS: Final = 16
DIGITS: Final = 6
"""Significant digits of numbers in the report."""

Level = Literal["error", "look", "info"]
Worse = Literal["high", "low", "both", ""]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeasureInfo(_Part):
    """What a number means, from where on it is flagged, and what helps."""

    name: str = Field(description="Key of the measure wherever its numbers stand.")
    title: str = Field(description="For headings.")
    group: str = Field(description="Heading it stands under.")
    unit: str = Field(description="%, deg, px, or empty for a plain number.")
    digits: int = Field(description="Decimals worth showing.")
    of_face: bool = Field(description="Measured per face; else per frame.")
    level: Level = Field(description="error: must be repaired; look: look at it; info: never flagged.")
    worse: Worse = Field(description="Which side of the limits is flagged.")
    low: float | None = Field(description="Values below are flagged.")
    high: float | None = Field(description="Values above are flagged.")
    departure: float | None = Field(description="Values worse than the track's median by more than this are flagged.")
    meaning: str = Field(description="What it says, in plain words.")
    change: str = Field(description="What to change when it is flagged.")


class Flag(_Part):
    """One measure of one frame beyond its limit."""

    measure: str
    level: Level
    face: str | None = Field(description="Label of the face; null for what concerns the frame.")
    value: float
    limit: float | None = Field(description="The limit it is beyond; null where it only departs from what is usual.")
    usual: float | None = Field(description="The track's median it departs from; null where it does not.")
    severity: float = Field(description="1 at the limit, growing beyond it.")
    throughout: bool = Field(default=False, description="Most of the shot has this flag; the frame is no exception.")


class FaceFigures(_Part):
    """One face of one frame."""

    face: str = Field(description="Label of the face, the same over the shot.")
    name: str = Field(description="Its picture in the target's faceset.")
    values: dict[str, float] = Field(description="Measure → value; what could not be measured is left out.")
    note: str = Field(default="", description="Where in the face, and the like.")


class FrameFigures(_Part):
    """One frame of the plate's range."""

    frame: int = Field(description="Frame number as on disk.")
    values: dict[str, float] = Field(description="Measures of the whole frame.")
    faces: list[FaceFigures]
    flags: list[Flag] = Field(description="Worst first.")
    note: str = Field(default="", description="Why it could not be measured.")


class Summary(_Part):
    """A measure over the shot."""

    median: float
    low: float = Field(description="5th percentile.")
    high: float = Field(description="95th percentile.")
    worst: float
    worst_frame: int
    count: int = Field(description="Frames it was measured in.")


class FaceSummary(_Part):
    """One person followed through the shot."""

    face: str
    track: int | None = Field(description="Track in the target's faceset.")
    frames: str = Field(description="Frame range text.")
    measures: dict[str, Summary]


class Finding(_Part):
    """Consecutive frames flagged for the same reason, or a reason that runs through the shot."""

    measure: str
    level: Level
    face: str | None
    frames: str = Field(description="Frame range text.")
    count: int
    worst_frame: int
    worst: float
    severity: float
    throughout: bool = Field(default=False, description="Most of the shot is flagged for this reason.")


class ShotReport(_Part):
    """Everything the page shows, except its pictures."""

    kind: str = KIND
    format: int = FORMAT
    key: str = Field(description="16 hex digits of result and plate: reports with the same key replace each other.")
    software: str
    created: str = Field(description="UTC, ISO 8601.")
    result: str = Field(description="Pattern of the merged frames.")
    plate: str
    target: str = Field(description="Faceset of the plate.")
    source: str = Field(description="Faceset of the identity put on; empty when none was given.")
    profile: str = Field(description="layered, flat or patch.")
    color_space: str = Field(description="Scene-linear space of the result.")
    model: str = Field(description="As the result's manifest names it; empty without one.")
    merge_settings: dict[str, Any] = Field(description="As the result's manifest has them; empty without one.")
    frames: str = Field(description="Frame range text of what was looked at.")
    frame_count: int
    source_to_target: float | None = Field(description="Distance of the two people, without which others say little.")
    notes: list[str] = Field(description="What a person should know about the measuring.")
    measures: list[MeasureInfo]
    faces: list[FaceSummary]
    findings: list[Finding] = Field(description="Errors first, then by how far beyond the limit.")
    look_first: list[int] = Field(
        description="Frames that stand out, worst first; then the worst of each reason that runs through the shot."
    )
    figures: list[FrameFigures] = Field(description="One entry per frame, in order.")

    @property
    def flagged_frames(self) -> int:
        """Frames with any flag, those of reasons that run through the shot too."""
        return sum(bool(frame.flags) for frame in self.figures)

    @property
    def standing_out(self) -> int:
        """Frames with a flag that most of the shot has not."""
        return sum(any(not flag.throughout for flag in frame.flags) for frame in self.figures)

    @property
    def error_frames(self) -> int:
        """Frames with something that must be repaired."""
        return sum(any(flag.level == "error" for flag in frame.flags) for frame in self.figures)

    def measure(self, name: str) -> MeasureInfo:
        """The row of a measure."""
        return next(one for one in self.measures if one.name == name)


def report_key(result: str, plate: str) -> str:
    """Same result and plate, same key."""
    text = f"{os.path.abspath(result)}\0{os.path.abspath(plate)}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]


def to_json(report: ShotReport) -> str:
    """The report as the file holds it; names that are no Unicode come as question marks."""
    values = report.model_dump(mode="python")
    return json.dumps(printable(values), indent=1, allow_nan=False) + "\n"


def read_report(path: Path) -> ShotReport:
    """A report written by this version or one with the same format.

    Raises:
        NotFound: there is no such file.
        DataCorrupt: it is no report, or one of another format.
    """
    try:
        return ShotReport.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"There is no report {path}.", reason="REPORT_NOT_FOUND", path=path) from error
    except ValidationError as error:
        raise DataCorrupt(
            f"{path} is no report of format {FORMAT}; measure the shot again.", reason="REPORT_DAMAGED", path=path
        ) from error


def json_schema() -> dict[str, Any]:
    """JSON schema of the report file."""
    return ShotReport.model_json_schema()


def printable(value: Any) -> Any:
    """The same with every text made of characters that UTF-8 holds; file names may have others."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {printable(name): printable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value


def rounded(value: float) -> float:
    """To the digits that reports carry; the page and the file then say the same."""
    return float(f"{value:.{DIGITS}g}")
