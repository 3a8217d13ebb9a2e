# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the desk meets Blender: a timer, handlers, and what a run changes in a scene. One per Blender.

Scenes are known by ``session_uid`` and looked up anew each time: undo and file loading replace every object.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import compat, knob_store, orders, place, plates
from ._dflhost import messages
from ._dflhost.errors import HostError
from ._dflhost.events import CANCELLED, SUCCEEDED
from ._dflhost.folders import KnownFolder
from ._dflhost.jobs import EXTRACT, MERGE, TRAIN
from ._dflhost.knobs import TD, KnobSpec
from ._dflhost.plates import FrameSet, Plate, sequence_pattern
from ._dflhost.results import Result, StaleReport
from .connection import connection_settings
from .desk import STREAMED, Desk, Facts, Run, Step, attach_step

TICK_S, STALE_CHECK_S, WATCH_AFTER_S, SHOW_FRAMES_S = 0.1, 20.0, 0.5, 1.0
KINDS = (MERGE, EXTRACT, TRAIN)

desk = Desk(connection_settings)
knobs: dict[str, list[KnobSpec]] = {}
"""Kind of job → what the daemon described."""
folders: dict[str, list[KnownFolder]] = {"models": [], "facesets": []}
"""What the daemon knows, for menus; last changed first."""
errors: dict[int, HostError] = {}
"""Scene → what the artist is told."""
notes: dict[int, list[str]] = {}
"""Scene → what the artist should know that is no failure."""
_shown: dict[int, float] = {}
"""Scene → when its finished frames were shown last."""


def scene_of(uid: int) -> Any:
    """The scene, or None where it was deleted or another file was opened."""
    return next((scene for scene in bpy.data.scenes if scene.session_uid == uid), None)


def wake() -> None:
    """Start the timer; it stops by itself when nothing will come."""
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK_S, persistent=True)


def connect(*, start: bool = False) -> None:
    """Look for the daemon."""
    desk.connect(start=start)
    wake()


def begin(scene: Any, steps: list[Step], facts: Facts | None = None) -> Run:
    """Do this for a scene; in a Blender without a window, until it is done."""
    errors.pop(scene.session_uid, None)
    notes.pop(scene.session_uid, None)
    run = desk.start(scene.session_uid, steps, facts)
    scene.face_swap.place = json.dumps(dict(run.facts))
    wake()
    if bpy.app.background:
        finish()
    return run


def tell(scene: Any, error: HostError | None) -> None:
    """What a panel shows; None takes it away."""
    if error is None:
        errors.pop(scene.session_uid, None)
    else:
        errors[scene.session_uid] = error
    redraw()


def finish(deadline_s: float = 3600.0) -> None:
    """Work until nothing will come. Waits: for Blenders without a window, and tests."""
    until = time.monotonic() + deadline_s
    while desk.is_busy and time.monotonic() < until:
        pump()
        time.sleep(0.02)


def pump() -> None:
    """One turn of the timer."""
    for run in desk.tick():
        _follow(run)


def settings_of(scene: Any, kind: str) -> dict[str, Any]:
    """What the scene's knobs say and the daemon would not do anyway.

    Raises:
        HostError: a value cannot be used.
    """
    return knob_store.settings_to_send(getattr(scene.face_swap, kind), knobs.get(kind, ()))


def order_of(scene: Any, facts: Facts) -> orders.SwapOrder:
    """The merge that these facts stand for, with the scene's model and settings of now.

    Raises:
        HostError: a field is empty or a setting cannot be used.
    """
    swap = scene.face_swap
    plate, _ = _plate_and_start(facts)
    return orders.SwapOrder(
        plate=plate,
        model=plates.absolute(orders.need(swap.model, "a model")),
        faces=facts["faces"],
        output=facts["output"],
        place=facts["place"],
        settings=settings_of(scene, MERGE),
        extract_settings=settings_of(scene, EXTRACT),
    )


