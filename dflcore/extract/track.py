"""Follows faces over the frames of a plate: sightings → tracks.

Shot by shot, in four steps. Frame by frame the sightings are handed to the tracks that expect them, by place and by
identity (Hungarian assignment). Then tracks are cut where the person changes, two tracks that met and swapped their
people are swapped back, and pieces of one person are joined over occlusions of any length within the shot.

Convention:
    Places are measured on the landmarks' extent, not on the detector's box: boxes jump in size from frame to frame and
    differ between detectors. Distances are in face sizes, a face's size being the root of the area of that extent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from dflcore.errors import InvalidInput
from dflcore.types import FloatArray, Origin, Sighting

FIRST_TRACK_ID = 1
_DUPLICATE_OVERLAP: Final = 0.5
"""Two sightings of a frame that overlap by more are one face; other faces hide each other before they get so close."""
_SURE_DUPLICATE_OVERLAP: Final = 0.8
"""From here on they are one face whatever their descriptors say."""
_REACH: Final = 0.5
"""A face may lie this many face sizes from where it is expected..."""
_REACH_PER_MISS: Final = 0.15
"""...more for every frame it was not seen in..."""
_MAX_REACH: Final = 1.5
"""...up to this."""
_MAX_GROWTH: Final = 0.5
"""Largest change of the logarithm of the size from one sighting to the next."""
_RIVAL_REACH: Final = 1.2
"""Faces nearer than this may be taken for each other."""
_UNKNOWN_STRANGENESS: Final = 0.5
"""What a sighting without descriptor costs, in same-person distances: between a good match and a stranger."""
_STRANGER: Final = 1.15
"""With a rival about, a sighting further from the track's person than this is another's..."""
_STRANGER_ALONE: Final = 1.6
"""...and with none about, this: a turned or blurred face is unlike itself, but it is where it was expected."""
_VELOCITY_LOOKS = 5
_PERSON_LOOKS = 15
"""The last descriptors that make up the person a track expects."""
_CHANGE_LOOKS = 8
"""Descriptors compared on each side of a place where the person may have changed."""
_SURE_CHANGE: Final = 1.25
"""Same-person distances that tell of another person even where the motion shows no break."""
_MAX_SWAPS: Final = 20
"""Meetings of two pieces that are put right at most."""
_SWAP_GAIN: Final = 0.3
"""Same-person distances by which crossed tails must fit better than straight ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One person followed through one shot.

    Attributes:
        id: from 1, in the order of first frames, the larger face first.
        shot: zero-based number of the shot it lives in.
        sightings: frame → sighting, frames ascending.
    """

    id: int
    shot: int
    sightings: dict[int, Sighting]

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(self.sightings)

    @property
    def descriptor(self) -> FloatArray | None:
        """Mean identity of the sightings that have one; None where none has."""
        return mean_descriptor(tuple(self.sightings.values()))


def mean_descriptor(sightings: Sequence[Sighting]) -> FloatArray | None:
    """(d,) float32 mean of the identity descriptors there are, None where there are none."""
    known = [one.identity for one in sightings if one.identity is not None]
    if not known:
        return None
    return np.asarray(np.mean(np.asarray(known, dtype=np.float64), axis=0), dtype=np.float32)


def drop_duplicates(
    sightings: Sequence[Sighting], *, same_person_distance: float
) -> tuple[list[Sighting], list[Sighting]]:
    """Tell the faces of one frame from second detections of the same face.

    Of two, the one set by hand is kept, else the surer, else the larger. Two faces that overlap but are known to be
    different people are both kept.

    Returns:
        kept, in the given order; dropped, in the given order.
    """
    order = sorted(
        range(len(sightings)),
        key=lambda i: (
            sightings[i].origin is not Origin.MANUAL,
            -sightings[i].score,
            -_Region.of(sightings[i]).size,
            i,
        ),
    )
    kept: list[int] = []
    for index in order:
        if not any(_is_same_face(sightings[index], sightings[other], same_person_distance) for other in kept):
            kept.append(index)
    chosen = set(kept)
    return (
        [one for index, one in enumerate(sightings) if index in chosen],
        [one for index, one in enumerate(sightings) if index not in chosen],
    )


def link_tracks(
    sightings: Mapping[int, Sequence[Sighting]],
    frames: Sequence[int],
    cuts: Sequence[int],
    *,
    same_person_distance: float,
    max_gap: int,
) -> list[Track]:
    """Follow every face through its shot.

    Args:
        sightings: frame → its faces, in any order; frames without faces may be absent or empty.
        frames: the frames of the plate, ascending.
        cuts: frames that begin a new shot; no track goes over one.
        same_person_distance: descriptors nearer than this belong to one person.
        max_gap: frames of the sequence a face may be missing before it is looked for by identity alone, instead of
            where it was heading.

    Returns:
        In the order of ids. Second detections of one face are in no track, see :func:`drop_duplicates`.

    Raises:
        InvalidInput: ``max_gap`` is negative, the distance is not positive, or frames are not ascending.
    """
    _check(frames, same_person_distance, max_gap)
    pieces: list[tuple[int, list[Sighting]]] = []
    for shot, numbers in enumerate(split_shots(frames, cuts)):
        found = _follow(sightings, numbers, same_person_distance, max_gap)
        whole = [part for piece in found for part in _split_at_strangers(piece, same_person_distance)]
        straight = _untangle([piece.looks for piece in whole], same_person_distance)
        pieces += [(shot, joined) for joined in _join(straight, same_person_distance)]
    pieces.sort(key=lambda piece: _order(piece[1]))
    return [
        Track(id=FIRST_TRACK_ID + index, shot=shot, sightings={one.frame: one for one in looks})
        for index, (shot, looks) in enumerate(pieces)
    ]


def split_shots(frames: Sequence[int], cuts: Sequence[int]) -> list[list[int]]:
    """The frames of each shot; a cut at a frame that is not there begins a shot with the next one that is."""
    starts = sorted(set(cuts))
    shots: dict[int, list[int]] = {}
    for frame in frames:
        shots.setdefault(int(np.searchsorted(starts, frame, side="right")), []).append(frame)
    return [shots[index] for index in sorted(shots)]


# --- following from frame to frame ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Region:
    """Where a face is: centre and extent of its landmarks in plate pixels."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, sighting: Sighting) -> _Region:
        low, high = sighting.landmarks.points.min(0), sighting.landmarks.points.max(0)
        (x, y), (width, height) = (low + high) / 2.0, np.maximum(high - low, 1e-3)
        return cls(float(x), float(y), float(width), float(height))

    @property
    def size(self) -> float:
        return math.sqrt(self.width * self.height)

    def distance(self, other: _Region) -> float:
        """Of the centres, in face sizes."""
        return math.hypot(self.x - other.x, self.y - other.y) / math.sqrt(self.size * other.size)

    def overlap(self, other: _Region) -> float:
        """Intersection over union."""
        width = min(self.x + self.width / 2, other.x + other.width / 2) - max(
            self.x - self.width / 2, other.x - other.width / 2
        )
        height = min(self.y + self.height / 2, other.y + other.height / 2) - max(
            self.y - self.height / 2, other.y - other.height / 2
        )
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.width * self.height + other.width * other.height - shared)


