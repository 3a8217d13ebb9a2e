import numpy as np
import pytest

from dflcore.config.extract import CUT_FIELDS, LOOK_FIELDS, ExtractSettings
from dflcore.errors import InvalidInput
from dflcore.extract.corrections import Correction
from dflcore.extract.cuts import frame_signature
from dflcore.extract.plan import parse_track_ids, plan_faces
from dflcore.extract.sightings import Look
from dflcore.types import Box, Landmarks, Origin, Sighting

SIGNATURE = frame_signature(np.full((90, 160, 3), 40, np.uint8))
RAW = ExtractSettings(smoothing_radius=0, split_at_cuts=False)
ANNA, BERT = (np.eye(128, dtype=np.float32)[one] for one in (0, 1))


def seen(frame, left=100.0, side=80.0, identity=ANNA, jitter=0.0):
    rng = np.random.default_rng(int(left) + frame)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 17), np.linspace(0, 1, 4)), axis=-1).reshape(-1, 2)
    points = grid * side + [left, 50.0] + rng.normal(0, jitter, (68, 2))
    return Sighting(
        frame=frame,
        box=Box(left, 50.0, left + side, 50.0 + side),
        score=1.0,
        landmarks=Landmarks(points=points.astype(np.float32)),
        detector="stub",
        landmarker="stub",
        identity=identity,
    )


def look(frame, *sightings, signature=SIGNATURE):
    return Look(frame, signature, tuple(sightings))


def plan(looks, settings=RAW, **more):
    return plan_faces(looks, settings, same_person_distance=0.6, **more)


def two_people(frames):
    """Anna left and small, Bert right and large."""
    return [look(frame, seen(frame, 400.0, 120.0, BERT), seen(frame, 100.0, 80.0, ANNA)) for frame in frames]


def test_nothing_seen_is_an_empty_plan():
    empty = plan([])
    assert (empty.faces, empty.track_count, empty.person_count, empty.person_ids) == ({}, 0, 0, [])
    nobody = plan([look(1), look(2)])
    assert (nobody.faces, nobody.track_count) == ({}, 0)


def test_two_people_are_two_tracks_the_largest_first():
    made = plan(two_people(range(1, 9)))
    assert (made.track_count, made.person_count) == (2, 2)
    assert list(made.faces) == list(range(1, 9))
    for faces in made.faces.values():
        assert [face.sighting.box.width for face in faces] == [120.0, 80.0]
    ids = {face.track_id for faces in made.faces.values() for face in faces}
    assert len(ids) == 2
    parts = [made.of_person(person) for person in made.person_ids]
    assert [len(part) for part in parts] == [8, 8]
    assert all(len(faces) == 1 for part in parts for faces in part.values())


def test_one_person_by_picture_or_by_track():
    looks = two_people(range(1, 7))
    anna = plan(looks, references=[ANNA])
    assert {face.sighting.box.left for faces in anna.faces.values() for face in faces} == {100.0}
    both = plan(looks)
    number = both.faces[1][0].track_id
    bert = plan(looks, RAW.model_copy(update={"keep_tracks": f" {number}, "}))
    assert {face.sighting.box.left for faces in bert.faces.values() for face in faces} == {400.0}
    assert bert.faces[1][0].track_id == number, "a track keeps its number when others are left out"
    with pytest.raises(InvalidInput, match="There is no track 77, 78; tracks here are"):
        plan(looks, RAW.model_copy(update={"keep_tracks": "77,78"}))
    with pytest.raises(InvalidInput, match="not among the 2 tracks"):
        plan(looks, references=[np.eye(128, dtype=np.float32)[9]])
    with pytest.raises(InvalidInput, match="descriptors"):
        plan([look(frame, seen(frame, identity=None)) for frame in (1, 2)], references=[ANNA])


@pytest.mark.parametrize("text", ["a", "1;2", "1,b", "1.5", "0x1", "__import__('os')"])
def test_track_numbers_that_are_none(text):
    with pytest.raises(InvalidInput, match="joined by commas"):
        parse_track_ids(text)


def test_track_numbers():
    assert parse_track_ids("1, 4,,4") == {1, 4}
    assert parse_track_ids(" , ") == set()


def test_short_misses_are_filled_in_and_long_ones_are_not():
    frames = [1, 2, 3, 5, 6, 20, 21]
    looks = [look(frame, *([seen(frame)] if frame in frames else [])) for frame in range(1, 22)]
    made = plan(looks, RAW.model_copy(update={"max_gap": 3}))
    assert list(made.faces) == [1, 2, 3, 4, 5, 6, 20, 21]
    assert made.faces[4][0].sighting.origin is Origin.INTERPOLATED
    assert made.faces[5][0].sighting.origin is Origin.DETECTED
    assert list(plan(looks, RAW.model_copy(update={"max_gap": 0})).faces) == frames


def test_what_an_artist_says_is_no_face_is_not_filled_in_again():
    looks = [look(frame, *([seen(frame)] if frame != 4 else [])) for frame in range(1, 8)]
    assert 4 in plan(looks).faces
    denied = Correction(frame=4, box=seen(4).box, remove=True)
    assert 4 not in plan(looks, corrections={4: [denied]}).faces
    elsewhere = Correction(frame=4, box=Box(600.0, 0.0, 700.0, 90.0), remove=True)
    assert 4 in plan(looks, corrections={4: [elsewhere]}).faces


def test_smoothing_calms_a_still_face_and_does_not_cross_a_cut():
    looks = [look(frame, seen(frame, jitter=1.0)) for frame in range(1, 21)]
    truth = seen(1).landmarks.points

    def error(made):
        points = [made.faces[frame][0].sighting.landmarks.points for frame in range(6, 16)]
        return float(np.std(np.stack(points) - truth))

    assert error(plan(looks, RAW.model_copy(update={"smoothing_radius": 5}))) < 0.7 * error(plan(looks))
    other = frame_signature(
        np.kron(np.random.default_rng(0).integers(0, 256, (9, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    )
    cut = [look(one.frame, *one.sightings, signature=SIGNATURE if one.frame <= 10 else other) for one in looks]
    split = plan(cut, RAW.model_copy(update={"split_at_cuts": True}))
    assert split.cuts == (11,)
    assert split.track_count == 2
    assert split.person_count == 1, "the same person on both sides of the cut"
    assert plan(cut).cuts == ()


def test_settings_concern_one_half_of_the_work():
    """A plan's own settings may neither have frames looked at again nor make other pictures by themselves."""
    assert not {"smoothing_radius", "max_gap", "keep_person", "keep_tracks", "people"} & (LOOK_FIELDS | CUT_FIELDS)
    changed = RAW.model_copy(update={"smoothing_radius": 9, "max_gap": 1, "keep_tracks": "1"})
    assert changed.look_digest() == RAW.look_digest()
    assert changed.cut_digest() == RAW.cut_digest()
    assert RAW.model_copy(update={"min_score": 0.5}).look_digest() != RAW.look_digest()
    assert RAW.model_copy(update={"aligned_size": 64}).cut_digest() != RAW.cut_digest()
