"""Strips that do not show their files as they are: rendered by a second Blender, as a plate of the values they show."""

from __future__ import annotations

import os
from typing import Any

import bpy
import numpy as np
from inside import FACTS, add_plate_strip, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import compat, ops_swap, plate_render, plates, runtime  # noqa: E402

scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 400, 300, 50
scene.sequence_editor_create()


def pixels(path: str) -> Any:
    """(H, W, 4) float32."""
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = "Linear Rec.709"
    values = np.array(image.pixels[:], np.float32).reshape(image.size[1], image.size[0], 4)
    bpy.data.images.remove(image)
    return values


def rendered(strip: Any) -> tuple[dict[str, str], Any]:
    """Its facts, and the result folder's plate as it was rendered."""
    choice = plates.of_strip_or_render(scene, strip)
    facts = ops_swap.facts_of(scene, choice)
    run = runtime.begin(scene, plate_render.steps(scene, facts), facts)
    said = {**facts, "told": sentence(scene), "outcome": run.outcome, "text": run.text}
    return said, [pixels(facts["plate"].replace("####", f"{frame:04d}")) for frame in choice.plate.frames]


bpy.ops.dfl.connect()
strip = add_plate_strip(scene)
strip.colorspace_settings.name = "Linear Rec.709"
own = [pixels(FACTS["plate"].replace("####", str(frame))) for frame in range(1001, 1005)]
cover = compat.strips(scene).new_effect(name="Cover", type="COLOR", channel=5, frame_start=1, **FACTS["effect"])
strip.use_reverse_frames = True
before = bpy.data.filepath
said, frames = rendered(strip)
reversed_by = max(float(np.abs(frame - old).max()) for frame, old in zip(frames, reversed(own), strict=True))
brightest = max(float(frame.max()) for frame in frames)
is_found_again = plate_render.steps(scene, said) == []
strip.transform.offset_x = 40
other = plates.of_strip_or_render(scene, strip).render != said["render"]
strip.transform.offset_x = 0
same = plates.of_strip_or_render(scene, strip).render == said["render"]
strip.use_reverse_frames = False
is_plain = plates.of_strip_or_render(scene, strip).render == ""

second = bpy.data.scenes.new("Other")
second.render.resolution_x, second.render.resolution_y = 400, 300
inner = add_plate_strip(second, first=1)
inner.colorspace_settings.name = "Linear Rec.709"
second.frame_start, second.frame_end = 1, 4
scene_strip = compat.strips(scene).new_scene(name="Cut", scene=second, channel=7, frame_start=30)
scene_strip.scene_input = "SEQUENCER"
of_scene, scene_frames = rendered(scene_strip)
scene_by = float(np.abs(scene_frames[1] - own[1]).max())

meta = compat.strips(scene).new_meta(name="Group", channel=8, frame_start=50)
nested = add_plate_strip(scene, first=50)
nested.colorspace_settings.name = "Linear Rec.709"
nested.move_to_meta(meta)
meta.frame_final_end = 54
of_meta, meta_frames = rendered(meta)
meta_by = min(float(np.abs(meta_frames[2] - old).max()) for old in own)

scene_strip.strobe = 2.0
facts = ops_swap.facts_of(scene, plates.of_strip_or_render(scene, scene_strip))
stopped = runtime.desk.start(scene.session_uid, plate_render.steps(scene, facts), facts)
while stopped.phase in {"waiting", "submitting"}:
    runtime.pump()
runtime.desk.cancel(scene.session_uid)
runtime.finish()
folder = os.path.dirname(os.path.dirname(facts["plate"]))
unfinished = [name for name in os.listdir(folder) if name.endswith(".part") or name in facts["plate"].split(os.sep)]
strip.use_reverse_frames = True
scene.sequence_editor.active_strip = strip
swap = scene.face_swap
swap.target_faces = FACTS["faces"]
runtime.errors.clear()
scene.frame_set(12)
bpy.ops.dfl.swap_frame()
told_frame = sentence(scene)
leftovers = [name for name in os.listdir(bpy.app.tempdir) if name.startswith("face_swap_")]
answer(
    said=said,
    before=before == bpy.data.filepath,
    reversed_by=reversed_by,
    brightest=brightest,
    is_found_again=is_found_again,
    changes=[other, same, is_plain],
    scene=of_scene["outcome"],
    scene_told=of_scene["told"],
    scene_by=scene_by,
    meta=of_meta["outcome"],
    meta_by=meta_by,
    told_frame=told_frame,
    leftovers=leftovers,
    stopped=[stopped.outcome, stopped.text],
    unfinished=unfinished,
    muted=[found.name for found in compat.strips(scene) if found.mute],
)
