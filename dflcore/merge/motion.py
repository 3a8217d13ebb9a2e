"""How a face moves through the plate, and the blur an open shutter makes of it.

Convention:
    Motion is in plate pixels as landmarks are: x right, y down, from the display window's top-left corner; per frame
    number. The picture that is blurred is premultiplied scene-linear light (a face times its matte, and the matte),
    black beyond its edges; the mean of light along a path is what film and sensors record.

Source:
    The reference (DeepFaceLab 46fc239, measured facts, GPL-3.0, nothing copied) blurs the aligned crop along a straight
    line as long as the face moves over *two* frames, in plate pixels whatever the crop's scale, and not at all once any
    frame has two faces. Here the path is that of every pixel as the face shifts, turns and grows, its length is that of
    one frame's motion times the shutter, and every face has its own.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.geometry import affine
from dflcore.types import Affine, FaceRecord, FloatArray

STEADY_POINTS: Final = slice(17, 48)
"""Brows, nose and eyes: what moves with the head, where jaw and mouth move with speech."""
NEIGHBOUR_FRAMES: Final = 3
"""How far away, in frame numbers, a neighbour may be: plates of every second or third frame, and short gaps."""
MOST_SHIFT: Final = 0.75
"""Motion from frame to frame beyond this share of the face's size (its points' larger extent) is a cut or a mistake."""
MOST_TURN: Final = math.radians(40.0)
MOST_GROWTH: Final = math.log(1.4)
"""As :data:`MOST_SHIFT`, for the turn and the logarithm of the scale per frame."""
_DIRECT_PX: Final = 32.0
"""Longest path that is sampled directly, longer ones are put together from halves."""
_DENSE_PX: Final = 4.0
"""Paths up to this long get two samples a pixel, where every one counts; longer ones at least one."""
_CHANNELS_AT_ONCE: Final = 4
_LEAST_PX: Final = 1e-3
"""Shorter paths leave the picture as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """A face's steady motion around one frame: a shift, a turn and a growth at constant rates.

    Attributes:
        vector_px: (x, y) by which its centre moves per frame, plate pixels.
        center_px: (x, y) of its centre at this frame, plate pixels.
        turn: radians per frame, clockwise in the image positive.
        growth: logarithm of the scale per frame, positive toward the camera.
        pixel_aspect: width of a plate pixel over its height; turns are turns of what the pixels show.
    """

    vector_px: tuple[float, float]
    center_px: tuple[float, float]
    turn: float = 0.0
    growth: float = 0.0
    pixel_aspect: float = 1.0

    def plate_from_plate(self, frames: float) -> Affine:
        """Where points of this frame's face lie ``frames`` later, (2, 3) in plate pixels; steps add up exactly."""
        aspect = self.pixel_aspect
        rate = complex(self.growth, self.turn) * frames
        shift = complex(self.vector_px[0] * aspect, self.vector_px[1]) * frames * _mean_of_exp(rate)
        center = complex(self.center_px[0] * aspect, self.center_px[1])
        factor = cmath.exp(rate)
        offset = center + shift - factor * center
        return np.array(
            [
                [factor.real, -factor.imag / aspect, offset.real / aspect],
                [factor.imag * aspect, factor.real, offset.imag],
            ]
        )

    def length_px(self, corners: NDArray[np.float64], frames: float) -> float:
        """The longest way any of the points (N, 2) goes in that time, half before and half after; plate pixels."""
        before, after = (affine.apply(self.plate_from_plate(t), corners) for t in (-frames / 2.0, frames / 2.0))
        return float(np.hypot(*(after - before).T).max())


def track_motion(faces: Mapping[int, FaceRecord], record: FaceRecord) -> Motion | None:
    """How a face moves at its frame, from where it is in the frames before and after.

    The nearest frame on either side counts. At a track's ends, and where one side has jumped, the other tells alone.

    Args:
        faces: the same person's by frame, those around the frame at least, of the whole plate and not of the range
            being merged alone: a frame looks the same whatever is merged with it. What belongs to the same person is
            for ``dflcore.merge.temporal`` to say.

    Returns:
        None where nothing tells: no neighbour within :data:`NEIGHBOUR_FRAMES`, or a jump on both sides.
    """
    aspect = _pixel_aspect(record)
    now = _steady_points(record, aspect)
    sides: list[tuple[int, NDArray[np.float64]]] = []
    for direction in (-1, 1):
        nearby = (record.frame + direction * distance for distance in range(1, NEIGHBOUR_FRAMES + 1))
        frame = next((frame for frame in nearby if frame in faces), None)
        if frame is not None:
            then = _steady_points(faces[frame], aspect)
            if _is_motion(now, then, abs(frame - record.frame)):
                sides.append((frame, then))
    if not sides:
        return None
    if len(sides) == 1:
        sides = sorted([*sides, (record.frame, now)], key=lambda side: side[0])
    (first_frame, first), (last_frame, last) = sides
    span = last_frame - first_frame
    shift = (last.mean(0) - first.mean(0)) / span
    last_from_first = affine.estimate_similarity(first, last)
    center = now.mean(0)
    return Motion(
        vector_px=(float(shift[0]) / aspect, float(shift[1])),
        center_px=(float(center[0]) / aspect, float(center[1])),
        turn=affine.rotation_of(last_from_first) / span,
        growth=math.log(affine.scale_of(last_from_first)) / span,
        pixel_aspect=aspect,
    )


