"""Aligned images into the plate: one warp for all that belongs to a face.

Convention:
    Aligned images are squares of any size N that show the same part of the head; ``aligned_from_plate`` maps plate
    pixels to theirs. Windows are in the coordinates of the plate's data window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dflcore.geometry import affine
from dflcore.geometry.warp import plate_bounds, st_map, warp_to_plate
from dflcore.io.plate import Window
from dflcore.merge.composite import FaceLayers, intersect
from dflcore.types import Affine, FloatArray


def put_back(
    data_window: Window,
    aligned_from_plate: Affine,
    *,
    colors: tuple[FloatArray, FloatArray | None],
    masks: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    person: str = "",
    margin: int = 0,
) -> FaceLayers | None:
    """Warp aligned images into the plate in one pass.

    Args:
        person: whose face it is, by the name mattes are given.
        margin: plate pixels of black kept around the square, beyond the data window too, for what spreads light.
        colors: swap and raw, (N, N, 3) scene-linear.
        masks: matte, learned source, learned target, hull, (N, N) in [0, 1].

    Returns:
        None when the aligned square misses the data window.
    """
    swap, raw = colors
    size = swap.shape[0]
    x, y, width, height = plate_bounds(aligned_from_plate, size)
    if intersect(Window(x=x, y=y, width=width, height=height), data_window) is None:
        return None
    window = intersect(grown(Window(x=x, y=y, width=width, height=height), margin), grown(data_window, margin))
    assert window is not None, "what meets a window meets a larger one"
    box = (window.x, window.y, window.width, window.height)
    st = st_map(aligned_from_plate, size, box)
    is_inside = np.asarray(((st >= 0.0) & (st <= 1.0)).all(axis=0))
    planes = [swap, *([] if raw is None else [raw]), np.stack(masks, axis=2)]
    stack = torch.from_numpy(np.concatenate(planes, axis=2)).permute(2, 0, 1)  # channels stay together in memory
    warped = warp_to_plate(stack, aligned_from_plate, box, padding="border", inside=is_inside).permute(1, 2, 0).numpy()
    flat = np.ascontiguousarray(np.moveaxis(warped[..., -4:], 2, 0))
    np.clip(flat, 0.0, 1.0, out=flat)
    swap_in_plate = np.ascontiguousarray(warped[..., :3])
    st *= is_inside
    return FaceLayers(
        window=window,
        swap=swap_in_plate,
        raw=swap_in_plate if raw is None else np.ascontiguousarray(warped[..., 3:6]),
        matte=flat[0],
        learned_source=flat[1],
        learned_target=flat[2],
        hull=flat[3],
        segmentation=np.asarray(is_inside, dtype=np.float32),
        st=st,
        person=person,
        aligned_from_plate=aligned_from_plate,
        size=size,
    )


def add_detail(layers: FaceLayers, detail: tuple[FloatArray, FloatArray | None]) -> FaceLayers:
    """A face just put back, with light added to it that was computed on a finer square.

    Args:
        layers: as :func:`put_back` made them.
        detail: what is added to swap and raw, (N, N, 3) scene-linear, any sign; the second where the two differ. Light
            is never taken below black.
    """
    swap, raw = detail
    assert layers.aligned_from_plate is not None, "put_back told it"
    finer = layers.aligned_from_plate * (swap.shape[0] / layers.size)
    window = layers.window
    planes = torch.from_numpy(np.concatenate([swap, *([] if raw is None else [raw])], axis=2)).permute(2, 0, 1)
    box = (window.x, window.y, window.width, window.height)
    added = warp_to_plate(planes, finer, box, padding="border", inside=layers.segmentation > 0.0)
    warped = added.permute(1, 2, 0).numpy()
    has_raw = raw is not None and layers.raw is not layers.swap
    brighter = _add(layers.swap, warped[..., :3])
    return replace(layers, swap=brighter, raw=_add(layers.raw, warped[..., 3:6]) if has_raw else brighter)


def _add(light: FloatArray, added: FloatArray) -> FloatArray:
    return np.ascontiguousarray(np.maximum(light + added, np.minimum(light, 0.0)), dtype=np.float32)


def grown(window: Window, margin: int) -> Window:
    """The window and so many pixels around it."""
    return Window(
        x=window.x - margin, y=window.y - margin, width=window.width + 2 * margin, height=window.height + 2 * margin
    )


def take_away(layers: FaceLayers, segmentation: FloatArray, aligned_from_plate: Affine) -> FaceLayers:
    """A face's layers with the matte kept to where the target's face is seen.

    Args:
        segmentation: (R, R) in [0, 1]; beyond its square its edge goes on, for a swapped face grown larger than it.
        aligned_from_plate: of the target's face as it is in the plate, whatever the swapped face's scale.
    """
    window = layers.window
    box = (window.x, window.y, window.width, window.height)
    plane = torch.from_numpy(np.ascontiguousarray(segmentation))[None]
    warped = warp_to_plate(plane, aligned_from_plate, box, padding="border")[0].numpy()
    seen = np.clip(warped, 0.0, 1.0) * layers.segmentation
    return replace(layers, segmentation=seen, matte=layers.matte * seen)


def scaled_square(aligned_from_plate: Affine, size: int, face_scale: float) -> Affine:
    """The transform of a face grown by ``face_scale`` percent about the square's centre; negative shrinks it."""
    if face_scale == 0.0:
        return aligned_from_plate
    shrink = 1.0 / (1.0 + 0.01 * face_scale)
    center = size / 2.0
    offset = center - shrink * center
    return affine.compose(np.array([[shrink, 0.0, offset], [0.0, shrink, offset]]), aligned_from_plate)
