# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap Range, Swap Frame, Update, Cancel, and the watch that shows progress in the status bar and listens for Esc."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import Any

import bpy

from . import compat, orders, place, plate_render, plates, runtime
from ._dflhost import messages, words
from ._dflhost.errors import HostError
from ._dflhost.frames import FramePicture, FrameRequest
from ._dflhost.jobs import MERGE
from ._dflhost.results import output_pattern
from ._dflhost.session import DaemonSession
from .desk import STREAMED, Facts

WATCH_S = 0.25


def faces_folder(scene: Any, name: str) -> str:
    """Faceset of the target: the one chosen, else one named after the clip beside the results."""
    chosen = scene.face_swap.target_faces.strip()
    return plates.absolute(chosen) if chosen else os.path.join(plates.result_folder(scene), f"{name}_faces")


def facts_of(scene: Any, choice: plates.Choice) -> Facts:
    """A choice in texts, as a scene keeps it."""
    facts = {
        "plate": choice.plate.path,
        "frames": str(choice.plate.frames),
        "color_space": choice.plate.color_space,
        "name": choice.name,
        "place": choice.place,
        "item": choice.item,
        "start": str(choice.scene_start),
        "faces": faces_folder(scene, choice.name),
        "output": output_pattern(plates.result_folder(scene), choice.name),
        "render": choice.render,
    }
    return {name: value for name, value in facts.items() if value or name != "render"}


def begin_swap(scene: Any, facts: Facts, before: Facts) -> None:
    """Swap what these facts stand for; a range that is on its way over the network goes on where it stopped.

    Args:
        before: facts of the last range of this scene.

    Raises:
        HostError: something is missing.
    """
    if before.get("output") == facts["output"]:
        kept = ("key", STREAMED, "whole_key") if before.get(STREAMED) else ()
        facts = {**facts, **{name: before[name] for name in kept if name in before}}
    order = runtime.order_of(scene, facts)
    runtime.begin(scene, [*plate_render.steps(scene, facts), *order.steps()], facts)


class DaemonOperator:
    """What all buttons that send work share: errors become a sentence in the panel, work never holds the window."""

    def start(self, context: Any, scene: Any) -> None:
        """Gather from Blender and hand over; raises HostError."""
        raise NotImplementedError

    def execute(self, context: Any) -> set[str]:
        scene = compat.editor_scene(context)
        try:
            self.start(context, scene)
        except HostError as error:
            runtime.tell(scene, error)
            self.report({"WARNING"}, messages.explain(error).sentence)  # type: ignore[attr-defined]
            return {"CANCELLED"}
        if not bpy.app.background and runtime.desk.is_working(scene.session_uid):
            bpy.ops.dfl.watch("INVOKE_DEFAULT", scene_uid=str(scene.session_uid))
        return {"FINISHED"}


class IdleOnly(DaemonOperator):
    """Grey, and says why, while the scene's last job is under way."""

    @classmethod
    def poll(cls, context: Any) -> bool:
        if runtime.desk.is_working(compat.editor_scene(context).session_uid):
            cls.poll_message_set("A job of this scene is under way")  # type: ignore[attr-defined]
            return False
        return True


class SwapRange(IdleOnly, bpy.types.Operator):
    """Merge what the strip, image or clip shows."""

    bl_idname, bl_label = "dfl.swap_range", messages.SWAP_RANGE
    bl_description = words.TOOL_TIPS[messages.SWAP_RANGE]
    bl_options = frozenset({"REGISTER"})

    def start(self, context: Any, scene: Any) -> None:
        facts = facts_of(scene, plates.choose(context))
        begin_swap(scene, facts, runtime.facts_in(scene.face_swap.place))


