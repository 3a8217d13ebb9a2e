"""How sure one may be of a face's place: what detector and landmarker said, compared with the rest of the track.

Scores of detectors have scales of their own, so a face is compared with what is usual for the person in this shot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dflcore.types import FaceRecord, Origin


@dataclass(frozen=True, slots=True)
class Confidence:
    """What is usual for every person of a shot: (score, spread of the landmarks) by track."""

    usual: Mapping[int | None, tuple[float, float]]

    @classmethod
    def of(cls, records: Mapping[int, Sequence[FaceRecord]]) -> Confidence:
        """Learn it from all faces that were seen."""
        by_track: dict[int | None, list[FaceRecord]] = {}
        for faces in records.values():
            for record in faces:
                if record.origin in (Origin.DETECTED, Origin.IMPORTED):
                    by_track.setdefault(record.track_id, []).append(record)
        return cls({track: (_usual_score(faces), _usual_spread(faces)) for track, faces in by_track.items()})

    def of_face(self, record: FaceRecord) -> float:
        """1 for a usual face or a surer one, less for a doubtful one, 0 for one that nobody saw."""
        if record.origin is Origin.INTERPOLATED:
            return 0.0
        if record.origin is Origin.MANUAL:
            return 1.0
        score, spread = self.usual.get(record.track_id, (0.0, 0.0))
        sureness = min(max(record.score, 0.0) / score, 1.0) if score > 0.0 else 1.0
        if spread > 0.0 and record.spread is not None and record.spread > spread:
            sureness *= spread / record.spread
        return sureness


def _usual_score(faces: Sequence[FaceRecord]) -> float:
    return float(np.median([face.score for face in faces]))


def _usual_spread(faces: Sequence[FaceRecord]) -> float:
    spreads = [face.spread for face in faces if face.spread is not None]
    return float(np.median(spreads)) if spreads else 0.0
