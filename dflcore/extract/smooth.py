"""Steadies the landmarks of a track without delay, and closes its short gaps.

A face's motion is taken apart: where it is (centre, logarithm of the scale, unwrapped roll) and what it does (its
points in its own frame, that of the alignment template). Each part is fitted by quadratic polynomials over windows that
see both neighbours, so constant velocity and constant acceleration pass unchanged and nothing lags. How wide a window
may be is decided per frame and per part of the face: a window is widened only while its fit differs from the narrower
ones by no more than the noise of the track explains. A blink thus keeps its own short window while the jaw gets a wide
one.

Source: Belomestny & Spokoiny 2007, "Spatial aggregation of local likelihood estimates with applications to
classification", Ann. Statist. 35 (idea: nested windows, each accepted by a test against the narrower ones and blended
in); Savitzky & Golay 1964 for the polynomials. Here the test pools all points of a part of the face.

Convention:
    Points are (x, y) in plate pixels. ``pixel_aspect`` makes them square before anything is measured. Radii and gaps
    count frames of the sequence: in a plate of every second frame, radius 3 reaches six frame numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.extract.track import Track
from dflcore.geometry import affine
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.types import Box, Landmarks, Origin, Sighting

Values = NDArray[np.float64]

PARTS: Final[tuple[tuple[int, ...], ...]] = (
    tuple(range(17)),
    tuple(range(17, 22)),
    tuple(range(22, 27)),
    tuple(range(27, 36)),
    tuple(range(36, 42)),
    tuple(range(42, 48)),
    tuple(range(48, 68)),
)
"""Points that move together: jaw, brows, nose, eyes, mouth. Each is given its own window."""
_TEMPLATE_CENTER = (0.5, 0.5)
_DEGREE = 2
_NOISE_FLOOR: Final = 1e-4
"""Least noise assumed, in template units (radians, logarithm of scale): 0.02 px of a face of 200 px."""
_NOISE_UNKNOWN: Final = 1.5e-3
"""Noise assumed of tracks too short to measure it: that of dlib's landmarks on two talking heads."""
_MIN_NOISE_SAMPLES = 8
_DIFFERENCE_ORDERS: Final = (6, 3)
"""Orders of the differences noise is measured by; the second where runs are too short for the first."""
_MEDIAN_OF_SQUARE: Final = 0.4549
"""Median of the square of a standard normal variable."""
_MEDIAN_OF_PLANE: Final = 2.0 * math.log(2.0)
"""Median of the square of the distance from 0 of two of them."""
_ACCEPT: Final = 2.0
"""A window whose fit strays by less than noise does, plus this many standard deviations of that, counts in full..."""
_REFUSE: Final = 4.0
"""...and from this many on not at all."""
_PART_DIMENSIONS: Final = 4.0
"""How many independent values the points of a part amount to: landmarkers move neighbouring points together."""
_LEAST_WEIGHT: Final = 0.05
_MAX_SIDE_LOOKS = 3
"""Sightings on each side of a gap that tell how the face moves through it."""


@dataclass(frozen=True, slots=True)
class Motion:
    """A face over time, taken apart.

    Attributes:
        place: (n, 4) float64: centre x and y in square pixels, natural logarithm of pixels per template unit, roll in
            radians without jumps of a full turn.
        shape: (n, 68, 2) points in template units; (n, 68, 3) where the depth is known, in the same unit.
    """

    place: Values
    shape: Values

    def points(self, index: int, pixel_aspect: float = 1.0) -> Values:
        """(68, 2) plate pixels of one moment; (68, 3) with depth."""
        x, y, log_scale, roll = self.place[index]
        scale = math.exp(log_scale)
        c, s = scale * math.cos(roll), scale * math.sin(roll)
        local = self.shape[index]
        flat = (local[:, :2] - _TEMPLATE_CENTER) @ np.array([[c, s], [-s, c]]) + (x, y)
        flat[:, 0] /= pixel_aspect
        return np.column_stack([flat, local[:, 2:] * scale])


