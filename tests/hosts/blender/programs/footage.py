"""A shot of two movies through the panel: faces of both, a training, and the swap in the sequencer."""

from __future__ import annotations

import os

import bpy
from inside import FACTS, answer, connected_scene, sentence

scene = connected_scene()
from dflblender import compat, knob_store, runtime  # noqa: E402
from dflblender._dflhost.discovery import ConnectionSettings  # noqa: E402

if FACTS["variables"]:
    ConnectionSettings.is_remote = property(lambda _self: True)  # its address is one of this machine's
    bpy.context.preferences.system.use_online_access = True
    os.environ.update(FACTS["variables"])
    del os.environ["DFL_STATE_DIR"]
swap, outcomes, told = scene.face_swap, {}, {}


def press(name: str, button: str, **how: str) -> None:
    getattr(bpy.ops.dfl, button)(**how)
    told[name] = sentence(scene)
    outcomes[name] = runtime.desk.runs[scene.session_uid].outcome


def choose(kind: str) -> None:
    group = getattr(swap, kind)
    layout = {item["name"]: item for item in knob_store.layout_of(group)}
    for name, value in FACTS[kind].items():
        choices = layout[name]["choices"]
        group[name] = choices.index(value) if choices else value


bpy.ops.dfl.connect()
choose("train")
choose("merge")
swap.source_footage = FACTS["source"]
press("source", "extract", of="SOURCE")
strip = compat.strips(scene).new_movie("Take 1", FACTS["target"], 1, 1)
scene.sequence_editor.active_strip = strip
press("target", "extract", of="TARGET")
press("train", "train")
press("range", "swap_range")
answer(told=told, outcomes=outcomes, pattern=swap.result_pattern, faces=swap.target_faces, model=swap.model)