@dataclass(slots=True)
class _Piece:
    """A face while it is being followed.

    Attributes:
        looks: what was seen, in order.
        positions: index of each look's frame in the shot.
        regions: where each look was.
        breaks: looks before which the face was missing, jumped, or had a rival nearby: another may have slipped in.
    """

    looks: list[Sighting] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    regions: list[_Region] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)

    def add(self, look: Sighting, position: int, region: _Region, *, is_break: bool) -> None:
        if is_break and self.looks:
            self.breaks.add(len(self.looks))
        self.looks.append(look)
        self.positions.append(position)
        self.regions.append(region)

    def expected(self, position: int) -> _Region:
        """Where constant velocity takes the face."""
        last = self.regions[-1]
        times = np.array(self.positions[-_VELOCITY_LOOKS:], dtype=np.float64)
        if len(times) < 2:
            return last
        recent = self.regions[-_VELOCITY_LOOKS:]
        times -= times.mean()
        centers = np.array([(region.x, region.y) for region in recent])
        velocity = times @ centers / float(times @ times)
        ahead = position - self.positions[-1]
        return replace(last, x=last.x + float(velocity[0]) * ahead, y=last.y + float(velocity[1]) * ahead)

    def person(self) -> FloatArray | None:
        known = (one for one in reversed(self.looks) if one.identity is not None)
        return mean_descriptor(list(islice(known, _PERSON_LOOKS)))


