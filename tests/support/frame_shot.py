"""A shot of a few frames, its faceset and a trained model, as small as they come: for tests of single frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.frames import FrameRange
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Window
from dflcore.merge.pipeline import MergeResult, merge_range
from dflcore.merge.swapper import open_swapper
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder
from dflcore.models.registry import load_preset
from dflcore.progress import LoggedRun
from dflcore.types import Authorization, FaceType
from dflproto.v1 import merge_service_pb2, settings_pb2
from small_facesets import make_image, make_record, plate_landmarks, write_faceset
from tiny_networks import enliven

SIZE = (400, 300)
FACES = (1001, 1002, 1003)
NOBODY = 1004
SHIFTS = ((120.0, 40.0), (130.5, 44.25), (125.0, 60.0))
"""Where the face's template lies in each frame, px."""


@dataclass(frozen=True)
class FrameShot:
    """Four frames, the last without a face."""

    folder: Path

    @property
    def plate(self) -> str:
        return str(self.folder / "plate" / "shot.####.exr")

    @property
    def faceset(self) -> Path:
        return self.folder / "faces"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def file(self, frame: int) -> Path:
        return Path(self.plate.replace("####", str(frame)))

    def merge(self, output: Path, frames: tuple[int, ...], **settings: Any) -> MergeResult:
        """What a range writes."""
        chosen = MergeSettings(**settings)
        converter = ColorConverter(chosen.ocio_config)
        plate = open_plate(self.plate, frames=FrameRange.of(frames), resolve_space=converter.find)
        swapper, _ = open_swapper(self.model, identity=chosen.identity, morph=chosen.morph)
        with Faceset.open(self.faceset) as faceset:
            return merge_range(
                plate,
                swapper,
                faceset,
                str(output),
                chosen,
                LoggedRun(),
                converter=converter,
                authorization=Authorization(person="Ada", reference="R-1"),
            )

    def request(self, frame: int = 1001, *, settings: dict[str, Any] | None = None, **fields: Any) -> Any:
        """A MergeFrameRequest."""
        return merge_service_pb2.MergeFrameRequest(
            **{
                "plate_path": self.plate,
                "frame": frame,
                "model_path": str(self.model),
                "faceset_path": str(self.faceset),
                "settings": settings_pb2.MergeSettings(**(settings or {})),
                **fields,
            }
        )


def make_frame_shot(
    folder: Path, *, size: tuple[int, int] = SIZE, resolution: int = 64, scale: float = 1.0
) -> FrameShot:
    """Write it all.

    Args:
        scale: of the faces; 1 makes them 150 px wide.
    """
    shot = FrameShot(folder)
    for frame in (*FACES, NOBODY):
        write_plate(shot, frame, size)
    faces = []
    for frame, shift in zip(FACES, SHIFTS, strict=True):
        points = plate_landmarks(scale=150.0 * scale, shift=(shift[0] * scale, shift[1] * scale))
        record = make_record(frame, landmarks=points, plate=shot.plate, plate_size=size)
        faces.append((record, make_image(frame)))
    write_faceset(shot.faceset, faces)
    save_model(shot.model, resolution)
    return shot


def write_plate(shot: FrameShot, frame: int, size: tuple[int, int] = SIZE, gain: float = 1.0) -> None:
    """One frame: soft shapes with light above 1, half float."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(size)
    waves = [0.4 + 0.3 * np.sin(9.0 * x + frame + 2.0 * index) * np.cos(7.0 * y - index) for index in range(3)]
    light = np.stack(waves, axis=2)
    light[height // 8 : height // 6, width // 8 : width // 6] = 6.0
    layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=(gain * light).astype(np.float16))
    window = Window(x=0, y=0, width=width, height=height)
    write_exr(
        shot.file(frame),
        layers=[layer],
        data_window=window,
        display_window=window,
        metadata={"scene": "12A"},
        color_space="ACEScg",
    )


def save_model(path: Path, resolution: int = 64, *, seed: int = 1, until: str = "") -> ModelFolder:
    """A lively ``df`` network with an authorisation record; again into the same folder, a further save of it."""
    preset = load_preset("df")
    dims = {"e_dims": 16, "d_dims": 16, "d_mask_dims": 16, "ae_dims": 32}
    network = preset.resolve_network({"resolution": resolution, **dims})
    description = ModelDescription(preset="df", network=network.values(), face_type=FaceType.FULL)
    folder = ModelFolder.open(path) if ModelFolder.exists(path) else ModelFolder.create(path, description)
    model = enliven(preset.build(network))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.0 + 0.01 * seed)
    record = {"person": "Ada", "reference": "R-1", "until": until}
    state = {"iteration": 5, "elapsed_s": 1.0, "provenance": {"source": {"authorization": record}}}
    with folder.lock():
        weights = dict(model.state_dict())
        folder.save(Generation(weights=weights, training={}, history=torch.zeros((0, 4)), state=state), keep=2)
    return folder
