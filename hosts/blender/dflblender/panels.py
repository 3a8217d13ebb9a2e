# SPDX-License-Identifier: GPL-3.0-or-later
"""The *Face Swap* tab of the sequencer, compositor, image and clip editors: the same words in the same order."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import bpy

from . import compat, knob_store, runtime
from ._dflhost import messages, words
from ._dflhost.jobs import EXTRACT, MERGE, TRAIN
from .desk import Run

EDITORS = {"SEQUENCE_EDITOR": "sequencer", "NODE_EDITOR": "compositor", "IMAGE_EDITOR": "image", "CLIP_EDITOR": "clip"}
LETTER_PX, MARGIN_PX, ICON_LETTERS = 7.6, 40, 4
"""Of a sidebar's text at scale 1; measured in Blender 4.3 on words of both cases."""
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[/\\][^\s;,]*[/\\](?=[^\s/\\])")
"""Folders before file names, which the report tells and a sidebar has no room for."""
NOTES = 2
"""Notes that are shown; the report has all."""


def state_text(run: Run | None, stale: str, *, is_connected: bool) -> str:
    """The state line, in words that all hosts share."""
    if run is not None and not run.is_ended:
        return run.text
    if run is not None and run.outcome != "SUCCEEDED":
        return run.text
    if stale:
        return messages.STALE
    if run is not None:
        return run.text
    return messages.IDLE if is_connected else messages.NOT_CONNECTED


class Part:
    """What all parts of the tab share."""

    bl_region_type = "UI"
    bl_category = words.MENU

    @classmethod
    def poll(cls, context: Any) -> bool:
        space = context.space_data
        return space.type != "NODE_EDITOR" or compat.shows_compositor(space)


class Main(Part):
    """State and errors on top, where a low sidebar shows them; then fields and steps in the order of all hosts."""

    bl_label = words.MENU

    def draw(self, context: Any) -> None:
        scene, layout = compat.editor_scene(context), self.layout  # type: ignore[attr-defined]
        run = runtime.desk.runs.get(scene.session_uid)
        _draw_state(layout, scene, run)
        _draw_error(layout, scene)
        _draw_fields(layout.column(), scene.face_swap)
        column = layout.column(align=True)
        for label in (words.SOURCE, words.TARGET):
            column.operator("dfl.extract", text=f"{messages.EXTRACT}: {label}", icon="USER").of = label.upper()
        column.operator("dfl.train", icon="PLAY")
        column = layout.column(align=True)
        column.operator("dfl.swap_frame", icon="IMAGE_DATA")
        column.operator("dfl.swap_range", icon="RENDER_ANIMATION")
        column.operator("dfl.update", icon="FILE_REFRESH")
        column.operator("dfl.cancel", icon="CANCEL")
        row = layout.row(align=True)
        row.operator("dfl.show_result", icon="HIDE_OFF")
        row.operator("dfl.report", icon="TEXT")


class Knobs(Part):
    """The daemon's settings of one kind of job."""

    bl_options = frozenset({"DEFAULT_CLOSED"})
    kind = ""

    def draw(self, context: Any) -> None:
        group, layout = getattr(compat.editor_scene(context).face_swap, self.kind), self.layout  # type: ignore[attr-defined]
        layout.use_property_split = True
        heading = ""
        items = knob_store.layout_of(group)
        if not items:
            layout.operator("dfl.connect")
        for item in items:
            if item["group"] != heading:
                heading = item["group"]
                layout.label(text=heading)
            layout.prop(group, f'["{bpy.utils.escape_identifier(item["name"])}"]', text=item["label"])


class Masks(Part):
    """Drawn masks as labels."""

    bl_label = "Labels"
    bl_options = frozenset({"DEFAULT_CLOSED"})

    def draw(self, _context: Any) -> None:
        layout = self.layout  # type: ignore[attr-defined]
        _paragraph(layout, "Open a face from a faceset, switch the editor to Mask and draw around what is face.")
        layout.operator("dfl.mask_to_label", icon="MOD_MASK")