def blur_reach(motion: Motion, power: float, window: tuple[int, int, int, int]) -> int:
    """By how many whole plate pixels :func:`blur_by_motion` carries light beyond a window.

    Args:
        power: 0..100, see there.
        window: (x, y, width, height), plate pixels in the motion's coordinates.
    """
    length = motion.length_px(_corners(window), power / 100.0)
    return math.ceil(length / 2.0) + 1 if length >= _LEAST_PX else 0


def blur_by_motion(
    light: FloatArray, motion: Motion, power: float, *, origin: tuple[float, float] = (0.0, 0.0)
) -> FloatArray:
    """The mean of a moving picture while the shutter is open, which is centred on the frame.

    No light is lost but what leaves the picture: leave :func:`blur_reach` of black around the face. All weights are
    positive, so nothing rings around highlights. Paths have any sub-pixel length; ever shorter ones go over into the
    picture itself.

    Args:
        light: (h, w, C) float32 in plate space, premultiplied, scene-linear (mattes count as light).
        power: 0..100, the share of the frame interval the shutter is open: 100 smears as far as the face moves from
            one frame to the next, 50 is a film camera's shutter of 180 degrees.
        origin: plate point, in the motion's coordinates, of the picture's top-left corner.

    Returns:
        Same shape; ``light`` itself where nothing moves by :data:`_LEAST_PX`.
    """
    height, width, _ = light.shape
    frames = power / 100.0
    corners = _corners((0, 0, width, height)) + np.asarray(origin, np.float64)
    length = motion.length_px(corners, frames)
    if length < _LEAST_PX:
        return light
    path = _Path(motion, origin)
    groups = [light[..., first : first + _CHANNELS_AT_ONCE] for first in range(0, light.shape[2], _CHANNELS_AT_ONCE)]
    return np.concatenate([_mean_along(group, path, frames, length) for group in groups], axis=2)


class _Path:
    """A picture's motion in its own pixels."""

    def __init__(self, motion: Motion, origin: tuple[float, float]) -> None:
        self._motion = motion
        self._plate_from_picture = affine.shift(*origin)
        self._picture_from_plate = affine.shift(-origin[0], -origin[1])

    def moved(self, light: FloatArray, frames: float) -> FloatArray:
        """The picture (h, w, C) as it lies ``frames`` later; bilinear, black outside."""
        now_from_then = self._motion.plate_from_plate(-frames)
        matrix = affine.compose(self._picture_from_plate, affine.compose(now_from_then, self._plate_from_picture))
        between_centers = affine.compose(affine.shift(-0.5, -0.5), affine.compose(matrix, affine.shift(0.5, 0.5)))
        size = (light.shape[1], light.shape[0])
        warped = cv2.warpAffine(light, between_centers, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return np.asarray(warped, np.float32).reshape(light.shape)


def _mean_along(light: FloatArray, path: _Path, frames: float, length: float) -> FloatArray:
    """Mean over the shutter. Long paths: the mean over half the time, as it is a quarter before and a quarter after."""
    if length > _DIRECT_PX:
        half = _mean_along(light, path, frames / 2.0, length / 2.0)
        total = path.moved(half, -frames / 4.0)
        total += path.moved(half, frames / 4.0)
        return total * np.float32(0.5)
    # An even number of samples puts the bilinear tent's peak between two, where the mean of straight parts is exact.
    count = 2 * math.ceil(max(min(length, _DENSE_PX), length / 2.0))
    total = np.zeros_like(light, order="C")
    for index in range(count):
        total += path.moved(light, ((index + 0.5) / count - 0.5) * frames)
    return total * np.float32(1.0 / count)


def _mean_of_exp(rate: complex) -> complex:
    """Mean of exp(rate t) over t in 0..1."""
    if abs(rate) < 1e-4:
        return 1.0 + rate / 2.0 + rate * rate / 6.0
    return (cmath.exp(rate) - 1.0) / rate


def _corners(window: tuple[int, int, int, int]) -> NDArray[np.float64]:
    x, y, width, height = window
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float64)


def _is_motion(now: NDArray[np.float64], then: NDArray[np.float64], frames: int) -> bool:
    """Whether a face can have moved so in that many frames."""
    size = float(np.ptp(now, axis=0).max())
    if not (np.isfinite(now).all() and np.isfinite(then).all()) or size <= 0.0 or float(np.ptp(then)) <= 0.0:
        return False
    then_from_now = affine.estimate_similarity(now, then)
    return (
        float(np.hypot(*(then.mean(0) - now.mean(0)))) <= MOST_SHIFT * size * frames
        and abs(affine.rotation_of(then_from_now)) <= MOST_TURN * frames
        and abs(math.log(max(affine.scale_of(then_from_now), 1e-9))) <= MOST_GROWTH * frames
    )


def _steady_points(record: FaceRecord, aspect: float) -> NDArray[np.float64]:
    """Points that move with the head, with square pixels."""
    points: NDArray[np.float64] = record.landmarks.points[STEADY_POINTS] * np.array([aspect, 1.0])
    return points


def _pixel_aspect(record: FaceRecord) -> float:
    """A face's transform turns and scales square pixels; what is left over is the plate's aspect."""
    horizontal, vertical = (float(np.hypot(*record.aligned_from_plate[:, axis])) for axis in (0, 1))
    return horizontal / vertical if vertical > 0.0 else 1.0
