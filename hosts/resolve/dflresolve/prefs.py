"""What the window remembers between starts: a JSON file of the user's own, as a menu script keeps nothing itself."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from dflhost.discovery import ConnectionSettings, connection_from_environment
from dflhost.errors import HostError
from dflhost.paths import PathMap

from .orders import OWN_FILES, PLATES, Choices
from .place import PLACES, TAKE

FILE_VARIABLE = "DFL_RESOLVE_PREFERENCES"


@dataclass(frozen=True)
class Preferences:
    """Fields as texts.

    Attributes:
        model, source, faces, folder, frames, place, plates, color_space: see :class:`~dflresolve.orders.Choices`.
        settings, extract_settings, train_settings: those that differ from the daemon's defaults.
        training: reference of a training whose end was not seen yet.
        address, token_path, ca_path, certificate_path, key_path, path_map: see
            :class:`~dflhost.discovery.ConnectionSettings`; empty takes what the studio's variables say.
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
    address: str = ""
    token_path: str = ""
    ca_path: str = ""
    certificate_path: str = ""
    key_path: str = ""
    path_map: str = ""

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

    def connection(self, environ: Mapping[str, str] = os.environ) -> ConnectionSettings:
        """Where the daemon is: these fields, then the studio's variables, which are the same for all hosts.

        Raises:
            HostError: the path map cannot be read (``BAD_PATH_MAP``).
        """
        return ConnectionSettings(
            address=self.address.strip(),
            token_path=self.token_path.strip(),
            ca_path=self.ca_path.strip(),
            certificate_path=self.certificate_path.strip(),
            key_path=self.key_path.strip(),
            path_map=PathMap.parse(self.path_map),
        ).over(connection_from_environment(environ))

    def with_values(self, **values: Any) -> Preferences:
        """The same with some fields changed."""
        return replace(self, **values)


def preferences_path(environ: Mapping[str, str] = os.environ, system: str = sys.platform) -> str:
    """``resolve.json`` in the user's folder for settings, as each system has it."""
    if environ.get(FILE_VARIABLE):
        return environ[FILE_VARIABLE]
    home = environ.get("HOME") or os.path.expanduser("~")
    if system == "darwin":
        folder = os.path.join(home, "Library", "Application Support", "dfl")
    elif system == "win32":
        folder = os.path.join(environ.get("APPDATA") or home, "dfl")
    else:
        folder = os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "dfl")
    return os.path.join(folder, "resolve.json")


def load(path: str) -> Preferences:
    """What was saved; fields that are missing, unknown or of another type are left at their defaults."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError):
        values = {}
    known: dict[str, Any] = {}
    plain = asdict(Preferences())
    for one in fields(Preferences):
        value = values.get(one.name) if isinstance(values, dict) else None
        if isinstance(value, type(plain[one.name])):
            known[one.name] = value
    return Preferences(**known)


def save(path: str, preferences: Preferences) -> None:
    """Write them; the file appears whole.

    Raises:
        HostError: it cannot be written (``NOT_WRITABLE``).
    """
    temporary = f"{path}.{secrets.token_hex(4)}.part"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(asdict(preferences), file, indent=1)
        os.replace(temporary, path)
    except OSError as error:
        raise HostError(
            f"The settings cannot be saved: {path}: {error.strerror}.",
            reason="NOT_WRITABLE",
            category="RESOURCE_EXHAUSTED",
            details={"path": path},
        ) from error
