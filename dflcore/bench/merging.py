"""What merging takes, operation by operation, without a trained network.

A grainy portrait fills plates of three sizes, a face of known place and size lies in its middle, turned by ten degrees,
and a stand-in paints it back as it was: what is measured is everything but the network. Operations marked *alone* run
with nothing beside them; the steps of a merge run beside the reading of the next frame and the writing of the last.

How that compares with the reference is in :mod:`dflcore.bench.looks`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dflcore.bench.figures import Figure
from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.demo.stage import load_target_portrait
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.template import HEAD_MODEL
from dflcore.geometry.warp import plate_bounds, st_map, warp_to_aligned, warp_to_plate
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import PlateImage, Window
from dflcore.io.stills import read_still
from dflcore.merge.light import PlateDeveloper
from dflcore.merge.pipeline import merge_range
from dflcore.progress import LoggedRun
from dflcore.types import Affine, Authorization, Box, FaceRecord, FaceType, FloatArray, Landmarks, Pose

REFERENCE_SIZE = (1280, 720)
REFERENCE_FACE = 324
COMPRESSIONS = ("zip", "zips", "piz", "dwaa")
_STAGE = "merging"
_FIRST_FRAME = 1001
_PATTERN = "plate.####.exr"
_ROLL = 10.0
"""Degrees: an upright face would be resampled along the pixels, which is not what plates are like."""
_GRAIN = 0.012
"""Standard deviation of the plate's grain, sRGB-encoded: a picture without any packs too well."""
_COLOR_PLANES = 6
"""Swap and raw."""
_MASK_PLANES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeCase:
    """What is merged.

    Attributes:
        plate: width and height in pixels.
        face: side of the aligned square in the plate, in pixels.
        resolution: side of the square the network reads and paints.
    """

    plate: tuple[int, int]
    face: int
    resolution: int

    @property
    def title(self) -> str:
        """For the notes."""
        return f"{self.plate[0]}x{self.plate[1]}, face {self.face} px, network {self.resolution} px"


CASES = (
    MergeCase(plate=REFERENCE_SIZE, face=REFERENCE_FACE, resolution=96),
    *(
        MergeCase(plate=plate, face=face, resolution=face)
        for plate in (REFERENCE_SIZE, (1920, 1080), (4096, 2160))
        for face in (256, 512)
    ),
)
"""The first is the reference's own."""