def _follow(
    sightings: Mapping[int, Sequence[Sighting]], numbers: Sequence[int], same: float, max_gap: int
) -> list[_Piece]:
    """The pieces of one shot, as far as place and identity carry from frame to frame."""
    done: list[_Piece] = []
    active: list[_Piece] = []
    for position, frame in enumerate(numbers):
        still = [piece for piece in active if position - piece.positions[-1] - 1 <= max_gap]
        done += [piece for piece in active if position - piece.positions[-1] - 1 > max_gap]
        active = still
        looks, _ = drop_duplicates(sorted(sightings.get(frame, ()), key=_place_order), same_person_distance=same)
        if not looks:
            continue
        regions = [_Region.of(look) for look in looks]
        for index, piece, is_break in _assign(active, looks, regions, position, same):
            if piece is None:
                piece = _Piece()
                active.append(piece)
            piece.add(looks[index], position, regions[index], is_break=is_break)
    return done + active


def _assign(
    active: Sequence[_Piece], looks: Sequence[Sighting], regions: Sequence[_Region], position: int, same: float
) -> list[tuple[int, _Piece | None, bool]]:
    """(look, the piece that gets it or None for a new one, whether another may have slipped in)."""
    expected = [piece.expected(position) for piece in active]
    people = [piece.person() for piece in active]
    refused = 1e3
    costs = np.full((len(active), len(looks)), refused)
    rivals = np.array(
        [[_has_rival(i, j, active, expected, regions) for j in range(len(looks))] for i in range(len(active))],
        dtype=bool,
    ).reshape(costs.shape)
    for i, piece in enumerate(active):
        misses = position - piece.positions[-1] - 1
        for j, look in enumerate(looks):
            away = _away(piece, expected[i], regions[j], misses)
            strangeness = _strangeness(people[i], look, same)
            if away is None or (
                strangeness is not None and strangeness > (_STRANGER if rivals[i, j] else _STRANGER_ALONE)
            ):
                continue
            costs[i, j] = away + (_UNKNOWN_STRANGENESS if strangeness is None else strangeness)
    taken: dict[int, int] = {}
    if costs.size:
        for i, j in zip(*linear_sum_assignment(costs), strict=True):
            if costs[i, j] < refused:
                taken[int(j)] = int(i)
    result: list[tuple[int, _Piece | None, bool]] = []
    for j in range(len(looks)):
        if j not in taken:
            result.append((j, None, False))
            continue
        piece = active[taken[j]]
        jumped = piece.regions[-1].overlap(regions[j]) < 0.3
        missed = position - piece.positions[-1] > 1
        result.append((j, piece, bool(rivals[taken[j], j]) or jumped or missed))
    return result


def _away(piece: _Piece, expected: _Region, region: _Region, misses: int) -> float | None:
    """Distance of a look from where the piece is expected, None where it cannot be the same face."""
    last = piece.regions[-1]
    if abs(math.log(region.size / last.size)) > _MAX_GROWTH + 0.05 * misses:
        return None
    distance = expected.distance(region)
    reach = min(_REACH + _REACH_PER_MISS * misses, _MAX_REACH)
    if distance > reach and last.overlap(region) < 0.3:
        return None
    return min(distance, last.distance(region) + 0.25) + abs(math.log(region.size / last.size))