class Update(IdleOnly, bpy.types.Operator):
    """Merge again what the newest result was made from; the daemon makes only what it lacks."""

    bl_idname, bl_label = "dfl.update", messages.UPDATE
    bl_description = words.TOOL_TIPS[messages.UPDATE]
    bl_options = frozenset({"REGISTER"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not compat.editor_scene(context).face_swap.result_key:
            cls.poll_message_set(f"There is no result yet: press {messages.SWAP_RANGE} first")
            return False
        return super().poll(context)

    def start(self, context: Any, scene: Any) -> None:
        facts = runtime.facts_of_result(scene)
        strip = next((strip for strip in compat.strips(scene) if strip.name == facts["item"]), None)
        if facts.get("render") and strip is not None:
            begin_swap(scene, facts_of(scene, plates.of_strip_or_render(scene, strip)), facts)
        else:
            begin_swap(scene, facts, facts)


class SwapFrame(DaemonOperator, bpy.types.Operator):
    """One frame, shown in the image editor."""

    bl_idname, bl_label = "dfl.swap_frame", messages.SWAP_FRAME
    bl_description = words.TOOL_TIPS[messages.SWAP_FRAME]
    bl_options = frozenset({"REGISTER"})

    def start(self, context: Any, scene: Any) -> None:
        choice = plates.choose(context)
        uid, frame = scene.session_uid, plates.frame_on_disk(choice, scene.frame_current)
        facts = facts_of(scene, choice)
        render = plate_render.frame_of(scene, facts, frame)
        request = FrameRequest(
            plate_path=facts["plate"],
            frame=frame,
            model_path=plates.absolute(orders.need(scene.face_swap.model, "a model")),
            faceset_path=faces_folder(scene, choice.name),
            settings=orders.with_color_space(choice.plate, runtime.settings_of(scene, MERGE)),
            client_key=f"blender {os.getpid()} {uid}",
        )
        folder = os.path.dirname(facts["plate"]) if render is not None else ""
        path = os.path.join(bpy.app.tempdir, f"face_swap_{uuid.uuid4().hex}.exr")
        name = f"{choice.name} swap {frame}"

        def shown(picture: FramePicture) -> None:
            image = place.as_image(path, name)
            place.set_space(image.colorspace_settings, picture.color_space)
            os.remove(path)
            is_seen = place.show_image(image, everywhere=True)
            told = list(picture.notices)
            if not is_seen:
                told.append(f'The frame is the image "{name}": open an image editor to see it.')
            runtime.notes[uid] = told
            runtime.undo_step("Face Swap Frame")
            runtime.redraw()

        def failed(error: HostError) -> None:
            found = runtime.scene_of(uid)
            if found is not None and error.reason != "SUPERSEDED":
                runtime.tell(found, error)

        runtime.desk.forget(uid)
        runtime.tell(scene, None)
        runtime.desk.ask(lambda session: _saved(session, request, path, render, folder), shown, failed)
        runtime.wake()
        if bpy.app.background:
            runtime.finish()


class Cancel(DaemonOperator, bpy.types.Operator):
    """Stop the scene's job."""

    bl_idname, bl_label = "dfl.cancel", messages.CANCEL
    bl_description = words.TOOL_TIPS[messages.CANCEL]
    bl_options = frozenset({"REGISTER"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        return runtime.desk.is_working(compat.editor_scene(context).session_uid)

    def start(self, context: Any, scene: Any) -> None:
        runtime.desk.cancel(scene.session_uid)
        runtime.wake()

    def execute(self, context: Any) -> set[str]:
        self.start(context, compat.editor_scene(context))
        return {"FINISHED"}


class Watch(bpy.types.Operator):
    """Progress in the status bar; Esc cancels. Everything else goes through to Blender, and the job needs no watch."""

    bl_idname, bl_label = "dfl.watch", "Watch Face Swap"
    bl_description = "Show the progress of this scene's job; Esc stops it"
    bl_options = frozenset({"INTERNAL"})

    scene_uid: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: Any, _event: Any) -> set[str]:
        if not runtime.desk.is_working(int(self.scene_uid or 0)):
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(WATCH_S, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        uid = int(self.scene_uid)
        run = runtime.desk.runs.get(uid)
        if run is None or run.is_ended:
            self._leave(context)
            return {"FINISHED", "PASS_THROUGH"}
        if event.type == "ESC" and event.value == "PRESS":
            runtime.desk.cancel(uid)
            runtime.wake()
            return {"RUNNING_MODAL"}
        if event.type == "TIMER":
            context.workspace.status_text_set(f"{words.MENU}: {run.text}    (Esc: {messages.CANCEL})")
        return {"PASS_THROUGH"}

    def cancel(self, context: Any) -> None:
        self._leave(context)

    def _leave(self, context: Any) -> None:
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)


def _saved(
    session: DaemonSession, request: FrameRequest, path: str, render: plate_render.StripRender | None, folder: str
) -> FramePicture:
    """The frame in a file; a plate that had to be rendered for it is removed again."""
    try:
        if render is not None:
            render.make()
        picture = session.merge_frame(orders.frame_there(session, request))
        picture.save(path)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    return picture


register, unregister = bpy.utils.register_classes_factory((SwapFrame, SwapRange, Update, Cancel, Watch))