class PassingSwapper:
    """Paints every face as it is; its masks are one soft ellipse. Stands in for a network that costs nothing."""

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution
        self.face_type = FaceType.FULL
        self.name = "stand-in"
        self.digest = "0" * 64
        axis = torch.linspace(-1.0, 1.0, resolution)
        distance = ((axis[None, :] / 0.7) ** 2 + (axis[:, None] / 0.85) ** 2).sqrt()
        self._mask = ((1.0 - distance) * 8.0 + 0.5).clamp(0.0, 1.0)

    def swap(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`dflcore.merge.swapper.FaceSwapper`."""
        masks = self._mask.expand(len(target), 1, -1, -1)
        return target.clone(), masks, masks


def bench_merging(folder: Path, *, frame_count: int = 8, cases: tuple[MergeCase, ...] = CASES) -> list[Figure]:
    """Every operation alone, then whole merges, case by case."""
    figures: list[Figure] = []
    shot: tuple[int, int] | None = None
    for case in cases:
        plate = folder / f"plate_{case.plate[0]}"
        if shot != case.plate:
            shoot_plates(plate, case.plate, frame_count)
            figures += bench_files(plate, case.plate)
            shot = case.plate
        figures += bench_operations(plate, case)
        figures += bench_merges(plate, folder / f"merged_{case.plate[0]}_{case.face}", case, frame_count)
    return figures


def bench_files(folder: Path, size: tuple[int, int], *, repeats: int = 3) -> list[Figure]:
    """Reading one frame, and writing it with all layers of a face in its middle, by compression."""
    path = folder / _PATTERN.replace("####", str(_FIRST_FRAME))
    title = f"{size[0]}x{size[1]}"
    figures = [_alone("read", lambda: read_still(path), repeats, f"{title} RGB half, zip")]
    image = read_still(path)
    for what, layers in (("beauty", _layers(image)[:1]), ("all layers", _layers(image))):
        for compression in COMPRESSIONS:
            target = folder / "written" / f"{compression}.exr"

            def write(target: Path = target, layers: list[ExrLayer] = layers, compression: str = compression) -> None:
                write_exr(
                    target,
                    layers=layers,
                    data_window=image.data_window,
                    display_window=image.display_window,
                    compression=compression,
                )

            write()
            note = f"{title}, {compression}, {target.stat().st_size / 1e6:.1f} MB, flushed to disk"
            figures.append(_alone(f"write {what}", write, repeats, note))
    return figures


def bench_operations(folder: Path, case: MergeCase, *, repeats: int = 7) -> list[Figure]:
    """What happens between the files, each alone: light, align, to the network's colours and back, put back."""
    image = read_still(folder / _PATTERN.replace("####", str(_FIRST_FRAME)), color_space="ACEScg")
    converter = ColorConverter()
    developer = PlateDeveloper(converter)
    light = developer.develop(image, "auto")
    transform = _transform(case)
    x, y, width, height = plate_bounds(transform, case.resolution)
    x, y, width, height = _inside((x - 16, y - 16, width + 32, height + 32), case.plate)
    crop = light.crop(Window(x=x, y=y, width=width, height=height))

    def align() -> Tensor:
        planes = torch.from_numpy(crop).permute(2, 0, 1)
        return warp_to_aligned(planes, transform, case.resolution, origin=(x, y))

    square = np.ascontiguousarray(align().permute(1, 2, 0).numpy())
    encoded = converter.to_network(square, light.color_space)
    stack = torch.from_numpy(np.resize(square, (_COLOR_PLANES + _MASK_PLANES, case.resolution, case.resolution)))
    bounds = _inside(plate_bounds(transform, case.resolution), case.plate)
    operations = {
        "light": lambda: developer.develop(image, "auto"),
        "align": align,
        "to the network's colours": lambda: converter.to_network(square, light.color_space),
        "back from them": lambda: converter.from_network(encoded, light.color_space),
        "put back, beauty": lambda: warp_to_plate(stack[: 3 + 1], transform, bounds, padding="border"),
        "put back, all layers": lambda: warp_to_plate(stack, transform, bounds, padding="border"),
        "ST map": lambda: st_map(transform, case.resolution, bounds),
    }
    with torch.inference_mode():
        return [_alone(name, run, repeats, case.title) for name, run in operations.items()]


def bench_merges(folder: Path, output: Path, case: MergeCase, frame_count: int) -> list[Figure]:
    """Whole merges with the stand-in, of the beauty only and with all layers."""
    pattern = str(folder / _PATTERN)
    faceset_path = folder / f"faces_{case.face}_{case.resolution}"
    write_case_faceset(faceset_path, pattern, case, frame_count)
    figures: list[Figure] = []
    for layers, what in (("", "beauty only"), (MergeSettings().layers, "all layers")):
        settings = MergeSettings(layers=layers, overwrite=True)
        target = str(output / ("all" if layers else "beauty") / "merged.####.exr")
        with Faceset.open(faceset_path) as faceset, contextlib.closing(open_plate(pattern)) as plate:
            started, worked = time.perf_counter(), time.process_time()
            result = merge_range(
                plate,
                PassingSwapper(case.resolution),
                faceset,
                target,
                settings,
                LoggedRun(),
                converter=ColorConverter(),
            )
            wall_ms = 1000.0 * (time.perf_counter() - started) / frame_count
            busy_ms = 1000.0 * (time.process_time() - worked) / frame_count
        note = f"{case.title}, half EXR in and out, {what}, {frame_count} frames, no network"
        figures.append(_figure("merge, processor time of all threads", busy_ms, note))
        figures += _merge_figures(wall_ms, dict(result.steps_ms), note)
    return figures


def _merge_figures(wall_ms: float, steps_ms: dict[str, float], note: str) -> list[Figure]:
    steps_ms.pop("network", None)
    rest = sum(steps_ms.values()) - steps_ms.get("read", 0.0) - steps_ms.get("write", 0.0)
    return [
        _figure("merge, total", wall_ms, note),
        *(_figure(f"merge, {name}", value, note) for name, value in steps_ms.items()),
        _figure("merge, everything but network and files", rest, note),
    ]


def _alone(name: str, run: Callable[[], object], repeats: int, note: str) -> Figure:
    """Median time; the note has the processor time of all threads, which other work on the machine changes little."""
    run()
    waited, worked = [], []
    for _ in range(repeats):
        started, busy = time.perf_counter(), time.process_time()
        run()
        waited.append(time.perf_counter() - started)
        worked.append(time.process_time() - busy)
    note = f"{note}; {1000.0 * statistics.median(worked):.1f} ms of processor time"
    return _figure(f"{name}, alone", 1000.0 * statistics.median(waited), note)


def _figure(name: str, milliseconds: float, note: str) -> Figure:
    return Figure(stage=_STAGE, name=name, value=milliseconds, unit="ms/frame", note=note)


def shoot_plates(folder: Path, size: tuple[int, int], frame_count: int) -> str:
    """Plates of the portrait, ACEScg half, with grain of their own in every frame; the pattern they lie under."""
    converter = ColorConverter()
    picture = load_target_portrait()
    width, height = size
    enlargement = width / picture.shape[1]
    matrix = np.array([[enlargement, 0.0, 0.0], [0.0, enlargement, 0.5 * (height - enlargement * picture.shape[0])]])
    clean = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    window = Window(x=0, y=0, width=width, height=height)
    for index in range(frame_count):
        grain = np.random.default_rng(index).standard_normal(clean.shape, dtype=np.float32)
        grainy = np.clip(clean + np.float32(_GRAIN) * grain, 0.0, 1.0)
        linear = converter.convert(grainy, "srgb_tx", "ACEScg")
        layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=linear.astype(np.float16))
        path = folder / _PATTERN.replace("####", str(_FIRST_FRAME + index))
        write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")
    return str(folder / _PATTERN)


