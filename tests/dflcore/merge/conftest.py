"""A small shot: the astronaut portrait as a half EXR plate in ACEScg, its faceset, and a fake face model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from astronaut import POINTS as PORTRAIT_POINTS
from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.frames import FrameRange
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Plate, Window
from dflcore.merge.pipeline import MergeResult, merge_range
from dflcore.progress import Event, Notice, StopRequest
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose

SIZE = (320, 240)
ORIGIN = (60, 20)
"""Crop of the portrait that makes a plate of ``SIZE``."""
AUTHORIZATION = Authorization(person="E. Collins", project="show A", reference="R-1")
POINTS = PORTRAIT_POINTS - np.array(ORIGIN, np.float32)


class FakeSwapper:
    """Paints the target with a tint over the middle of its square; its masks are an ellipse."""

    def __init__(self, resolution=64, face_type=FaceType.FULL, tint=(1.0, 1.0, 1.0), mask=None, digest="f00d"):
        self.resolution = resolution
        self.face_type = face_type
        self.name = "fake"
        self.digest = digest
        self.tint = torch.tensor(tint).view(1, 3, 1, 1)
        self.mask = mask
        self.seen: list[torch.Tensor] = []

    def swap(self, target):
        self.seen.append(target.clone())
        axis = torch.linspace(-1, 1, self.resolution)
        ellipse = ((axis[None, :] / 0.7) ** 2 + (axis[:, None] / 0.85) ** 2 < 1).float()
        mask = ellipse if self.mask is None else torch.full_like(ellipse, self.mask)
        masks = mask.expand(len(target), 1, -1, -1)
        return (target * self.tint).clamp(0, 1), masks, masks


@dataclass
class Recorder:
    """A run control that keeps everything and stops after some frames."""

    stop_after: int | None = None
    events: list[Event] = field(default_factory=list)

    def emit(self, event):
        self.events.append(event)

    def stop_requested(self):
        done = [event for event in self.events if getattr(event, "path", None)]
        return StopRequest.CANCEL if self.stop_after is not None and len(done) >= self.stop_after else None

    @property
    def reasons(self):
        return [event.reason for event in self.events if isinstance(event, Notice)]


@dataclass
class Shot:
    """A plate on disk with its faceset."""

    folder: Path
    pattern: str
    frames: tuple[int, ...]
    faceset: Path
    converter: ColorConverter

    def plate(self, frames: Sequence[int] | None = None, **options) -> Plate:
        asked = FrameRange.of(self.frames if frames is None else frames)
        return open_plate(self.pattern, frames=asked, resolve_space=self.converter.find, **options)

    def merge(
        self,
        output="out/swap.####.exr",
        *,
        swapper=None,
        control=None,
        frames=None,
        plate=None,
        authorization=AUTHORIZATION,
        **settings,
    ):
        """Merge with settings given by name; returns the result and the recorder."""
        control = control or Recorder()
        with Faceset.open(self.faceset) as faceset:
            result: MergeResult = merge_range(
                plate or self.plate(frames),
                swapper or FakeSwapper(tint=(1.0, 0.6, 0.6)),
                faceset,
                str(self.folder / output),
                MergeSettings(**settings),
                control,
                converter=self.converter,
                authorization=authorization,
            )
        return result, control


@pytest.fixture(scope="session")
def converter() -> ColorConverter:
    return ColorConverter()


@pytest.fixture(scope="session")
def portrait_linear(astronaut, converter) -> np.ndarray:
    """(240, 320, 3) float32 ACEScg."""
    x, y = ORIGIN
    crop = astronaut[y : y + SIZE[1], x : x + SIZE[0]].astype(np.float32) / 255
    return converter.convert(crop, "srgb_tx", "ACEScg")


@pytest.fixture
def fake_swapper():
    """The class of fake models."""
    return FakeSwapper


@pytest.fixture
def recorder():
    """The class of run controls that keep everything."""
    return Recorder


@pytest.fixture
def make_shot(tmp_path, portrait_linear, converter):
    """Factory of shots; keyword arguments bend one thing each."""

    def make(
        frames=(1001, 1002, 1003),
        *,
        pixels=None,
        alpha=None,
        dtype=np.float16,
        overscan=0,
        display_origin=(0, 0),
        faces=((0.0, 0.0),),
        face_frames=None,
        face_type=FaceType.FULL,
        corrected=(0.0, 0.0),
        extra=(),
        metadata=None,
        pixel_aspect=1.0,
        squeeze=1,
        pictures=None,
    ) -> Shot:
        points = POINTS / np.array([squeeze, 1.0], np.float32)
        size = (SIZE[0] // squeeze, SIZE[1])
        pattern = str(tmp_path / "plate" / "shot.####.exr")
        light = portrait_linear if pixels is None else pixels
        beauty = light if alpha is None else np.concatenate([light, alpha[..., None]], axis=2)
        padded = np.pad(beauty, ((overscan,) * 2, (overscan,) * 2, (0, 0)), mode="edge").astype(dtype)
        kind = "half" if dtype == np.float16 else "float"
        names = ("R", "G", "B") if alpha is None else ("R", "G", "B", "A")
        ox, oy = display_origin
        window = Window(x=ox - overscan, y=oy - overscan, width=padded.shape[1], height=padded.shape[0])
        layers = [ExrLayer(name="", channels=names, pixels=padded, pixel_type=kind), *extra]
        for frame in frames:
            write_exr(
                Path(pattern.replace("####", str(frame))),
                layers=layers,
                data_window=window,
                display_window=Window(x=ox, y=oy, width=size[0], height=size[1]),
                pixel_aspect=pixel_aspect,
                metadata=metadata or {},
                color_space="ACEScg",
            )
        faceset = tmp_path / "faces"
        shutil.rmtree(faceset, ignore_errors=True)
        records = _records(pattern, face_frames or frames, faces, face_type, points, size, pixel_aspect, corrected)
        _write_faceset(faceset, records, pictures)
        return Shot(tmp_path, pattern, tuple(frames), faceset, converter)

    return make


def _records(plate, frames, faces, face_type, points, size, pixel_aspect, corrected):
    square_from_plate = np.array([[pixel_aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for frame in frames:
        for index, shift in enumerate(faces):
            moved = points + np.array(shift, np.float32)
            aligned_from_square = aligned_from_landmarks(affine.apply(square_from_plate, moved), face_type, 64)
            aligned_from_plate = affine.compose(aligned_from_square, square_from_plate)
            yield FaceRecord(
                name=f"f_{frame}_{index}.png",
                plate=plate,
                frame=frame,
                face_index=index,
                plate_size=size,
                box=Box(*moved.min(0).tolist(), *moved.max(0).tolist()),
                score=1.0,
                landmarks=Landmarks(points=moved),
                face_type=face_type,
                aligned_size=64,
                aligned_from_plate=affine.compose(aligned_from_plate, affine.shift(-corrected[0], -corrected[1])),
                pose=Pose(0.0, 0.0, 0.0),
                sharpness=1.0,
                detector="none",
                landmarker="none",
            )


def _write_faceset(path, records, pictures):
    """``pictures``: (H, W, 3) uint8 of the plate, cut into the faces; None leaves them black."""
    records = list(records)
    owner = Authorization(person="target")
    face_type = records[0].face_type
    with FacesetWriter(path, face_type=face_type, aligned_size=64, settings={}, authorization=owner) as writer:
        for frame in sorted({record.frame for record in records}):
            rows = [(record, _cut(record, pictures)) for record in records if record.frame == frame]
            writer.add_frame(records[0].plate, frame, records[0].plate_size, rows)


def _cut(record, pictures):
    if pictures is None:
        return np.zeros((64, 64, 3), np.uint8)
    planes = torch.from_numpy(pictures.copy()).permute(2, 0, 1).float()
    cut = warp_to_aligned(planes, record.aligned_from_plate, 64).clamp(0, 255).round()
    return cut.to(torch.uint8).permute(1, 2, 0).numpy()
