"""Swap Range, Update, Swap Frame and Show Result from the sequencer."""

from __future__ import annotations

import os

import bpy
from inside import FACTS, add_plate_strip, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import compat, place, runtime  # noqa: E402

plate = add_plate_strip(scene)
plate.transform.offset_x = 20
bpy.ops.dfl.swap_range()
strips = {
    strip.name: {
        "channel": strip.channel,
        "range": compat.visible_range(strip),
        "blend": strip.blend_type,
        "alpha": strip.alpha_mode,
        "muted": strip.mute,
        "offset": strip.transform.offset_x,
        "files": [element.filename for element in strip.elements],
    }
    for strip in compat.strips(scene)
}
told, notices = sentence(scene), runtime.notes.get(scene.session_uid, [])
assert scene.face_swap.result_key, sentence(scene)
bpy.ops.dfl.update()


def staleness() -> str:
    runtime.check_staleness(scene)
    runtime.finish()
    return str(scene.face_swap.stale)


stale = [staleness()]
scene.face_swap.merge["mode"] = 1
stale.append(staleness())
scene.face_swap.merge["mode"] = 0
stale.append(staleness())
os.utime(FACTS["plate"].replace("####", "1002"))
stale.append(staleness())
scene.frame_set(12)
bpy.ops.dfl.swap_frame()
image = bpy.data.images["Take_1 swap 1002"]
frame = {"size": image.size[:], "packed": bool(image.packed_file), "brightest": max(image.pixels[:])}
bpy.ops.dfl.show_result()
after = sorted(strip.name for strip in compat.strips(scene))
grown = []
facts = runtime.facts_in(scene.face_swap.result_place)
for name in [strip.name for strip in compat.strips(scene) if "swap" in strip.name]:
    found = compat.strips(scene)
    found.remove(found[name])
for done in ({1001}, {1001, 1002, 1004}, {1001, 1002, 1003, 1004}):  # as they come; a strip has no holes
    shown = runtime._plate_and_start(facts)
    place.show_finished(scene, scene.face_swap.result_pattern, shown[0], facts, shown[1], done)
    (growing,) = [strip for strip in compat.strips(scene) if "swap" in strip.name]
    grown.append([len(growing.elements), *compat.visible_range(growing)])
answer(
    grown=grown,
    strips=strips,
    told=told,
    stale=stale,
    after=after,
    frame=frame,
    notices=notices,
    report=bpy.ops.dfl.report(),
    text=bpy.data.texts["Face Swap Report"].as_string(),
)
