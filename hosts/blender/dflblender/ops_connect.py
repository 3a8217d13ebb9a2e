# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons about the connection, and the report."""

from __future__ import annotations

from typing import Any

import bpy

from . import compat, runtime
from ._dflhost import messages, words


class Connect(bpy.types.Operator):
    """Look for the daemon."""

    bl_idname, bl_label = "dfl.connect", words.CONNECT_BUTTON
    bl_description = words.TOOL_TIPS[words.CONNECT_BUTTON]
    bl_options = frozenset({"REGISTER"})

    def execute(self, _context: Any) -> set[str]:
        runtime.errors.clear()
        runtime.connect()
        if bpy.app.background:
            runtime.finish()
        return {"FINISHED"}


class StartDaemon(bpy.types.Operator):
    """Start the daemon; it outlives Blender."""

    bl_idname, bl_label = "dfl.start_daemon", words.START_DAEMON_BUTTON
    bl_description = words.TOOL_TIPS[words.START_DAEMON_BUTTON]
    bl_options = frozenset({"REGISTER"})

    def execute(self, _context: Any) -> set[str]:
        runtime.errors.clear()
        runtime.connect(start=True)
        if bpy.app.background:
            runtime.finish()
        return {"FINISHED"}


class OpenPreferences(bpy.types.Operator):
    """Show the extension's preferences."""

    bl_idname, bl_label = "dfl.preferences", "Preferences…"
    bl_description = "Open the preferences, where the daemon's address is"
    bl_options = frozenset({"REGISTER"})

    def execute(self, _context: Any) -> set[str]:
        bpy.ops.preferences.addon_show(module=__package__)
        return {"FINISHED"}


class Report(bpy.types.Operator):
    """Text about what went wrong."""

    bl_idname, bl_label = "dfl.report", messages.REPORT
    bl_description = words.TOOL_TIPS[messages.REPORT]
    bl_options = frozenset({"REGISTER", "UNDO"})

    def execute(self, context: Any) -> set[str]:
        scene = compat.editor_scene(context)
        session = runtime.desk.session
        run = runtime.desk.runs.get(scene.session_uid)
        swap = scene.face_swap
        text = messages.report(
            runtime.errors.get(scene.session_uid) or runtime.desk.error,
            blender=bpy.app.version_string,
            daemon=session.server.version if session else messages.NOT_CONNECTED,
            log=session.server.log_path if session else "",
            job=run.job.id if run is not None and run.job is not None else "",
            state=run.text if run is not None else "",
            notices="; ".join(run.notices) if run is not None else "",
            model=swap.model,
            target_faces=swap.target_faces,
            result=swap.result_pattern,
        )
        name = "Face Swap Report"
        block = bpy.data.texts.get(name) or bpy.data.texts.new(name)
        block.clear()
        block.write(text)
        context.window_manager.clipboard = text
        self.report({"INFO"}, f'The report is the text "{name}", and in the clipboard')
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory((Connect, StartDaemon, OpenPreferences, Report))