def _has_rival(
    i: int, j: int, active: Sequence[_Piece], expected: Sequence[_Region], regions: Sequence[_Region]
) -> bool:
    """Another look is near where the piece is expected, or another piece expects a face near this look."""
    return any(expected[i].distance(other) < _RIVAL_REACH for k, other in enumerate(regions) if k != j) or any(
        expected[k].distance(regions[j]) < _RIVAL_REACH for k in range(len(active)) if k != i
    )


def _strangeness(person: FloatArray | None, look: Sighting, same: float) -> float | None:
    """How unlike a look is to a person, in same-person distances."""
    if person is None or look.identity is None:
        return None
    return _distance(person, look.identity) / same


# --- putting the pieces right ---------------------------------------------------------------------------------------


def _split_at_strangers(piece: _Piece, same: float) -> list[_Piece]:
    """Cut a piece where the person before and the person after are not one."""
    known = [index for index, one in enumerate(piece.looks) if one.identity is not None]
    if len(known) < 2:
        return [piece]
    looks = [piece.looks[index] for index in known]
    before, after = _people_around(looks, np.array([one.frame for one in looks[1:]]), _CHANGE_LOOKS)
    breaks = [_last_break(piece.breaks, first, last) for first, last in pairwise(known)]
    least = np.where([at is not None for at in breaks], 1.0, _SURE_CHANGE) * same
    changes = np.linalg.norm(before - after, axis=1) / least
    place = int(np.argmax(changes))
    if changes[place] <= 1.0:
        return [piece]
    cut = breaks[place] or known[place + 1]
    first = _Piece(piece.looks[:cut], piece.positions[:cut], piece.regions[:cut], {b for b in piece.breaks if b < cut})
    rest = _Piece(
        piece.looks[cut:], piece.positions[cut:], piece.regions[cut:], {b - cut for b in piece.breaks if b > cut}
    )
    return _split_at_strangers(first, same) + _split_at_strangers(rest, same)


def _last_break(breaks: set[int], first: int, last: int) -> int | None:
    """The last break after look ``first`` and not after look ``last``."""
    return next((at for at in range(last, first, -1) if at in breaks), None)


def _untangle(pieces: list[list[Sighting]], same: float) -> list[list[Sighting]]:
    """Swap the tails of two pieces that met where the people fit better crosswise."""
    pieces = [list(piece) for piece in pieces]
    for i in range(len(pieces)):
        for j in range(i + 1, len(pieces)):
            for _ in range(_MAX_SWAPS):
                frame = _find_swap(pieces[i], pieces[j], _SWAP_GAIN * same)
                if frame is None:
                    break
                heads = [[one for one in pieces[k] if one.frame < frame] for k in (i, j)]
                tails = [[one for one in pieces[k] if one.frame >= frame] for k in (i, j)]
                pieces[i], pieces[j] = heads[0] + tails[1], heads[1] + tails[0]
    return [piece for piece in pieces if piece]


def _find_swap(a: Sequence[Sighting], b: Sequence[Sighting], least_gain: float) -> int | None:
    """The frame from which crossed tails fit the people best, None where straight ones do."""
    frames = np.array(_meetings(a, b), dtype=np.int64)
    known = [[one for one in piece if one.identity is not None] for piece in (a, b)]
    if not len(frames) or not all(known):
        return None
    before, after = zip(*(_people_around(piece, frames, _PERSON_LOOKS) for piece in known), strict=True)
    straight = np.linalg.norm(before[0] - after[0], axis=1) + np.linalg.norm(before[1] - after[1], axis=1)
    crossed = np.linalg.norm(before[0] - after[1], axis=1) + np.linalg.norm(before[1] - after[0], axis=1)
    gains = np.nan_to_num(straight - crossed, nan=-np.inf)
    best = int(np.argmax(gains))
    return int(frames[best]) if gains[best] > least_gain else None


