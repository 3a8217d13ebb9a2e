"""Where the parts of a demo lie in its folder. Standard library only: the command line reads it too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SOURCE_PERSON = "Eileen Collins"
TARGET_PERSON = "Grace Hopper"
DEMO_PROJECT = "dfl demo"
DEMO_USE = "demonstration with public-domain portraits"
EXIT_ERROR = 2
"""``python -m dflcore.demo`` failed; the last line of stderr is a JSON object with category, reason and message."""
EXIT_CHECKS_NOT_MET = 3
"""``measure`` wrote its report, and a check in it was not met."""


class Delivery(Protocol):
    """A finished swap to look at: plate, where its faces are, result, and where the pictures of it go."""

    @property
    def target_plate(self) -> Path: ...
    @property
    def target_faceset(self) -> Path: ...
    @property
    def result(self) -> Path: ...
    @property
    def contact_sheet(self) -> Path: ...
    @property
    def before_after(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class DemoLayout:
    """Paths under the folder of one demo."""

    folder: Path

    @property
    def plates(self) -> Path:
        return self.folder / "plates"

    @property
    def source_plate(self) -> Path:
        return self.plates / "source.####.exr"

    @property
    def target_plate(self) -> Path:
        return self.plates / "target.####.exr"

    @property
    def source_faceset(self) -> Path:
        return self.folder / "facesets" / "source"

    @property
    def target_faceset(self) -> Path:
        return self.folder / "facesets" / "target"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def result(self) -> Path:
        return self.folder / "result" / "result.####.exr"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def stages(self) -> Path:
        """Seconds of every stage, written by who ran them."""
        return self.folder / "stages.json"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def contact_sheet(self) -> Path:
        return self.folder / "contact_sheet.png"

    @property
    def before_after(self) -> Path:
        return self.folder / "before_after.mp4"
