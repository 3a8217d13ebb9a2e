"""Facesets with known masks, small networks: for the tests of segmentation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dflcore.config.segment import XSegSettings
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.models.segment_presets import SegmentPreset, SegmentRecipe, _build_xseg
from dflcore.types import FaceRecord, FaceType
from small_facesets import make_record, write_faceset

SIZE = 64


def tiny_preset() -> SegmentPreset:
    """XSeg so small that it learns in seconds."""
    return SegmentPreset(
        help="tiny",
        network=XSegSettings(resolution=64, base_dims=4, bottleneck_dims=16),
        build=_build_xseg,
        recipe=SegmentRecipe(batch_size=4, learning_rate=3e-3),
    )


def oval_face(seed: int, size: int = SIZE) -> tuple[np.ndarray, Label, np.ndarray]:
    """A bright oval on a dark ground with a dark bar across it: image, label and mask (S, S) bool of what is left."""
    rng = np.random.default_rng(seed)
    unit = size / 64.0
    center = np.array([32.0, 32.0]) + rng.uniform(-4, 4, 2)
    turn = np.linspace(0.0, 2 * np.pi, 32, endpoint=False)
    oval = (center + np.stack([16 * np.cos(turn), 20 * np.sin(turn)], axis=1)) * unit
    y = center[1] + rng.uniform(-8, 8)
    bar = np.array([[0.0, y - 4], [64.0, y - 4], [64.0, y + 4], [0.0, y + 4]]) * unit
    image = np.full((size, size, 3), (40, 50, 60), np.uint8)
    cv2.fillPoly(image, [np.rint(oval).astype(np.int32)], (210, 160, 130))
    cv2.fillPoly(image, [np.rint(bar).astype(np.int32)], (20, 90, 30))
    mask = (image[..., 0] > 100).astype(bool)
    noisy = image.astype(int) + rng.integers(-10, 10, image.shape)
    polygons = (Polygon(True, _points(oval)), Polygon(False, _points(bar)))
    return noisy.clip(0, 255).astype(np.uint8), Label(polygons), mask


def oval_faceset(
    folder: Path, count: int = 6, *, labelled: int = 6, face_type: FaceType = FaceType.FULL, first_frame: int = 1
) -> list[FaceRecord]:
    """A faceset of such faces, the first ones labelled."""
    records = [make_record(first_frame + index, face_type=face_type, size=SIZE) for index in range(count)]
    drawn = [oval_face(record.frame) for record in records]
    write_faceset(folder, [(record, image) for record, (image, _, _) in zip(records, drawn, strict=True)])
    if labelled:
        with MaskStore.open(folder, create=True) as store:
            store.set_labels(
                {record.name: label for record, (_, label, _) in zip(records[:labelled], drawn, strict=False)},
                made_by="test",
            )
    return records


def _points(polygon: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in polygon)
