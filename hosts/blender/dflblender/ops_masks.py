# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks drawn over an aligned face in the image editor become that face's label."""

from __future__ import annotations

import os
from typing import Any

import bpy

from . import mask_labels, orders, plates, runtime
from ._dflhost.errors import HostError
from ._dflhost.jobs import CURATE
from .ops_swap import IdleOnly

LABELS = "labels"


def layers_of(mask: Any) -> tuple[mask_labels.Layer, ...]:
    """A mask datablock in plain values; hidden layers and open lines are left out."""
    return tuple(
        mask_labels.Layer(
            name=layer.name,
            excludes=layer.blend in {"SUBTRACT", "MERGE_SUBTRACT"} or layer.invert,
            splines=tuple(
                mask_labels.Spline(
                    tuple((tuple(p.handle_left), tuple(p.co), tuple(p.handle_right)) for p in spline.points)
                )
                for spline in layer.splines
                if spline.use_cyclic
            ),
        )
        for layer in mask.layers
        if not layer.hide and not layer.hide_render
    )


class MaskToLabel(IdleOnly, bpy.types.Operator):
    """Mask datablock → labelme file → the daemon's labels."""

    bl_idname, bl_label = "dfl.mask_to_label", "Use Mask as Label"
    bl_description = (
        "Give the face shown here the drawn mask as its label; layers that subtract, or are called hand, mic or the "
        "like, are left out of the face"
    )
    bl_options = frozenset({"REGISTER"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        space = context.space_data
        if space is None or space.type != "IMAGE_EDITOR" or space.image is None or space.mask is None:
            cls.poll_message_set("Open a face of a faceset here and draw a mask over it")
            return False
        return super().poll(context)

    def start(self, context: Any, scene: Any) -> None:
        space = context.space_data
        image_path = plates.absolute(space.image.filepath)
        send_mask(scene, space.mask, image_path, tuple(space.image.size))


def send_mask(scene: Any, mask: Any, image_path: str, size_px: tuple[int, int]) -> None:
    """Write the mask down and ask the daemon to take it.

    Args:
        image_path: aligned face in its faceset. size_px: width, height.

    Raises:
        HostError: the picture is no aligned face, nothing is drawn, or the file cannot be written.
    """
    if size_px[0] != size_px[1] or not size_px[0]:
        raise HostError(
            "Labels are drawn over an aligned face, which is square: open one from a faceset's folder.",
            reason="NOT_A_FACE",
            category="INVALID_INPUT",
        )
    faceset, name = os.path.split(image_path)
    folder = bpy.path.abspath(f"//face_swap/{LABELS}") if bpy.data.filepath else os.path.join(bpy.app.tempdir, LABELS)
    path = mask_labels.write_label(folder, layers_of(mask), name, size_px[0])
    runtime.begin(scene, orders.label_steps(faceset, path), {"kind": CURATE, "faceset": faceset})


register, unregister = bpy.utils.register_classes_factory((MaskToLabel,))
