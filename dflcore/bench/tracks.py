"""How steady landmarks are before and after smoothing, on real footage, and what smoothing does to known motion.

On footage nobody knows the truth, only that faces do not tremble. Two measures, both scaled so that white noise of
deviation 1 gives 1: *jitter* is the root mean square of the second difference over time; the real acceleration of a
lively head is part of it, so it cannot and should not fall to zero. *Tremble* is the same by the median of third
differences, which sees little of real motion and nothing of rare events.

On made-up moves of a 3-D head the truth is known: *lag* is the delay in frames at which the mean of many smoothed
tracks fits it best, *overshoot* how far that mean shoots past the end of a move, *error* the root mean square distance
of single points from the truth.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.bench.figures import Figure
from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.errors import InvalidInput
from dflcore.extract.cuts import find_cuts
from dflcore.extract.look import Looker, Networks
from dflcore.extract.smooth import PARTS, Motion, fill_gaps, smooth_track, take_apart
from dflcore.extract.track import Track, link_tracks
from dflcore.frames import FrameRange
from dflcore.geometry.template import HEAD_MODEL
from dflcore.io.open_plate import open_plate
from dflcore.types import Box, FloatArray, Landmarks, Sighting
from dflcore.weights.store import WeightStore

Values = NDArray[np.float64]

STAGE = "tracks"
DEFAULT_RADIUS: Final = 5
DEFAULT_MAX_GAP: Final = 5
SAME_PERSON_DISTANCE: Final = 0.6
LANDMARK_LOOKS: Final = 5
_MEDIAN_OF_SQUARE: Final = 0.4549
"""Median of the square of a standard normal variable."""
_LEFT_EYE, _RIGHT_EYE, _MOUTH = PARTS[4], PARTS[5], PARTS[6]
_SQUARE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))


# --- footage --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieLooks:
    """What the embedded detector and landmarker see in a movie.

    Attributes:
        frames: the frames looked at.
        sightings: frame → its faces.
        signatures: (n, k) float32 of :func:`dflcore.extract.cuts.frame_signature`.
    """

    frames: tuple[int, ...]
    sightings: Mapping[int, Sequence[Sighting]]
    signatures: FloatArray


def look_at_movie(path: Path, *, frames: FrameRange | None = None, store: WeightStore | None = None) -> MovieLooks:
    """Every frame of a movie through the embedded detector, landmarker and identity encoder.

    Raises:
        NotFound, InvalidInput, DataCorrupt: as :func:`dflcore.io.open_plate.open_plate`.
    """
    settings = ExtractSettings(detector="dlib_hog", landmarker="dlib68", detect_size=960, landmark_looks=LANDMARK_LOOKS)
    networks = Networks.create(settings, WeightStore() if store is None else store, "cpu")
    looker = Looker(networks, settings, ColorConverter())
    with contextlib.closing(open_plate(str(path), frames=frames)) as plate:
        looks = [looker.look([plate.read(number)], [()])[0] for number in plate.frames]
    return MovieLooks(
        frames=tuple(look.frame for look in looks),
        sightings={look.frame: look.sightings for look in looks},
        signatures=np.stack([look.signature for look in looks]),
    )


def bench_movie(
    path: Path, *, radius: int = DEFAULT_RADIUS, max_gap: int = DEFAULT_MAX_GAP, frames: FrameRange | None = None
) -> list[Figure]:
    """Cuts, tracks and jitter of a movie."""
    looks = look_at_movie(path, frames=frames)
    return bench_looks(looks, path.name, radius=radius, max_gap=max_gap)


def bench_looks(looks: MovieLooks, name: str, *, radius: int, max_gap: int) -> list[Figure]:
    """Cuts, tracks and jitter of what was seen in a movie.

    Raises:
        InvalidInput: no face is followed long enough to tell its jitter.
    """
    cuts = find_cuts(looks.frames, looks.signatures)
    tracks = link_tracks(
        looks.sightings, looks.frames, cuts, same_person_distance=SAME_PERSON_DISTANCE, max_gap=max_gap
    )
    note = f"{name}, {len(looks.frames)} frames"
    figures = [
        _figure("cuts", len(cuts), "", note),
        _figure("tracks", len(tracks), "", note),
    ]
    if not tracks or max(len(track.sightings) for track in tracks) < 4:
        raise InvalidInput(f"No face of {name} is seen in four frames or more.", reason="NO_FACE_FOUND", path=name)
    longest = max(tracks, key=lambda track: len(track.sightings))
    filled = fill_gaps(longest, looks.frames, max_gap=max_gap)
    figures.append(_figure("interpolated", len(filled.sightings) - len(longest.sightings), "frames", note))
    before, after = measure_jitter(filled), measure_jitter(smooth_track(filled, radius=radius))
    note = f"{note}, radius {radius}"
    for what, (value, unit) in before.items():
        figures.append(_figure(f"{what}, raw", value, unit, note))
        figures.append(_figure(f"{what}, smoothed", after[what][0], unit, note))
        figures.append(_figure(f"{what}, left", 100.0 * after[what][0] / max(value, 1e-12), "%", note))
    return figures


def measure_jitter(track: Track) -> dict[str, tuple[float, str]]:
    """What is unsteady → (how much, unit): the aligned square in the plate, the points in it, eyes and mouth alone."""
    motion = take_apart([one.landmarks for one in track.sightings.values()])
    numbers = np.array(list(track.sightings), dtype=np.int64)
    square = np.repeat(np.array(_SQUARE)[None], len(numbers), axis=0)
    corners = np.array([Motion(motion.place, square).points(index) for index in range(len(numbers))])
    shape = 1000.0 * motion.shape[:, :, :2]
    watched = {
        "the aligned square": (corners, "px"),
        "all points inside it": (shape, "1/1000 face"),
        "eyes": (shape[:, [*_LEFT_EYE, *_RIGHT_EYE]], "1/1000 face"),
        "mouth": (shape[:, list(_MOUTH)], "1/1000 face"),
    }
    result: dict[str, tuple[float, str]] = {}
    for what, (points, unit) in watched.items():
        result[f"jitter of {what}"] = (_unrest(numbers, points, order=2, by_median=False), unit)
        result[f"tremble of {what}"] = (_unrest(numbers, points, order=3, by_median=True), unit)
    return result


def _unrest(numbers: NDArray[np.int64], points: Values, *, order: int, by_median: bool) -> float:
    """Of (n, points, 2), per coordinate, from the frames that follow each other without a hole."""
    distances = np.diff(numbers)
    if len(distances) < order:
        return 0.0
    even = np.lib.stride_tricks.sliding_window_view(distances == distances.min(), order).all(-1)
    squares = np.diff(points, order, axis=0)[even] ** 2
    if not len(squares):
        return 0.0
    variance = np.median(squares, axis=0) / _MEDIAN_OF_SQUARE if by_median else squares.mean(0)
    return math.sqrt(float(variance.mean()) / math.comb(2 * order, order))


# --- made-up moves --------------------------------------------------------------------------------------------------

FACE_PX: Final = 160.0
"""Plate pixels per template unit of the made-up head."""
_MILLIMETRES_PER_FACE: Final = 122.0
"""Template units of the head model: its brows are that wide, the template's 1."""
_CENTER_PX = (640.0, 360.0)
_MOVE_FRAMES = 72
_PAIRS = 12
"""Tracks per move, each once with its noise and once with the opposite: what is left in their mean is systematic."""
_PLACE_NOISE: Final = (8e-4, 8e-4, 1.4e-3, 1.4e-3)
_PART_NOISE: Final = (2.6e-3, 1.3e-3, 1.3e-3, 1.0e-3, 1.05e-3, 1.05e-3, 1.7e-3)
"""Deviation of centre (faces), log scale, roll, and the points of each of :data:`PARTS` (template units): what dlib's
landmarks show on two talking heads, by the median of third differences."""
_SHARED_NOISE: Final = 0.5
"""Share of a part's variance that all of its points have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A known motion.

    Attributes:
        name: as the figures call it.
        points: moments in frames → (n, 68, 2) plate pixels, exact at any fraction of a frame.
        measured: points on which lag and error are measured.
        event: first and last frame around which the error is told on its own; None for the whole.
        moves: a lag can be told.
        direction: which way a move ends, for the overshoot; None where it does not end.
    """

    name: str
    points: Callable[[Values], Values]
    measured: tuple[int, ...] = tuple(range(68))
    event: tuple[int, int] | None = None
    moves: bool = True
    direction: tuple[float, float] | None = None


