"""Frames that the merge itself wrote: whatever the plate is, nothing outside the matte has changed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dflcore.config.merge import MergeSettings
from dflcore.config.qc import QcSettings
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Window
from dflcore.merge.pipeline import merge_range
from dflcore.qc.review import Shot, measure_shot
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose
from small_facesets import Watcher

ORIGIN, SIZE = (60, 20), (320, 240)
FRAMES = (1001, 1002)


class Painter:
    """A face model that tints what it sees; its mask is an ellipse."""

    resolution, face_type, name, digest = 64, FaceType.FULL, "tint", "f00d"

    def swap(self, target):
        axis = torch.linspace(-1, 1, self.resolution)
        ellipse = ((axis[None, :] / 0.7) ** 2 + (axis[:, None] / 0.85) ** 2 < 1).float()
        masks = ellipse.expand(len(target), 1, -1, -1)
        return (target * torch.tensor([1.0, 0.97, 0.97]).view(1, 3, 1, 1)).clamp(0, 1), masks, masks


def write_plate(folder: Path, kind: str, astronaut, converter) -> tuple[str, float]:
    """Pattern and pixel aspect of a plate of one kind."""
    x, y = ORIGIN
    crop = astronaut[y : y + SIZE[1], x : x + SIZE[0]]
    folder.mkdir()
    if kind == "png":
        for frame in FRAMES:
            cv2.imwrite(str(folder / f"p.{frame}.png"), np.ascontiguousarray(crop[..., ::-1]))
        return str(folder / "p.####.png"), 1.0
    light = converter.convert(crop.astype(np.float32) / 255.0, "srgb_tx", "ACEScg")
    aspect, over = 1.0, 0
    if kind == "anamorphic":
        light, aspect = np.ascontiguousarray(light[:, ::2]), 2.0
    if kind == "overscan":
        over = 24
        light = np.pad(light, ((over, over), (over, over), (0, 0)), mode="edge")
    light[2, 3] = (60000.0, -0.5, np.nan)
    dtype = np.float32 if kind == "float" else np.float16
    display = Window(x=7 if over else 0, y=-5 if over else 0, width=light.shape[1] - 2 * over, height=SIZE[1])
    data = Window(x=display.x - over, y=display.y - over, width=light.shape[1], height=light.shape[0])
    alpha = np.linspace(0.2, 1.0, light.shape[1], dtype=np.float32) if kind == "alpha" else np.ones(light.shape[1])
    pixels = np.concatenate([light, np.broadcast_to(alpha[None, :, None], (*light.shape[:2], 1))], axis=2)
    layer = ExrLayer(
        name="", channels=tuple("RGBA"), pixels=pixels.astype(dtype), pixel_type="float" if kind == "float" else "half"
    )
    for frame in FRAMES:
        write_exr(
            folder / f"p.{frame}.exr", layers=[layer], data_window=data, display_window=display, pixel_aspect=aspect,
            color_space="ACEScg",
        )  # fmt: skip
    return str(folder / "p.####.exr"), aspect


def write_faces(path: Path, plate: str, points: np.ndarray, size: tuple[int, int], aspect: float) -> Path:
    square_from_plate = np.array([[aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])
    aligned = aligned_from_landmarks(affine.apply(square_from_plate, points), FaceType.FULL, 64)
    owner = Authorization(person="target")
    with FacesetWriter(path, face_type=FaceType.FULL, aligned_size=64, settings={}, authorization=owner) as writer:
        for frame in FRAMES:
            record = FaceRecord(
                name=f"f_{frame}.png", plate=plate, frame=frame, face_index=0, plate_size=size,
                box=Box(*points.min(0).tolist(), *points.max(0).tolist()), score=1.0,
                landmarks=Landmarks(points=points.astype(np.float32)), face_type=FaceType.FULL, aligned_size=64,
                aligned_from_plate=affine.compose(aligned, square_from_plate), pose=Pose(0.0, 0.0, 0.0),
                sharpness=1.0, detector="none", landmarker="none", identity=np.zeros(128, np.float32),
            )  # fmt: skip
            writer.add_frame(plate, frame, size, [(record, np.zeros((64, 64, 3), np.uint8))])
    return path


@pytest.mark.parametrize(
    ("kind", "profile"),
    [
        ("half", "layered"), ("half", "flat"), ("float", "layered"), ("overscan", "layered"), ("anamorphic", "flat"),
        ("alpha", "layered"), ("png", "layered"),
    ],
)  # fmt: skip
def test_a_merge_is_exact_and_its_face_is_measured(
    tmp_path, astronaut, astronaut_points, converter, examiner, kind, profile
):
    plate, aspect = write_plate(tmp_path / "plate", kind, astronaut, converter)
    size = (int(SIZE[0] / aspect), SIZE[1])
    points = (astronaut_points - np.array(ORIGIN)) / np.array([aspect, 1.0])
    faceset = write_faces(tmp_path / "faces", plate, points, size, aspect)
    output = str(tmp_path / "out" / "swap.####.exr")
    with Faceset.open(faceset) as opened:
        merge_range(
            open_plate(plate, resolve_space=converter.find), Painter(), opened, output,
            MergeSettings(profile=profile), Watcher(), converter=converter, authorization=Authorization(person="x"),
        )  # fmt: skip
    report = measure_shot(
        Shot(result=str(tmp_path / "out"), plate=plate, target=faceset), QcSettings(), Watcher(),
        converter=converter, examiner=examiner,
    )  # fmt: skip
    assert (report.profile, report.model, report.frames) == (profile, "tint", "1001-1002")
    assert report.error_frames == 0
    for frame in report.figures:
        assert frame.values["outside_px"] == 0.0
        (face,) = frame.faces
        assert face.face == "face 1"
        assert face.values["matte_area"] > 5.0
        assert face.values["landmark_error"] < 6.0
        assert face.values["similarity"] > 0.6
