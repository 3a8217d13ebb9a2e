# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders one strip of a file to half float EXR in scene-linear Rec.709: a program for a Blender in the background.

The last argument is JSON, see :class:`.plate_render.StripRender`. No line of the file's own scripts is run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bpy


def main(order: dict[str, Any]) -> None:
    bpy.ops.wm.open_mainfile(filepath=order["file"], load_ui=False, use_scripts=False)
    scene = bpy.data.scenes[order["scene"]]
    editor = scene.sequence_editor
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    show_alone(strips, strips[order["strip"]], editor)
    set_output(scene, order)

    def told(*_: Any) -> None:
        print("FACE SWAP FRAME", scene.frame_current, flush=True)  # noqa: T201  the other Blender reads it

    bpy.app.handlers.render_write.append(told)
    bpy.ops.render.render(animation=True, scene=scene.name)


def show_alone(strips: Any, wanted: Any, editor: Any) -> None:
    """Only this strip, and what it is made of; opaque, over nothing."""
    needed = {wanted.name}
    todo = [wanted]
    while todo:
        strip = todo.pop()
        for name in ("input_1", "input_2"):
            source = getattr(strip, name, None)
            if source is not None and source.name not in needed:
                needed.add(source.name)
                todo.append(source)
    for strip in strips:
        if strip.name not in needed:
            strip.mute = True
    wanted.mute = False
    wanted.blend_type, wanted.blend_alpha = "REPLACE", 1.0
    for channel in editor.channels:
        channel.mute = False


def set_output(scene: Any, order: dict[str, Any]) -> None:
    """Values as they are: no view, no compositor, nothing stamped or cut."""
    render, image = scene.render, scene.render.image_settings
    render.use_sequencer, render.use_compositing, render.use_stamp = True, False, False
    render.use_border = render.use_multiview = render.use_placeholder = False
    render.use_overwrite = render.use_file_extension = True
    render.resolution_percentage = 100
    if hasattr(render, "compositor_device"):
        render.compositor_device = "CPU"
    if hasattr(image, "media_type"):
        image.media_type = "IMAGE"
    image.color_management = "FOLLOW_SCENE"
    image.file_format, image.color_mode, image.color_depth, image.exr_codec = "OPEN_EXR", "RGBA", "16", "ZIP"
    view = scene.view_settings
    view.view_transform, view.look, view.exposure, view.gamma = "Raw", "None", 0.0, 1.0
    view.use_curve_mapping = False
    scene.frame_start, scene.frame_end, scene.frame_step = order["first"], order["last"], 1
    render.filepath = order["pattern"]


if __name__ == "__main__":
    main(json.loads(sys.argv[-1]))
