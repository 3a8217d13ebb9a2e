# SPDX-License-Identifier: GPL-3.0-or-later
"""A result as Blender's own data: strips, a compositor group, an image. Ordinary reads of ordinary files.

Whoever opens the scene without this extension, or without the daemon, sees the pixels.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import bpy

from . import compat
from ._dflhost.plates import FrameSet, Plate, frame_path
from ._dflhost.results import Result, version_of

RESULT_MARK = "dfl_result"
"""Custom property of what we made: the pattern of its files."""
PLATE_MARK = "dfl_plate"
"""The same of a plate's node that we made."""
_LOOKS = (
    ("transform", ("offset_x", "offset_y", "scale_x", "scale_y", "rotation", "origin", "filter")),
    ("crop", ("min_x", "max_x", "min_y", "max_y")),
    ("", ("use_flip_x", "use_flip_y", "color_multiply", "color_saturation")),
)
_SPACES = {
    "Linear Rec.709 (sRGB)": "Linear Rec.709",
    "lin_rec709_scene": "Linear Rec.709",
    "lin_rec709": "Linear Rec.709",
    "lin_ap1_scene": "ACEScg",
    "lin_ap1": "ACEScg",
    "lin_rec2020_scene": "Linear Rec.2020",
}


def show_finished(scene: Any, pattern: str, plate: Plate, facts: Any, start: int, done: set[int]) -> None:
    """Frames of a result that is still being made, as far as no other version of it lies there already.

    Args:
        done: frames whose files are whole.
    """
    asked = plate.frames.frames or tuple(sorted(done))
    whole = list(itertools.takewhile(lambda frame: frame in done, asked))
    if not whole:
        return
    result = Result(pattern, FrameSet.of(whole), version_of(pattern))
    if facts["place"] == "strip":
        _grow_strip(scene, result, facts, start)
    elif facts["place"] == "nodes":
        tree = compat.existing_compositor_tree(scene)
        stem = _unversioned(pattern)
        old = next((node for node in (tree.nodes if tree else ()) if node.get(RESULT_MARK) == stem), None)
        if old is None:
            whole_range = Result(pattern, FrameSet.of(asked), version_of(pattern))
            as_nodes(scene, whole_range, plate, facts.get("item", ""), start)
        elif _shows(old, pattern):
            _sequence_image(pattern, asked[0], result.label)
    else:
        show_image(as_sequence(result), everywhere=True, frames=result.frames, start=start)


def _shows(node: Any, pattern: str) -> bool:
    """A group of ours shows the files of this very version."""
    return node.node_tree is not None and any(
        getattr(inner, "image", None) is not None and inner.image.get(RESULT_MARK) == pattern
        for inner in node.node_tree.nodes
    )


def _grow_strip(scene: Any, result: Result, facts: Any, start: int) -> None:
    folder, numbers = os.path.dirname(result.pattern), result.frames.frames
    stem = _unversioned(result.pattern)
    old = next((strip for strip in compat.strips(scene) if strip.get(RESULT_MARK) == stem), None)
    if old is None:
        over = next((strip for strip in compat.all_strips(scene) if strip.name == facts.get("item")), None)
        looks = None if facts.get("render") else over
        made = _strip(scene, result.pattern, result.frames, result.label, over, start, mark=result.pattern, looks=looks)
        made.blend_type, made.alpha_mode = "ALPHA_OVER", "PREMUL"
        compat.show_in_sequencer(scene)
    elif os.path.normpath(bpy.path.abspath(old.directory)) == os.path.normpath(folder):
        for number in numbers[len(old.elements) :]:
            old.elements.append(os.path.basename(frame_path(result.pattern, number)))
        old.frame_final_duration = max(len(old.elements), 1)
        compat.forget_cached_pixels(old)


def as_strips(scene: Any, result: Result, over_name: str, start: int, *, is_laid_out: bool = False) -> Any:
    """The result above the strip it was made from, and its matte, muted, above that. An older version is replaced.

    Args:
        over_name: strip that was the plate; one that is gone or renamed is done without.
        is_laid_out: the plate was rendered from that strip, its crop and place in the picture included.
        start: scene frame of the result's first frame.

    Returns:
        The strip of the beauty.
    """
    over = next((strip for strip in compat.all_strips(scene) if strip.name == over_name), None)
    looks = None if is_laid_out else over
    made = _strip(scene, result.pattern, result.frames, result.label, over, start, mark=result.pattern, looks=looks)
    made.blend_type, made.alpha_mode = "ALPHA_OVER", "PREMUL"
    set_space(made.colorspace_settings, result.color_space)
    matte = result.siblings.get("matte")
    if matte:
        label = f"{result.label} matte"
        sibling = _strip(scene, matte, result.frames, label, made, start, mark=matte, looks=made)
        sibling.mute = True
        set_space(sibling.colorspace_settings, "Non-Color")
    compat.show_in_sequencer(scene)
    return made


