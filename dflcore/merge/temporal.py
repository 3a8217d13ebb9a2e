"""Who is who from frame to frame, and what a frame takes over from those around it.

Landmarks and the aligned square are fitted by parabolas over the frames around one, so that constant velocity and
constant acceleration pass unchanged and nothing lags. Mattes and colours have no velocity: they are averaged, nearer
frames weighing more. Everything follows from the frames' numbers and the faceset, never from where a range begins: a
chunk of a farm gives the same pixels as the whole shot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dflcore.geometry import affine
from dflcore.types import Affine, FaceRecord, FloatArray

_SIGMAS = 2.0
"""The outermost frame of a window lies this many standard deviations from its middle."""
_DEGREE = 2
_CUT_SHARE = 0.5
"""A face without a track that has moved by more than this share of its size since the last frame is another one."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """The faces of a shot, findable by person and frame."""

    records: Mapping[int, Sequence[FaceRecord]]
    _by_track: dict[tuple[int, int], FaceRecord] = field(init=False)
    """(track, frame) → face; of two faces of one track in a frame, which is a fault of the faceset, the larger."""

    def __post_init__(self) -> None:
        found: dict[tuple[int, int], FaceRecord] = {}
        for frame, faces in self.records.items():
            for record in sorted(faces, key=lambda face: -face.face_index):
                if record.track_id is not None:
                    found[record.track_id, frame] = record
        object.__setattr__(self, "_by_track", found)

    @classmethod
    def steadied(cls, records: Mapping[int, Sequence[FaceRecord]], radius: int) -> Tracks:
        """The same faces, each fitted to those around it; see :func:`steady_records`."""
        tracks = cls(records)
        return cls(steady_records(records, tracks, radius)) if radius else tracks

    def around(self, record: FaceRecord, radius: int) -> dict[int, FaceRecord]:
        """The same person in the frames up to ``radius`` before and after, its own among them, in order of frames.

        Faces without a track are one person where every frame holds a single one and none jumps.
        """
        if record.track_id is not None:
            frames = range(record.frame - radius, record.frame + radius + 1)
            around = {frame: self._by_track.get((record.track_id, frame)) for frame in frames}
            found = {frame: face for frame, face in around.items() if face is not None}
            found[record.frame] = record
            return dict(sorted(found.items()))
        found = {record.frame: record}
        for direction in (-1, 1):
            last = record
            for distance in range(1, radius + 1):
                faces = self.records.get(record.frame + direction * distance, ())
                if len(faces) != 1 or len(self.records.get(record.frame, ())) != 1 or _is_cut(last, faces[0]):
                    break
                last = faces[0]
                found[last.frame] = last
        return dict(sorted(found.items()))


def window_weight(distance: int, radius: int) -> float:
    """What a frame so far away weighs, 1 for the frame itself; half a Gaussian on each side."""
    return math.exp(-0.5 * (_SIGMAS * distance / max(radius, 1)) ** 2)


def steady_records(
    records: Mapping[int, Sequence[FaceRecord]], tracks: Tracks, radius: int
) -> dict[int, list[FaceRecord]]:
    """The faces with landmarks and squares fitted to those around them; masks, scores and names stay.

    Args:
        records: of the frames wanted. tracks: of the whole shot.
        radius: frames on either side; below 2 nothing changes, as three points always lie on a parabola.
    """
    if radius < 2:
        return {frame: list(faces) for frame, faces in records.items()}
    return {
        frame: [_steady(record, tracks.around(record, radius), radius) for record in faces]
        for frame, faces in records.items()
    }


def average(values: Mapping[int, FloatArray], frame: int, radius: int) -> FloatArray:
    """The mean of arrays of one shape by frame, weighed by their distance from ``frame``, which must be among them."""
    if len(values) == 1:
        return values[frame]
    weights = {number: window_weight(number - frame, radius) for number in values}
    total = sum(weights.values())
    mean = sum(values[number] * np.float32(weights[number] / total) for number in sorted(values))
    return np.asarray(mean, np.float32)


def _steady(record: FaceRecord, around: Mapping[int, FaceRecord], radius: int) -> FaceRecord:
    usable = [face for face in around.values() if face.landmarks.points.shape == record.landmarks.points.shape]
    if len(usable) <= _DEGREE + 1:
        return record
    moments = np.array([face.frame - record.frame for face in usable], np.float64)
    weights = np.array([window_weight(int(moment), radius) for moment in moments])
    corners = _corners(record.aligned_size)
    values = np.stack([_followed(face, corners, record.aligned_size) for face in usable])  # (n, points, 2)
    fitted = _fit_at_zero(moments, values.reshape(len(usable), -1), weights).reshape(-1, 2)
    points, square = fitted[: -len(corners)], fitted[-len(corners) :]
    return replace(
        record,
        landmarks=replace(record.landmarks, points=points.astype(np.float32)),
        aligned_from_plate=_affine_from(square, corners),
    )


def _followed(face: FaceRecord, corners: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Landmarks and the corners of the aligned square, in plate pixels."""
    unit = face.aligned_size / size
    square = affine.apply(affine.invert(face.aligned_from_plate), corners * unit)
    return np.concatenate([face.landmarks.points.astype(np.float64), square])


def _corners(size: int) -> NDArray[np.float64]:
    side = float(size)
    return np.array([[0.0, 0.0], [side, 0.0], [0.0, side], [side, side]])


def _affine_from(plate: NDArray[np.float64], aligned: NDArray[np.float64]) -> Affine:
    """The affine map of least squares from plate to aligned points; a pixel aspect in it stays."""
    homogeneous = np.concatenate([plate, np.ones((len(plate), 1))], axis=1)
    solution = np.linalg.lstsq(homogeneous, aligned, rcond=None)[0]
    return np.ascontiguousarray(solution.T)


def _fit_at_zero(
    moments: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Value at 0 of the weighted parabola through each column of (n, k) values."""
    roots = np.sqrt(weights)[:, None]
    powers = np.vander(moments, _DEGREE + 1, increasing=True)
    solution = np.linalg.lstsq(powers * roots, values * roots, rcond=None)[0]
    return np.asarray(solution[0])


def _is_cut(before: FaceRecord, after: FaceRecord) -> bool:
    size = max(np.ptp(before.landmarks.points, axis=0))
    moved = float(np.linalg.norm(after.landmarks.points.mean(axis=0) - before.landmarks.points.mean(axis=0)))
    return moved > _CUT_SHARE * float(size)