def _people_around(
    looks: Sequence[Sighting], frames: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(m, d) mean descriptors of the last looks before each of m frames, and of the first from it on.

    Args:
        looks: all with descriptors, frames ascending.
        count: looks that make up a mean; NaN where there are none.
    """
    descriptors = np.array([one.identity for one in looks], dtype=np.float64)
    sums = np.concatenate([np.zeros_like(descriptors[:1]), np.cumsum(descriptors, axis=0)])
    at = np.searchsorted([one.frame for one in looks], frames)
    first, last = np.maximum(at - count, 0), np.minimum(at + count, len(looks))
    with np.errstate(invalid="ignore"):
        return (sums[at] - sums[first]) / (at - first)[:, None], (sums[last] - sums[at]) / (last - at)[:, None]


def _meetings(a: Sequence[Sighting], b: Sequence[Sighting]) -> list[int]:
    """Frames that show both pieces, near each other or for the first time after one was not seen."""
    others = {one.frame: one for one in b}
    meetings: list[int] = []
    was_apart = False
    for one in a:
        other = others.get(one.frame)
        if other is None:
            was_apart = True
        elif was_apart or _Region.of(one).distance(_Region.of(other)) < _RIVAL_REACH:
            meetings.append(one.frame)
            was_apart = False
    return meetings


def _join(pieces: list[list[Sighting]], same: float) -> list[list[Sighting]]:
    """Put pieces of one person together, the most alike first; never two that share a frame."""
    groups = [list(piece) for piece in pieces]
    people = [mean_descriptor(piece) for piece in groups]
    spans = [{one.frame for one in piece} for piece in groups]
    count = len(groups)
    table = np.full((count, count), np.inf)

    def measure(i: int, j: int) -> float:
        a, b = people[i], people[j]
        if a is None or b is None or spans[i] & spans[j]:
            return math.inf
        return _distance(a, b)

    for i in range(count):
        for j in range(i + 1, count):
            table[i, j] = measure(i, j)
    while count and np.isfinite(table).any():
        i, j = (int(k) for k in np.unravel_index(int(np.argmin(table)), table.shape))
        if table[i, j] > same:
            break
        groups[i] = sorted(groups[i] + groups[j], key=lambda one: one.frame)
        spans[i] |= spans[j]
        people[i] = mean_descriptor(groups[i])
        groups[j] = []
        table[j, :] = table[:, j] = np.inf
        for k in range(count):
            if k != i and groups[k]:
                table[min(i, k), max(i, k)] = measure(i, k)
    return [group for group in groups if group]


# --- small things ---------------------------------------------------------------------------------------------------


def _is_same_face(a: Sighting, b: Sighting, same: float) -> bool:
    overlap = _Region.of(a).overlap(_Region.of(b))
    if overlap <= _DUPLICATE_OVERLAP:
        return False
    if overlap > _SURE_DUPLICATE_OVERLAP or a.identity is None or b.identity is None:
        return True
    return _distance(a.identity, b.identity) <= same


def _distance(a: FloatArray, b: FloatArray) -> float:
    difference: NDArray[np.float64] = np.asarray(a, dtype=np.float64) - b
    return float(np.linalg.norm(difference))


def _place_order(one: Sighting) -> tuple[float, float, float]:
    region = _Region.of(one)
    return -region.size, region.x, region.y


def _order(looks: Sequence[Sighting]) -> tuple[int, float, float, float]:
    return looks[0].frame, *_place_order(looks[0])


def _check(frames: Sequence[int], same_person_distance: float, max_gap: int) -> None:
    if max_gap < 0:
        raise InvalidInput(f"max_gap must be 0 or more, not {max_gap}.", reason="BAD_SETTING", field="max_gap")
    if not same_person_distance > 0.0:
        raise InvalidInput(
            f"The same-person distance must be above 0, not {same_person_distance}.",
            reason="BAD_SETTING",
            field="same_person_distance",
        )
    if any(after <= before for before, after in pairwise(frames)):
        raise InvalidInput("The frames must be ascending.", reason="BAD_FRAMES", field="frames")
