"""A made-up faceset of turned heads with pictures of every sharpness, and a run control that remembers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.geometry.template import HEAD_MODEL
from dflcore.io.faceset import FacesetWriter
from dflcore.progress import Event, Notice, StopRequest
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose

SIZE = 128
PLATES = ("/plates/b_shot.####.exr", "/plates/a_shot.####.exr")


class Recorder:
    """A run control that keeps every event and stops after some questions."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[Event] = []
        self._left = stop_after

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self) -> StopRequest | None:
        if self._left is None:
            return None
        self._left -= 1
        return StopRequest.PAUSE if self._left < 0 else None

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Notice)]


def turned_head(yaw: float, pitch: float, mouth: float = 0.0) -> np.ndarray:
    """(68, 2) aligned pixels of the head model, seen without perspective."""
    model = HEAD_MODEL.copy()
    model[[65, 66, 67, *range(55, 60)], 1] += 20.0 * mouth
    x = model[:, 0] * np.cos(yaw) + model[:, 2] * np.sin(yaw)
    y = model[:, 1] * np.cos(pitch) - model[:, 2] * np.sin(pitch)
    return np.stack([x, y], axis=1) * (SIZE / 200.0) + SIZE * 0.5


def make_picture(rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8: blocks of colour, more or less blurred, some black."""
    blocks = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = cv2.resize(blocks, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 4.0)))
    picture[: rng.integers(1, 20)] = 0
    return np.ascontiguousarray(picture)


def make_face(number: int) -> tuple[FaceRecord, np.ndarray]:
    """Face ``number``: two plates, every seventh frame shows two faces; number 11 is black."""
    rng = np.random.default_rng(number)
    yaw, pitch = float(rng.uniform(-1.0, 1.0)), float(rng.uniform(-0.5, 0.5))
    plate = PLATES[number % 2]
    frame, face_index = 1000 + number // 2, 0
    if number % 14 >= 12:
        frame, face_index = frame - 1, 1
    shift = np.array([40.0, 30.0])
    record = FaceRecord(
        name=f"{Path(plate).name[0]}_{frame:06d}_{face_index}.png",
        plate=plate,
        frame=frame,
        face_index=face_index,
        plate_size=(640, 480),
        box=Box(40.0, 30.0, 40.0 + float(rng.integers(40, 60)), 130.0),
        score=float(rng.uniform(0, 1)),
        landmarks=Landmarks(points=(turned_head(yaw, pitch, rng.uniform()) + shift).astype(np.float32)),
        face_type=FaceType.FULL,
        aligned_size=SIZE,
        aligned_from_plate=np.array([[1.0, 0.0, -shift[0]], [0.0, 1.0, -shift[1]]]),
        pose=Pose(pitch, yaw, 0.0),
        sharpness=float(rng.uniform(0, 0.01)),
        detector="dlib_hog",
        landmarker="dlib68",
        identity=None if number == 5 else rng.normal(size=128).astype(np.float32),
        track_id=None if number % 3 == 0 else number % 3,
    )
    return record, make_picture(rng) * np.uint8(number != 11)


def write_faces(folder: Path, faces: list[tuple[FaceRecord, np.ndarray]]) -> Path:
    frames: dict[tuple[str, int], list[tuple[FaceRecord, np.ndarray]]] = {}
    for record, image in faces:
        frames.setdefault((record.plate, record.frame), []).append((record, image))
    with FacesetWriter(
        folder, face_type=FaceType.FULL, aligned_size=SIZE, settings={}, authorization=Authorization()
    ) as writer:
        for (plate, frame), members in frames.items():
            writer.add_frame(plate, frame, (640, 480), members)
    return folder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def sixty_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 faces, measured; for tests that only read."""
    from dflcore.curate.metrics import measure

    folder = write_faces(tmp_path_factory.mktemp("curate") / "sixty", [make_face(number) for number in range(60)])
    measure(folder, Recorder(), threads=2)
    return folder


@pytest.fixture
def few_faces(tmp_path: Path) -> Path:
    """12 faces, not measured; a folder of one's own."""
    return write_faces(tmp_path / "few", [make_face(number) for number in range(12)])
