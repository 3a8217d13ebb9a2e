# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the daemon is, as the preferences say and, where they are empty, the studio's environment variables."""

from __future__ import annotations

import os
from typing import Any

import bpy

from ._dflhost.discovery import ConnectionSettings, connection_from_environment
from ._dflhost.errors import HostError
from ._dflhost.paths import PathMap


def preferences() -> Any:
    """Ours, or None while the extension is not enabled as one (tests register it bare)."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def connection_settings() -> ConnectionSettings:
    """What the preferences say, else what ``DFL_ADDRESS`` and the other variables of the hosts say.

    Raises:
        HostError: the path map cannot be read, or the daemon is on another computer and Blender is set to stay
            offline (reason ``OFFLINE``).
    """
    ours, settings = preferences(), ConnectionSettings()
    if ours is not None:
        settings = _written(ours)
    settings = settings.over(connection_from_environment(os.environ))
    if settings.is_remote and not bpy.app.online_access:
        raise HostError(
            "The daemon is on another computer, and Blender is set to stay offline: allow online access in "
            "Preferences > System.",
            reason="OFFLINE",
            category="CONFLICT",
        )
    return settings


def _written(ours: Any) -> ConnectionSettings:
    return ConnectionSettings(
        address=ours.address.strip(),
        token_path=_absolute(ours.token_path),
        ca_path=_absolute(ours.ca_path),
        certificate_path=_absolute(ours.certificate_path),
        key_path=_absolute(ours.key_path),
        path_map=PathMap.parse(ours.path_map),
        command=(_absolute(ours.command),) if ours.command.strip() else (),
    )


def _absolute(path: str) -> str:
    return os.path.abspath(bpy.path.abspath(path.strip())) if path.strip() else ""
