"""Shoots the demo's two plates: a moving camera and changing light in front of a stage.

What comes out looks to the product like what a camera department delivers: ACEScg half-float EXR, frames from 1001,
time code, a lens in the header, highlights far above 1.0. Equal seeds give equal bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.demo.stage import Stage, build_source_stage, build_target_stage
from dflcore.errors import InvalidInput
from dflcore.io.atomic import atomic_path
from dflcore.types import Affine, FloatArray

FIRST_FRAME = 1001
FRAME_COUNT = 48
FRAMES_PER_SECOND = 24
PLATE_SIZE = (640, 480)
PLATE_COLORSPACE = "ACEScg"
CUSTOM_ATTRIBUTES = {"demo:take": "A003C012_take7", "demo:lens": "50mm T2.0"}
"""Attributes nobody knows; they must come through to the merged frames untouched."""
SHOOTING_TIME = "2025:06:02 10:30:00"
"""Fixed, so that equal seeds give equal files."""
PLATES = {"source": "source.####.exr", "target": "target.####.exr"}
"""Plate name → file pattern inside the plates folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMove:
    """Where the camera looks: values at the first and last frame, eased between, with a hand's unrest on top.

    Attributes:
        center_px: set points in the middle of the plate.
        zoom: plate pixels per set pixel.
        roll_deg: largest roll to either side.
        unrest_px: size of the hand-held motion, plate pixels.
        turn: largest turn of the head to either side, as a share of the face's radius.
    """

    center_px: tuple[tuple[float, float], tuple[float, float]]
    zoom: tuple[float, float]
    roll_deg: float
    unrest_px: float
    turn: float


SOURCE_MOVE = CameraMove(
    center_px=((232.0, 222.0), (250.0, 213.0)), zoom=(1.46, 1.72), roll_deg=2.2, unrest_px=1.6, turn=0.075
)
TARGET_MOVE = CameraMove(
    center_px=((416.0, 268.0), (440.0, 252.0)), zoom=(0.94, 1.06), roll_deg=1.6, unrest_px=1.8, turn=0.06
)


def shoot_plates(
    output: Path,
    *,
    frame_count: int = FRAME_COUNT,
    seed: int = 7,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Path]:
    """Write both plates into ``output`` and say where.

    Args:
        frame_count: frames per plate, from :data:`FIRST_FRAME` on.
        on_frame: told frames done and frames asked after every frame.

    Returns:
        Plate name (``source``, ``target``) → file pattern with ``####``.

    Raises:
        InvalidInput: fewer than two frames, or the folder cannot be written.
        ResourceExhausted: the disk is full.
        Unsupported: the packages that bring the portraits are not installed.
    """
    if frame_count < 2:
        raise InvalidInput(
            f"A camera move needs two frames or more, not {frame_count}.", reason="BAD_FRAME_COUNT", field="frame_count"
        )
    stages = ((build_source_stage(seed), SOURCE_MOVE), (build_target_stage(seed), TARGET_MOVE))
    total = frame_count * len(stages)
    done = 0
    converter = ColorConverter()
    for stage, move in stages:
        for index in range(frame_count):
            frame = FIRST_FRAME + index
            plate = render_frame(stage, move, converter, index=index, frame_count=frame_count, seed=seed)
            path = output / PLATES[stage.name].replace("####", f"{frame:04d}")
            write_plate_frame(path, plate, frame=frame, with_alpha=stage.name == "target")
            done += 1
            on_frame(done, total)
    return {name: output / pattern for name, pattern in PLATES.items()}


def render_frame(
    stage: Stage, move: CameraMove, converter: ColorConverter, *, index: int, frame_count: int, seed: int
) -> FloatArray:
    """One frame of a plate.

    Returns:
        (H, W, 3) float32, scene-linear ACEScg, unbounded above.
    """
    time = index / (frame_count - 1)
    phases = np.random.default_rng((seed, len(stage.name), ord(stage.name[0]))).uniform(0.0, 2.0 * math.pi, 12)
    set_x, set_y = _set_points(stage, move, time, phases)
    # Resampled as encoded values: a Lanczos filter on light itself rings dark around every highlight.
    encoded = cv2.remap(stage.base, set_x, set_y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
    emission = cv2.remap(stage.emission_linear, set_x, set_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    reflected = converter.convert(np.clip(encoded, 0.0, 1.0), "srgb_tx", PLATE_COLORSPACE)
    light = _light_gain(time, phases)
    exposure = 2.0 ** (0.12 * math.sin(2.0 * math.pi * time + phases[4]))
    plate = (reflected * light + emission) * np.float32(exposure)
    return _with_sensor_noise(plate, seed, index)


def camera_set_from_plate(move: CameraMove, time: float, phases: NDArray[np.float64]) -> Affine:
    """(2, 3) matrix from plate pixels to set pixels at ``time`` in [0, 1]."""
    ease = time * time * (3.0 - 2.0 * time)
    (x0, y0), (x1, y1) = move.center_px
    zoom = move.zoom[0] + (move.zoom[1] - move.zoom[0]) * (0.5 - 0.5 * math.cos(math.pi * 1.5 * time))
    roll = math.radians(move.roll_deg) * math.sin(2.0 * math.pi * 0.8 * time + phases[0])
    center = np.array([x0 + (x1 - x0) * ease, y0 + (y1 - y0) * ease])
    center += _unrest(time, phases) * (move.unrest_px / zoom)
    rotation = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]]) / zoom
    middle = np.array(PLATE_SIZE) / 2.0
    return np.hstack([rotation, (center - rotation @ middle)[:, None]])


