"""The zip installed as artists do, and what its preferences lead to."""

from __future__ import annotations

import importlib
import os

import bpy
from inside import FACTS, answer

NAME = "bl_ext.user_default.dflblender"

importlib.import_module("addon_utils").enable("bl_pkg", default_set=True)
bpy.ops.extensions.package_install_files(filepath=FACTS["zip"], repo="user_default", enable_on_install=True)
ours = bpy.context.preferences.addons[NAME].preferences
connection, runtime = (importlib.import_module(f"{NAME}.{name}") for name in ("connection", "runtime"))
empty = connection.connection_settings()
ours.path_map = "P:\\shots=/mnt/shots; /Volumes/a=/a"
mapped = connection.connection_settings().path_map.to_daemon("P:\\shots\\010\\a.exr")
ours.path_map = ""
ours.address, ours.token_path = "render7:50051", "//token"
bpy.ops.dfl.connect()
refused = runtime.desk.error.message if runtime.desk.error else ""
ours.address = ""
ours.path_map = "no pair"
bpy.ops.dfl.connect()
bad_map = runtime.desk.error.reason if runtime.desk.error else ""
ours.path_map = ""
studio = {"DFL_ADDRESS": "farm:50051", "DFL_PATH_MAP": "/shots=/mnt/shots", "DFL_CA_FILE": "/studio/ca.pem"}
os.environ.update(studio)
bpy.context.preferences.system.use_online_access = True
settings = connection.connection_settings()
of_studio = [settings.address, settings.path_map.to_daemon("/shots/a.exr"), settings.ca_path]
ours.address, ours.ca_path = "render7:50051", "/mine/ca.pem"
settings = connection.connection_settings()
of_both = [settings.address, settings.path_map.to_daemon("/shots/a.exr"), settings.ca_path]
before = hasattr(bpy.types.Scene, "face_swap")
bpy.ops.preferences.addon_disable(module=NAME)
answer(
    empty=[empty.address, empty.token_path],
    mapped=mapped,
    refused=refused,
    bad_map=bad_map,
    of_studio=of_studio,
    of_both=of_both,
    is_gone=[before, hasattr(bpy.types.Scene, "face_swap")],
)
