"""People: tracks of one identity over all shots, and the person of a picture."""

import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.extract.people import group_people, tracks_of_reference
from dflcore.extract.track import Track
from dflcore.types import Box, Landmarks, Sighting

SAME = 0.6
PEOPLE = 0.62 * np.eye(128)[:4]
"""0.88 apart."""


def descriptor(person, seed, noise=0.022):
    rng = np.random.default_rng([person, seed])
    return (PEOPLE[person] + rng.normal(size=128) * noise).astype(np.float32)


def track(number, person, frames, *, shot=0):
    """``person`` None: no descriptors."""
    return Track(
        id=number,
        shot=shot,
        sightings={
            frame: Sighting(
                frame=frame,
                box=Box(0, 0, 9, 9),
                score=1.0,
                landmarks=Landmarks(points=np.zeros((68, 2), np.float32)),
                detector="d",
                landmarker="l",
                identity=None if person is None else descriptor(person, 1000 * number + frame),
            )
            for frame in frames
        },
    )


def ids(people):
    return [person.track_ids for person in people]


def test_tracks_of_one_person_are_found_over_all_shots():
    tracks = [
        track(1, 0, range(20)),
        track(2, 1, range(15)),
        track(3, 1, range(20, 60), shot=1),
        track(4, 2, range(20, 30), shot=1),
        track(5, 0, range(60, 65), shot=2),
    ]
    people = group_people(tracks, same_person_distance=SAME)
    assert ids(people) == [(2, 3), (1, 5), (4,)]
    assert [person.id for person in people] == [1, 2, 3]
    assert [person.face_count for person in people] == [55, 25, 10]
    assert np.linalg.norm(people[0].descriptor - PEOPLE[1]) < 0.1


def test_two_faces_of_one_frame_are_two_people_however_alike():
    """Twins, or somebody before a mirror."""
    tracks = [track(1, 0, range(10)), track(2, 0, range(9, 20)), track(3, 0, range(30, 40))]
    people = group_people(tracks, same_person_distance=SAME)
    assert len(people) == 2
    assert not any({1, 2} <= set(person.track_ids) for person in people)


def test_tracks_without_descriptors_are_people_of_their_own():
    people = group_people([track(1, None, range(3)), track(2, None, range(5, 9))], same_person_distance=SAME)
    assert ids(people) == [(2,), (1,)]
    assert people[0].descriptor is None


def test_nobody():
    assert group_people([], same_person_distance=SAME) == []


def test_the_order_of_tracks_does_not_matter():
    tracks = [track(n, n % 3, range(10 * n, 10 * n + 6)) for n in range(1, 10)]
    expected = ids(group_people(tracks, same_person_distance=SAME))
    assert ids(group_people(tracks[::-1], same_person_distance=SAME)) == expected == [(1, 4, 7), (2, 5, 8), (3, 6, 9)]


def test_the_person_of_a_picture_is_found_in_all_shots():
    tracks = [track(1, 0, range(9)), track(2, 1, range(9)), track(3, 1, range(20, 29)), track(4, None, range(50, 60))]
    found = tracks_of_reference(tracks, [descriptor(1, 77)], same_person_distance=SAME)
    assert [one.id for one in found] == [2, 3]


def test_several_pictures_help_each_other():
    """The second reference is of nobody here, the first is enough."""
    tracks = [track(1, 0, range(9)), track(2, 1, range(9))]
    found = tracks_of_reference(tracks, [descriptor(1, 5), descriptor(3, 5)], same_person_distance=SAME)
    assert [one.id for one in found] == [2]


def test_single_bad_looks_do_not_decide():
    one = track(1, 0, range(9))
    for frame in range(3):
        one.sightings[frame].identity[:] = descriptor(2, frame)
    assert tracks_of_reference([one], [descriptor(0, 5)], same_person_distance=SAME) == [one]


def test_of_two_faces_of_one_frame_only_the_nearest_is_the_person():
    near, far = track(1, 0, range(9)), track(2, 0, range(5, 30))
    for one in far.sightings.values():
        one.identity[0] -= 0.4
    assert tracks_of_reference([far, near], [descriptor(0, 5)], same_person_distance=SAME) == [near]


def test_a_person_who_is_not_there_is_an_error_with_figures():
    tracks = [track(7, 0, range(100, 120)), track(8, 1, range(100, 120))]
    with pytest.raises(InvalidInput) as caught:
        tracks_of_reference(tracks, [descriptor(3, 5)], same_person_distance=SAME)
    assert caught.value.reason == "PERSON_NOT_FOUND"
    assert float(caught.value.details["distance"]) > SAME
    assert caught.value.details["track"] in caught.value.message
    assert "frames 100-119" in caught.value.message
    assert "0.600" in caught.value.message


def test_tracks_without_descriptors_cannot_be_compared():
    with pytest.raises(InvalidInput, match="identity") as caught:
        tracks_of_reference([track(1, None, range(3))], [descriptor(0, 0)], same_person_distance=SAME)
    assert caught.value.reason == "PERSON_NOT_FOUND"


def test_no_reference_and_one_of_another_encoder_are_refused():
    tracks = [track(1, 0, range(3))]
    with pytest.raises(InvalidInput) as caught:
        tracks_of_reference(tracks, [], same_person_distance=SAME)
    assert caught.value.reason == "NO_REFERENCE"
    with pytest.raises(InvalidInput) as caught:
        tracks_of_reference(tracks, [np.zeros(512, np.float32)], same_person_distance=SAME)
    assert caught.value.reason == "DESCRIPTORS_DIFFER"