def facts_in(text: str) -> dict[str, str]:
    """What a scene kept of a run; empty where it kept nothing that can be read."""
    try:
        facts = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


def facts_of_result(scene: Any) -> dict[str, str]:
    """What the scene's newest result was made from. Raises HostError where that is lost."""
    facts = facts_in(scene.face_swap.result_place)
    if "plate" not in facts:
        raise HostError("This scene's result has lost its plate.", reason="NO_PLATE", category="NOT_FOUND")
    return facts


def redraw() -> None:
    """Draw our panels again: what they show is no property that Blender knows of."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"SEQUENCE_EDITOR", "NODE_EDITOR", "IMAGE_EDITOR", "CLIP_EDITOR", "PREFERENCES"}:
                area.tag_redraw()


def _tick() -> float | None:
    try:
        pump()
    except Exception as error:  # the edge of the process: a timer that raises is dropped by Blender without a word
        print(f"Face Swap: {type(error).__name__}: {error}")  # noqa: T201  Blender's console is the log
        problem = HostError(f"The extension met an error of its own: {error}.", reason="UNEXPECTED_ERROR")
        for uid in desk.runs:
            errors[uid] = problem
    redraw()
    return TICK_S if desk.is_busy else None


def _look() -> float:
    """Now and then, in a thread, for scenes with a result and nothing under way: is it still what the scene wants?"""
    if desk.session is not None:
        look_at_folders()
        for scene in bpy.data.scenes:
            check_staleness(scene)
    return STALE_CHECK_S


def _follow(run: Run) -> None:
    """Carry into Blender what happened in a run."""
    scene = scene_of(run.scene)
    if scene is None:
        return
    swap = scene.face_swap
    reference = run.job.reference if run.job is not None and not run.is_ended else ""
    if swap.job.split("@")[0] != reference.split("@")[0] or not reference:
        swap.job = reference
    facts = json.dumps(dict(run.facts))
    if swap.place != facts:
        swap.place = facts
    if run.preview is not None:
        preview, run.preview = run.preview, None
        if os.path.isfile(preview.path):
            _show_preview(preview.path)
        else:
            run.notices.append(f"The previews lie on the daemon's computer: {preview.path}")
    if run.notices:
        notes[run.scene] = list(dict.fromkeys(run.notices))
    if run.error is not None and run.outcome != CANCELLED:
        errors[run.scene] = run.error
    elif not run.is_ended:
        errors.pop(run.scene, None)
    if run.finished:
        _show_frames(scene, run)
    if run.is_ended:
        _finish_run(scene, run)


def _show_frames(scene: Any, run: Run) -> None:
    """Finished frames in the result as they come, about once a second."""
    if not run.facts.get("place") or time.monotonic() - _shown.get(run.scene, 0.0) < SHOW_FRAMES_S:
        return
    path = next(iter(run.finished.values()))
    if not os.path.isfile(path) or os.path.basename(sequence_pattern(path)) != os.path.basename(run.facts["output"]):
        run.finished.clear()  # another sequence's, or on a disk that only the daemon sees
        return
    _shown[run.scene] = time.monotonic()
    plate, start = _plate_and_start(run.facts)
    place.show_finished(scene, sequence_pattern(path), plate, run.facts, start, set(run.finished))


def _plate_and_start(facts: Facts) -> tuple[Plate, int]:
    """The plate, and the scene frame in which its first frame is seen."""
    frames = FrameSet.parse(facts["frames"])
    plate = Plate(facts["plate"], frames, facts.get("color_space", ""), facts.get("render", ""))
    return plate, int(facts.get("start") or 1)


def _finish_run(scene: Any, run: Run) -> None:
    swap = scene.face_swap
    _shown.pop(run.scene, None)
    if run.outcome != SUCCEEDED:
        if run.facts.get(STREAMED) and run.facts.get("whole_key"):
            _tell_it_goes_on(run)
        return
    errors.pop(run.scene, None)
    look_at_folders()
    if run.result is not None:
        facts = {**facts_in(swap.place), **run.facts}
        place_result(scene, run.result, facts)
        swap.result_key, swap.result_place, swap.stale = facts.get("key", ""), json.dumps(facts), ""
        swap.result_pattern, swap.result_label = run.result.pattern, run.result.label
        undo_step("Face Swap Result")
    else:
        for name in ("source_faces", "target_faces", "model"):
            if run.facts.get(name):
                setattr(swap, name, run.facts[name])
    if run.facts.get("labelled"):
        _name_labelled(swap, run.facts)


def _tell_it_goes_on(run: Run) -> None:
    told = f"Finished frames are kept; {messages.SWAP_RANGE} goes on with the others."
    notes[run.scene] = list(dict.fromkeys([*notes.get(run.scene, []), told]))


def _name_labelled(swap: Any, facts: Facts) -> None:
    """A faceset that was sent for its labels: the fields that named it here name the labelled one there."""
    for name in ("source_faces", "target_faces"):
        if getattr(swap, name).strip() and plates.absolute(getattr(swap, name)) == facts.get("faceset", ""):
            setattr(swap, name, facts["labelled"])


def place_result(scene: Any, result: Result, facts: Facts) -> Any:
    """Bring a result into the scene where these facts want it."""
    plate, start = _plate_and_start(facts)
    if result.frames.frames and plate.frames.frames:
        start += result.frames.frames[0] - plate.frames.frames[0]
    if facts["place"] == orders.STRIP:
        is_laid_out = bool(facts.get("render"))  # a rendered plate has the strip's place in the picture in it
        return place.as_strips(scene, result, facts.get("item", ""), start, is_laid_out=is_laid_out)
    if facts["place"] == orders.NODES:
        return place.as_nodes(scene, result, plate, facts.get("item", ""), start)
    image = place.as_sequence(result)
    place.show_image(image, everywhere=True, frames=result.frames, start=start)
    return image


def undo_step(name: str) -> None:
    """Let Ctrl-Z take back what a timer did; Blender makes a step of its own only for operators."""
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=name)


def _show_preview(path: str) -> None:
    try:
        place.show_image(place.as_preview(path, "Face Swap Preview"))
    except RuntimeError:
        return  # replaced by the next preview while it was read: that one comes as an event of its own


def check_staleness(scene: Any) -> None:
    """Ask whether the newest result is still what the scene wants; the answer lands in ``face_swap.stale``."""
    swap, uid = scene.face_swap, scene.session_uid
    if not swap.result_key or desk.is_working(uid):
        return
    facts = facts_in(swap.result_place)
    try:
        order = order_of(scene, facts)
    except (HostError, KeyError):
        return
    if facts.get("render") and _render_of(scene, facts) not in {"", facts["render"]}:
        swap.stale = "The strip was changed."
        return
    key, pattern = swap.result_key, swap.result_pattern

    def answered(report: StaleReport | None) -> None:
        found = scene_of(uid)
        reason = report.reason if report is not None and report.is_stale else ""
        if found is not None and found.face_swap.result_key == key and found.face_swap.stale != reason:
            found.face_swap.stale = reason

    desk.ask(lambda session: order.staleness(session, {**facts, "key": key}, pattern), answered)
    wake()


def _render_of(scene: Any, facts: Facts) -> str:
    """What the strip of a rendered plate shows now; empty where it is gone."""
    strip = next((strip for strip in compat.all_strips(scene) if strip.name == facts.get("item")), None)
    return plates.strip_digest(scene, strip) if strip is not None else ""


def look_at_folders() -> None:
    """Ask which models and facesets the daemon knows, for the menus."""

    def store(name: str, found: list[KnownFolder]) -> None:
        folders[name] = found
        redraw()

    for name in folders:
        desk.ask(
            lambda session, name=name: getattr(session, name)(),
            lambda found, name=name: store(name, found),
        )
    wake()


def _describe() -> None:
    """After each connection: the daemon's settings as properties of every scene."""

    def store(kind: str, specs: list[KnobSpec]) -> None:
        knobs[kind] = specs
        for scene in bpy.data.scenes:
            knob_store.store_knobs(getattr(scene.face_swap, kind), specs)

    look_at_folders()
    for kind in KINDS:
        desk.ask(
            lambda session, kind=kind: session.describe_settings(kind, TD),
            lambda specs, kind=kind: store(kind, specs),
        )


