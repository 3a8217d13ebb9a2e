"""Every action with a daemon on another machine that sees none of these disks."""

from __future__ import annotations

import os

import bpy
from inside import FACTS, add_plate_strip, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import compat, knob_store, runtime  # noqa: E402
from dflblender._dflhost.discovery import ConnectionSettings  # noqa: E402

ConnectionSettings.is_remote = property(lambda _self: True)  # its address is one of this machine's
bpy.context.preferences.system.use_online_access = True
for name, value in FACTS["variables"].items():
    os.environ[name] = value
del os.environ["DFL_STATE_DIR"]
swap, told = scene.face_swap, {}


def press(name: str, button: str, **how: str) -> str:
    outcome = getattr(bpy.ops.dfl, button)(**how)
    told[name] = sentence(scene)
    run = runtime.desk.runs.get(scene.session_uid)
    return run.outcome if run is not None else str(outcome)


bpy.ops.dfl.connect()
told["connect"] = sentence(scene)
strip = add_plate_strip(scene)
strip.colorspace_settings.name = "ACEScg"  # as the files say, which older Blenders do not read
outcomes = {"range": press("range", "swap_range")}
strips = {
    found.name: {"muted": found.mute, "files": [element.filename for element in found.elements]}
    for found in compat.strips(scene)
    if found != strip
}
folder = os.path.dirname(swap.result_pattern)
files = sorted(os.listdir(folder))
times = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in files}
os.remove(os.path.join(folder, "Take_1_swap.1002.exr"))
runtime.check_staleness(scene)
runtime.finish()
stale = swap.stale
outcomes["update"] = press("update", "update")
again = sorted(name for name, time in times.items() if os.stat(os.path.join(folder, name)).st_mtime_ns != time)
matte = bpy.data.images.load(os.path.join(folder, "Take_1_swap_matte.1001.exr"))
matte_kind = [matte.type, max(matte.pixels[:]) if matte.size[0] else 0.0]

scene.frame_set(12)
outcomes["frame"] = press("frame", "swap_frame")
frame = bpy.data.images.get("Take_1 swap 1002")
swap.target_clip = FACTS["plate"].replace("####", "1001")
scene.sequence_editor.active_strip = None
scene.sequence_editor_clear()
outcomes["nodes"] = press("nodes", "swap_range")
layered = swap.result_pattern
nodes = compat.existing_compositor_tree(scene).nodes
groups = sum(node.bl_idname == "CompositorNodeGroup" for node in nodes)

swap.target_faces = ""
outcomes["extract"] = press("extract", "extract", of="TARGET")
extracted = swap.target_faces
swap.source_faces, swap.target_faces, swap.model = FACTS["faces"], FACTS["faces"], ""
layout = {item["name"]: item for item in knob_store.layout_of(swap.train)}
for name, value in FACTS["settings"].items():
    choices = layout[name]["choices"]
    swap.train[name] = choices.index(value) if choices else value
outcomes["train"] = press("train", "train")
trained = swap.model
bpy.ops.dfl.connect()
runtime.look_at_folders()
runtime.finish()
menus = {kind: [one.path for one in found] for kind, found in runtime.folders.items()}
swap.model = ""
if trained in menus["models"]:
    bpy.ops.dfl.choose_model(path=trained)
swap.target_faces = FACTS["faces"]
outcomes["swap with it"] = press("swap with it", "swap_range")
answer(
    told=told,
    outcomes=outcomes,
    strips=strips,
    pattern=os.path.join(folder, "Take_1_swap.####.exr"),
    files=files,
    stale=stale,
    again=again,
    matte=matte_kind,
    frame=frame.size[:] if frame else None,
    layered=layered,
    groups=groups,
    extracted=extracted,
    trained=trained,
    menus=menus,
    chosen=swap.model,
)
