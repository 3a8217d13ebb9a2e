"""Small facesets on disk for tests: faces of a few pixels, or real ones cut from a portrait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.io.faceset import FacesetWriter
from dflcore.progress import Event, FrameProgress, Notice, StopRequest
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose

PLATE = "/plates/shot Zoë.####.exr"


class Watcher:
    """A run control that remembers what it was told and asks to stop at the n-th question."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[Event] = []
        self._left = stop_after

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self) -> StopRequest | None:
        if self._left is None:
            return None
        self._left -= 1
        return StopRequest.CANCEL if self._left < 0 else None

    def progress(self) -> list[FrameProgress]:
        return [event for event in self.events if isinstance(event, FrameProgress)]

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Notice)]


def plate_landmarks(scale: float = 150.0, angle: float = 0.2, shift: tuple[float, float] = (180.0, 60.0)) -> np.ndarray:
    """(68, 2) float32 plausible points of a face in a plate: the template where it has points, a jaw around it."""
    points = np.zeros((68, 2))
    turn = np.linspace(np.pi, 0.0, 17)
    points[:17] = np.stack([0.5 + 0.55 * np.cos(turn), 0.3 + 0.75 * np.sin(turn)], axis=1)
    points[list(ALIGNMENT_INDEXES)] = ALIGNMENT_TEMPLATE
    mouth = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
    ring = np.stack([0.5 - 0.17 * np.cos(mouth), 0.75 - 0.06 * np.sin(mouth)], axis=1)
    free = [index for index in range(48, 68) if index not in ALIGNMENT_INDEXES]
    points[free] = ring[[index - 48 for index in free]]
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return affine.apply(np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]]), points).astype(np.float32)


def make_record(
    frame: int,
    face_index: int = 0,
    *,
    face_type: FaceType = FaceType.FULL,
    size: int = 64,
    landmarks: np.ndarray | None = None,
    pixel_aspect: float = 1.0,
    **changes: object,
) -> FaceRecord:
    rng = np.random.default_rng(frame * 10 + face_index)
    points = plate_landmarks() if landmarks is None else landmarks
    square_from_plate = np.array([[pixel_aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])
    aligned_from_square = aligned_from_landmarks(affine.apply(square_from_plate, points), face_type, size)
    record = FaceRecord(
        name=f"shot_{frame:06d}_{face_index}.png",
        plate=PLATE,
        frame=frame,
        face_index=face_index,
        plate_size=(640, 480),
        box=Box(10.5, 20.25, 110.0, 140.75),
        score=0.875,
        landmarks=Landmarks(points=points, depth=rng.normal(size=68).astype(np.float32)),
        face_type=face_type,
        aligned_size=size,
        aligned_from_plate=affine.compose(aligned_from_square, square_from_plate),
        pose=Pose(0.1, -0.2, 0.3),
        sharpness=0.01,
        detector="dlib_hog",
        landmarker="dlib68",
        identity=rng.normal(size=128).astype(np.float32),
        track_id=3,
        spread=0.0125,
    )
    return replace(record, **changes)


def make_image(seed: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def write_faceset(folder: Path, faces: list[tuple[FaceRecord, np.ndarray]]) -> Path:
    """A faceset of these faces, one ``add_frame`` per frame, and one frame more that shows nobody."""
    first = faces[0][0]
    with FacesetWriter(
        folder,
        face_type=first.face_type,
        aligned_size=first.aligned_size,
        settings={"detector": "dlib_hog", "face_type": first.face_type.value, "aligned_size": first.aligned_size},
        authorization=Authorization(person="Eileen Collins", reference="R-17"),
    ) as writer:
        frames = sorted({(record.plate, record.frame) for record, _ in faces})
        for plate, frame in frames:
            of_frame = [pair for pair in faces if (pair[0].plate, pair[0].frame) == (plate, frame)]
            writer.add_frame(plate, frame, of_frame[0][0].plate_size, of_frame, key=f"key {frame}")
        writer.add_frame(first.plate, 99_999, first.plate_size, [], key="nobody")
    return folder


def noise_faceset(folder: Path, count: int = 4) -> Path:
    return write_faceset(folder, [(make_record(frame), make_image(frame)) for frame in range(1, count + 1)])
