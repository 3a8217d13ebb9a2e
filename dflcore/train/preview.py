"""The picture a person watches while a model trains."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.errors import InvalidInput
from dflcore.io.atomic import write_bytes
from dflcore.models.face_model import SOURCE, TARGET, FaceModel

COLUMNS = ("source", "source painted", "target", "target painted", "swap", "swap's mask", "swap in place")


@torch.no_grad()
def compose_preview(model: FaceModel, source: Tensor, target: Tensor) -> NDArray[np.uint8]:
    """One row per pair of faces: source and target, each with its reconstruction; the swap, its mask, and the swap
    over the target inside that mask.

    Args:
        model: any face model; left in the mode it is in.
        source, target: (N, 3, R, R) display-referred sRGB in [0, 1] on the model's device, N of 1 or more each; the
            shorter one decides the number of rows.

    Returns:
        (N * R, 7 * R, 3) uint8 RGB, sRGB-encoded.
    """
    rows = min(len(source), len(target))
    source, target = source[:rows], target[:rows]
    painted = model.reconstruct({SOURCE: source, TARGET: target})
    swapped = model.swap(target)
    mask = swapped.source_mask * swapped.target_mask  # as the reference previews it: where both agree
    in_place = target * (1 - mask) + swapped.face * mask
    columns = (
        source,
        painted[SOURCE].face,
        target,
        painted[TARGET].face,
        swapped.face,
        mask.expand_as(target),
        in_place,
    )
    grid = torch.stack([column.float() for column in columns], dim=1)  # (N, 7, 3, R, R)
    count, width, channels, side, _ = grid.shape
    picture = grid.permute(0, 3, 1, 4, 2).reshape(count * side, width * side, channels)
    return np.asarray((picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB; a viewer sees the old picture or the new one, never half of it.

    Raises:
        ResourceExhausted, InvalidInput: the file cannot be written.
    """
    encoded_ok, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not encoded_ok:
        raise InvalidInput(f"Cannot encode the preview {path}.", reason="ENCODE_FAILED", path=path)
    write_bytes(path, encoded.tobytes())  # numpy's own writing names no reason when the disk is full
