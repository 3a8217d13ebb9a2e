"""What frames take over from those around them: who is who, steady places, averages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dflcore.geometry import affine
from dflcore.merge.temporal import Tracks, average, steady_records, window_weight
from dflcore.types import FaceRecord
from small_facesets import make_record

FRAMES = range(1001, 1031)


def shot(move, *, track: int | None = 1, noise: float = 0.0) -> dict[int, list[FaceRecord]]:
    """One face a frame, moved by ``move(frame)`` pixels, its landmarks and square shaken by ``noise``."""
    random = np.random.default_rng(1)
    records = {}
    for frame in FRAMES:
        record = make_record(frame, track_id=track)
        x, y = np.asarray(move(frame)) + noise * random.standard_normal(2)
        points = record.landmarks.points + np.float32([x, y])
        square = affine.compose(record.aligned_from_plate, affine.shift(-x, -y))
        landmarks = replace(record.landmarks, points=points.astype(np.float32))
        records[frame] = [replace(record, landmarks=landmarks, aligned_from_plate=square)]
    return records


def place(record: FaceRecord) -> np.ndarray:
    """Plate position of the square's centre."""
    middle = record.aligned_size / 2
    return affine.apply(affine.invert(record.aligned_from_plate), np.array([[middle, middle]]))[0]


def test_constant_velocity_and_acceleration_pass_unchanged_at_the_ends_too() -> None:
    records = shot(lambda frame: (3.0 * (frame - 1001), 0.1 * (frame - 1001) ** 2))
    steady = steady_records(records, Tracks(records), 5)
    for frame in FRAMES:
        (before,), (after,) = records[frame], steady[frame]
        np.testing.assert_allclose(after.landmarks.points, before.landmarks.points, atol=2e-3)
        np.testing.assert_allclose(after.aligned_from_plate, before.aligned_from_plate, atol=1e-5)


@pytest.mark.parametrize("radius", [3, 6, 12])
def test_trembling_gets_less_the_wider_the_window(radius: int) -> None:
    records = shot(lambda frame: (2.0 * frame, 0.0), noise=1.0)
    steady = steady_records(records, Tracks(records), radius)
    truth = {frame: place(shot(lambda frame: (2.0 * frame, 0.0))[frame][0]) for frame in FRAMES}

    def error(found: dict[int, list[FaceRecord]]) -> float:
        return float(np.mean([np.abs(place(found[frame][0]) - truth[frame]) for frame in FRAMES]))

    assert error(steady) < {3: 0.75, 6: 0.6, 12: 0.5}[radius] * error(records)


def test_a_chunk_is_steadied_as_the_whole_shot_is() -> None:
    records = shot(lambda frame: (2.0 * frame, 0.0), noise=1.0)
    tracks = Tracks(records)
    whole = steady_records(records, tracks, 4)
    part = steady_records({frame: records[frame] for frame in (1009, 1010)}, tracks, 4)
    for frame in (1009, 1010):
        assert np.array_equal(part[frame][0].landmarks.points, whole[frame][0].landmarks.points)


@pytest.mark.parametrize("radius", [0, 1])
def test_small_radii_change_nothing(radius: int) -> None:
    records = shot(lambda frame: (0.0, 0.0), noise=1.0)
    steady = steady_records(records, Tracks(records), radius)
    assert all(steady[frame][0] is records[frame][0] for frame in FRAMES)


def test_people_are_told_apart_by_track() -> None:
    one, two = shot(lambda frame: (0.0, 0.0), track=1), shot(lambda frame: (400.0, 0.0), track=2)
    both = {frame: one[frame] + [replace(two[frame][0], face_index=1)] for frame in FRAMES}
    around = Tracks(both).around(one[1010][0], 3)
    assert list(around) == [1007, 1008, 1009, 1010, 1011, 1012, 1013]
    assert {face.track_id for face in around.values()} == {1}


def test_without_tracks_a_jump_ends_the_window() -> None:
    records = shot(lambda frame: (0.0 if frame < 1010 else 5000.0, 0.0), track=None)
    assert list(Tracks(records).around(records[1008][0], 4)) == [1004, 1005, 1006, 1007, 1008, 1009]
    assert list(Tracks(records).around(records[1010][0], 2)) == [1010, 1011, 1012]


def test_gaps_in_a_track_are_passed_over() -> None:
    records = shot(lambda frame: (0.0, 0.0))
    del records[1009]
    assert list(Tracks(records).around(records[1010][0], 2)) == [1008, 1010, 1011, 1012]


def test_near_frames_weigh_more_and_an_even_picture_stays() -> None:
    assert 1.0 == window_weight(0, 3) > window_weight(1, 3) > window_weight(3, 3) > 0.1
    level = {frame: np.full((4, 4), 0.25, np.float32) for frame in (8, 9, 10, 11)}
    np.testing.assert_allclose(average(level, 10, 2), 0.25, rtol=1e-6)
    flicker = {frame: np.full((2, 2), float(frame % 2), np.float32) for frame in range(5)}
    assert 0.3 < average(flicker, 2, 2)[0, 0] < 0.7
    alone = {3: np.ones((2, 2), np.float32)}
    assert average(alone, 3, 5) is alone[3]
