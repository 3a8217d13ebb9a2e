"""A small faceset with known transforms, and a run that remembers what it was told, for the tests of masks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.template import HEAD_MODEL
from dflcore.io.faceset import FacesetWriter
from dflcore.progress import Event, FrameProgress, Notice, StopRequest
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose

PLATE = "/plates/shot.####.exr"
PLATE_SIZE = (320, 240)
ALIGNED_PX = 96
FRAMES = (1001, 1002, 1003)


@dataclass
class Listener:
    """A :class:`~dflcore.progress.RunControl` that keeps what it hears and stops after a number of items."""

    stop_after: int | None = None
    events: list[Event] = field(default_factory=list)
    asked: int = 0

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self) -> StopRequest | None:
        self.asked += 1
        return StopRequest.CANCEL if self.stop_after is not None and self.asked > self.stop_after else None

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Notice)]

    @property
    def progress(self) -> list[FrameProgress]:
        return [event for event in self.events if isinstance(event, FrameProgress)]

    def notice(self, reason: str) -> Notice:
        return next(event for event in self.events if isinstance(event, Notice) and event.reason == reason)


def landmarks_in_plate(center: tuple[float, float], height: float, turn: float) -> np.ndarray:
    """(68, 2) plate pixels of a frontal face."""
    flat = np.asarray(HEAD_MODEL, dtype=np.float64)[:68, :2]
    upright = flat * (1.0 if flat[8, 1] > flat[27, 1] else -1.0)
    unit = (upright - upright.mean(0)) / np.ptp(upright[:, 1]) * height
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return unit @ rotation.T + center


def make_record(
    frame: int,
    face_index: int = 0,
    *,
    center: tuple[float, float] = (160.0, 120.0),
    height: float = 100.0,
    turn: float = 0.2,
    name: str | None = None,
    plate: str = PLATE,
) -> FaceRecord:
    points = landmarks_in_plate(center, height, turn)
    return FaceRecord(
        name=name or f"shot_{frame:06d}_{face_index}.png",
        plate=plate,
        frame=frame,
        face_index=face_index,
        plate_size=PLATE_SIZE,
        box=Box(*points.min(0), *points.max(0)),
        score=1.0,
        landmarks=Landmarks(points=points.astype(np.float32)),
        face_type=FaceType.WHOLE,
        aligned_size=ALIGNED_PX,
        aligned_from_plate=aligned_from_landmarks(points, FaceType.WHOLE, ALIGNED_PX),
        pose=Pose(0.0, 0.0, 0.0),
        sharpness=0.0,
        detector="none",
        landmarker="none",
    )


def write_faceset(folder: Path, records: list[FaceRecord]) -> Path:
    """A faceset with gray faces."""
    image = np.full((ALIGNED_PX, ALIGNED_PX, 3), 128, np.uint8)
    settings: dict[str, object] = {}
    with FacesetWriter(
        folder,
        face_type=FaceType.WHOLE,
        aligned_size=ALIGNED_PX,
        settings=settings,
        authorization=Authorization(person="Eileen Collins"),
    ) as writer:
        by_frame: dict[tuple[str, int], list[FaceRecord]] = {}
        for record in records:
            by_frame.setdefault((record.plate, record.frame), []).append(record)
        for (plate, frame), ones in by_frame.items():
            writer.add_frame(plate, frame, PLATE_SIZE, [(record, image) for record in ones])
    return folder


def make_faceset(folder: Path) -> Path:
    """Three frames, two faces in the second."""
    return write_faceset(
        folder,
        [
            make_record(1001, center=(150.0, 110.0), turn=-0.3),
            make_record(1002, center=(230.0, 120.0), height=70.0),
            make_record(1002, 1, center=(70.0, 100.0), height=60.0, turn=0.0),
            make_record(1003, center=(160.5, 131.25), height=130.0, turn=0.7),
        ],
    )
