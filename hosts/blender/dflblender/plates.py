# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist has before them, as a plate: a strip, an image, a clip, a node, or the scene's clip field."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import bpy

from . import compat
from ._dflhost.errors import HostError
from ._dflhost.plates import FrameSet, Plate, frames_on_disk, sequence_pattern
from .orders import IMAGE, NODES, STRIP
from .strip_plates import ElementFacts, file_name, plate_of_strip, sequence_of

_SPACES = {
    "Linear Rec.709": "Linear Rec.709 (sRGB)",
    "Linear Rec.2020": "Linear Rec.2020",
    "ACEScg": "ACEScg",
    "ACES2065-1": "ACES2065-1",
    "Linear CIE-XYZ D65": "CIE XYZ-D65 - Scene-referred",
}
"""Blender's names of scene-linear spaces → those of the daemon's config; others are left to the file's own tags."""


_NO_PLATES = {"SOUND", "MASK", "TEXT", "COLOR", "ADJUSTMENT"}
_NOT_SEEN = {"rna_type", "name", "mute", "lock", "channel", "color_tag", "blend_type", "blend_alpha", "show_expanded"}
_NOT_SEEN |= {"use_proxy", "is_active", "show_waveform", "use_linear_modifiers", "left_handle", "right_handle"}
"""Properties of strips that change nothing of the rendered picture; the handles are in the frames asked for."""
_HELD = {"transform", "crop", "input_1", "input_2"}
"""What else of a strip is seen."""


@dataclass(frozen=True)
class Choice:
    """A plate and where its result belongs.

    Attributes:
        name: for files and strips.
        place: ``strip``, ``nodes`` or ``image``. item: name of the strip, image, clip or node.
        scene_start: scene frame in which the plate's first frame is seen.
        render: where the plate must be rendered from a strip first: text that changes with what the strip shows.
    """

    plate: Plate
    name: str
    place: str
    item: str
    scene_start: int
    render: str = ""


def choose(context: Any) -> Choice:
    """The plate that a button in this editor works on.

    Raises:
        HostError: nothing is chosen (``NO_PLATE``), or it is no plain footage.
    """
    scene, space = compat.editor_scene(context), context.space_data
    kind = space.type if space else ""
    swap = scene.face_swap
    if swap.target_clip.strip():
        place = {"SEQUENCE_EDITOR": STRIP, "IMAGE_EDITOR": IMAGE}.get(kind, NODES)
        return _limited(_of_file(scene, swap.target_clip, place), swap)
    if kind == "SEQUENCE_EDITOR" or (not kind and scene.sequence_editor):
        strip = scene.sequence_editor.active_strip if scene.sequence_editor else None
        return _limited(of_strip_or_render(scene, strip), swap)
    if kind == "IMAGE_EDITOR" and space.image is not None:
        return _limited(of_image(space.image, space.image_user, IMAGE), swap)
    if kind == "CLIP_EDITOR" and space.clip is not None:
        return _limited(of_clip(space.clip), swap)
    return _limited(_of_node(compat.existing_compositor_tree(scene)), swap)


def of_strip_or_render(scene: Any, strip: Any) -> Choice:
    """A strip's files where it shows them as they are, else what a second Blender will render of it.

    Raises:
        HostError: it is no picture, or lies inside a meta strip.
    """
    if strip is None or strip.type in _NO_PLATES:
        raise _nothing("Select an image, movie, meta or scene strip first.")
    if strip.type in {"MOVIE", "IMAGE"}:
        try:
            return of_strip(strip)
        except HostError as error:
            if error.reason not in {"STRIP_IS_CHANGED", "NOT_A_SEQUENCE"}:
                raise
    if strip.name not in compat.strips(scene):
        raise _nothing(f'"{strip.name}" lies inside a meta strip: leave it and select the meta strip.')
    first, last = compat.visible_range(strip)
    name, digest = file_name(strip.name), strip_digest(scene, strip)
    folder = os.path.join(result_folder(scene), "plates", f"{name}_{digest[:12]}")
    plate = Plate(os.path.join(folder, f"{name}.####.exr"), FrameSet.span(first, last), "Linear Rec.709 (sRGB)", digest)
    return Choice(plate, name, STRIP, strip.name, first, digest)


