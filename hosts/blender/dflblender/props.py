# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene remembers of its face swap."""

from __future__ import annotations

import bpy

from ._dflhost import words

FIELDS = ("source_footage", "source_faces", "target_faces", "model", "output")


class FaceSwapKnobs(bpy.types.PropertyGroup):
    """Settings of one kind of job; see :mod:`.knob_store`."""

    layout: bpy.props.StringProperty(options={"HIDDEN"})


class FaceSwapScene(bpy.types.PropertyGroup):
    """``scene.face_swap``."""

    source_footage: bpy.props.StringProperty(
        name=f"{words.SOURCE} Clip",
        description="Movie, or one file of an image sequence, of the person whose face is put on",
        subtype="FILE_PATH",
    )
    source_faces: bpy.props.StringProperty(
        name="Source Faces", description="Faceset of the person whose face is put on", subtype="DIR_PATH"
    )
    target_clip: bpy.props.StringProperty(
        name="Clip",
        description="Movie, or one file of an image sequence, that gets another face; "
        "empty takes the selected strip, image, clip or node",
        subtype="FILE_PATH",
    )
    target_faces: bpy.props.StringProperty(
        name="Target Faces",
        description="Faceset of this clip; empty finds the faces on the first swap and keeps them beside the file",
        subtype="DIR_PATH",
    )
    model: bpy.props.StringProperty(name=words.MODEL, description="Folder of the trained model", subtype="DIR_PATH")
    output: bpy.props.StringProperty(
        name=words.OUTPUT,
        description="Folder of results; empty is the folder face_swap beside this file",
        subtype="DIR_PATH",
    )
    use_range: bpy.props.BoolProperty(
        name=words.FRAMES,
        description="Swap only these frames on disk instead of all that the clip, strip or image shows",
    )
    first: bpy.props.IntProperty(name="First", description="First frame on disk", default=1, min=0)
    last: bpy.props.IntProperty(name="Last", description="Last frame on disk, included", default=1, min=0)

    merge: bpy.props.PointerProperty(type=FaceSwapKnobs)
    extract: bpy.props.PointerProperty(type=FaceSwapKnobs)
    train: bpy.props.PointerProperty(type=FaceSwapKnobs)

    job: bpy.props.StringProperty(description="The job under way, to find it again", options={"HIDDEN"})
    place: bpy.props.StringProperty(description="Where its result goes, JSON", options={"HIDDEN"})
    result_pattern: bpy.props.StringProperty(description="Files of the newest result", options={"HIDDEN"})
    result_label: bpy.props.StringProperty(description="Its name and version", options={"HIDDEN"})
    result_key: bpy.props.StringProperty(description="What it was made from", options={"HIDDEN"})
    result_place: bpy.props.StringProperty(description="Where it went, JSON", options={"HIDDEN"})
    stale: bpy.props.StringProperty(description="Why it is out of date; empty while it is not", options={"HIDDEN"})


def register() -> None:
    bpy.utils.register_class(FaceSwapKnobs)
    bpy.utils.register_class(FaceSwapScene)
    bpy.types.Scene.face_swap = bpy.props.PointerProperty(type=FaceSwapScene, name=words.MENU)


def unregister() -> None:
    del bpy.types.Scene.face_swap
    bpy.utils.unregister_class(FaceSwapScene)
    bpy.utils.unregister_class(FaceSwapKnobs)
