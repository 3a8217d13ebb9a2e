"""What an artist is told when the daemon is old, busy, killed, full or another user's."""

from __future__ import annotations

import os
import time

import bpy
from inside import FACTS, answer, connected_scene, part, sentence

scene = connected_scene()
from dflblender import orders, runtime  # noqa: E402
from dflblender._dflhost.plates import FrameSet, Plate  # noqa: E402

PATIENCE_S = 60.0
told, texts = "", []


def work(faces: str, frames: int = 5) -> str:
    """An extraction, watched as the window's timer does."""
    plate = Plate(FACTS["plate"], FrameSet.span(1, frames))
    steps = orders.extract_steps(plate, os.path.join(FACTS["folder"], faces), {}, "target_faces")
    run = runtime.desk.start(scene.session_uid, steps, {})
    until = time.monotonic() + PATIENCE_S
    while not run.is_ended and time.monotonic() < until:
        runtime.pump()
        texts.append(run.text)
        if FACTS["case"] == "killed" and run.job is not None and 0 < run.job.status.done < frames // 2:
            open(os.path.join(FACTS["folder"], "kill it"), "w").close()
        time.sleep(0.02)
    return run.outcome


outcome = ""
if FACTS["case"] == "old":
    part("_dflhost.session").NEEDED_FEATURES |= {"a.feature.of.tomorrow"}
    bpy.ops.dfl.connect()
elif FACTS["case"] == "token":
    os.environ["DFL_TOKEN_FILE"] = os.path.join(FACTS["folder"], "wrong")
    with open(os.environ["DFL_TOKEN_FILE"], "w") as file:
        file.write("0" * 64)
    bpy.ops.dfl.connect()
elif FACTS["case"] == "full":
    part("_dflhost.discovery").ConnectionSettings.is_remote = property(lambda _self: True)
    bpy.context.preferences.system.use_online_access = True
    outcome = work("faces")
else:
    outcome = work("faces", frames=120)
answer(told=sentence(scene), outcome=outcome, texts=list(dict.fromkeys(texts)))
