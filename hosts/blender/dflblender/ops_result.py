# SPDX-License-Identifier: GPL-3.0-or-later
"""Show Result: bring the newest version on disk into the editor that is looked at."""

from __future__ import annotations

from typing import Any

import bpy

from . import compat, runtime
from ._dflhost import messages, words
from ._dflhost.errors import HostError
from ._dflhost.results import Result, read_result
from ._dflhost.tasks import Task
from .ops_swap import DaemonOperator

POLL_S = 0.05


class ShowResult(DaemonOperator, bpy.types.Operator):
    """Works without a daemon: results are ordinary files."""

    bl_idname, bl_label = "dfl.show_result", messages.SHOW_RESULT
    bl_description = words.TOOL_TIPS[messages.SHOW_RESULT]
    bl_options = frozenset({"REGISTER"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not compat.editor_scene(context).face_swap.result_pattern:
            cls.poll_message_set(f"There is no result yet: press {messages.SWAP_RANGE} first")
            return False
        return True

    def start(self, context: Any, scene: Any) -> None:
        uid, pattern = scene.session_uid, scene.face_swap.result_pattern
        facts = runtime.facts_of_result(scene)
        task: Task[Result] = Task(lambda: read_result(pattern), "dfl-result")

        def place() -> float | None:
            if not task.is_done:
                return POLL_S
            found = runtime.scene_of(uid)
            if found is None:
                return None
            if task.error is not None or not task.result().frames.frames:
                error = HostError(f"There are no frames of {pattern} on this disk.", reason="RESULT_NOT_FOUND")
                runtime.tell(found, task.error or error)
                return None
            runtime.place_result(found, task.result(), facts)
            runtime.undo_step(messages.SHOW_RESULT)
            runtime.redraw()
            return None

        if bpy.app.background:
            task.join()
            place()
        else:
            bpy.app.timers.register(place)


register, unregister = bpy.utils.register_classes_factory((ShowResult,))
