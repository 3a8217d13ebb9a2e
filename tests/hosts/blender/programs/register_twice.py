"""Registers and unregisters twice; says what is left."""

from __future__ import annotations

import sys
import threading
from typing import Any

import bpy
from inside import answer


def world() -> dict[str, Any]:
    handlers = (name for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list))
    return {
        "types": sorted(dir(bpy.types)),
        "scene": sorted(dir(bpy.types.Scene)),
        "handlers": {name: len(getattr(bpy.app.handlers, name)) for name in handlers},
        "threads": threading.active_count(),
    }


import dflblender  # noqa: E402  Blender must be there first

before = world()
found = {}
for _ in range(2):
    dflblender.register()
    found = world()
    assert bpy.context.scene.face_swap.model == ""
    dflblender.unregister()
new = sorted(set(found["types"]) - set(before["types"]))
modules = sorted({name.partition(".")[0] for name in sys.modules} & {"h2", "hpack", "hyperframe", "grpc", "google"})
answer(new=new, is_clean=world() == before, modules=modules)
