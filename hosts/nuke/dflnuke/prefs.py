"""Where the daemon is, as an artist writes it: a JSON file of the user's own, so that no script carries it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import nuke

from dflhost import words
from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.messages import explain
from dflhost.paths import PathMap

FILE_VARIABLE = "DFL_NUKE_PREFERENCES"
FILES, TEXTS = "addFilenameSearch", "addSingleLineInput"
ROWS = (
    ("address", "Address (host:port)", TEXTS),
    ("token_path", "Token file", FILES),
    ("ca_path", "Daemon's certificate", FILES),
    ("certificate_path", "This machine's certificate", FILES),
    ("key_path", "Its key", FILES),
    ("path_map", "Path map (here=there; ...)", TEXTS),
)
"""Field, what the panel calls it, how it is asked for."""


@dataclass(frozen=True)
class Preferences:
    """Fields as texts; see :class:`~dflhost.discovery.ConnectionSettings`. Empty ones leave it to the environment."""

    address: str = ""
    token_path: str = ""
    ca_path: str = ""
    certificate_path: str = ""
    key_path: str = ""
    path_map: str = ""

    @property
    def connection(self) -> ConnectionSettings:
        """Raises HostError where the path map cannot be read (``BAD_PATH_MAP``)."""
        values: dict[str, Any] = asdict(self)
        return ConnectionSettings(**{**values, "path_map": PathMap.parse(self.path_map)})


def preferences_path(environ: Mapping[str, str] = os.environ, system: str = sys.platform) -> str:
    """``nuke.json`` in the user's folder for settings, as each system has it."""
    if environ.get(FILE_VARIABLE):
        return environ[FILE_VARIABLE]
    home = environ.get("HOME") or os.path.expanduser("~")
    if system == "darwin":
        folder = os.path.join(home, "Library", "Application Support", "dfl")
    elif system == "win32":
        folder = os.path.join(environ.get("APPDATA") or home, "dfl")
    else:
        folder = os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "dfl")
    return os.path.join(folder, "nuke.json")


def load(path: str) -> Preferences:
    """What was saved; fields that are missing, unknown or of another type are empty."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError):
        values = {}
    known = values if isinstance(values, dict) else {}
    return Preferences(**{one.name: known[one.name] for one in fields(Preferences) if type(known.get(one.name)) is str})


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


def ask() -> bool:
    """Nuke's own panel with all fields; says whether something else was saved than was there."""
    path = preferences_path()
    held = load(path)
    values: dict[str, str] = asdict(held)
    while True:
        panel = _panel(values)
        if not panel.show():
            return False
        values = {field: str(panel.value(label) or "").strip() for field, label, _ in ROWS}
        wanted = Preferences(**values)
        try:
            wanted.connection  # noqa: B018  (a path map that cannot be read is told before it is kept)
            save(path, wanted)
        except HostError as error:
            nuke.message(explain(error).sentence if error.reason == "BAD_PATH_MAP" else error.message)
            if error.reason != "BAD_PATH_MAP":
                return False
        else:
            return wanted != held


def _panel(values: Mapping[str, str]) -> Any:
    panel: Any = nuke.Panel(f"{words.MENU}: Preferences")
    panel.setWidth(640)
    for field, label, asks in ROWS:
        getattr(panel, asks)(label, values[field].replace("\\", "/") if asks == FILES else values[field])
    return panel
