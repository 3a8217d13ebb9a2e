"""The table of everything a report measures: what it means, from where on it is flagged, what helps.

The table itself is ``assets/measures.toml``, the one home of names, words and limits; the page, the JSON file and the
flags are made from it. Limits are numbers, or settings of :class:`dflcore.config.qc.QcSettings`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from dflcore.config.qc import QcSettings
from dflcore.qc.report import Level, MeasureInfo, Worse

INTEGRITY: Final = "Integrity"
FACES: Final = "Faces and matte"
IDENTITY: Final = "Identity"
PERFORMANCE: Final = "Performance"
PICTURE: Final = "Picture"
TIME: Final = "Over time"
GROUPS: Final = (IDENTITY, PERFORMANCE, PICTURE, TIME, FACES, INTEGRITY)
"""Headings in the order of the page's plots."""
STATES: Final = frozenset({"missing", "unreadable", "no_face", "stray_matte", "empty_matte"})
"""Measures that are 1 where something is so; there is no curve to draw."""


class Measure(BaseModel):
    """One row of the table; see :class:`dflcore.qc.report.MeasureInfo`.

    Attributes:
        per: measured for each face, or for the whole frame.
        low, high: limits, as numbers or names of settings; None where there is none.
        beside: another measure drawn into the same plot, as the plate's own value beside the result's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    group: Literal["Integrity", "Faces and matte", "Identity", "Performance", "Picture", "Over time"]
    per: Literal["face", "frame"]
    level: Level
    meaning: str
    change: str = ""
    unit: str = ""
    digits: int = 2
    low: float | str | None = None
    high: float | str | None = None
    departure: float | None = None
    beside: str = ""

    @property
    def of_face(self) -> bool:
        """Measured for each face."""
        return self.per == "face"

    @property
    def worse(self) -> Worse:
        """Which side is flagged."""
        if self.level == "info":
            return ""
        if self.low is not None and self.high is not None:
            return "both"
        return "low" if self.low is not None else "high"

    def info(self, settings: QcSettings) -> MeasureInfo:
        """With the limits these settings ask for."""
        return MeasureInfo(
            **self.model_dump(exclude={"per", "low", "high", "beside"}),
            of_face=self.of_face,
            worse=self.worse,
            low=_resolve(self.low, settings),
            high=_resolve(self.high, settings),
        )


def _resolve(limit: float | str | None, settings: QcSettings) -> float | None:
    return float(getattr(settings, limit)) if isinstance(limit, str) else limit


def _load() -> dict[str, Measure]:
    text = resources.files("dflcore.qc").joinpath("assets/measures.toml").read_text("utf-8")
    return {name: Measure(name=name, **row) for name, row in tomllib.loads(text).items()}


MEASURES: Final[Mapping[str, Measure]] = _load()
"""By name, in the order of the page."""