def as_nodes(scene: Any, result: Result, plate: Plate, item: str, start: int) -> Any:
    """A compositing group with the face over its plate, every layer as an output, wired to the scene's output.

    A group of an older version of this result keeps its place and its links: only its files change.

    Args:
        item: name of the node that shows the plate; where there is none, one is made.
        start: scene frame of the result's first frame.

    Returns:
        The group's node in the scene's compositor.
    """
    first = result.frames.frames[0] if result.frames.frames else 1
    tree, output = compat.compositor_tree(scene)
    image = _sequence_image(result.pattern, first, result.label)
    set_space(image.colorspace_settings, result.color_space)
    stem = _unversioned(result.pattern)
    node = next((node for node in tree.nodes if node.get(RESULT_MARK) == stem), None)
    if node is not None and node.node_tree is not None:
        for inner in node.node_tree.nodes:
            if inner.bl_idname == "CompositorNodeImage":
                _time(inner, image, result.frames, start)
        node.label = node.node_tree.name = result.label
        for link in node.inputs["Plate"].links:
            if link.from_node.get(PLATE_MARK):
                _set_plate_space(link.from_node.image, plate, result.color_space)
        return node
    group = _face_group(image, result, start)
    node = tree.nodes.new("CompositorNodeGroup")
    node.node_tree, node.label, node.width, node[RESULT_MARK] = group, result.label, 240, stem
    _wire(tree, output, node, _plate_node(tree, plate, item, result.color_space, start))
    return node


def as_image(path: str, name: str) -> Any:
    """One frame as an image that lies in the file, nothing on disk."""
    image = bpy.data.images.get(name)
    if image is not None and image.packed_file is not None:
        image.unpack(method="REMOVE")
    if image is None:
        image = bpy.data.images.load(path)
        image.name = name
    else:
        image.source, image.filepath = "FILE", path
        image.reload()
    image.pack()
    return image


def as_sequence(result: Result) -> Any:
    """The result as an image sequence, for image editors."""
    first = result.frames.frames[0] if result.frames.frames else 1
    image = _sequence_image(result.pattern, first, result.label)
    set_space(image.colorspace_settings, result.color_space)
    return image


def as_preview(path: str, title: str) -> Any:
    """A training's preview; the file is read again, as the next preview replaces it."""
    image = bpy.data.images.get(title)
    if image is None:
        image = bpy.data.images.load(path)
        image.name = title
    else:
        image.filepath = path
        image.reload()
    return image


def show_image(image: Any, *, everywhere: bool = False, frames: FrameSet = FrameSet(), start: int = 1) -> bool:  # noqa: B008
    """Show it in the image editors that show nothing or an image of ours; answers whether one did.

    Args:
        everywhere: in all image editors, but those that paint.
        frames, start: of a sequence: its frames, and the scene frame of the first.
    """
    is_shown = False
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            space = area.spaces.active
            if area.type != "IMAGE_EDITOR" or getattr(space, "ui_mode", "VIEW") == "PAINT":
                continue
            if everywhere or space.image is None or space.image == image or space.image.get(RESULT_MARK):
                space.image = image
                if frames.frames:
                    _time_user(space.image_user, frames, start)
                is_shown = True
    image[RESULT_MARK] = image.name
    return is_shown


def _strip(
    scene: Any, pattern: str, frames: FrameSet, name: str, over: Any, start: int, *, mark: str, looks: Any
) -> Any:
    """A strip of these files above ``over``, laid into the picture as ``looks``; an older version's place is kept."""
    strips = compat.strips(scene)
    stem = _unversioned(mark)
    old = next((strip for strip in strips if strip.get(RESULT_MARK) == stem), None)
    channel = old.channel if old is not None else _free_channel(strips, over, start, len(frames))
    looks = old if old is not None else looks
    kept = _looks(looks) if looks is not None else {}
    was_muted = old.mute if old is not None else False
    if old is not None:
        strips.remove(old)
    numbers = frames.frames or (1,)
    made = strips.new_image(name, frame_path(pattern, numbers[0]), channel, start)
    for number in numbers[1:]:
        made.elements.append(os.path.basename(frame_path(pattern, number)))
    made.frame_final_duration = len(numbers)
    for (part, field), value in kept.items():
        setattr(getattr(made, part) if part else made, field, value)
    made.name, made.mute, made[RESULT_MARK] = name, was_muted, stem
    compat.forget_cached_pixels(made)
    return made


def _looks(strip: Any) -> dict[tuple[str, str], Any]:
    """How the plate's strip is laid into the frame, so that the result lies on it exactly."""
    found = {}
    for part, fields in _LOOKS:
        owner = getattr(strip, part, None) if part else strip
        for field in fields:
            if hasattr(owner, field):
                value = getattr(owner, field)
                found[part, field] = tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
    return found


def _free_channel(strips: Any, over: Any, start: int, count: int) -> int:
    """The lowest channel above the plate's in which nothing lies in these frames."""
    channel = over.channel + 1 if over is not None else 1
    taken = set()
    for strip in strips:
        first, last = compat.visible_range(strip)
        if first < start + count and last >= start:
            taken.add(strip.channel)
    while channel in taken:
        channel += 1
    return channel


