# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender 4.2 and 5.2, and nothing else; no other module asks for a version.

Source: measured in Blender 4.2.23, 4.3.2, 4.5.15 and 5.2.3. Empty collections are falsy, hence ``hasattr``.
"""

from __future__ import annotations

from typing import Any

import bpy


def strips(scene: Any) -> Any:
    """The collection of a scene's top-level strips; the sequence editor is made where there is none."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_strips(scene: Any) -> Any:
    """Strips of a scene, those in meta strips included; empty where it has no sequence editor."""
    editor = scene.sequence_editor
    if editor is None:
        return ()
    return editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all


def sequencer_scene(context: Any) -> Any:
    """The scene that the sequencer edits; from 5.0 the workspace may name another than the window's."""
    return getattr(context, "sequencer_scene", None) or context.scene


def editor_scene(context: Any) -> Any:
    """The scene that the editor a button was pressed in works on."""
    space = context.space_data
    return sequencer_scene(context) if space is not None and space.type == "SEQUENCE_EDITOR" else context.scene


def show_in_sequencer(scene: Any) -> None:
    """Make the sequencers of windows that show no other scene's strips show this one's (5.0 and newer)."""
    for window in bpy.context.window_manager.windows:
        if getattr(window.workspace, "sequencer_scene", scene) is None:
            window.workspace.sequencer_scene = scene


def visible_range(strip: Any) -> tuple[int, int]:
    """First and last scene frame in which a strip is seen."""
    if hasattr(strip, "left_handle"):
        return int(strip.left_handle), int(strip.right_handle) - 1
    return int(strip.frame_final_start), int(strip.frame_final_end) - 1


def content_start(strip: Any) -> int:
    """Scene frame of a strip's first file or movie frame, hidden ones included."""
    return int(strip.content_start if hasattr(strip, "content_start") else strip.frame_start)


def content_trim_start(strip: Any) -> int:
    """Frames left out at the head of the files."""
    name = "content_trim_start" if hasattr(strip, "content_trim_start") else "animation_offset_start"
    return int(getattr(strip, name))


def is_retimed(strip: Any) -> bool:
    """The strip plays its files at another speed."""
    return len(getattr(strip, "retiming_keys", ())) > 2


def forget_cached_pixels(strip: Any) -> None:
    """Make the sequencer read a strip's files again: 5.x keeps what it read although the file has changed."""
    if hasattr(strip, "invalidate_cache"):
        strip.invalidate_cache("RAW")


def compositor_tree(scene: Any) -> tuple[Any, Any]:
    """A scene's compositor tree and the input socket of its output, both made where they are not there."""
    if hasattr(scene, "compositing_node_group"):
        tree = scene.compositing_node_group
        if tree is None:
            tree = scene.compositing_node_group = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        output = next((node for node in tree.nodes if node.bl_idname == "NodeGroupOutput"), None)
        if not any(
            item.item_type == "SOCKET" and item.in_out == "OUTPUT" and item.socket_type == "NodeSocketColor"
            for item in tree.interface.items_tree
        ):
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        output = output or tree.nodes.new("NodeGroupOutput")
        return tree, output.inputs[0]
    is_new = scene.node_tree is None
    scene.use_nodes = True
    tree = scene.node_tree
    for node in [node for node in tree.nodes if is_new and node.bl_idname == "CompositorNodeRLayers"]:
        tree.nodes.remove(node)  # Blender's own start of a tree; it would render the 3D scene for nobody
    output = next((node for node in tree.nodes if node.bl_idname == "CompositorNodeComposite"), None)
    output = output or tree.nodes.new("CompositorNodeComposite")
    return tree, output.inputs["Image"]


def existing_compositor_tree(scene: Any) -> Any:
    """A scene's compositor tree, or None."""
    if hasattr(scene, "compositing_node_group"):
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def set_alpha_node(tree: Any) -> tuple[Any, Any, Any]:
    """A node that multiplies a picture by a matte, which becomes its alpha: node, picture's input, matte's input."""
    node = tree.nodes.new("CompositorNodeSetAlpha")
    if hasattr(node, "mode"):
        node.mode = "APPLY"
    else:
        node.inputs["Type"].default_value = "Apply Mask"
    return node, node.inputs["Image"], node.inputs["Alpha"]


def alpha_over_node(tree: Any) -> tuple[Any, Any, Any]:
    """A node that lays a premultiplied picture over another: node, background's input, foreground's input."""
    node = tree.nodes.new("CompositorNodeAlphaOver")
    if "Background" in node.inputs:
        return node, node.inputs["Background"], node.inputs["Foreground"]
    return node, node.inputs[1], node.inputs[2]


def shows_compositor(space: Any) -> bool:
    """A node editor shows the compositor."""
    return bool(getattr(space, "tree_type", "") == "CompositorNodeTree")
