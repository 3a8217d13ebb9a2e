# SPDX-License-Identifier: GPL-3.0-or-later
"""Extract Faces, of the source or the target, and Train."""

from __future__ import annotations

import os
from typing import Any

import bpy

from . import orders, plate_render, plates, runtime
from ._dflhost import messages, words
from ._dflhost.jobs import EXTRACT, TRAIN
from ._dflhost.plates import FrameSet, Plate, frames_on_disk
from .desk import Step
from .ops_swap import IdleOnly, faces_folder, facts_of
from .strip_plates import file_name


class ExtractFaces(IdleOnly, bpy.types.Operator):
    """Plate → faceset."""

    bl_idname, bl_label = "dfl.extract", messages.EXTRACT
    bl_description = words.TOOL_TIPS[messages.EXTRACT]
    bl_options = frozenset({"REGISTER"})

    of: bpy.props.EnumProperty(
        items=[
            ("SOURCE", words.SOURCE, "The person whose face is put on"),
            ("TARGET", words.TARGET, "The performer in the clip that is shown or chosen here"),
        ],
        default="TARGET",
        options={"SKIP_SAVE"},
    )

    def start(self, context: Any, scene: Any) -> None:
        settings = runtime.settings_of(scene, EXTRACT)
        before: list[Step] = []
        if self.of == "SOURCE":
            plate, folder, field = *_source(scene), "source_faces"
        else:
            choice = plates.choose(context)
            plate, folder, field = choice.plate, faces_folder(scene, choice.name), "target_faces"
            before = plate_render.steps(scene, facts_of(scene, choice))
        steps = [*before, *orders.extract_steps(plate, folder, settings, field)]
        runtime.begin(scene, steps, {field: folder})


class Train(IdleOnly, bpy.types.Operator):
    """Source and target faces → model."""

    bl_idname, bl_label = "dfl.train", messages.TRAIN
    bl_description = words.TOOL_TIPS[messages.TRAIN]
    bl_options = frozenset({"REGISTER"})

    def start(self, context: Any, scene: Any) -> None:
        swap = scene.face_swap
        source = plates.absolute(orders.need(swap.source_faces, "the source faces, or extract them,"))
        if swap.target_faces.strip():
            target = plates.absolute(swap.target_faces)
        else:
            target = faces_folder(scene, plates.choose(context).name)
        chosen = swap.model.strip()
        model = plates.absolute(chosen) if chosen else os.path.join(plates.result_folder(scene), "model")
        settings = runtime.settings_of(scene, TRAIN)
        facts = {"model": model, "target_faces": target}
        runtime.begin(scene, orders.train_steps(source, target, model, settings), facts)


def _source(scene: Any) -> tuple[Plate, str]:
    """Footage of the identity, and the folder for its faces."""
    swap = scene.face_swap
    pattern = plates.footage(orders.need(swap.source_footage, "footage of the source"))
    name = file_name(os.path.basename(pattern))
    chosen = swap.source_faces.strip()
    folder = plates.absolute(chosen) if chosen else os.path.join(plates.result_folder(scene), f"{name}_faces")
    return Plate(pattern, frames_on_disk(pattern) if "#" in pattern else FrameSet()), folder


register, unregister = bpy.utils.register_classes_factory((ExtractFaces, Train))
