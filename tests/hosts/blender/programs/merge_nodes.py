"""Swap Range into the compositor, rendered: the face over its plate against the beauty as it was merged."""

from __future__ import annotations

import os
from typing import Any

import bpy
import numpy as np
from inside import FACTS, answer, connected_scene

scene = connected_scene()
from dflblender import compat, runtime  # noqa: E402


def rendered(socket: Any, frame: int) -> Any:
    """(H, W, 4) float32 of what the output shows when this is wired to it."""
    tree, output = compat.compositor_tree(scene)
    tree.links.new(socket, output)
    scene.frame_set(frame)
    path = os.path.join(FACTS["output"], f"{socket.name}.{frame}.exr")
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(path)
    pixels = np.array(image.pixels[:], np.float32).reshape(image.size[1], image.size[0], 4)
    bpy.data.images.remove(image)
    return pixels


scene.face_swap.target_clip = FACTS["plate"].replace("####", "1001")
bpy.ops.dfl.swap_range()
run = runtime.desk.runs[scene.session_uid]
tree = compat.existing_compositor_tree(scene)
group = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup")
plate = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeImage")

scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 400, 300, 100
settings = scene.render.image_settings
if hasattr(settings, "media_type"):
    settings.media_type = "IMAGE"
settings.file_format, settings.color_depth = "OPEN_EXR", "32"
if hasattr(scene.render, "compositor_device"):
    scene.render.compositor_device = "CPU"
face, merged = rendered(group.outputs["Image"], 1002), rendered(group.outputs["Merged"], 1002)
bare, matte = rendered(plate.outputs["Image"], 1002), rendered(group.outputs["Matte"], 1002)
nobody = rendered(group.outputs["Image"], 1004), rendered(plate.outputs["Image"], 1004)

before = (len(bpy.data.node_groups), len(tree.nodes))
bpy.ops.dfl.update()
first_label = scene.face_swap.result_label
scene.face_swap.merge["mode"] = 1
bpy.ops.dfl.update()
answer(
    outcome=run.outcome,
    outputs=[socket.name for socket in group.outputs],
    difference=float(np.abs(face - merged)[..., :3].max()),
    change=float(np.abs(face - bare)[..., :3].max()),
    matte=[float(matte[..., 0].min()), float(matte[..., 0].max())],
    nobody=float(np.abs(nobody[0] - nobody[1])[..., :3].max()),
    brightest=float(face[..., :3].max()),
    labels=[first_label, scene.face_swap.result_label, group.label],
    is_reused=before == (len(bpy.data.node_groups), len(tree.nodes)),
    file=next(node.image.filepath for node in group.node_tree.nodes if getattr(node, "image", None)),
)
