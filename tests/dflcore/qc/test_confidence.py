from dataclasses import replace

import pytest

from dflcore.qc.confidence import Confidence
from dflcore.types import Origin
from small_facesets import make_record


def track(*scores, spreads=None):
    return {
        frame: [replace(make_record(frame), score=score, spread=(spreads or {}).get(frame, 0.01), track_id=3)]
        for frame, score in enumerate(scores)
    }


def test_a_face_is_compared_with_its_track():
    faces = track(2.0, 2.0, 2.0, 0.5, 3.0)
    confidence = Confidence.of(faces)
    assert [confidence.of_face(one) for (one,) in faces.values()] == [1.0, 1.0, 1.0, 0.25, 1.0]


def test_landmarks_that_scatter_are_doubtful():
    faces = track(1.0, 1.0, 1.0, spreads={2: 0.04})
    assert Confidence.of(faces).of_face(faces[2][0]) == pytest.approx(0.25)


def test_what_nobody_saw_and_what_a_person_set():
    faces = track(1.0, 1.0, 0.0)
    confidence = Confidence.of(faces)
    assert confidence.of_face(replace(faces[2][0], origin=Origin.INTERPOLATED)) == 0.0
    assert confidence.of_face(replace(faces[2][0], origin=Origin.MANUAL)) == 1.0


def test_detectors_without_scores_are_believed():
    faces = track(0.0, 0.0)
    assert Confidence.of(faces).of_face(replace(faces[0][0], spread=None)) == 1.0
    assert Confidence.of({}).of_face(faces[0][0]) == 1.0