def make_moves() -> list[Move]:
    """Pan, sway, ease in and out, head turn, sudden stop, blink, speech, and a head held still."""
    eyes = (*_LEFT_EYE, *_RIGHT_EYE)
    return [
        Move(name="held still", points=lambda t: _head(t), moves=False),
        Move(name="constant velocity, 4 px/frame", points=lambda t: _head(t, x=4.0 * t)),
        Move(name="sway, 80 px, 24 frames", points=lambda t: _head(t, x=80.0 * np.sin(2 * np.pi * t / 24.0))),
        Move(name="nod, 16 px, 9 frames", points=lambda t: _head(t, y=16.0 * np.sin(2 * np.pi * t / 9.0))),
        Move(
            name="ease in and out, 240 px, 20 frames",
            points=lambda t: _head(t, x=240.0 * _ease((t - 26.0) / 20.0)),
            event=(22, 50),
            direction=(1.0, 0.0),
        ),
        Move(
            name="head turn, 70 degrees, 14 frames",
            points=lambda t: _head(t, yaw=math.radians(70.0) * (_ease((t - 29.0) / 14.0) - 0.5)),
            event=(26, 46),
        ),
        Move(
            name="sudden stop from 8 px/frame",
            points=lambda t: _head(t, x=8.0 * np.minimum(t - 36.0, 0.0)),
            event=(31, 41),
            direction=(1.0, 0.0),
        ),
        Move(name="blinks, 90 ms", points=lambda t: _head(t, blink=_blinks(t)), measured=eyes, event=(17, 27)),
        Move(
            name="speech, 5 Hz",
            points=lambda t: _head(t, speech=0.5 - 0.5 * np.cos(2 * np.pi * t / 6.0)),
            measured=_MOUTH,
        ),
    ]


