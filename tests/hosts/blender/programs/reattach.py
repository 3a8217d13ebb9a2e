"""A file saved while its job runs, its Blender gone, is opened in another: the job is found, its result placed."""

from __future__ import annotations

import os
import time

import bpy
from inside import FACTS, add_plate_strip, answer, connected_scene

scene = connected_scene()
from dflblender import compat, ops_swap, plates, runtime  # noqa: E402

path = os.path.join(FACTS["output"], "scene.blend")
if FACTS["stage"] == "close":
    strip = add_plate_strip(scene)
    os.makedirs(FACTS["output"], exist_ok=True)
    facts = ops_swap.facts_of(scene, plates.of_strip(strip))
    run = runtime.desk.start(scene.session_uid, runtime.order_of(scene, facts).steps(), facts)
    while not (run.job is not None and run.job.reference) and not run.is_ended:
        runtime.pump()
        time.sleep(0.01)
    bpy.ops.wm.save_as_mainfile(filepath=path)
    answer(stored=scene.face_swap.job)
    os._exit(0)  # as a Blender that crashes
bpy.ops.wm.open_mainfile(filepath=path)
scene = bpy.context.scene
is_found = runtime.desk.is_working(scene.session_uid)
runtime.finish()
answer(is_found=is_found, strips=[strip.name for strip in compat.strips(scene)], job=scene.face_swap.job)