def strip_digest(scene: Any, strip: Any) -> str:
    """Text that changes with what a strip shows: its properties, what it is made of, its files, the picture's size."""
    render = scene.render
    seen = {"size": (render.resolution_x, render.resolution_y), "fps": (render.fps, render.fps_base)}
    facts = [seen, *_properties(scene, strip, set())]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _properties(scene: Any, owner: Any, seen: set[int]) -> Iterator[dict[str, Any]]:
    """Plain values of a strip and of all that hangs on it; those that only say how it is listed are left out."""
    if owner.as_pointer() in seen:
        return
    seen.add(owner.as_pointer())
    values: dict[str, Any] = {"type": owner.bl_rna.identifier}
    for prop in owner.bl_rna.properties:
        name = prop.identifier
        if name in _NOT_SEEN or name.startswith("select"):
            continue
        value = getattr(owner, name)
        if prop.type == "COLLECTION":
            for item in value:
                yield from _properties(scene, item, seen)
        elif name in _HELD and value is not None:
            yield from _properties(scene, value, seen)
        elif prop.type == "POINTER":
            values[name] = getattr(value, "name", "")
        elif not prop.is_readonly:
            values[name] = list(value) if getattr(prop, "is_array", False) else value
        if name in {"directory", "filepath"}:
            values[f"{name} changed"] = _changed_at(str(value))
    yield values


def _changed_at(path: str) -> str:
    try:
        about = os.stat(_absolute(path))
    except (OSError, ValueError):
        return ""
    return f"{about.st_size} {about.st_mtime_ns}"


def of_strip(strip: Any) -> Choice:
    """A movie or image strip.

    Raises:
        HostError: it is neither, or shows something else than its files.
    """
    if strip is None or strip.type not in {"MOVIE", "IMAGE"}:
        raise _nothing("Select an image or movie strip first.")
    first, last = compat.visible_range(strip)
    skipped = first - compat.content_start(strip)
    count = last - first + 1
    is_movie = strip.type == "MOVIE"
    if is_movie:
        folder, name = os.path.split(_absolute(strip.filepath))
        names: tuple[str, ...] = (name,)
    else:
        folder = _absolute(strip.directory)
        names = tuple(element.filename for element in strip.elements)
        skip = compat.content_trim_start(strip) + max(skipped, 0)
        names = names[skip : skip + count] if len(names) > 1 else names
    facts = ElementFacts(
        name=strip.name,
        folder=folder,
        names=names or ("",),
        is_movie=is_movie,
        frames_seen=min(count, len(names)) if not is_movie else count,
        first_movie_frame=1 + compat.content_trim_start(strip) + max(skipped, 0) if is_movie else 1,
        color_space=_SPACES.get(strip.colorspace_settings.name, ""),
        changes=_changes(strip, skipped),
    )
    return Choice(plate_of_strip(facts), file_name(strip.name), STRIP, strip.name, first)


def of_image(image: Any, user: Any, place: str, item: str = "") -> Choice:
    """An image datablock as an image editor or a compositor node shows it.

    Args:
        user: whatever holds ``frame_start``, ``frame_offset`` and ``frame_duration``.

    Raises:
        HostError: it has no file.
    """
    if image.source not in {"FILE", "SEQUENCE", "MOVIE"} or not image.filepath:
        raise _nothing(f'The image "{image.name}" has no file: save it first, or open footage.')
    path = _absolute(image.filepath)
    space = _SPACES.get(image.colorspace_settings.name, "")
    start = int(user.frame_start) if user is not None else 1
    if image.source == "FILE":
        folder, name = os.path.split(path)
        pattern, numbers = sequence_of((name,))  # one file of a sequence keeps its number: its faces are known by it
        still = Plate(os.path.join(folder, pattern or name), FrameSet.of(numbers), space)
        return Choice(still, file_name(image.name), place, item or image.name, start)
    first = int(user.frame_offset) + 1
    frames = FrameSet.span(first, first + max(int(user.frame_duration), 1) - 1)
    if image.source == "SEQUENCE":
        path = sequence_pattern(path)
        there = set(frames_on_disk(path).frames)
        frames = FrameSet.of(number for number in frames if number in there) if there else frames
        start += (frames.frames[0] - first) if frames.frames else 0
    return Choice(Plate(path, frames, space), file_name(image.name), place, item or image.name, start)