@persistent  # type: ignore[untyped-decorator,unused-ignore]
def _before_load(*_: Any) -> None:
    """Another file: its jobs go on in the daemon, unwatched."""
    for run in desk.runs.values():
        if run.job is not None:
            run.job.detach()
    desk.runs.clear()
    errors.clear()
    notes.clear()


@persistent  # type: ignore[untyped-decorator,unused-ignore]
def _after_load(*_: Any) -> None:
    """Find the jobs of this file again."""
    for scene in bpy.data.scenes:
        for kind, specs in knobs.items():
            knob_store.store_knobs(getattr(scene.face_swap, kind), specs)
        swap = scene.face_swap
        facts = facts_in(swap.place)
        if not swap.job and facts.get(STREAMED) and facts.get("whole_key"):
            told = f"Swap Range was cut off. {messages.SWAP_RANGE} goes on with what is missing."
            notes[scene.session_uid] = [told]
        if swap.job and not desk.is_working(scene.session_uid):
            desk.start(scene.session_uid, _steps_to_come(scene, swap.job, facts), facts)
            wake()
            if not bpy.app.background:
                bpy.app.timers.register(_watch, first_interval=WATCH_AFTER_S)


def _steps_to_come(scene: Any, job: str, facts: Facts) -> list[Step]:
    """A job that was found again, and what was to follow it."""
    steps = [attach_step(job)]
    if facts.get("at") == orders.AT_FACES:
        with contextlib.suppress(HostError, KeyError):
            steps += order_of(scene, facts).steps()
    return steps


