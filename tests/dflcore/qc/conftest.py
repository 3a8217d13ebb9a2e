"""Small merged shots without a model: the plate itself put back through a matte, with one defect each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from astronaut import POINTS
from dflcore.color.ocio import ColorConverter
from dflcore.config.qc import QcSettings
from dflcore.frames import FrameRange
from dflcore.geometry.landmarks import aligned_from_landmarks, hull_mask
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import FacesetWriter
from dflcore.io.plate import Window
from dflcore.qc.faces import FaceExaminer
from dflcore.qc.report import ShotReport
from dflcore.qc.review import Shot, measure_shot
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Origin, Pose
from small_facesets import Watcher

SIZE = (320, 240)
FRAMES = tuple(range(1001, 1010))
FEATHER_PX = 9
Change = Callable[[int, np.ndarray, np.ndarray], np.ndarray]
"""(frame, plate's light, matte) → light of the result before its matte."""


def corner(frame: int) -> tuple[int, int]:
    """Where the plate of a frame begins in the portrait: the camera drifts."""
    return 60 + (frame - FRAMES[0]), 20


def feathered(points: np.ndarray, feather_px: int = FEATHER_PX) -> np.ndarray:
    """A matte as a merge makes it."""
    hull = (hull_mask(points, *SIZE) > 0.5).astype(np.uint8)
    reach = cv2.distanceTransform(hull, cv2.DIST_L2, 5) / max(feather_px, 1)
    return np.clip(reach, 0.0, 1.0).astype(np.float32) if feather_px else hull.astype(np.float32)


@dataclass
class MergedShot:
    """A plate, its faceset and what was merged, on disk."""

    folder: Path
    converter: ColorConverter
    examiner: FaceExaminer
    frames: tuple[int, ...] = FRAMES
    profile: str = "layered"
    source: Path | None = None
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def plate(self) -> str:
        return str(self.folder / "plate" / "shot.####.exr")

    @property
    def result(self) -> str:
        return str(self.folder / "out" / "swap.####.exr")

    @property
    def faceset(self) -> Path:
        return self.folder / "faces"

    def shot(self, frames: str = "") -> Shot:
        asked = FrameRange.parse(frames) if frames else None
        return Shot(result=self.result, plate=self.plate, target=self.faceset, source=self.source, frames=asked)

    def measure(self, frames: str = "", **settings: object) -> ShotReport:
        values = QcSettings.from_values({**self.settings, **settings})
        report = measure_shot(self.shot(frames), values, Watcher(), converter=self.converter, examiner=self.examiner)
        assert report is not None
        return report


def flags_of(report: ShotReport) -> set[tuple[int, str]]:
    """(frame, measure) of every flag."""
    return {(frame.frame, flag.measure) for frame in report.figures for flag in frame.flags}


@pytest.fixture(scope="session")
def converter() -> ColorConverter:
    return ColorConverter()


@pytest.fixture(scope="session")
def astronaut_points() -> np.ndarray:
    """(68, 2) float32 in the portrait's pixels."""
    return POINTS


@pytest.fixture(scope="session")
def examiner() -> FaceExaminer:
    return FaceExaminer()


@pytest.fixture(scope="session")
def portrait_light(astronaut, converter) -> np.ndarray:
    """(512, 512, 3) float32 ACEScg, without the grain of its scan."""
    smooth = cv2.bilateralFilter(astronaut, 7, 18, 3).astype(np.float32) / 255.0
    return converter.convert(cv2.GaussianBlur(smooth, (0, 0), 0.6), "srgb_tx", "ACEScg")


@pytest.fixture
def make_shot(tmp_path, portrait_light, converter, examiner):
    """Factory of shots; keyword arguments bend one thing each."""

    def make(
        *,
        frames=FRAMES,
        change: Change | None = None,
        after: Change | None = None,
        matte: Callable[[int, np.ndarray], np.ndarray] | None = None,
        face_frames=None,
        origins: Mapping[int, Origin] | None = None,
        grain: float = 0.0,
        profile: str = "layered",
        dtype=np.float16,
        compression: str = "zip",
        name: str = "shot",
    ) -> MergedShot:
        folder = tmp_path / name
        shot = MergedShot(folder, converter, examiner, tuple(frames), profile)
        rng = np.random.default_rng(5)
        seen = frames if face_frames is None else face_frames
        records: list[tuple[FaceRecord, np.ndarray]] = []
        for frame in frames:
            x, y = corner(frame)
            plate = portrait_light[y : y + SIZE[1], x : x + SIZE[0]].astype(np.float32)
            plate = (plate * (1.0 + grain * rng.normal(size=plate.shape))).astype(dtype)
            points = POINTS - np.array([x, y], np.float32)
            own = feathered(points) if frame in seen else np.zeros(plate.shape[:2], np.float32)
            if matte is not None:
                own = matte(frame, own)
            own = own.astype(dtype)
            light = plate.astype(np.float32)
            swap = light if change is None else change(frame, light, own.astype(np.float32))
            weight = own.astype(np.float32)[..., None]
            mixed = (light * (1.0 - weight) + swap * weight).astype(dtype)
            merged = np.where(weight > 0, mixed, plate)
            if after is not None:
                merged = after(frame, merged.copy(), own).astype(dtype)
            _write(Path(shot.plate.replace("####", str(frame))), {"": plate}, compression="zip")
            if profile == "patch":
                _deliver_patch(shot, frame, (swap * weight).astype(dtype), own)
            else:
                _deliver(shot, frame, merged, own, compression)
            if frame in seen:
                origin = (origins or {}).get(frame, Origin.DETECTED)
                records.append((_record(shot.plate, frame, points, origin), converter.to_network(light, "ACEScg")))
        _write_faceset(shot, records)
        return shot

    return make


@pytest.fixture
def source_faceset(tmp_path, hopper) -> Path:
    """Another person's faceset: one picture, its descriptor not stored."""
    points = _found_points(hopper)
    record = replace(_record("hopper.png", 1, points, Origin.DETECTED), plate_size=(hopper.shape[1], hopper.shape[0]))
    square = cv2.warpAffine(hopper, record.aligned_from_plate, (256, 256), flags=cv2.INTER_LINEAR)
    path = tmp_path / "source"
    owner = Authorization(person="G. Hopper")
    with FacesetWriter(path, face_type=FaceType.WHOLE, aligned_size=256, settings={}, authorization=owner) as writer:
        writer.add_frame(record.plate, 1, record.plate_size, [(record, square)])
    return path


def _found_points(picture: np.ndarray) -> np.ndarray:
    from dflcore.detect.base import create_detector
    from dflcore.landmark.base import create_landmarker
    from dflcore.weights.store import WeightStore

    store = WeightStore()
    found = create_detector("dlib_hog", store).detect(picture)
    return create_landmarker("dlib68", store).locate(picture, found[0].box).points


def _record(plate: str, frame: int, points: np.ndarray, origin: Origin) -> FaceRecord:
    return FaceRecord(
        name=f"f_{frame}_0.png",
        plate=plate,
        frame=frame,
        face_index=0,
        plate_size=SIZE,
        box=Box(*points.min(0).tolist(), *points.max(0).tolist()),
        score=1.0,
        landmarks=Landmarks(points=points.astype(np.float32)),
        face_type=FaceType.WHOLE,
        aligned_size=256,
        aligned_from_plate=aligned_from_landmarks(points, FaceType.WHOLE, 256),
        pose=Pose(0.0, 0.0, 0.0),
        sharpness=1.0,
        detector="none",
        landmarker="none",
        track_id=0,
        origin=origin,
    )


def _write_faceset(shot: MergedShot, records: list[tuple[FaceRecord, np.ndarray]]) -> None:
    owner = Authorization(person="target")
    with FacesetWriter(
        shot.faceset, face_type=FaceType.WHOLE, aligned_size=256, settings={}, authorization=owner
    ) as writer:
        for record, shown in records:
            picture = np.rint(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8)
            square = cv2.warpAffine(picture, record.aligned_from_plate, (256, 256), flags=cv2.INTER_LINEAR)
            writer.add_frame(shot.plate, record.frame, SIZE, [(record, square)])


def _deliver(shot: MergedShot, frame: int, merged: np.ndarray, matte: np.ndarray, compression: str) -> None:
    path = Path(shot.result.replace("####", str(frame)))
    beauty = np.concatenate([merged, np.ones_like(merged[..., :1])], axis=2)
    if shot.profile == "layered":
        _write(path, {"": beauty, "matte": matte[..., None]}, compression=compression)
    else:
        _write(path, {"": beauty}, compression=compression)
        sibling = path.with_name(path.name.replace("swap.", "swap_matte."))
        _write(sibling, {"": np.repeat(matte[..., None], 4, axis=2)}, compression=compression)


def _deliver_patch(shot: MergedShot, frame: int, premultiplied: np.ndarray, matte: np.ndarray) -> None:
    """Only what lies in the smallest window around the matte, and the manifest that says so."""
    rows, columns = np.flatnonzero(matte.any(axis=1)), np.flatnonzero(matte.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    patch = np.concatenate([premultiplied, matte[..., None]], axis=2)[part]
    path = Path(shot.result.replace("####", str(frame)))
    layer = ExrLayer(name="", channels=tuple("RGBA"), pixels=patch, pixel_type="half")
    window = Window(x=int(columns[0]), y=int(rows[0]), width=patch.shape[1], height=patch.shape[0])
    display = Window(x=0, y=0, width=SIZE[0], height=SIZE[1])
    write_exr(path, layers=[layer], data_window=window, display_window=display, color_space="ACEScg")
    document = {
        "model": {"name": "m"}, "plate": {"name": shot.plate, "color_space": "ACEScg"}, "output_space": "ACEScg",
        "settings": {"profile": "patch"},
    }  # fmt: skip
    path.with_name("swap.provenance.json").write_text(json.dumps(document))


def _write(path: Path, layers: dict[str, np.ndarray], *, compression: str) -> None:
    window = Window(x=0, y=0, width=SIZE[0], height=SIZE[1])
    made = [
        ExrLayer(
            name=name,
            channels=("A",) if pixels.shape[2] == 1 else ("R", "G", "B", "A")[: pixels.shape[2]],
            pixels=pixels,
            pixel_type="half" if pixels.dtype == np.float16 else "float",
        )
        for name, pixels in layers.items()
    ]
    write_exr(
        path, layers=made, data_window=window, display_window=window, compression=compression, color_space="ACEScg"
    )
