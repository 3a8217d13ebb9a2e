"""A mask drawn over a face is sent as its label."""

from __future__ import annotations

import bpy
from inside import FACTS, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import ops_masks, runtime  # noqa: E402

mask = bpy.data.masks.new("face")
for name, low, high in (("face", 0.1, 0.9), ("hand", 0.4, 0.5)):
    layer = mask.layers.new(name=name)
    spline = layer.splines.new()
    spline.points.add(3)
    spline.use_cyclic = True
    corners = ((low, low), (high, low), (high, high), (low, high))
    for point, corner in zip(spline.points, corners, strict=False):
        point.handle_type = "VECTOR"
        point.co = point.handle_left = point.handle_right = corner
image = bpy.data.images.load(FACTS["face"])
ops_masks.send_mask(scene, mask, bpy.path.abspath(image.filepath), tuple(image.size))
answer(told=sentence(scene), outcome=runtime.desk.runs[scene.session_uid].outcome, size=image.size[:])
