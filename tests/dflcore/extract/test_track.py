"""Tracks: one person through one shot, whatever crosses, hides or flickers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import InvalidInput
from dflcore.extract.track import drop_duplicates, link_tracks, split_shots
from dflcore.geometry.template import HEAD_MODEL
from dflcore.types import Box, Landmarks, Origin, Sighting

SAME = 0.6
PEOPLE = 0.62 * np.eye(128)[:4]
"""Four people 0.88 apart, as far as the two talking heads of the test footage are."""


def look(frame, x, y=300.0, *, size=100.0, person=None, seed=0, score=1.0, origin=Origin.DETECTED, noise=0.022):
    """A frontal face; its descriptor strays from the person's by about 0.25, as dlib's does."""
    points = (HEAD_MODEL[:, :2] * (size / 130.0) + (x, y)).astype(np.float32)
    identity = None
    if person is not None:
        base = PEOPLE[person] if isinstance(person, int) else np.asarray(person)
        rng = np.random.default_rng([frame, int(10 * x) % 9973, seed])
        identity = (base + rng.normal(size=128) * noise).astype(np.float32)
    low, high = points.min(0), points.max(0)
    return Sighting(
        frame=frame,
        box=Box(*(float(v) for v in (*low, *high))),
        score=score,
        landmarks=Landmarks(points=points),
        detector="test",
        landmarker="test",
        identity=identity,
        origin=origin,
    )


def gather(*looks):
    found = {}
    for one in looks:
        found.setdefault(one.frame, []).append(one)
    return found


def link(found, frames, cuts=(), max_gap=8):
    return link_tracks(found, list(frames), list(cuts), same_person_distance=SAME, max_gap=max_gap)


def people_of(track):
    """Which of PEOPLE each sighting of a track is."""
    return {
        int(np.argmin(np.linalg.norm(PEOPLE - one.identity, axis=1)))
        for one in track.sightings.values()
        if one.identity is not None
    }


def assert_pure(tracks, count):
    assert [len(people_of(track)) for track in tracks] == [1] * count
    assert len({people_of(track).pop() for track in tracks}) == count


def test_a_face_that_moves_is_one_track():
    frames = range(1001, 1041)
    tracks = link(gather(*(look(f, 100 + 9 * (f - 1001), person=0) for f in frames)), frames)
    assert len(tracks) == 1
    assert tracks[0].id == 1
    assert tracks[0].shot == 0
    assert tracks[0].frames == tuple(frames)
    assert np.linalg.norm(tracks[0].descriptor - PEOPLE[0]) < 0.1


def test_two_faces_keep_apart_and_the_larger_comes_first():
    frames = range(20)
    found = gather(
        *(look(f, 200 + f, size=80, person=0) for f in frames), *(look(f, 500 - f, size=120, person=1) for f in frames)
    )
    tracks = link(found, frames)
    assert_pure(tracks, 2)
    assert people_of(tracks[0]) == {1}
    assert [track.id for track in tracks] == [1, 2]


@pytest.mark.parametrize("speed", [4.0, 9.0, 16.0])
@pytest.mark.parametrize("hidden", [0, 1, 5, 12])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_people_who_cross_keep_their_tracks(speed, hidden, seed):
    """They meet in frame 40; the one behind is not seen for some frames."""
    frames = range(81)
    looks = []
    for f in frames:
        looks.append(look(f, 600 + speed * (f - 40), person=0, seed=seed))
        if abs(f - 40) > hidden / 2:
            looks.append(look(f, 600 - speed * (f - 40), 310, size=90, person=1, seed=seed))
    assert_pure(link(gather(*looks), frames), 2)


@pytest.mark.parametrize("hidden", [0, 3, 6, 20])
def test_people_who_meet_and_turn_back_keep_their_tracks(hidden):
    """Constant velocity would hand each to the other; identity knows better."""
    frames = range(81)
    looks = []
    for f in frames:
        apart = 6.0 * abs(f - 40) + 25.0
        looks.append(look(f, 600 + apart, person=0))
        if abs(f - 40) > hidden / 2:
            looks.append(look(f, 600 - apart, person=1))
    assert_pure(link(gather(*looks), frames), 2)


def test_lookalikes_who_swap_places_while_nobody_sees_them_are_told_apart():
    """0.45 apart: nearer than the same-person distance, so only the comparison of both can tell."""
    twins = [0.32 * np.eye(128)[0], 0.32 * np.eye(128)[1]]
    frames = range(60)
    looks = []
    for f in frames:
        if 28 <= f < 32:
            continue
        near = 40.0
        places = (600 - near, 600 + near) if f < 30 else (600 + near, 600 - near)
        looks += [look(f, places[k], person=twins[k], seed=k) for k in range(2)]
    tracks = link(gather(*looks), frames)
    assert len(tracks) == 2
    for track in tracks:
        nearest = {
            int(np.linalg.norm(one.identity - twins[1]) < np.linalg.norm(one.identity - twins[0]))
            for one in track.sightings.values()
        }
        assert len(nearest) == 1


def test_a_person_hidden_for_thirty_frames_comes_back_as_the_same_track():
    frames = range(100)
    looks = [look(f, 200 + f, person=0) for f in range(35)]
    looks += [look(f, 700 - f, 250, size=130, person=0) for f in range(65, 100)]
    looks += [look(f, 1000, person=1) for f in frames]
    tracks = link(gather(*looks), frames)
    assert_pure(tracks, 2)
    assert {len(track.sightings) for track in tracks} == {70, 100}


def test_another_person_at_the_same_place_is_another_track():
    """A head goes down behind a desk, another comes up."""
    frames = range(60)
    looks = [look(f, 400, person=0) for f in range(28)] + [look(f, 402, person=1) for f in range(31, 60)]
    assert_pure(link(gather(*looks), frames), 2)


def test_an_unnoticed_cut_between_faces_at_one_place_still_parts_them():
    frames = range(40)
    tracks = link(gather(*(look(f, 400, person=0 if f < 20 else 1) for f in frames)), frames)
    assert_pure(tracks, 2)
    assert tracks[1].frames[0] == 20


def test_one_bad_descriptor_does_not_break_a_track():
    """A blurred look that resembles nobody, with no one else about."""
    frames = range(40)
    looks = [look(f, 400 + f, person=0) for f in frames]
    looks[17] = look(17, 417, person=PEOPLE[0] + 0.5 * np.eye(128)[9])
    assert len(link(gather(*looks), frames)) == 1


def test_a_cut_begins_new_tracks():
    frames = range(1, 41)
    tracks = link(gather(*(look(f, 400, person=0) for f in frames)), frames, cuts=[21])
    assert [(track.id, track.shot, track.frames[0], track.frames[-1]) for track in tracks] == [
        (1, 0, 1, 20),
        (2, 1, 21, 40),
    ]


def test_a_cut_at_a_frame_that_is_not_there_counts_from_the_next():
    assert split_shots([1, 2, 5, 6], [4]) == [[1, 2], [5, 6]]
    assert split_shots([1, 2, 3], [1, 3, 3, 99]) == [[1, 2], [3]]
    assert split_shots([], [3]) == []


def test_without_descriptors_place_decides():
    frames = range(30)
    looks = [look(f, 200 + 12 * f) for f in frames] + [look(f, 900 - 3 * f, 600) for f in frames if f not in (9, 10)]
    tracks = link(gather(*looks), frames)
    assert [len(track.sightings) for track in tracks] == [28, 30] or [len(t.sightings) for t in tracks] == [30, 28]
    assert all(track.descriptor is None for track in tracks)


def test_without_descriptors_a_face_is_not_followed_beyond_the_gap():
    looks = [look(f, 400) for f in range(10)] + [look(f, 400) for f in range(19, 30)]
    assert len(link(gather(*looks), range(30), max_gap=8)) == 2
    assert len(link(gather(*looks), range(30), max_gap=9)) == 1


def test_crossing_people_without_descriptors_go_straight_on():
    frames = range(61)
    looks = []
    for f in frames:
        looks.append(look(f, 600 + 12 * (f - 30), 300))
        looks.append(look(f, 600 - 12 * (f - 30), 330, size=90))
    tracks = link(gather(*looks), frames)
    assert len(tracks) == 2
    assert all(len({one.landmarks.points[8, 1] for one in track.sightings.values()}) == 1 for track in tracks)


def test_gaps_count_frames_of_the_sequence():
    """A plate of every tenth frame: two misses are two misses, not twenty."""
    frames = range(0, 300, 10)
    found = gather(*(look(f, 400 + f / 10) for f in frames if f not in (100, 110)))
    assert len(link(found, frames, max_gap=2)) == 1
    assert len(link(found, frames, max_gap=1)) == 2


def test_the_order_of_sightings_and_people_does_not_matter():
    frames = range(50)
    looks = [look(f, 300 + 5 * f, person=0) for f in frames] + [look(f, 560 - 5 * f, 310, person=1) for f in frames]
    expected = link(gather(*looks), frames)

    @settings(max_examples=15, deadline=None)
    @given(st.randoms(use_true_random=False))
    def check(random):
        shuffled = list(looks)
        random.shuffle(shuffled)
        assert link(gather(*shuffled), frames) == expected

    check()


def test_ids_do_not_change_when_frames_are_added_later():
    looks = [look(f, 300, person=0) for f in range(30)] + [look(f, 700, person=1) for f in range(5, 30)]
    before = link(gather(*looks), range(30))
    more = [look(f, 300, person=0) for f in range(30, 50)] + [look(f, 1100, person=2) for f in range(32, 50)]
    after = link(gather(*looks, *more), range(50))
    assert [people_of(track) for track in before] == [people_of(track) for track in after[:2]]
    assert [track.id for track in after] == [1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
def test_every_face_is_in_one_track_once_and_a_frame_never_twice(seed, faces, has_identity):
    """Whatever clutter there is."""
    rng = np.random.default_rng(seed)
    frames = range(12)
    looks = [
        look(
            f, *rng.uniform(0, 900, 2), size=rng.uniform(40, 160), person=int(rng.integers(4)) if has_identity else None
        )
        for f in frames
        for _ in range(faces)
    ]
    found = gather(*looks)
    tracks = link(found, frames, cuts=[7])
    linked = [one for track in tracks for one in track.sightings.values()]
    kept = [one for f in frames for one in drop_duplicates(found[f], same_person_distance=SAME)[0]]
    assert sorted(map(id, linked)) == sorted(map(id, kept))
    for track in tracks:
        assert list(track.sightings) == sorted(track.sightings)
        assert all(frame == one.frame for frame, one in track.sightings.items())
        assert len({frame < 7 for frame in track.sightings}) == 1


def test_of_two_detections_of_one_face_the_surer_stays():
    weak, sure = look(1, 400, score=0.4), look(1, 404, score=2.0)
    other = look(1, 700)
    assert drop_duplicates([weak, other, sure], same_person_distance=SAME) == ([other, sure], [weak])


def test_what_a_person_set_by_hand_is_never_the_duplicate():
    by_hand, sure = look(1, 400, score=0.0, origin=Origin.MANUAL), look(1, 404, score=2.0)
    assert drop_duplicates([sure, by_hand], same_person_distance=SAME)[0] == [by_hand]


def test_two_people_cheek_to_cheek_are_no_duplicates():
    a, b = look(1, 400, person=0), look(1, 425, person=1)
    assert len(drop_duplicates([a, b], same_person_distance=SAME)[0]) == 2
    twice = look(1, 425, person=0)
    assert len(drop_duplicates([a, twice], same_person_distance=SAME)[0]) == 1


def test_nothing_seen_is_no_track():
    assert link({}, range(10)) == []
    assert link({3: []}, []) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"max_gap": -1, "same_person_distance": SAME}, "BAD_SETTING"),
        ({"max_gap": 1, "same_person_distance": 0.0}, "BAD_SETTING"),
    ],
)
def test_nonsense_is_refused(arguments, reason):
    with pytest.raises(InvalidInput) as caught:
        link_tracks({}, [1, 2], [], **arguments)
    assert caught.value.reason == reason


def test_frames_out_of_order_are_refused():
    with pytest.raises(InvalidInput, match="ascending"):
        link({}, [2, 1])
