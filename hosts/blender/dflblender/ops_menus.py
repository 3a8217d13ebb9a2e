# SPDX-License-Identifier: GPL-3.0-or-later
"""Menus beside the path fields: the models and facesets that the daemon knows."""

from __future__ import annotations

import time
from typing import Any

import bpy

from . import compat, runtime
from ._dflhost import words

NOTHING = "-"
_shown: dict[str, list[tuple[str, str, str]]] = {}
"""Kind → what its menu shows. Blender keeps no texts of a menu made by a call: they must live here."""


def _items(kind: str) -> list[tuple[str, str, str]]:
    found = [
        (one.path, one.name, f"{one.path}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(one.change_time_s))}")
        for one in runtime.folders[kind]
    ]
    _shown[kind] = found or [(NOTHING, "The daemon knows none yet", "Connect, or extract and train first")]
    return _shown[kind]


def _models(_self: Any, _context: Any) -> list[tuple[str, str, str]]:
    return _items("models")


def _facesets(_self: Any, _context: Any) -> list[tuple[str, str, str]]:
    return _items("facesets")


class _Choose:
    """Fills in one field."""

    bl_options = frozenset({"REGISTER", "UNDO", "INTERNAL"})
    field = ""

    def execute(self, context: Any) -> set[str]:
        path = self.path  # type: ignore[attr-defined]
        if path == NOTHING:
            return {"CANCELLED"}
        setattr(compat.editor_scene(context).face_swap, self.field, path)
        return {"FINISHED"}


class ChooseModel(_Choose, bpy.types.Operator):
    """One of the daemon's models."""

    bl_idname, bl_label = "dfl.choose_model", words.MODEL
    bl_description = "Choose a model that the daemon knows"
    field = "model"
    path: bpy.props.EnumProperty(items=_models, options={"SKIP_SAVE"})


class ChooseSourceFaces(_Choose, bpy.types.Operator):
    """One of the daemon's facesets."""

    bl_idname, bl_label = "dfl.choose_source_faces", f"{words.SOURCE} {words.FACES}"
    bl_description = "Choose a faceset that the daemon knows"
    field = "source_faces"
    path: bpy.props.EnumProperty(items=_facesets, options={"SKIP_SAVE"})


class ChooseTargetFaces(_Choose, bpy.types.Operator):
    """One of the daemon's facesets."""

    bl_idname, bl_label = "dfl.choose_target_faces", f"{words.TARGET} {words.FACES}"
    bl_description = "Choose a faceset that the daemon knows"
    field = "target_faces"
    path: bpy.props.EnumProperty(items=_facesets, options={"SKIP_SAVE"})


register, unregister = bpy.utils.register_classes_factory((ChooseModel, ChooseSourceFaces, ChooseTargetFaces))
