"""A faceset in memory, so that training tests need neither detector nor disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.types import Authorization, Box, FaceRecord, FacesetInfo, FaceType, Landmarks, Pose

ALIGNED_SIZE = 64
PLATE_SIZE = (160, 120)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes in one thread, so that sums do not depend on timing; afterwards as before, for other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def synthetic_landmarks() -> NDArray[np.float32]:
    """68 points of a plausible upright face in plate pixels."""
    rng = np.random.default_rng(5)
    angles = np.linspace(np.pi, 0.0, 17)
    jaw = np.stack([80 + 30 * np.cos(angles), 55 + 40 * np.sin(angles)], 1)
    from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE

    points = np.tile([[80.0, 80.0]], (68, 1)) + rng.uniform(-4, 4, (68, 2))
    points[:17] = jaw
    points[list(ALIGNMENT_INDEXES)] = np.asarray(ALIGNMENT_TEMPLATE) * 40 + [60, 45]
    return points.astype(np.float32)


class FakeFaceset:
    """Faces of one flat colour with a brighter square, different per index; some may be unreadable."""

    def __init__(self, count: int, color: tuple[int, int, int], unreadable: frozenset[int] = frozenset()) -> None:
        self.names = [f"face_{index:04d}.png" for index in range(count)]
        self.color = color
        self.unreadable = unreadable
        self.reads = 0

    @property
    def info(self) -> FacesetInfo:
        return FacesetInfo(
            path="fake",
            face_count=len(self.names),
            face_type=FaceType.FULL,
            aligned_size=ALIGNED_SIZE,
            plates=("plate",),
            authorization=Authorization(person="Nobody"),
        )

    def record(self, name: str) -> FaceRecord:
        points = synthetic_landmarks()
        return FaceRecord(
            name=name,
            plate="plate",
            frame=self.names.index(name),
            face_index=0,
            plate_size=PLATE_SIZE,
            box=Box(50, 40, 110, 100),
            score=1.0,
            landmarks=Landmarks(points=points),
            face_type=FaceType.FULL,
            aligned_size=ALIGNED_SIZE,
            aligned_from_plate=aligned_from_landmarks(points, FaceType.FULL, ALIGNED_SIZE),
            pose=Pose(0.0, 0.0, 0.0),
            sharpness=1.0,
            detector="fake",
            landmarker="fake",
        )

    def read_image(self, name: str) -> NDArray[np.uint8]:
        index = self.names.index(name)
        self.reads += 1
        if index in self.unreadable:
            raise DataCorrupt(f"{name} is damaged.", reason="FACE_DAMAGED", path=name)
        image = np.full((ALIGNED_SIZE, ALIGNED_SIZE, 3), self.color, np.uint8)
        start = 8 + index % 24
        image[start : start + 16, 20:40] = 255 - np.asarray(self.color)
        return image


@pytest.fixture
def make_faceset() -> type[FakeFaceset]:
    return FakeFaceset


@pytest.fixture
def source() -> FakeFaceset:
    return FakeFaceset(12, (200, 120, 90))


@pytest.fixture
def target() -> FakeFaceset:
    return FakeFaceset(9, (60, 90, 140))