def _watch() -> None:
    """Progress in the status bar and Esc for jobs that were found again; a file's windows come after its handlers."""
    windows = bpy.context.window_manager.windows
    for uid, run in desk.runs.items():
        if not run.is_ended and windows:
            with bpy.context.temp_override(window=windows[0]):
                bpy.ops.dfl.watch("INVOKE_DEFAULT", scene_uid=str(uid))


@persistent  # type: ignore[untyped-decorator,unused-ignore]
def _after_undo(*_: Any) -> None:
    """Undo takes back what the artist did, not what the daemon does or has described."""
    for scene in bpy.data.scenes:
        for kind, specs in knobs.items():
            if not knob_store.layout_of(getattr(scene.face_swap, kind)):
                knob_store.store_knobs(getattr(scene.face_swap, kind), specs)
    for run in desk.runs.values():
        if not run.is_ended:
            _follow(run)


@persistent  # type: ignore[untyped-decorator,unused-ignore]
def _before_save(*_: Any) -> None:
    for run in desk.runs.values():
        scene = scene_of(run.scene)
        if scene is not None and run.job is not None and not run.is_ended:
            scene.face_swap.job = run.job.reference


_HANDLERS = (
    ("load_pre", _before_load),
    ("load_post", _after_load),
    ("undo_post", _after_undo),
    ("redo_post", _after_undo),
    ("save_pre", _before_save),
)


def register() -> None:
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    desk.on_connected(_describe)
    if not bpy.app.background:
        bpy.app.timers.register(_look, first_interval=STALE_CHECK_S, persistent=True)


def unregister() -> None:
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    desk.close()
    if bpy.app.timers.is_registered(_watch):
        bpy.app.timers.unregister(_watch)
    knobs.clear()
    for known in folders.values():
        known.clear()
    _shown.clear()
    errors.clear()
    notes.clear()
