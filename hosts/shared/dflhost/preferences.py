"""What an artist says once and a host keeps: a JSON file of the user's own, as no script or project should carry it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, TypeVar

from .discovery import ConnectionSettings, connection_from_environment
from .errors import HostError
from .paths import PathMap

Kept = TypeVar("Kept", bound="ConnectionPreferences")


@dataclass(frozen=True)
class ConnectionPreferences:
    """Where the daemon is, in texts; see :class:`~dflhost.discovery.ConnectionSettings`.

    Hosts add fields of their own, each with a default, of a type that JSON has.
    """

    address: str = ""
    token_path: str = ""
    ca_path: str = ""
    certificate_path: str = ""
    key_path: str = ""
    path_map: str = ""

    def connection(self, environ: Mapping[str, str] = os.environ) -> ConnectionSettings:
        """These fields, then the studio's variables, which are the same for all hosts.

        Raises:
            HostError: a path map (``BAD_PATH_MAP``) or the command (``BAD_COMMAND``) cannot be read.
        """
        return ConnectionSettings(
            address=self.address.strip(),
            token_path=self.token_path.strip(),
            ca_path=self.ca_path.strip(),
            certificate_path=self.certificate_path.strip(),
            key_path=self.key_path.strip(),
            path_map=PathMap.parse(self.path_map),
        ).over(connection_from_environment(environ))


def preferences_path(host: str, environ: Mapping[str, str] = os.environ, system: str = sys.platform) -> str:
    """The file of a host (``nuke``), in the user's folder for settings as each system has it.

    ``DFL_NUKE_PREFERENCES`` and the like name another.
    """
    named = environ.get(f"DFL_{host.upper()}_PREFERENCES")
    if named:
        return named
    home = environ.get("HOME") or os.path.expanduser("~")
    if system == "darwin":
        folder = os.path.join(home, "Library", "Application Support", "dfl")
    elif system == "win32":
        folder = os.path.join(environ.get("APPDATA") or home, "dfl")
    else:
        folder = os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "dfl")
    return os.path.join(folder, f"{host}.json")


def load_preferences(kind: type[Kept], path: str) -> Kept:
    """What was saved; fields that are missing, unknown or of another type are left at their defaults."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError):
        values = {}
    known: dict[str, Any] = {}
    plain = asdict(kind())
    for one in fields(kind):
        value = values.get(one.name, MISSING) if isinstance(values, dict) else MISSING
        if type(value) is type(plain[one.name]):
            known[one.name] = value
    return kind(**known)


def save_preferences(path: str, preferences: ConnectionPreferences) -> None:
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
