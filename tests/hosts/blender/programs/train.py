"""Train from the panel's fields: the model is chosen when it is done, and its previews are an image."""

from __future__ import annotations

import bpy
from inside import FACTS, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import knob_store, runtime  # noqa: E402

bpy.ops.dfl.connect()
swap = scene.face_swap
swap.source_faces, swap.model = FACTS["faces"], ""
layout = {item["name"]: item for item in knob_store.layout_of(swap.train)}
for name, value in FACTS["settings"].items():
    choices = layout[name]["choices"]
    swap.train[name] = choices.index(value) if choices else value
bpy.ops.dfl.train()
run = runtime.desk.runs[scene.session_uid]
preview = bpy.data.images.get("Face Swap Preview")
answer(
    told=sentence(scene),
    outcome=run.outcome,
    text=run.text,
    model=swap.model,
    preview=preview.size[:] if preview else None,
    notes=runtime.notes.get(scene.session_uid, []),
)