def write_plate_frame(path: Path, rgb_linear: FloatArray, *, frame: int, with_alpha: bool) -> None:
    """Half-float EXR with what a camera's file says about itself.

    Args:
        rgb_linear: (H, W, 3) float32, scene-linear ACEScg.
        with_alpha: add an opaque ``A`` channel.

    Raises:
        InvalidInput: the folder cannot be written.
        ResourceExhausted: the disk is full.
    """
    height, width = rgb_linear.shape[:2]
    pixels = rgb_linear.astype(np.float16)
    if with_alpha:
        pixels = np.concatenate([pixels, np.ones((height, width, 1), np.float16)], axis=2)
    spec = oiio.ImageSpec(width, height, pixels.shape[2], "half")
    spec.attribute("compression", "zip")
    spec.attribute("oiio:ColorSpace", PLATE_COLORSPACE)
    spec.attribute("FramesPerSecond", oiio.TypeDesc("rational"), (FRAMES_PER_SECOND, 1))
    spec.attribute("smpte:TimeCode", oiio.TypeDesc("timecode"), time_code(frame))
    spec.attribute("Software", "dfl demo camera")
    spec.attribute("DateTime", SHOOTING_TIME)
    for name, value in CUSTOM_ATTRIBUTES.items():
        spec.attribute(name, value)
    with atomic_path(path) as temporary:
        writer = oiio.ImageOutput.create(str(temporary))
        if (
            writer is None
            or not writer.open(str(temporary), spec)
            or not writer.write_image(np.ascontiguousarray(pixels))
        ):
            raise InvalidInput(f"Cannot write {path}: {oiio.geterror()}", reason="NOT_WRITABLE", path=path)
        writer.close()


def time_code(frame: int) -> tuple[int, int]:
    """SMPTE 12M words of a frame number counted at 24 frames a second: BCD hours, minutes, seconds, frames."""
    seconds, frames = divmod(frame, FRAMES_PER_SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    words = 0
    for position, value in enumerate((frames, seconds, minutes, hours % 24)):
        words |= ((value // 10) << 4 | value % 10) << (8 * position)
    return words, 0


def _unrest(time: float, phases: NDArray[np.float64]) -> NDArray[np.float64]:
    """A hand's motion of about unit size: slow sway and a faster tremble, (2,)."""
    beat = 2.0 * math.pi * time
    x = (
        math.sin(1.3 * beat + phases[5])
        + 0.45 * math.sin(3.7 * beat + phases[6])
        + 0.2 * math.sin(9.1 * beat + phases[7])
    )
    y = (
        math.sin(1.7 * beat + phases[8])
        + 0.45 * math.sin(4.3 * beat + phases[9])
        + 0.2 * math.sin(8.3 * beat + phases[10])
    )
    return np.array([x, y])


def _set_points(
    stage: Stage, move: CameraMove, time: float, phases: NDArray[np.float64]
) -> tuple[FloatArray, FloatArray]:
    """For every plate pixel the (x, y) index into the set, (H, W) each: camera, then the turn of the head."""
    width, height = PLATE_SIZE
    set_from_plate = camera_set_from_plate(move, time, phases)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) + 0.5
    set_x = set_from_plate[0, 0] * x + set_from_plate[0, 1] * y + set_from_plate[0, 2]
    set_y = set_from_plate[1, 0] * x + set_from_plate[1, 1] * y + set_from_plate[1, 2]
    relief = _head_relief(stage, set_x, set_y)
    turn_x = move.turn * stage.face_radius_px[0] * math.sin(2.0 * math.pi * time + phases[1])
    turn_y = 0.6 * move.turn * stage.face_radius_px[1] * math.sin(2.0 * math.pi * 0.7 * time + phases[2])
    # remap counts from pixel centres, the set from pixel corners.
    return (
        (set_x - turn_x * relief - 0.5).astype(np.float32),
        (set_y - turn_y * relief - 0.5).astype(np.float32),
    )


def _head_relief(stage: Stage, set_x: NDArray[Any], set_y: NDArray[Any]) -> NDArray[Any]:
    """How far a point stands out toward the camera, 1 at the nose: a turn moves near points more than far ones."""
    x = (set_x - stage.face_center_px[0]) / stage.face_radius_px[0]
    y = (set_y - stage.face_center_px[1]) / stage.face_radius_px[1]
    head = np.exp(-0.5 * (x * x + y * y))
    nose = np.exp(-0.5 * ((x / 0.3) ** 2 + ((y - 0.1) / 0.4) ** 2))
    return cast("NDArray[Any]", 0.72 * head + 0.28 * nose)


def _light_gain(time: float, phases: NDArray[np.float64]) -> FloatArray:
    """(H, W, 3) gain of a soft key that swings from side to side while its colour drifts between warm and cool."""
    width, height = PLATE_SIZE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = 2.0 * math.pi * 0.6 * time + phases[3]
    across = (x / width - 0.5) * math.cos(angle) + 0.5 * (y / height - 0.5) * math.sin(angle)
    level = np.exp2(1.1 * across + 0.22 * math.sin(2.0 * math.pi * 0.9 * time + phases[11]))
    warmth = 0.07 * math.sin(2.0 * math.pi * 0.5 * time + phases[4])
    color = np.array([1.0 + warmth, 1.0, 1.0 - warmth], np.float32)
    return cast(FloatArray, (level[..., None] * color).astype(np.float32))


def _with_sensor_noise(plate: FloatArray, seed: int, index: int) -> FloatArray:
    """Photon noise: its deviation grows with the root of the light."""
    noise = np.random.default_rng((seed, index)).standard_normal(plate.shape, dtype=np.float32)
    return cast(FloatArray, plate + 0.006 * np.sqrt(np.clip(plate, 0.0, None)) * noise)
