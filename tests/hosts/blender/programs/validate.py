"""Blender's own validator of extensions, which its package brings, on the zip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy
from inside import FACTS, answer

tool = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
done = subprocess.run([sys.executable, tool, "validate", FACTS["zip"]], capture_output=True, text=True, check=False)
answer(code=done.returncode, said=done.stdout + done.stderr)
