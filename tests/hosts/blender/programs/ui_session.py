"""An artist's session in a Blender with a window: tab, button, progress, result, undo, Esc. Driven by simulated mouse.

Run as ``blender --enable-event-simulate --python ui_session.py -- FACTS``. MOUSEMOVE, PRESS and RELEASE go in turns of
their own: newer Blenders only highlight a button that gets them at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Generator, Iterator
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bpy
from inside import FACTS, add_plate_strip, answer, part, sentence

bpy.context.preferences.view.show_splash = False
SWAP_RANGE_BELOW_TOP_PX = 331
"""Middle of the button from the region's top edge, at scale 1, while connected and told nothing."""
TURN_S = 0.35
said: dict[str, Any] = {}


def picture(name: str) -> None:
    """``bpy.ops.screen.screenshot`` is black under software GL; the display's root window is not."""
    path = os.path.join(FACTS["pictures"], f"{name}.png")
    subprocess.run(["import", "-window", "root", path], check=False, timeout=30)


def click(window: Any, x: int, y: int) -> Iterator[float]:
    window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    yield TURN_S
    window.event_simulate("LEFTMOUSE", "PRESS", x=x, y=y)
    yield TURN_S
    window.event_simulate("LEFTMOUSE", "RELEASE", x=x, y=y)
    yield TURN_S


def key(window: Any, name: str, x: int, y: int, **held: bool) -> Iterator[float]:
    window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    yield TURN_S
    window.event_simulate(name, "PRESS", x=x, y=y, **held)
    yield TURN_S
    window.event_simulate(name, "RELEASE", x=x, y=y, **held)
    yield TURN_S


def open_tab(window: Any, area: Any) -> Iterator[float]:
    """Open the sidebar and click down its tabs until ours is in front."""
    area.spaces.active.show_region_ui = True
    yield 2.0
    region = next(region for region in area.regions if region.type == "UI")
    for y in range(region.y + region.height - 20, region.y, -30):
        if region.active_panel_category == "Face Swap":
            break
        yield from click(window, region.x + region.width - 8, y)


def swap_names(scene: Any) -> list[str]:
    return sorted(strip.name for strip in part("compat").strips(scene) if "swap" in strip.name)


def story() -> Iterator[float]:
    yield 1.5
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda area: area.width * area.height)
    area.type = "SEQUENCE_EDITOR"
    scene = window.scene
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = scene
    add_plate_strip(scene, first=1)
    scene.frame_end = 12
    swap = scene.face_swap
    swap.model, swap.target_faces, swap.output = FACTS["model"], FACTS["faces"], FACTS["output"]
    bpy.ops.ed.undo_push(message="Set up")
    yield from open_tab(window, area)
    region = next(region for region in area.regions if region.type == "UI")
    said["tab"] = region.active_panel_category
    picture("1_not_connected")
    bpy.ops.dfl.connect()
    yield 2.0
    button = region.x + 180, region.y + region.height - SWAP_RANGE_BELOW_TOP_PX
    yield from click(window, *button)
    run = part("runtime").desk.runs.get(scene.session_uid)
    said["is_started"] = run is not None
    yield 1.0
    picture("2_under_way")
    said["text_under_way"] = run.text if run is not None else ""
    turns, lengths = 0, set()
    while run is not None and not run.is_ended:
        turns += 1
        lengths |= {len(strip.elements) for strip in part("compat").strips(scene) if "swap" in strip.name}
        yield 0.1
    said["lengths_while_working"] = sorted(lengths)
    said["turns_while_working"], said["outcome"] = turns, run.outcome if run is not None else ""
    yield 1.5
    said["strips"] = swap_names(scene)
    picture("3_done")
    yield from key(window, "Z", area.x + area.width // 3, area.y + area.height // 2, ctrl=True)
    yield 1.0
    scene = window.scene
    said["strips_after_undo"] = swap_names(scene)
    picture("4_undone")
    scene.face_swap.target_clip = FACTS["slow_plate"]
    scene.face_swap.target_faces = ""
    bpy.ops.dfl.swap_range()
    yield 0.5
    run = part("runtime").desk.runs[scene.session_uid]
    said["second"] = run.text
    picture("5_second")
    yield from key(window, "ESC", area.x + area.width // 3, area.y + area.height // 2)
    for _ in range(300):
        if run.is_ended:
            break
        yield 0.1
    said["outcome_after_esc"] = run.outcome
    yield 0.5
    picture("6_cancelled")
    scene.face_swap.model = "/no/such/model"
    scene.face_swap.target_clip = ""
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.dfl.swap_range()
    run = part("runtime").desk.runs[scene.session_uid]
    while not run.is_ended:
        yield 0.1
    yield 1.0
    picture("7_failed")
    said["failure"] = sentence(scene)
    scene.face_swap.model, scene.face_swap.target_faces = FACTS["model"], FACTS["faces"]
    area.type = "IMAGE_EDITOR"
    plate = bpy.data.images.load(FACTS["plate"].replace("####", "1001"))
    area.spaces.active.image = plate
    yield from open_tab(window, area)
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.dfl.swap_frame()
    for _ in range(200):
        if area.spaces.active.image != plate:
            break
        yield 0.1
    yield 1.0
    said["image"] = area.spaces.active.image.name
    picture("8_frame")
    said.update((yield from training(window, area, scene)))
    area.ui_type = "CompositorNodeTree"
    scene.face_swap.target_clip = FACTS["plate"].replace("####", "1001")
    yield 1.0
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.dfl.swap_range()
    run = part("runtime").desk.runs[scene.session_uid]
    while not run.is_ended:
        yield 0.1
    yield from open_tab(window, area)
    said["nodes"] = run.outcome
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.node.view_all()
    yield 1.0
    picture("9_nodes")


def training(window: Any, area: Any, scene: Any) -> Generator[float, None, dict[str, Any]]:
    """Train from the image editor: its previews replace each other there while it goes on."""
    swap = scene.face_swap
    model, swap.model = swap.model, FACTS["new_model"]
    swap.source_faces = FACTS["faces"]
    layout = {item["name"]: item for item in part("knob_store").layout_of(swap.train)}
    for name, value in FACTS["training"].items():
        choices = layout[name]["choices"]
        swap.train[name] = choices.index(value) if choices else value
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.dfl.train()
    run = part("runtime").desk.runs[scene.session_uid]
    seen = set()
    for _ in range(600):
        if run.is_ended or (seen and run.text.startswith("Training ")):
            break
        shown = area.spaces.active.image
        seen |= {shown.name} if shown is not None and "Preview" in shown.name else set()
        yield 0.1
    yield 0.7  # the panel draws what the run says
    text = run.text
    picture("10_training")
    yield from key(window, "ESC", area.x + area.width // 3, area.y + area.height // 2)
    while not run.is_ended:
        yield 0.1
    swap.model = model
    return {"previews": sorted(seen), "training": text, "training_outcome": run.outcome}


steps = story()


def turn() -> float | None:
    try:
        return next(steps)
    except StopIteration:
        answer(**said)
    except Exception:
        traceback.print_exc()
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(turn, first_interval=1.0)
