"""What the window remembers between starts, as a menu script keeps nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dflhost.preferences import ConnectionPreferences

from .orders import OWN_FILES, PLATES, Choices
from .place import PLACES, TAKE

HOST = "resolve"


@dataclass(frozen=True)
class Preferences(ConnectionPreferences):
    """Fields as texts.

    Attributes:
        model, source, faces, folder, frames, place, plates, color_space: see :class:`~dflresolve.orders.Choices`.
        settings, extract_settings, train_settings: those that differ from the daemon's defaults.
        training: reference of a training whose end was not seen yet.
    """

    model: str = ""
    source: str = ""
    faces: str = ""
    folder: str = ""
    frames: str = ""
    place: str = TAKE
    plates: str = OWN_FILES
    color_space: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    extract_settings: Mapping[str, Any] = field(default_factory=dict)
    train_settings: Mapping[str, Any] = field(default_factory=dict)
    training: str = ""

    @property
    def choices(self) -> Choices:
        """Of a run."""
        return Choices(
            model=self.model.strip(),
            source=self.source.strip(),
            faces=self.faces.strip(),
            folder=self.folder.strip(),
            frames=self.frames.strip(),
            place=self.place if self.place in PLACES else TAKE,
            plates=self.plates if self.plates in PLATES else OWN_FILES,
            color_space=self.color_space.strip(),
            settings=dict(self.settings),
            extract_settings=dict(self.extract_settings),
            train_settings=dict(self.train_settings),
        )

    def with_values(self, **values: Any) -> Preferences:
        """The same with some fields changed."""
        return replace(self, **values)
