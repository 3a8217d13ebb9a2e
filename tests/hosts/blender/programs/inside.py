"""What programs that run inside Blender share. Not a test: see ``conftest.run_in_bpy``."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import bpy

FACTS: dict[str, Any] = json.loads(sys.argv[-1])


def answer(**said: Any) -> None:
    """What the test reads."""
    print("ANSWER " + json.dumps(said, default=str), flush=True)


def part(name: str) -> Any:
    """A module of the extension: installed as one, or on the path."""
    installed = "bl_ext.user_default.dflblender"
    return importlib.import_module(f"{installed if installed in sys.modules else 'dflblender'}.{name}")


def connected_scene() -> Any:
    """The extension registered, its daemon known, the shot's model and faces chosen."""
    import os

    import dflblender

    os.environ["DFL_STATE_DIR"] = FACTS["state"]
    dflblender.register()
    scene = bpy.context.scene
    swap = scene.face_swap
    swap.model, swap.target_faces, swap.output = FACTS["model"], FACTS["faces"], FACTS["output"]
    return scene


def add_plate_strip(scene: Any, first: int = 11) -> Any:
    """The shot's four frames as an image strip, selected."""
    strip = part("compat").strips(scene).new_image("Take 1", FACTS["plate"].replace("####", "1001"), 1, first)
    for number in (1002, 1003, 1004):
        strip.elements.append(f"shot.{number}.exr")
    scene.sequence_editor.active_strip = strip
    return strip


def sentence(scene: Any) -> str:
    """What the panel tells."""
    runtime = part("runtime")
    error = runtime.errors.get(scene.session_uid) or runtime.desk.error
    return str(part("_dflhost.messages").explain(error).text) if error else ""