def _draw_fields(column: Any, swap: Any) -> None:
    column.prop(swap, "target_clip")
    row = column.row(align=True)
    row.prop(swap, "use_range")
    if swap.use_range:
        row.prop(swap, "first", text="")
        row.prop(swap, "last", text="")
    column.prop(swap, "source_footage")
    _folder(column, swap, "source_faces", text=words.SOURCE)
    _folder(column, swap, "target_faces", text=words.FACES)
    _folder(column, swap, "model", text=words.MODEL)
    column.prop(swap, "output")


def _folder(layout: Any, swap: Any, field: str, **how: Any) -> None:
    """A folder, and the menu of those that the daemon knows."""
    row = layout.row(align=True)
    row.prop(swap, field, **how)
    row.operator_menu_enum(f"dfl.choose_{field}", "path", text="", icon="DOWNARROW_HLT")


def _draw_state(layout: Any, scene: Any, run: Run | None) -> None:
    desk, swap = runtime.desk, scene.face_swap
    text = state_text(run, swap.stale, is_connected=desk.session is not None)
    if run is not None and not run.is_ended:
        layout.progress(factor=run.fraction, text=text)
    else:
        icons = {messages.STALE: "ERROR", "Failed": "ERROR", messages.NOT_CONNECTED: "UNLINKED"}
        layout.label(text=text, icon=icons.get(text, "CHECKMARK" if desk.session else "BLANK1"))
    if swap.stale:
        _paragraph(layout, swap.stale)
    if swap.result_label:
        layout.label(text=swap.result_label, icon="IMAGE_DATA")
    for note in runtime.notes.get(scene.session_uid, [])[:NOTES]:
        _paragraph(layout, _FOLDERS.sub("", note), icon="INFO")
    if desk.session is None:
        row = layout.row(align=True)
        row.enabled = not desk.is_connecting
        row.operator("dfl.connect", icon="LINKED")
        row.operator("dfl.start_daemon")


def _draw_error(layout: Any, scene: Any) -> None:
    error = runtime.errors.get(scene.session_uid) or runtime.desk.error
    if error is None:
        return
    told = messages.explain(error)
    box = layout.box()
    box.alert = True
    _paragraph(box, told.text, icon="ERROR")
    action = {
        messages.START_DAEMON: "dfl.start_daemon",
        messages.OPEN_PREFERENCES: "dfl.preferences",
        messages.TRY_AGAIN: "dfl.connect" if error.is_unreachable else "",
        messages.OPEN_REPORT: "dfl.report",
    }.get(told.action, "")
    if action:
        box.operator(action)


def _paragraph(layout: Any, text: str, icon: str = "NONE") -> None:
    """Text over several lines, as wide as the sidebar; Blender's labels do not wrap."""
    context, column = bpy.context, layout.column(align=True)
    width = context.region.width / context.preferences.system.ui_scale - MARGIN_PX
    letters = max(int(width / LETTER_PX) - (ICON_LETTERS if icon != "NONE" else 0), 16)
    for position, line in enumerate(textwrap.wrap(text, letters)):
        column.label(text=line, icon=icon if position == 0 else ("BLANK1" if icon != "NONE" else "NONE"))


def _classes() -> list[type]:
    """One panel of each part for each editor; sub-panels hang below the editor's own."""
    made: list[type] = []
    for space, editor in EDITORS.items():
        main = f"DFL_PT_{editor}"

        def panel(name: str, base: type, space: str = space, **fields: Any) -> type:
            return type(name, (base, bpy.types.Panel), {"bl_idname": name, "bl_space_type": space, **fields})

        made.append(panel(main, Main))
        for kind, label in ((MERGE, "Swap Settings"), (EXTRACT, "Extract Settings"), (TRAIN, "Train Settings")):
            made.append(panel(f"{main}_{kind}", Knobs, bl_parent_id=main, bl_label=label, kind=kind))
        if space == "IMAGE_EDITOR":
            made.append(panel(f"{main}_masks", Masks, bl_parent_id=main))
    return made


_CLASSES: list[type] = []


def register() -> None:
    _CLASSES[:] = _classes()
    for kind in _CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(_CLASSES):
        bpy.utils.unregister_class(kind)
    _CLASSES.clear()
