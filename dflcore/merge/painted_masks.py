"""Masks of painted faces: what a mask network sees in what the face model has painted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.geometry.warp import warp_to_aligned
from dflcore.segment.base import Segmenter
from dflcore.types import Affine, FaceRecord, FaceType, FloatArray


def segment_painted(
    segmenter: Segmenter, painted: FloatArray, records: Sequence[FaceRecord], face_type: FaceType
) -> FloatArray:
    """(B, R, R) masks in [0, 1], 1 is face, in the model's squares.

    Args:
        painted: (B, 3, R, R) sRGB-encoded. records: of the faces, for squares of another type than the segmenter's.
        face_type: of the model's squares.

    Raises:
        DataCorrupt: the landmarks of a face of another type do not tell where its square lies.
    """
    side, size = painted.shape[-1], segmenter.size
    ways = [_network_from_model(record, segmenter, face_type, side) for record in records]
    cut = torch.stack(
        [
            warp_to_aligned(torch.from_numpy(face), way, size, padding="border")
            for face, way in zip(painted, ways, strict=True)
        ]
    )
    levels = cut.clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    masks = torch.from_numpy(segmenter.segment(levels.numpy()))
    back = [
        warp_to_aligned(mask[None], affine.invert(way), side, padding="border")[0].clamp(0.0, 1.0)
        for mask, way in zip(masks, ways, strict=True)
    ]
    return np.asarray(torch.stack(back).numpy(), np.float32)


def _network_from_model(record: FaceRecord, segmenter: Segmenter, face_type: FaceType, side: int) -> Affine:
    if segmenter.face_type is face_type:
        unit = segmenter.size / side
        return np.array([[unit, 0.0, 0.0], [0.0, unit, 0.0]])
    plate_from_model = affine.invert(model_from_plate(record, face_type, side))
    return affine.compose(model_from_plate(record, segmenter.face_type, segmenter.size), plate_from_model)
