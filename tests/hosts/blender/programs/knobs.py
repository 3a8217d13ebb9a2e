"""The daemon's settings as properties: kept, sent only where changed, unknown ones too, after saving and loading."""

from __future__ import annotations

import os

import bpy
from inside import FACTS, answer, connected_scene

scene = connected_scene()
from dflblender import knob_store, runtime  # noqa: E402

bpy.ops.dfl.connect()
group = scene.face_swap.merge
untouched = runtime.settings_of(scene, "merge")
names = [item["name"] for item in knob_store.layout_of(group)]
group["mode"] = next(item for item in knob_store.layout_of(group) if item["name"] == "mode")["choices"].index(
    "seamless"
)
group["from_the_future"] = 4
sent = runtime.settings_of(scene, "merge")
os.makedirs(FACTS["output"], exist_ok=True)
path = os.path.join(FACTS["output"], "knobs.blend")
bpy.ops.wm.save_as_mainfile(filepath=path)
bpy.ops.wm.open_mainfile(filepath=path)
again = runtime.settings_of(bpy.context.scene, "merge")
group = bpy.context.scene.face_swap.merge
tip = group.id_properties_ui("mode").as_dict().get("description", "")
answer(untouched=untouched, sent=sent, again=again, count=len(names), specs=len(runtime.knobs["merge"]), tip=tip)
