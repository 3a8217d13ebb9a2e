"""Tells which tracks are one person, over all shots of a plate, and which are the person of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.extract.track import Track
from dflcore.types import FloatArray

FIRST_PERSON_ID: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """Tracks of one identity.

    Attributes:
        id: from 1, the person with the most faces first.
        track_ids: ascending.
        descriptor: mean identity of all faces that have one, unit-free float32; None where none has.
        face_count: sightings in all tracks, interpolated ones included.
    """

    id: int
    track_ids: tuple[int, ...]
    descriptor: FloatArray | None
    face_count: int


def group_people(tracks: Sequence[Track], *, same_person_distance: float) -> list[Person]:
    """Put the tracks of each person together.

    Average linkage on the tracks' mean descriptors, weighted by their faces. Two tracks that share a frame are two
    people, however alike. A track without descriptors is a person of its own.

    Args:
        same_person_distance: people whose tracks are on average nearer than this are one.

    Returns:
        The person with the most faces first.
    """
    groups = [[index] for index in range(len(tracks))]
    counts = np.array([sum(one.identity is not None for one in track.sightings.values()) for track in tracks], float)
    table = _distances(tracks)
    while len(groups) > 1:
        i, j = (int(k) for k in np.unravel_index(int(np.argmin(table)), table.shape))
        if not table[i, j] < same_person_distance:
            break
        i, j = min(i, j), max(i, j)
        merged = (counts[i] * table[i] + counts[j] * table[j]) / max(counts[i] + counts[j], 1.0)
        table[i], table[:, i] = merged, merged
        table[i, i] = np.inf
        table = np.delete(np.delete(table, j, axis=0), j, axis=1)
        counts[i] += counts[j]
        counts = np.delete(counts, j)
        groups[i] += groups.pop(j)
    found = [_person([tracks[index] for index in group]) for group in groups]
    found.sort(key=lambda person: (-person.face_count, person.track_ids))
    return [
        Person(
            id=FIRST_PERSON_ID + index,
            track_ids=person.track_ids,
            descriptor=person.descriptor,
            face_count=person.face_count,
        )
        for index, person in enumerate(found)
    ]


def tracks_of_reference(
    tracks: Sequence[Track], descriptors: Sequence[FloatArray], *, same_person_distance: float
) -> list[Track]:
    """The tracks that show the person of one or more reference pictures.

    A track is judged by the median over its faces of the distance to the nearest reference, so single bad looks do not
    decide. Of tracks that share a frame only the nearest is the person.

    Args:
        descriptors: identity of each reference picture, by the same encoder as the tracks'.

    Returns:
        In the order given.

    Raises:
        InvalidInput: no reference is given, no track has descriptors of the references' kind, or none is near enough;
            the message says how near the best one is.
    """
    references = np.array([np.asarray(one, dtype=np.float64) for one in descriptors])
    if references.ndim != 2 or not len(references):
        raise InvalidInput("No descriptor of a reference picture is given.", reason="NO_REFERENCE")
    distances = {
        index: distance
        for index, track in enumerate(tracks)
        if (distance := reference_distance(track, references)) is not None
    }
    if not distances:
        raise InvalidInput(
            f"None of the {len(tracks)} tracks has identity descriptors to compare with the reference picture; "
            "extract with identity descriptors switched on.",
            reason="PERSON_NOT_FOUND",
            tracks=len(tracks),
        )
    kept: list[int] = []
    taken: set[int] = set()
    for index in sorted(distances, key=lambda one: (distances[one], one)):
        if distances[index] <= same_person_distance and not taken & set(tracks[index].sightings):
            kept.append(index)
            taken |= set(tracks[index].sightings)
    if not kept:
        raise _not_found(tracks, distances, same_person_distance)
    return [tracks[index] for index in sorted(kept)]


def reference_distance(track: Track, references: NDArray[np.float64]) -> float | None:
    """Median over a track's faces of the distance to the nearest reference; None where no face has a descriptor.

    Args:
        references: (n, d).

    Raises:
        InvalidInput: the descriptors are of different lengths, so of different encoders.
    """
    known = [one.identity for one in track.sightings.values() if one.identity is not None]
    if not known:
        return None
    faces = np.asarray(known, dtype=np.float64)
    if faces.shape[1] != references.shape[1]:
        raise InvalidInput(
            f"The reference's descriptor has {references.shape[1]} numbers, track {track.id}'s have {faces.shape[1]}; "
            "describe both with the same identity encoder.",
            reason="DESCRIPTORS_DIFFER",
            track=track.id,
        )
    apart = np.linalg.norm(faces[:, None] - references[None], axis=-1)
    return float(np.median(apart.min(axis=1)))


def _distances(tracks: Sequence[Track]) -> NDArray[np.float64]:
    """(n, n) distances of mean descriptors; infinite where two tracks must not be one person."""
    table = np.full((len(tracks), len(tracks)), np.inf)
    people = [track.descriptor for track in tracks]
    spans = [set(track.sightings) for track in tracks]
    for i in range(len(tracks)):
        for j in range(i + 1, len(tracks)):
            a, b = people[i], people[j]
            if a is not None and b is not None and not spans[i] & spans[j]:
                table[i, j] = table[j, i] = float(np.linalg.norm(np.asarray(a, dtype=np.float64) - b))
    return table


def _person(tracks: Sequence[Track]) -> Person:
    known = [one.identity for track in tracks for one in track.sightings.values() if one.identity is not None]
    mean = np.asarray(np.mean(np.asarray(known, dtype=np.float64), axis=0), dtype=np.float32) if known else None
    return Person(
        id=0,
        track_ids=tuple(sorted(track.id for track in tracks)),
        descriptor=mean,
        face_count=sum(len(track.sightings) for track in tracks),
    )


def _not_found(tracks: Sequence[Track], distances: dict[int, float], same: float) -> InvalidInput:
    best = min(distances, key=lambda one: (distances[one], one))
    track = tracks[best]
    return InvalidInput(
        f"The person of the reference picture is not among the {len(tracks)} tracks: the nearest, track {track.id} "
        f"(frames {track.frames[0]}-{track.frames[-1]}), is {distances[best]:.3f} away, and {same:.3f} is the limit. "
        "Give a sharper or more frontal reference picture, more of them, or choose the track by its number.",
        reason="PERSON_NOT_FOUND",
        track=track.id,
        distance=f"{distances[best]:.4f}",
        limit=f"{same:.4f}",
        tracks=len(tracks),
    )
