"""What an artist is told when something is wrong; nothing may raise."""

from __future__ import annotations

import os

import bpy
from inside import FACTS, add_plate_strip, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import runtime  # noqa: E402

swap, told = scene.face_swap, {}


def press(name: str, button: str = "swap_range") -> None:
    getattr(bpy.ops.dfl, button)()
    told[name] = sentence(scene)
    runtime.errors.clear()


press("nothing chosen")
strip = add_plate_strip(scene)
swap.model = ""
press("no model")
swap.model = FACTS["faces"]
press("no such model")
swap.model, swap.output = FACTS["model"], ""
press("not saved")
swap.output = FACTS["output"]
strip.use_reverse_frames = True
press("reversed strip")
strip.use_reverse_frames = False
swap.use_range, swap.first, swap.last = True, 2000, 2010
press("outside the clip")
swap.use_range = False
swap.target_faces = os.path.join(FACTS["output"], "no_faces_here")
press("frame without faces", "swap_frame")
swap.target_faces, swap.output = FACTS["faces"], "/sys/kernel/face_swap"
press("read-only folder")
swap.output = FACTS["output"]
runtime.desk.disconnect()
os.environ["DFL_STATE_DIR"] = os.path.join(FACTS["output"], "empty")
press("no daemon")
answer(told=told)