def bench_moves(*, radius: int = DEFAULT_RADIUS, pairs: int = _PAIRS) -> list[Figure]:
    """Lag, overshoot and error of smoothing on moves whose truth is known."""
    figures: list[Figure] = []
    for move in make_moves():
        note = f"face of {FACE_PX:.0f} px, {_MOVE_FRAMES} frames, {2 * pairs} tracks, radius {radius}"
        raw, smoothed, truth = _run_move(move, radius, pairs)
        if move.moves:
            figures.append(_figure(f"{move.name}: lag", find_lag(smoothed.mean(0), move), "frames", note))
        if move.direction is not None:
            figures.append(_figure(f"{move.name}: overshoot", _overshoot(smoothed.mean(0), truth, move), "px", note))
        figures += _errors(move.name, raw, smoothed, truth, note)
        if move.event is not None:
            inside = slice(move.event[0], move.event[1] + 1)
            parts = (raw[:, inside], smoothed[:, inside], truth[inside])
            figures += _errors(f"{move.name}, around it", *parts, note)
    return figures


def bench_tracks(movies: Sequence[Path], *, radius: int = DEFAULT_RADIUS) -> list[Figure]:
    """Everything this module measures."""
    figures = bench_moves(radius=radius)
    for movie in movies:
        figures += bench_movie(movie, radius=radius)
    return figures


def find_lag(points: Values, move: Move) -> float:
    """By how many frames (n, measured points, 2) come after the truth; a hundredth of a frame is told apart."""
    moments = np.arange(len(points), dtype=np.float64)
    inner = slice(4, len(points) - 4)
    delays = np.linspace(-2.0, 2.0, 81)
    misfit = []
    for delay in delays:
        truth = move.points(moments - delay)[:, list(move.measured)]
        misfit.append(float(np.mean((points - truth)[inner] ** 2)))
    best = min(max(int(np.argmin(misfit)), 1), len(delays) - 2)
    before, at, after = misfit[best - 1 : best + 2]
    bend = before - 2.0 * at + after
    shift = 0.5 * (before - after) / bend if bend > 0.0 else 0.0
    return float(delays[best] + shift * (delays[1] - delays[0]))


def make_track(points: Values, rng: np.random.Generator | None = None, *, sign: float = 1.0) -> Track:
    """A track of (n, 68, 2) plate pixels in frames 0 to n - 1, with a landmarker's noise when ``rng`` is given.

    Args:
        sign: -1 for the opposite of the same noise.
    """
    sightings: dict[int, Sighting] = {}
    for frame, exact in enumerate(points):
        seen = (exact if rng is None else add_noise(exact, rng, sign=sign)).astype(np.float32)
        low, high = (float(v) for v in seen.min(0)), (float(v) for v in seen.max(0))
        sightings[frame] = Sighting(
            frame=frame,
            box=Box(*low, *high),
            score=1.0,
            landmarks=Landmarks(points=seen),
            detector="none",
            landmarker="none",
        )
    return Track(id=1, shot=0, sightings=sightings)


