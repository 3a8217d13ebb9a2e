"""From what every frame shows to the faces that are cut out: cuts, tracks, filled gaps, steady landmarks, people.

Cheap, and done anew in every run over everything known of the plate, so frames that were looked at in an earlier run
steady those of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dflcore.config.extract import ExtractSettings
from dflcore.errors import InvalidInput
from dflcore.extract.corrections import Correction, corrected_by
from dflcore.extract.cuts import find_cuts
from dflcore.extract.people import group_people, tracks_of_reference
from dflcore.extract.sightings import Look
from dflcore.extract.smooth import fill_gaps, smooth_track
from dflcore.extract.track import Track, link_tracks
from dflcore.types import FloatArray, Origin, Sighting


@dataclass(frozen=True, slots=True)
class PlannedFace:
    """One face to be cut out: where it lies after all that is known of its track, and who it is."""

    sighting: Sighting
    track_id: int
    person_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Faces of a plate.

    Attributes:
        faces: by frame, the largest first; frames without a face are absent.
        cuts: frames that begin a new shot.
        track_count, person_count: of those kept.
    """

    faces: dict[int, tuple[PlannedFace, ...]]
    cuts: tuple[int, ...]
    track_count: int
    person_count: int

    def of_person(self, person_id: int) -> dict[int, tuple[PlannedFace, ...]]:
        """The faces of one person, by frame."""
        chosen = {frame: tuple(f for f in faces if f.person_id == person_id) for frame, faces in self.faces.items()}
        return {frame: faces for frame, faces in chosen.items() if faces}

    @property
    def person_ids(self) -> list[int]:
        return sorted({face.person_id for faces in self.faces.values() for face in faces})


def plan_faces(
    looks: Sequence[Look],
    settings: ExtractSettings,
    *,
    same_person_distance: float,
    references: Sequence[FloatArray] = (),
    corrections: Mapping[int, Sequence[Correction]] | None = None,
) -> Plan:
    """Link, fill, steady and choose.

    Args:
        looks: everything known of a plate, in frame order.
        same_person_distance: of the identity encoder the looks were made with.
        references: descriptors of the only person to keep; none keeps everybody.
        corrections: what artists said, by frame; where one says there is no face, none is filled in.

    Raises:
        InvalidInput: the person or a track that is asked for is not there.
    """
    if not looks:
        return Plan(faces={}, cuts=(), track_count=0, person_count=0)
    frames, aspect = [look.frame for look in looks], looks[0].pixel_aspect
    cuts = find_cuts(frames, np.stack([look.signature for look in looks])) if settings.split_at_cuts else []
    tracks = link_tracks(
        {look.frame: look.sightings for look in looks},
        frames,
        cuts,
        same_person_distance=same_person_distance,
        max_gap=settings.max_gap,
    )
    tracks = _chosen(tracks, settings, references, same_person_distance)
    person_of = {
        track_id: person.id
        for person in group_people(tracks, same_person_distance=same_person_distance)
        for track_id in person.track_ids
    }
    faces: dict[int, list[PlannedFace]] = {}
    for track in tracks:
        whole = fill_gaps(track, frames, max_gap=settings.max_gap, pixel_aspect=aspect)
        steady = smooth_track(whole, radius=settings.smoothing_radius, pixel_aspect=aspect)
        for frame, sighting in steady.sightings.items():
            if sighting.origin is Origin.INTERPOLATED and _is_denied(sighting, (corrections or {}).get(frame, ())):
                continue
            faces.setdefault(frame, []).append(PlannedFace(sighting, track.id, person_of[track.id]))
    return Plan(
        faces={frame: tuple(sorted(faces[frame], key=_area, reverse=True)) for frame in sorted(faces)},
        cuts=tuple(cuts),
        track_count=len(tracks),
        person_count=len(set(person_of.values())),
    )


def _is_denied(sighting: Sighting, corrections: Sequence[Correction]) -> bool:
    return any(one.remove and corrected_by(one, [sighting]) is not None for one in corrections)


def _chosen(
    tracks: Sequence[Track], settings: ExtractSettings, references: Sequence[FloatArray], distance: float
) -> list[Track]:
    """The tracks asked for. Raises InvalidInput where one is not there."""
    kept = list(tracks)
    if settings.keep_tracks:
        wanted = parse_track_ids(settings.keep_tracks)
        missing = sorted(wanted - {track.id for track in kept})
        if missing:
            raise InvalidInput(
                f"There is no track {', '.join(map(str, missing))}; tracks here are {_listed(t.id for t in tracks)}.",
                reason="TRACK_NOT_FOUND",
                field="keep_tracks",
            )
        kept = [track for track in kept if track.id in wanted]
    if references:
        kept = list(tracks_of_reference(kept, list(references), same_person_distance=distance))
    return kept


def parse_track_ids(text: str) -> set[int]:
    """``1, 4`` as numbers. Raises InvalidInput."""
    try:
        return {int(part) for part in text.split(",") if part.strip()}
    except ValueError as error:
        raise InvalidInput(
            f"keep_tracks (--keep-tracks) = {text!r}: write track numbers joined by commas, for example 1,4.",
            reason="BAD_SETTING",
            field="keep_tracks",
        ) from error


def _listed(ids: Iterable[int], most: int = 20) -> str:
    numbers = sorted(ids)
    text = ", ".join(map(str, numbers[:most]))
    return text + (f" and {len(numbers) - most} more" if len(numbers) > most else "") if numbers else "none"


def _area(face: PlannedFace) -> float:
    return face.sighting.box.width * face.sighting.box.height
