"""Where the daemon is, asked for in Nuke's own panel and kept in the user's ``nuke.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import nuke

from dflhost import words
from dflhost.errors import HostError
from dflhost.messages import explain
from dflhost.preferences import ConnectionPreferences, load_preferences, preferences_path, save_preferences

HOST = "nuke"
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


def load() -> ConnectionPreferences:
    """What was saved."""
    return load_preferences(ConnectionPreferences, preferences_path(HOST))


def ask() -> bool:
    """Nuke's own panel with all fields; says whether something else was saved than was there."""
    held = load()
    values: dict[str, str] = asdict(held)
    while True:
        panel = _panel(values)
        if not panel.show():
            return False
        values = {field: str(panel.value(label) or "").strip() for field, label, _ in ROWS}
        wanted = ConnectionPreferences(**values)
        try:
            wanted.connection({})  # a path map that cannot be read is told before it is kept
            save_preferences(preferences_path(HOST), wanted)
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
