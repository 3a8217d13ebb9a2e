"""What a Blender says and does on the command line, as far as the installer asks it; state lies beside it."""

import json
import os
import pathlib
import shutil
import sys
import zipfile

HERE = pathlib.Path(os.environ["PRETEND_BLENDER"])
STATE = HERE / "state.json"
state = {
    "version": [4, 3, 2],
    "enabled": [],
    "commands": [],
    **(json.loads(STATE.read_text()) if STATE.exists() else {}),
}
extensions = HERE / "extensions"
folder = extensions / "user_default" / "dflblender"
words = sys.argv[1:]
if words[0] == "--background":
    print("Blender starts\nsome noise")
    if not state.get("silent"):
        answer = {"version": state["version"], "python": "3.11.7", "enabled": state["enabled"]}
        print("DFL " + json.dumps({**answer, "extensions": str(extensions)}))
    sys.exit(0)
assert words[:2] == ["--command", "extension"], words
state["commands"].append(words[2])
if state.get("refuses"):
    print("Error: the repository is locked")
    sys.exit(3)
if words[2] == "install-file":
    assert words[3:6] == ["-r", "user_default", "-e"], words
    shutil.rmtree(folder, ignore_errors=True)
    if not state.get("forgets"):
        zipfile.ZipFile(words[6]).extractall(folder)
        state["enabled"] = ["bl_ext.user_default.dflblender"]
if words[2] == "remove":
    assert words[3:] == ["user_default.dflblender"], words
    shutil.rmtree(folder)
    state["enabled"] = []
STATE.write_text(json.dumps(state))
