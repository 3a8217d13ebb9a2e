"""Movie strips, whole and trimmed, and a clip of a movie."""

from __future__ import annotations

from typing import Any

import bpy
from inside import FACTS, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import compat, plates, runtime  # noqa: E402


def said(choice: Any) -> list[Any]:
    return [choice.plate.path, str(choice.plate.frames), choice.scene_start]


strip = compat.strips(scene).new_movie("Take 3.mp4", FACTS["movie"], 1, 1)
scene.sequence_editor.active_strip = strip
whole = said(plates.choose(bpy.context))
strip.frame_final_start, strip.frame_final_end = 4, 10
trimmed = said(plates.choose(bpy.context))
clip = said(plates.of_clip(bpy.data.movieclips.load(FACTS["movie"])))
bpy.ops.dfl.swap_range()
run = runtime.desk.runs.get(scene.session_uid)
answer(whole=whole, trimmed=trimmed, clip=clip, told=sentence(scene), outcome=run.outcome if run else "")