def _sequence_image(pattern: str, first: int, name: str) -> Any:
    path = frame_path(pattern, first)
    image = next((image for image in bpy.data.images if image.filepath == path and image.source == "SEQUENCE"), None)
    if image is None:
        image = bpy.data.images.load(path)
        image.source, image.name = "SEQUENCE", name
    else:
        image.reload()
    image[RESULT_MARK] = pattern
    return image


def _time(node: Any, image: Any, frames: FrameSet, start: int) -> None:
    """Blender reads the file numbered ``scene frame - frame_start + 1 + frame_offset``."""
    node.image = image
    _time_user(node, frames, start)


def _time_user(user: Any, frames: FrameSet, start: int) -> None:
    first, last = (frames.frames[0], frames.frames[-1]) if frames.frames else (1, 1)
    user.frame_start, user.frame_offset, user.frame_duration = start, first - 1, last - first + 1
    user.use_auto_refresh = True


def _face_group(image: Any, result: Result, start: int) -> Any:
    """Plate in; the face over it, the beauty as it was merged, and every layer out."""
    group = bpy.data.node_groups.new(result.label, "CompositorNodeTree")
    faces = group.nodes.new("CompositorNodeImage")
    faces.label = result.label
    _time(faces, image, result.frames, start)
    interface = group.interface
    interface.new_socket("Plate", in_out="INPUT", socket_type="NodeSocketColor")
    interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    layers = {socket.name: socket for socket in faces.outputs if socket.enabled}
    for name, socket in layers.items():
        kind = {"VALUE": "NodeSocketFloat", "VECTOR": "NodeSocketVector"}.get(socket.type, "NodeSocketColor")
        interface.new_socket(_title(name), in_out="OUTPUT", socket_type=kind)
    entry, leave = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    for position, socket in enumerate(layers.values(), start=1):
        group.links.new(socket, leave.inputs[position])
    if "swap" in layers and "matte" in layers:
        cut, picture, matte = compat.set_alpha_node(group)
        over, background, foreground = compat.alpha_over_node(group)
        group.links.new(layers["swap"], picture)
        group.links.new(layers["matte"], matte)
        group.links.new(entry.outputs["Plate"], background)
        group.links.new(cut.outputs[0], foreground)
        group.links.new(over.outputs[0], leave.inputs["Image"])
        cut.location, over.location = (320, 120), (520, 120)
    else:
        beauty = layers.get("Combined") or layers.get("Image") or next(iter(layers.values()))
        group.links.new(beauty, leave.inputs["Image"])
    faces.location, entry.location, leave.location = (0, 0), (0, 240), (760, 0)
    return group


def _title(layer: str) -> str:
    """``matte_learned_source`` → ``Matte Learned Source``; the beauty as it was merged is ``Merged``."""
    return {"Combined": "Merged", "Image": "Merged"}.get(layer) or layer.replace("_", " ").title()


def _wire(tree: Any, output: Any, node: Any, source: Any) -> None:
    """Plate → group → output; what the output showed before stays in the tree, unconnected."""
    frame = tree.nodes.new("NodeFrame")
    frame.label = node.label
    x, y = output.node.location
    node.location, node.parent = (x - 300, y), frame
    if not any(socket.is_linked for socket in source.outputs):
        source.location, source.parent = (x - 620, y), frame
    tree.links.new(source.outputs[0], node.inputs["Plate"])
    tree.links.new(node.outputs["Image"], output)


def _plate_node(tree: Any, plate: Plate, item: str, color_space: str, start: int) -> Any:
    """The node that shows the plate already, or a new one."""
    there = tree.nodes.get(item)
    if there is not None and there.bl_idname in {"CompositorNodeImage", "CompositorNodeMovieClip"}:
        return there
    first = plate.frames.frames[0] if plate.frames.frames else 1
    node = tree.nodes.new("CompositorNodeImage")
    node.label = "Plate"
    path = frame_path(plate.path, first)
    image = bpy.data.images.load(path, check_existing=True)
    if "#" in plate.path:
        image.source = "SEQUENCE"
    node[PLATE_MARK] = plate.path
    _set_plate_space(image, plate, color_space)
    node.image = image
    if image.source != "FILE":
        _time(node, image, plate.frames, start)
    return node


def _set_plate_space(image: Any, plate: Plate, color_space: str) -> None:
    """The daemon read the header's colour space, which Blender 4.2 does not; it is known once the merge is done."""
    if image.filepath.lower().endswith(".exr"):
        set_space(image.colorspace_settings, plate.color_space or color_space)


def set_space(settings: Any, name: str) -> None:
    """Blender's name of a colour space; what this Blender's config does not know is left as Blender guessed it."""
    for candidate in (_SPACES.get(name, name), name):
        try:
            settings.name = candidate
        except TypeError:
            continue
        return


def _unversioned(pattern: str) -> str:
    """The pattern without its version's number, the same for all versions of a result."""
    folder, name = os.path.split(pattern)
    above, last = os.path.split(folder)
    is_version = last[:1] == "v" and last[1:].isdigit()
    return os.path.join(above, "{version}", name) if is_version else pattern
