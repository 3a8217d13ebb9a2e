"""Identity tells two people apart, and the figures are medians."""

import numpy as np
import pytest

from dflcore.detect.base import create_detector
from dflcore.errors import InvalidInput
from dflcore.identity.base import create_identity_encoder
from dflcore.landmark.base import create_landmarker
from dflcore.qc.identity import describe_face, measure_identity
from dflcore.weights.store import WeightStore


def vector(*values):
    return np.array(values, np.float32)


def test_distances_are_medians_over_frames():
    results = [vector(0.0, 0.1), vector(0.0, 0.2), vector(0.0, 0.9)]
    found = measure_identity(results, vector(0.0, 0.0), vector(0.0, 1.0))
    assert found.to_source == pytest.approx(0.2)
    assert found.to_source_max == pytest.approx(0.9)
    assert found.to_target == pytest.approx(0.8)
    assert found.source_to_target == 1.0
    assert found.is_nearer_to_source


def test_no_frames_is_an_error():
    with pytest.raises(InvalidInput):
        measure_identity([], vector(0.0), vector(1.0))


def test_the_portraits_are_two_people(astronaut, hopper):
    store = WeightStore()
    detector, landmarker = create_detector("dlib_hog", store), create_landmarker("dlib68", store)
    encoder = create_identity_encoder(store=store)
    source, target = (
        describe_face(image, max(detector.detect(image), key=lambda found: found.score).box, landmarker, encoder)
        for image in (astronaut, hopper)
    )
    found = measure_identity([source], source, target)
    assert found.to_source == 0.0
    assert found.source_to_target > encoder.same_person_distance
