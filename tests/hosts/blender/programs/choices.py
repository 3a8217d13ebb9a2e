"""What is before the artist, as a plate: strips trimmed and cut, numbered stills, clips, the artist's own nodes."""

from __future__ import annotations

from typing import Any

import bpy
from inside import FACTS, add_plate_strip, answer, connected_scene

scene = connected_scene()
from dflblender import compat, plates  # noqa: E402


def said(choice: plates.Choice) -> dict[str, Any]:
    plate = choice.plate
    return {"path": plate.path, "frames": str(plate.frames), "start": choice.scene_start, "place": choice.place}


strip = add_plate_strip(scene)
whole = said(plates.of_strip(strip))
strip.frame_final_start, strip.frame_final_end = 12, 14
trimmed = said(plates.of_strip(strip))
strip.frame_final_start = 11
strip.animation_offset_start = 1
cut = said(plates.of_strip(strip))

first = FACTS["plate"].replace("####", "1001")
image = bpy.data.images.load(first)
still = said(plates.of_image(image, None, "image"))
clip = said(plates.of_clip(bpy.data.movieclips.load(first)))

tree, _ = compat.compositor_tree(scene)
node = tree.nodes.new("CompositorNodeImage")
image.source = "SEQUENCE"
node.image = image
node.frame_start, node.frame_offset, node.frame_duration = 1, 1000, 3
scene.sequence_editor_clear()
of_node = said(plates.choose(bpy.context))
answer(whole=whole, trimmed=trimmed, cut=cut, still=still, clip=clip, node=of_node)