def take_apart(landmarks: Sequence[Landmarks], pixel_aspect: float = 1.0) -> Motion:
    """Where a face is and what it does, for landmarks in the order of time.

    Depth is kept where every one of them has it.

    Raises:
        InvalidInput: landmarks that are not numbers or lie in one place.
    """
    has_depth = all(one.depth is not None for one in landmarks)
    place = np.empty((len(landmarks), 4))
    shape = np.empty((len(landmarks), 68, 3 if has_depth else 2))
    for index, one in enumerate(landmarks):
        square = np.asarray(one.points, dtype=np.float64) * (pixel_aspect, 1.0)
        template_from_square = affine.estimate_similarity(square[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
        square_from_template = affine.invert(template_from_square)
        scale = affine.scale_of(square_from_template)
        place[index, :2] = affine.apply(square_from_template, _TEMPLATE_CENTER)
        place[index, 2:] = math.log(scale), affine.rotation_of(square_from_template)
        shape[index, :, :2] = affine.apply(template_from_square, square)
        if has_depth and one.depth is not None:
            shape[index, :, 2] = one.depth / scale
    place[:, 3] = np.unwrap(place[:, 3])
    return Motion(place, shape)


# --- gaps -----------------------------------------------------------------------------------------------------------


def fill_gaps(track: Track, frames: Sequence[int], *, max_gap: int, pixel_aspect: float = 1.0) -> Track:
    """The track with its short gaps closed; nothing is added before its first or after its last sighting.

    The place follows a cubic through the sightings on both sides, or a straight line where one side has only one; the
    shape goes straight from one to the other. What was added says so: origin ``INTERPOLATED``, score 0, no spread, no
    identity.

    Args:
        frames: the frames of the plate, ascending; only these are filled.
        max_gap: most frames of the sequence a gap may last; 0 fills nothing.
        pixel_aspect: width of a plate pixel over its height.

    Raises:
        InvalidInput: ``max_gap`` is negative.
    """
    if max_gap < 0:
        raise InvalidInput(f"max_gap must be 0 or more, not {max_gap}.", reason="BAD_SETTING", field="max_gap")
    seen = sorted(track.sightings)
    if not max_gap or len(seen) < 2:
        return track
    step = _frame_step(frames if len(frames) > 1 else seen)
    motion = take_apart([track.sightings[frame].landmarks for frame in seen], pixel_aspect)
    numbers = np.array(seen, dtype=np.float64)
    filled = dict(track.sightings)
    for left in range(len(seen) - 1):
        first, last = seen[left], seen[left + 1]
        missed = [frame for frame in frames if first < frame < last]
        if not missed or (last - first) / step - 1.0 > max_gap + 1e-9:
            continue
        between = _interpolate(numbers, motion, left, missed, step)
        ends = (track.sightings[first], track.sightings[last])
        for index, frame in enumerate(missed):
            share = (frame - first) / (last - first)
            filled[frame] = _interpolated(ends, frame, share, between.points(index, pixel_aspect))
    return replace(track, sightings={frame: filled[frame] for frame in sorted(filled)})


def _interpolate(numbers: Values, motion: Motion, left: int, missed: Sequence[int], step: int) -> Motion:
    """The motion in the frames missed between sightings ``left`` and ``left + 1``.

    The place is a straight line plus ``(t - a)(t - b)(p + q t)``, p and q by least squares over sightings beside the
    gap: it meets both ends, is exact for cubic motion, and noise of the sightings is not blown up as by tangents.
    """
    first, last = numbers[left], numbers[left + 1]
    middle, half = (first + last) / 2.0, (last - first) / 2.0
    reach = max(last - first, _MAX_SIDE_LOOKS * step)
    before = [i for i in range(max(left - _MAX_SIDE_LOOKS, 0), left) if first - numbers[i] <= reach]
    after = [i for i in range(left + 2, min(left + 2 + _MAX_SIDE_LOOKS, len(numbers))) if numbers[i] - last <= reach]
    u = (np.asarray(missed, dtype=np.float64) - middle) / half  # -1 and 1 at the ends
    place = _line(u, motion.place[left], motion.place[left + 1])
    if before and after:
        beside = [*before, *after]
        v = (numbers[beside] - middle) / half
        rest = motion.place[beside] - _line(v, motion.place[left], motion.place[left + 1])
        bend = (v * v - 1.0)[:, None]
        # Far sightings have large bends; dividing by them keeps every look's say alike.
        terms, *_ = np.linalg.lstsq(np.column_stack([np.ones_like(v), v]), rest / bend, rcond=None)
        place += (u * u - 1.0)[:, None] * (np.column_stack([np.ones_like(u), u]) @ terms)
    flat = motion.shape.reshape(len(numbers), -1)
    shape = _line(u, flat[left], flat[left + 1]).reshape(len(u), *motion.shape.shape[1:])
    return Motion(place, shape)


def _line(u: Values, at_minus_one: Values, at_one: Values) -> Values:
    return at_minus_one + ((u[:, None] + 1.0) / 2.0) * (at_one - at_minus_one)


def _interpolated(ends: tuple[Sighting, Sighting], frame: int, share: float, points: Values) -> Sighting:
    a, b = ends[0].box, ends[1].box
    edges = [
        (1.0 - share) * before + share * after
        for before, after in zip((a.left, a.top, a.right, a.bottom), (b.left, b.top, b.right, b.bottom), strict=True)
    ]
    return replace(
        ends[0],
        frame=frame,
        box=Box(*edges),
        score=0.0,
        landmarks=_landmarks(ends[0].landmarks, points),
        spread=None,
        identity=None,
        origin=Origin.INTERPOLATED,
    )


def _landmarks(like: Landmarks, points: Values) -> Landmarks:
    depth = points[:, 2].astype(np.float32) if points.shape[1] == 3 else None
    return Landmarks(points=points[:, :2].astype(np.float32), layout=like.layout, depth=depth)


# --- smoothing ------------------------------------------------------------------------------------------------------


def smooth_track(track: Track, *, radius: int, pixel_aspect: float = 1.0) -> Track:
    """The track with steadier landmarks; boxes, scores, identities and frames stay.

    Sightings whose looks lay further apart than is usual for the track (``spread``) weigh less. Landmarks set by hand
    stay where they are. Interpolated ones are drawn anew from their neighbours and have no say of their own.

    Args:
        radius: frames of the sequence to each side of a frame that may have a say, used only where the motion allows;
            0 changes nothing, nor does 1, as three looks always lie on a parabola.
        pixel_aspect: width of a plate pixel over its height.

    Raises:
        InvalidInput: ``radius`` is negative.
    """
    if radius < 0:
        raise InvalidInput(f"The radius must be 0 or more, not {radius}.", reason="BAD_SETTING", field="radius")
    frames = sorted(track.sightings)
    if radius == 0 or len(frames) < 3:
        return track
    sightings = [track.sightings[frame] for frame in frames]
    motion = take_apart([one.landmarks for one in sightings], pixel_aspect)
    numbers = np.array(frames, dtype=np.float64) / _frame_step(frames)
    smooth = smooth_motion(numbers, motion, _weights(sightings), radius)
    result: dict[int, Sighting] = {}
    for index, (frame, one) in enumerate(zip(frames, sightings, strict=True)):
        if one.origin is Origin.MANUAL:
            result[frame] = one
            continue
        points = smooth.points(index, pixel_aspect)
        landmarks = _landmarks(one.landmarks, points)
        if one.landmarks.depth is not None and landmarks.depth is None:  # the track has depth only here and there
            landmarks = replace(landmarks, depth=one.landmarks.depth)
        result[frame] = replace(one, landmarks=landmarks)
    return replace(track, sightings=result)


def smooth_motion(numbers: Values, motion: Motion, weights: Values, radius: int) -> Motion:
    """:func:`smooth_track` on values.

    Args:
        numbers: (n,) strictly ascending moments, in frames of the sequence.
        weights: (n,) in [0, 1], how much each moment may say.
        radius: 1 or more.
    """
    place, shape = motion.place.copy(), motion.shape.copy()
    for run in _runs(numbers, radius):
        windows = _Windows(numbers[run], weights[run], radius)
        scale = np.exp(motion.place[run, 2:3])
        _smooth_place(place, motion.place, run, windows, scale)
        for part in PARTS:
            values = motion.shape[run][:, part]  # (n, points, 2 or 3)
            flat = values.reshape(len(values), -1)
            noise = estimate_noise(numbers[run], flat, weights[run])
            smoothed = windows.smooth(flat, np.broadcast_to(noise, flat.shape), _PART_DIMENSIONS)
            shape[run.start : run.stop, list(part)] = smoothed.reshape(values.shape)
    return Motion(place, shape)


def _smooth_place(place: Values, raw: Values, run: slice, windows: _Windows, scale: Values) -> None:
    numbers, weights = windows.numbers, windows.weights
    center = estimate_noise(numbers, raw[run, :2], weights, unit=scale, is_plane=True)
    place[run, :2] = windows.smooth(raw[run, :2], center * scale, 2.0)
    for column in (2, 3):
        values = raw[run, column : column + 1]
        noise = estimate_noise(numbers, values, weights)
        place[run, column : column + 1] = windows.smooth(values, np.broadcast_to(noise, values.shape), 1.0)


def estimate_noise(
    numbers: Values, values: Values, weights: Values, *, unit: Values | None = None, is_plane: bool = False
) -> Values:
    """How far each column of (n, k) values strays from moment to moment, as a standard deviation.

    From differences of high order, in which even speech and nods leave little, by their median, which knows nothing of
    rare events. White noise is assumed; what moves as fast as noise counts as noise.

    Args:
        unit: (n, 1) what the values are measured in at each moment; None for 1.
        is_plane: the two columns are x and y, whose noise is one: turning the plate must change nothing.

    Returns:
        (k,), at least a small floor; a typical figure where there are too few unbroken runs to tell.
    """
    usable = (np.diff(numbers) == 1.0) & (weights[1:] > 0.0) & (weights[:-1] > 0.0)
    for order in _DIFFERENCE_ORDERS:
        if len(usable) < order:
            continue
        whole = np.lib.stride_tricks.sliding_window_view(usable, order).all(-1)
        if int(whole.sum()) >= _MIN_NOISE_SAMPLES:
            differences = np.diff(values, order, axis=0)
            if unit is not None:
                differences = differences / unit[order // 2 : order // 2 + len(differences)]
            squares = differences[whole] ** 2
            if is_plane:
                usual = np.full(2, np.median(squares.sum(-1)) / _MEDIAN_OF_PLANE)
            else:
                usual = np.median(squares, axis=0) / _MEDIAN_OF_SQUARE
            return np.maximum(np.sqrt(usual / math.comb(2 * order, order)), _NOISE_FLOOR)
    return np.full(values.shape[1], _NOISE_UNKNOWN)


class _Windows:
    """The fits of one unbroken run of a track: for every moment nested windows and the say of each neighbour.

    Args:
        numbers: (n,) moments in frames of the sequence.
        weights: (n,) in [0, 1].
        radius: of the widest window.
    """

    def __init__(self, numbers: Values, weights: Values, radius: int) -> None:
        self.numbers, self.weights = numbers, weights
        count = len(numbers)
        levels = _ladder(radius)
        self._known: dict[tuple[bytes, bytes, float], tuple[Values, Values]] = {}
        self._fits = [self._nested(index, levels) for index in range(count)]
        self._variances = np.array([variances for _, _, variances in self._fits])  # (n, windows, windows)

    def smooth(self, values: Values, noise: Values, dimensions: float) -> Values:
        """(n, k) values smoothed together; noise (n, k) is their standard deviation.

        Args:
            dimensions: how many independent values the k amount to.
        """
        estimates = np.array([says @ values[first : first + says.shape[1]] for first, says, _ in self._fits])
        trust = self._trust(estimates, noise, dimensions)  # (n, windows)
        result = estimates[:, 0]
        for level in range(1, estimates.shape[1]):
            result = result + trust[:, level, None] * (estimates[:, level] - result)
        return np.asarray(result)

    def _trust(self, estimates: Values, noise: Values, dimensions: float) -> Values:
        """(n, windows) share in [0, 1] to which each window agrees with all narrower ones."""
        count, levels = estimates.shape[:2]
        excess = np.zeros((count, levels))
        for wide in range(1, levels):
            for narrow in range(wide):
                variance = self._variances[:, wide, narrow]
                strays = np.mean(((estimates[:, wide] - estimates[:, narrow]) / noise) ** 2, axis=-1)
                ratio = np.where(variance > 1e-12, strays / np.maximum(variance, 1e-12), 0.0)
                excess[:, wide] = np.maximum(excess[:, wide], _pool(ratio))
        surprise = (np.maximum.accumulate(excess, axis=1) - 1.0) * math.sqrt(dimensions / 2.0)
        return _acceptance(surprise)

    def _nested(self, index: int, levels: Sequence[int]) -> tuple[int, Values, Values]:
        """First neighbour, (windows, neighbours) say of each, (windows, windows) variance of the differences."""
        reach = _reach(self.numbers, index, levels[-1])
        inside = np.flatnonzero(np.abs(self.numbers - self.numbers[index]) <= reach + 1e-9)
        first, last = int(inside[0]), int(inside[-1])
        offsets = self.numbers[first : last + 1] - self.numbers[index]
        weights = self.weights[first : last + 1]
        key = (offsets.tobytes(), weights.tobytes(), reach)
        if key not in self._known:  # most moments of a track have the same neighbourhood
            self._known[key] = self._nested_says(offsets, weights, [_reach(self.numbers, index, one) for one in levels])
        return (first, *self._known[key])

    @staticmethod
    def _nested_says(offsets: Values, weights: Values, reaches: Sequence[float]) -> tuple[Values, Values]:
        table = [(offsets == 0.0).astype(np.float64)]
        for reach in reaches:
            fit = _fit(offsets, weights, reach)
            table.append(table[-1] if fit is None else fit)
        says = np.array(table)
        differences = says[:, None] - says[None]
        return says, np.asarray((differences**2 / np.maximum(weights, _LEAST_WEIGHT)).sum(-1))


def _pool(values: Values) -> Values:
    """Each with its neighbours: what is surprising beside a surprise is not chance."""
    padded = np.pad(values, 1, mode="edge")
    return np.asarray(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


def _acceptance(surprise: Values) -> Values:
    x = np.clip((_REFUSE - surprise) / (_REFUSE - _ACCEPT), 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def _fit(offsets: Values, weights: Values, reach: float) -> Values | None:
    """The say of each neighbour in a local polynomial's value at offset 0; None where too few have one.

    Biweight kernel: unlike a flat window it lets no part of the jitter through.
    """
    u = np.abs(offsets) / (reach + 1.0)
    kernel = np.where(u < 1.0, (1.0 - u**2) ** 2, 0.0) * weights
    if int((kernel > 0.0).sum()) <= _DEGREE + 1:
        return None  # a quadratic through three points changes nothing
    basis = (offsets / (reach + 1.0))[:, None] ** np.arange(_DEGREE + 1)
    normal = basis.T @ (kernel[:, None] * basis)
    say: Values = np.linalg.solve(normal, np.eye(_DEGREE + 1)[0]) @ (kernel[:, None] * basis).T
    return say


def _reach(numbers: Values, index: int, radius: int) -> float:
    """The window's half width; at the ends of a run it reaches further in, so that as many neighbours have a say."""
    at = float(numbers[index])
    return radius + max(radius - (at - float(numbers[0])), radius - (float(numbers[-1]) - at), 0.0)


def _ladder(radius: int) -> list[int]:
    """Radii of the nested windows: 2, 3, 4, 6, 9... and the asked one last."""
    levels, level = [], 2
    while level < radius:
        levels.append(level)
        level = max(level + 1, level * 3 // 2)
    return [*levels, radius]


def _runs(numbers: Values, radius: int) -> list[slice]:
    """Stretches without a hole wider than the radius; across one, neighbours know nothing of each other."""
    breaks = np.flatnonzero(np.diff(numbers) > radius + 1.0) + 1
    edges = [0, *(int(one) for one in breaks), len(numbers)]
    return [slice(first, last) for first, last in pairwise(edges)]


def _weights(sightings: Sequence[Sighting]) -> Values:
    """1 for what is usual and for what a person set, less for uncertain looks, 0 for what nobody saw."""
    known = [one.spread for one in sightings if one.spread is not None and one.origin is not Origin.MANUAL]
    usual = float(np.median(known)) if known else 0.0
    return np.array([_weight(one, usual) for one in sightings])


def _weight(one: Sighting, usual_spread: float) -> float:
    if one.origin is Origin.INTERPOLATED:
        return 0.0
    if one.origin is Origin.MANUAL or one.spread is None or usual_spread <= 0.0:
        return 1.0
    return min(1.0, 2.0 / (1.0 + (one.spread / usual_spread) ** 2))


def _frame_step(frames: Sequence[int]) -> int:
    """Distance of neighbouring frames of the sequence: the largest number that divides all distances."""
    return max(math.gcd(*(after - before for before, after in pairwise(frames))), 1)
