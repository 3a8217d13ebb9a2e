# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: where the daemon is. All may stay empty on one machine."""

from __future__ import annotations

from typing import Any

import bpy

from . import runtime


def _reconnect(_self: Any, _context: Any) -> None:
    runtime.desk.disconnect()


class FaceSwapPreferences(bpy.types.AddonPreferences):
    """What an artist or a TD may set."""

    bl_idname = __package__

    address: bpy.props.StringProperty(
        name="Daemon",
        description="unix:/path or host:port; empty finds the daemon of this computer",
        update=_reconnect,
    )
    token_path: bpy.props.StringProperty(
        name="Token File",
        description="File with the daemon's token; empty takes the one it left on this computer",
        subtype="FILE_PATH",
        update=_reconnect,
    )
    path_map: bpy.props.StringProperty(
        name="Path Map",
        description="Paths here = paths there, pairs parted by a semicolon: P:\\shots=/mnt/shots; /Volumes/a=/a",
        update=_reconnect,
    )
    ca_path: bpy.props.StringProperty(
        name="Certificates",
        description="PEM file that a daemon on another computer is known by",
        subtype="FILE_PATH",
        update=_reconnect,
    )
    certificate_path: bpy.props.StringProperty(
        name="Own Certificate", description="Where that daemon asks for one", subtype="FILE_PATH", update=_reconnect
    )
    key_path: bpy.props.StringProperty(
        name="Own Key", description="Key of the own certificate", subtype="FILE_PATH", update=_reconnect
    )
    command: bpy.props.StringProperty(
        name="Start Command",
        description="Program that starts the daemon; empty looks for dfl on this computer",
        subtype="FILE_PATH",
    )

    def draw(self, _context: Any) -> None:
        """Called by Blender."""
        column = self.layout.column()
        column.prop(self, "address")
        column.prop(self, "token_path")
        column.prop(self, "path_map")
        column.prop(self, "command")
        box = self.layout.box()
        box.label(text="A daemon on another computer")
        for name in ("ca_path", "certificate_path", "key_path"):
            box.prop(self, name)
        row = self.layout.row()
        row.operator("dfl.connect")
        row.label(text=runtime.desk.connection_text)


def register() -> None:
    bpy.utils.register_class(FaceSwapPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(FaceSwapPreferences)