def _layers(image: PlateImage) -> list[ExrLayer]:
    """The beauty and what a merge writes beside it: the picture inside the middle sixteenth, black elsewhere."""
    height, width = image.pixels.shape[:2]
    rgb = image.pixels[..., :3]
    rows, columns = slice(3 * height // 8, 5 * height // 8), slice(3 * width // 8, 5 * width // 8)
    face = np.zeros_like(rgb)
    face[rows, columns] = rgb[rows, columns]
    matte = np.zeros((height, width, 1), np.float16)
    matte[rows, columns] = 1.0
    st = np.zeros((height, width, 2), np.float32)
    st[rows, columns] = np.moveaxis(np.indices((st[rows, columns]).shape[:2]), 0, 2) / np.float32(width)
    beauty = np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=2)
    mattes = ("matte", "matte_learned_source", "matte_learned_target", "matte_segmentation", "matte_hull")
    return [
        ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=beauty),
        ExrLayer(name="swap", channels=("R", "G", "B"), pixels=face),
        ExrLayer(name="raw", channels=("R", "G", "B"), pixels=face),
        *(ExrLayer(name=name, channels=("A",), pixels=matte) for name in mattes),
        ExrLayer(name="st", channels=("R", "G"), pixels=st, pixel_type="float"),
    ]


def _points(case: MergeCase) -> FloatArray:
    """(68, 2) landmarks of a mean head in the plate's middle, turned, whose square has the case's side."""
    head = np.asarray(HEAD_MODEL[:, :2], dtype=np.float64)
    unit = affine.scale_of(aligned_from_landmarks(head, FaceType.FULL, case.face))
    angle = np.deg2rad(_ROLL)
    turn = unit * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.array(case.plate) / 2.0
    return np.asarray((head - head.mean(0)) @ turn.T + center, dtype=np.float32)


def _transform(case: MergeCase) -> Affine:
    return aligned_from_landmarks(_points(case), FaceType.FULL, case.resolution)


def _inside(window: tuple[int, int, int, int], plate: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a window (x, y, width, height) that lies in the plate."""
    x, y, width, height = window
    left, top = max(x, 0), max(y, 0)
    return left, top, min(x + width, plate[0]) - left, min(y + height, plate[1]) - top


def write_case_faceset(path: Path, pattern: str, case: MergeCase, frame_count: int) -> None:
    """The case's face in every frame of :func:`shoot_plates`; its own pictures are black."""
    black = np.zeros((case.resolution, case.resolution, 3), np.uint8)
    with FacesetWriter(
        path,
        face_type=FaceType.FULL,
        aligned_size=case.resolution,
        settings={},
        authorization=Authorization(),
    ) as writer:
        for record in _records(pattern, case, frame_count):
            writer.add_frame(pattern, record.frame, case.plate, [(record, black)])


def _records(pattern: str, case: MergeCase, frame_count: int) -> Iterator[FaceRecord]:
    points = _points(case)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    first = FaceRecord(
        name="",
        plate=pattern,
        frame=0,
        face_index=0,
        plate_size=case.plate,
        box=Box(left, top, right, bottom),
        score=1.0,
        landmarks=Landmarks(points=points),
        face_type=FaceType.FULL,
        aligned_size=case.resolution,
        aligned_from_plate=_transform(case),
        pose=Pose(0.0, 0.0, 0.0),
        sharpness=1.0,
        detector="none",
        landmarker="none",
    )
    for number in range(_FIRST_FRAME, _FIRST_FRAME + frame_count):
        yield dataclasses.replace(first, name=f"face_{number}.png", frame=number)