def add_noise(points: Values, rng: np.random.Generator, *, sign: float = 1.0) -> Values:
    """(68, 2) plate pixels as a landmarker sees them."""
    motion = take_apart([Landmarks(points=points.astype(np.float32))])
    scale = math.exp(float(motion.place[0, 2]))
    place = motion.place + sign * rng.normal(size=(1, 4)) * _PLACE_NOISE * np.array([scale, scale, 1.0, 1.0])
    shape = motion.shape.copy()
    for part, deviation in zip(PARTS, _PART_NOISE, strict=True):
        own = rng.normal(size=(len(part), 2)) * math.sqrt(1.0 - _SHARED_NOISE)
        shared = rng.normal(size=(1, 2)) * math.sqrt(_SHARED_NOISE)
        shape[0, list(part)] += sign * deviation * (own + shared)
    return Motion(place, shape).points(0)


def _run_move(move: Move, radius: int, pairs: int) -> tuple[Values, Values, Values]:
    """(tracks, n, points, 2) raw and smoothed, (n, points, 2) truth, on the measured points."""
    exact = move.points(np.arange(_MOVE_FRAMES, dtype=np.float64))
    raw: list[list[FloatArray]] = []
    smoothed: list[list[FloatArray]] = []
    for seed in range(pairs):
        for sign in (1.0, -1.0):
            track = make_track(exact, np.random.default_rng(seed), sign=sign)
            for result, one in ((raw, track), (smoothed, smooth_track(track, radius=radius))):
                result.append([look.landmarks.points[list(move.measured)] for look in one.sightings.values()])
    return np.array(raw, dtype=np.float64), np.array(smoothed, dtype=np.float64), exact[:, list(move.measured)]


def _errors(name: str, raw: Values, smoothed: Values, truth: Values, note: str) -> list[Figure]:
    before, after = (math.sqrt(float(np.mean(((one - truth) ** 2).sum(-1)))) for one in (raw, smoothed))
    return [
        _figure(f"{name}: error, raw", before, "px", note),
        _figure(f"{name}: error, smoothed", after, "px", note),
        _figure(f"{name}: error, left", 100.0 * after / before, "%", note),
    ]


def _overshoot(points: Values, truth: Values, move: Move) -> float:
    assert move.direction is not None
    along = (points.mean(1) - truth[-1].mean(0)) @ np.asarray(move.direction)
    return max(float(along.max()), 0.0)


def _head(
    t: Values,
    *,
    x: Values | float = 0.0,
    y: Values | float = 0.0,
    yaw: Values | float = 0.0,
    blink: Values | float = 0.0,
    speech: Values | float = 0.0,
) -> Values:
    """(n, 68, 2) plate pixels of the mean head: moved by x and y, turned, eyes shut (1), mouth open (1)."""
    count = len(t)
    head = np.repeat(HEAD_MODEL[None], count, axis=0)
    shut = np.broadcast_to(blink, (count,))[:, None]
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        head[:, upper, 1] += (0.85 * shut * (HEAD_MODEL[lower, 1] - HEAD_MODEL[upper, 1]))[:, 0]
    opened = 9.0 * np.broadcast_to(speech, (count,))[:, None]
    head[:, [55, 56, 57, 58, 59, 65, 66, 67], 1] += opened
    head[:, 5:12, 1] += 0.6 * opened
    turn = np.broadcast_to(yaw, (count,))[:, None]
    across = head[:, :, 0] * np.cos(turn) + head[:, :, 2] * np.sin(turn)
    flat = np.stack([across, head[:, :, 1]], axis=-1) * (FACE_PX / _MILLIMETRES_PER_FACE)
    flat[:, :, 0] += (_CENTER_PX[0] + np.broadcast_to(x, (count,)))[:, None]
    flat[:, :, 1] += (_CENTER_PX[1] + np.broadcast_to(y, (count,)))[:, None]
    return np.asarray(flat)


def _ease(share: Values) -> Values:
    s = np.clip(share, 0.0, 1.0)
    return np.asarray(s * s * (3.0 - 2.0 * s))


def _blinks(t: Values) -> Values:
    """Lids come down and up again twice; half shut for 2.7 frames."""
    return np.asarray(np.exp(-(((t - 22.0) / 1.6) ** 2)) + np.exp(-(((t - 50.4) / 1.6) ** 2)))


def _figure(name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(stage=STAGE, name=name, value=float(value), unit=unit, note=note)