def of_clip(clip: Any) -> Choice:
    """A movie clip; its first frame is seen at ``frame_start``."""
    path = _absolute(clip.filepath)
    offset, count = int(clip.frame_offset), int(clip.frame_duration)
    space = _SPACES.get(clip.colorspace_settings.name, "")
    if clip.source == "SEQUENCE":
        path = sequence_pattern(path)
        return Choice(
            Plate(path, frames_on_disk(path), space), file_name(clip.name), NODES, clip.name, clip.frame_start
        )
    frames = FrameSet.span(1 + offset, count) if count > offset else FrameSet()
    return Choice(Plate(path, frames, space), file_name(clip.name), NODES, clip.name, int(clip.frame_start))


def result_folder(scene: Any) -> str:
    """Where results, faces and rendered plates of this scene go.

    Raises:
        HostError: the file was never saved and no folder is chosen (reason ``FILE_NOT_SAVED``).
    """
    chosen = scene.face_swap.output.strip()
    if not chosen and not bpy.data.filepath:
        raise HostError(
            "Save this file first, or choose an output folder: results are kept beside the file.",
            reason="FILE_NOT_SAVED",
            category="CONFLICT",
        )
    return absolute(chosen) if chosen else str(bpy.path.abspath("//face_swap"))


def absolute(path: str) -> str:
    """A field's path without Blender's leading ``//`` and without a slash at its end."""
    return str(bpy.path.abspath(path.strip())).rstrip("/\\") or path


def frame_on_disk(choice: Choice, scene_frame: int) -> int:
    """Number on disk of what a scene frame shows, the nearest where it shows nothing."""
    frames = choice.plate.frames.frames
    if not frames:
        return 1
    return frames[min(max(scene_frame - choice.scene_start, 0), len(frames) - 1)]


def footage(path: str) -> str:
    """A movie's path as it is, one file of a sequence as its pattern; absolute."""
    absolute = _absolute(path)
    is_still = os.path.splitext(absolute)[1].lower() in bpy.path.extensions_image
    return sequence_pattern(absolute) if is_still else absolute


def _of_file(scene: Any, path: str, place: str) -> Choice:
    pattern = footage(path)
    frames = frames_on_disk(pattern) if "#" in pattern else FrameSet()
    start = frames.frames[0] if frames.frames else int(scene.frame_start)
    return Choice(Plate(pattern, frames), file_name(os.path.basename(path)), place, os.path.basename(path), start)


def _of_node(tree: Any) -> Choice:
    for node in _nodes(tree):
        if node.bl_idname == "CompositorNodeImage" and node.image is not None and not node.get("dfl_result"):
            return of_image(node.image, node, NODES, node.name)
        if node.bl_idname == "CompositorNodeMovieClip" and node.clip is not None:
            return of_clip(node.clip)
    raise _nothing("Choose a clip, or select a strip, an image or an Image node first.")


def _nodes(tree: Any) -> list[Any]:
    """The active node first, then the selected, then the others."""
    if tree is None:
        return []
    return sorted(tree.nodes, key=lambda node: (node != tree.nodes.active, not node.select))


def _changes(strip: Any, skipped: int) -> tuple[str, ...]:
    """What a strip does to its files that its result could not be given too, in an artist's words."""
    found = {
        "another speed": compat.is_retimed(strip),
        "reversed": strip.use_reverse_frames,
        "held first frame": skipped < 0,
        "strobe": strip.strobe > 1,
        "modifiers": any(not modifier.mute for modifier in strip.modifiers),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _limited(choice: Choice, swap: Any) -> Choice:
    if not swap.use_range:
        return choice
    wanted = FrameSet.span(swap.first, max(swap.first, swap.last))
    frames = choice.plate.frames.frames
    if frames:
        wanted = FrameSet.of(number for number in wanted if number in choice.plate.frames)
        if not wanted.frames:
            raise HostError(
                f"The frames {swap.first}-{swap.last} lie outside the clip, which has {frames[0]}-{frames[-1]}.",
                reason="FRAMES_NOT_IN_PLATE",
                category="INVALID_INPUT",
            )
    start = choice.scene_start + (wanted.frames[0] - frames[0] if frames else 0)
    return replace(choice, plate=replace(choice.plate, frames=wanted), scene_start=start)


def _absolute(path: str) -> str:
    return os.path.abspath(str(bpy.path.abspath(path.strip())))


def _nothing(sentence: str) -> HostError:
    return HostError(sentence, reason="NO_PLATE", category="INVALID_INPUT")
