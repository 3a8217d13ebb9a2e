"""Smoothing steadies what trembles, moves nothing that moves by itself, and says what it made up."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import InvalidInput
from dflcore.extract.smooth import PARTS, Motion, estimate_noise, fill_gaps, smooth_motion, smooth_track, take_apart
from dflcore.extract.track import Track
from dflcore.geometry.template import HEAD_MODEL
from dflcore.types import Box, Landmarks, Origin, Sighting

FACE = take_apart([Landmarks(points=HEAD_MODEL[:, :2].astype(np.float32))]).shape[0]
"""(68, 2) a frontal face in template units, as it is aligned."""
EYES = (*range(36, 48),)
FLOAT32_PX = 2e-4
"""Landmarks are stored as float32: half a unit in the last place of 1000 px, twice, and some."""


def sighting(frame, points, **more):
    points = np.asarray(points)
    low, high = points.min(0), points.max(0)
    values = {
        "frame": frame,
        "box": Box(*(float(v) for v in (*low, *high))),
        "score": 1.5,
        "landmarks": Landmarks(points=points.astype(np.float32)),
        "detector": "d",
        "landmarker": "l",
        "identity": np.ones(4, np.float32),
        "spread": 0.004,
    }
    return Sighting(**{**values, **more})


def track_of(frames, points):
    return Track(id=3, shot=1, sightings={f: sighting(f, p) for f, p in zip(frames, points, strict=True)})


def points_of(track):
    return np.array([one.landmarks.points for one in track.sightings.values()], dtype=np.float64)


def pose(center, scale=150.0, roll=0.0, face=FACE):
    c, s = scale * math.cos(roll), scale * math.sin(roll)
    return (np.asarray(face) - 0.5) @ np.array([[c, s], [-s, c]]) + center


def noisy(rng, count, sigma=0.4, place=0.3):
    """A face held still as a landmarker sees it."""
    return [pose((600, 400)) + rng.normal(size=2) * place + rng.normal(size=(68, 2)) * sigma for _ in range(count)]


def jitter(points):
    return math.sqrt(float(np.mean(np.diff(points, 2, axis=0) ** 2)))


# --- laws -----------------------------------------------------------------------------------------------------------


def quadratic_motion(times, seed):
    """Place and shape that accelerate steadily, each on its own."""
    rng = np.random.default_rng(seed)
    t = (np.asarray(times, dtype=np.float64) - 20.0)[:, None]
    a, b = rng.normal(size=(2, 4)) * [[6.0, 6.0, 0.02, 0.05], [0.4, 0.4, 0.001, 0.002]]
    place = np.array([640.0, 360.0, 5.0, rng.uniform(-3, 3)]) + a * t + b * t**2
    c, d = rng.normal(size=(2, 1, 68, 2)) * [[[[0.004]]], [[[2e-4]]]]
    shape = FACE + c * t[:, :, None] + d * (t[:, :, None]) ** 2
    return Motion(place, shape)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.lists(st.integers(0, 39), min_size=4, max_size=40, unique=True))
def test_steady_velocity_and_acceleration_pass_unchanged(seed, radius, frames):
    """Ends, holes and uneven steps included."""
    numbers = np.array(sorted(frames), dtype=np.float64)
    motion = quadratic_motion(numbers, seed)
    rng = np.random.default_rng(seed)
    smoothed = smooth_motion(numbers, motion, rng.uniform(0.1, 1.0, len(numbers)), radius)
    np.testing.assert_allclose(smoothed.place, motion.place, atol=1e-6)
    np.testing.assert_allclose(smoothed.shape, motion.shape, atol=1e-6)


def test_a_track_that_accelerates_steadily_stays_where_it_is():
    frames = range(100, 160)
    points = [pose((300 + 2 * t + 0.1 * t * t, 500 - 3 * t), 100 * math.exp(0.01 * t), 0.02 * t) for t in range(60)]
    track = track_of(frames, points)
    assert np.abs(points_of(smooth_track(track, radius=6)) - points_of(track)).max() < FLOAT32_PX


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_time_has_no_direction(seed, radius):
    rng = np.random.default_rng(seed)
    points = np.array(noisy(rng, 40)) + 40 * np.sin(np.arange(40) / 4)[:, None, None]
    forward = points_of(smooth_track(track_of(range(40), points), radius=radius))
    backward = points_of(smooth_track(track_of(range(40), points[::-1]), radius=radius))
    np.testing.assert_allclose(forward, backward[::-1], atol=FLOAT32_PX)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(-3.1, 3.1), st.floats(0.3, 3.0))
def test_a_moved_turned_or_scaled_plate_gives_the_same_track_moved_turned_and_scaled(seed, angle, scale):
    rng = np.random.default_rng(seed)
    points = np.array(noisy(rng, 30)) + 30 * np.sin(np.arange(30) / 5)[:, None, None]
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    matrix, shift = np.array([[c, s], [-s, c]]), np.array([12.0, -7.0])
    here = points_of(smooth_track(track_of(range(30), points), radius=5))
    there = points_of(smooth_track(track_of(range(30), points @ matrix + shift), radius=5))
    np.testing.assert_allclose(there, here @ matrix + shift, atol=0.01 * scale)


def test_radius_zero_changes_nothing():
    track = track_of(range(20), noisy(np.random.default_rng(0), 20))
    assert smooth_track(track, radius=0) is track


def test_taking_apart_and_putting_together_is_exact():
    rng = np.random.default_rng(5)
    landmarks = [
        Landmarks(
            points=(
                pose(rng.uniform(0, 2000, 2), rng.uniform(20, 900), rng.uniform(-3, 3)) + rng.normal(size=(68, 2))
            ).astype(np.float32),
            depth=rng.normal(size=68).astype(np.float32),
        )
        for _ in range(10)
    ]
    motion = take_apart(landmarks, 2.0)
    for index, one in enumerate(landmarks):
        again = motion.points(index, 2.0)
        np.testing.assert_allclose(again[:, :2], one.points, atol=1e-3)
        np.testing.assert_allclose(again[:, 2], one.depth, atol=1e-4)


def test_a_head_that_turns_over_has_no_jump_in_its_roll():
    """Upside down, where angles wrap around."""
    points = [pose((500, 500), 150, math.pi + 0.02 * t) for t in range(-15, 15)]
    track = track_of(range(30), points)
    assert np.abs(points_of(smooth_track(track, radius=5)) - points_of(track)).max() < FLOAT32_PX


# --- what it is for -------------------------------------------------------------------------------------------------


def test_a_face_held_still_trembles_far_less():
    points = np.array(noisy(np.random.default_rng(1), 80))
    smoothed = points_of(smooth_track(track_of(range(80), points), radius=5))
    assert jitter(smoothed) < 0.25 * jitter(points)
    truth = pose((600, 400))
    assert np.sqrt(np.mean((smoothed - truth) ** 2)) < 0.6 * np.sqrt(np.mean((points - truth) ** 2))


def test_a_sudden_stop_is_not_rounded_off():
    rng = np.random.default_rng(2)
    truth = np.array([pose((600 + 8 * min(t - 30, 0), 400)) for t in range(60)])
    points = truth + np.array(noisy(rng, 60)) - pose((600, 400))
    smoothed = points_of(smooth_track(track_of(range(60), points), radius=6))
    around = slice(27, 34)
    before, after = (np.sqrt(np.mean((p - truth)[around] ** 2)) for p in (points, smoothed))
    assert after < before


def test_a_blink_keeps_its_depth():
    """Lids shut for one frame and half shut for the two beside it."""
    rng = np.random.default_rng(3)
    points = np.array(noisy(rng, 60, sigma=0.3))
    upper, lower = [37, 38, 43, 44], [41, 40, 47, 46]
    opening = points[:, lower, 1].mean(1) - points[:, upper, 1].mean(1)
    for frame, shut in ((29, 0.5), (30, 0.9), (31, 0.5)):
        points[frame][upper, 1] += shut * (FACE[lower, 1] - FACE[upper, 1]) * 150.0
    smoothed = points_of(smooth_track(track_of(range(60), points), radius=6))
    left = smoothed[:, lower, 1].mean(1) - smoothed[:, upper, 1].mean(1)
    raw = points[:, lower, 1].mean(1) - points[:, upper, 1].mean(1)
    assert abs(left[30] - raw[30]) < 0.1 * np.median(opening)
    jaw = list(PARTS[0])
    assert jitter(smoothed[20:40][:, jaw]) < 0.35 * jitter(points[20:40][:, jaw])


def test_noise_is_told_from_motion():
    rng = np.random.default_rng(4)
    t = np.arange(200.0)
    values = np.stack([50 * np.sin(t / 5), 20 * np.sin(t), 0 * t], axis=1) + rng.normal(size=(200, 3)) * [0.5, 2.0, 1.0]
    assert estimate_noise(t, values, np.ones(200)) == pytest.approx([0.5, 2.0, 1.0], rel=0.35)


# --- who has a say --------------------------------------------------------------------------------------------------


def test_what_a_person_set_stays_to_the_bit():
    track = track_of(range(30), noisy(np.random.default_rng(6), 30))
    by_hand = dataclasses.replace(track.sightings[12], origin=Origin.MANUAL)
    track.sightings[12] = by_hand
    smoothed = smooth_track(track, radius=5)
    assert smoothed.sightings[12] is by_hand
    assert not np.array_equal(smoothed.sightings[13].landmarks.points, track.sightings[13].landmarks.points)


def test_uncertain_looks_weigh_less():
    """Frame 15 is seen badly and lies off; its neighbours follow it less when it is known to be uncertain."""
    points = np.array(noisy(np.random.default_rng(7), 31, sigma=1.0, place=0.5))
    points[15] += 2.0
    plain = track_of(range(31), points)
    told = track_of(range(31), points)
    told.sightings[15] = dataclasses.replace(told.sightings[15], spread=0.04)
    near = [14, 16]
    pulled, kept = (points_of(smooth_track(one, radius=5))[near].mean() for one in (plain, told))
    assert kept < pulled - 0.1


def test_everything_but_the_landmarks_stays():
    track = track_of(range(30), noisy(np.random.default_rng(8), 30))
    smoothed = smooth_track(track, radius=4)
    assert (smoothed.id, smoothed.shot, smoothed.frames) == (3, 1, track.frames)
    for frame, one in smoothed.sightings.items():
        assert dataclasses.replace(one, landmarks=track.sightings[frame].landmarks) == track.sightings[frame]
        assert one.landmarks.points.dtype == np.float32


def test_depth_is_steadied_too_and_kept_where_only_some_have_it():
    rng = np.random.default_rng(9)
    depth = 40 * rng.normal(size=68)
    track = track_of(range(30), noisy(rng, 30))
    for frame, one in track.sightings.items():
        with_depth = (depth + rng.normal(size=68)).astype(np.float32)
        landmarks = dataclasses.replace(one.landmarks, depth=with_depth)
        track.sightings[frame] = dataclasses.replace(one, landmarks=landmarks)
    before = np.array([one.landmarks.depth for one in track.sightings.values()])
    after = np.array([one.landmarks.depth for one in smooth_track(track, radius=5).sightings.values()])
    assert jitter(after) < 0.4 * jitter(before)
    track.sightings[4] = dataclasses.replace(
        track.sightings[4], landmarks=Landmarks(points=track.sightings[4].landmarks.points)
    )
    some = smooth_track(track, radius=5)
    assert some.sightings[4].landmarks.depth is None
    np.testing.assert_array_equal(some.sightings[5].landmarks.depth, track.sightings[5].landmarks.depth)


def test_every_second_frame_is_smoothed_as_a_sequence_of_its_own():
    points = noisy(np.random.default_rng(10), 40)
    ones = points_of(smooth_track(track_of(range(40), points), radius=4))
    twos = points_of(smooth_track(track_of(range(1001, 1081, 2), points), radius=4))
    np.testing.assert_array_equal(ones, twos)


def test_across_a_long_occlusion_neighbours_know_nothing_of_each_other():
    rng = np.random.default_rng(11)
    first, second = noisy(rng, 25), [p + 300 for p in noisy(rng, 25)]
    both = points_of(smooth_track(track_of([*range(25), *range(60, 85)], [*first, *second]), radius=5))
    alone = points_of(smooth_track(track_of(range(25), first), radius=5))
    np.testing.assert_array_equal(both[:25], alone)


def test_pixel_aspect_is_made_square_first():
    """An anamorphic plate gives the square one's landmarks, squeezed."""
    rng = np.random.default_rng(12)
    points = np.array([pose((600, 400), roll=0.02 * t) + rng.normal(size=(68, 2)) * 0.4 for t in range(40)])
    square = points_of(smooth_track(track_of(range(40), points), radius=5))
    squeezed = points_of(smooth_track(track_of(range(40), points / (2.0, 1.0)), radius=5, pixel_aspect=2.0))
    np.testing.assert_allclose(squeezed * (2.0, 1.0), square, atol=2e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_short_tracks_are_harmless(count):
    points = noisy(np.random.default_rng(13), count)
    smoothed = points_of(smooth_track(track_of(range(count), points), radius=5))
    assert np.abs(smoothed - points).max() < 4.0


# --- gaps -----------------------------------------------------------------------------------------------------------


def with_gap(frames, missing, place):
    kept = [f for f in frames if f not in missing]
    return track_of(kept, [place(f) for f in kept])


def test_a_gap_in_cubic_motion_is_filled_exactly():
    def place(f):
        t = f - 20.0
        return pose((600 + 3 * t + 0.2 * t**2 - 0.01 * t**3, 300 - t), 150 * math.exp(0.01 * t), 0.03 * t)

    missing = {18, 19, 20, 21}
    filled = fill_gaps(with_gap(range(40), missing, place), range(40), max_gap=4)
    assert filled.frames == tuple(range(40))
    for frame in missing:
        np.testing.assert_allclose(filled.sightings[frame].landmarks.points, place(frame), atol=2e-3)


def test_what_was_filled_says_so():
    track = with_gap(range(10), {5}, lambda f: pose((500 + f, 400)))
    filled = fill_gaps(track, range(10), max_gap=1)
    made_up = filled.sightings[5]
    assert made_up.origin is Origin.INTERPOLATED
    assert (made_up.frame, made_up.score, made_up.spread, made_up.identity) == (5, 0.0, None, None)
    assert made_up.box.left == pytest.approx((track.sightings[4].box.left + track.sightings[6].box.left) / 2)
    assert all(filled.sightings[f] is track.sightings[f] for f in track.frames)


def test_gaps_longer_than_asked_and_the_ends_stay_open():
    track = with_gap(range(5, 30), {10, 11, 12, 20}, lambda f: pose((500 + f, 400)))
    filled = fill_gaps(track, range(40), max_gap=2)
    assert set(filled.frames) == set(range(5, 30)) - {10, 11, 12}
    assert fill_gaps(track, range(40), max_gap=0) is track


def test_frames_the_plate_does_not_have_are_not_made_up():
    track = track_of([1, 2, 5, 6], [pose((500 + f, 400)) for f in (1, 2, 5, 6)])
    assert fill_gaps(track, [1, 2, 4, 5, 6], max_gap=2).frames == (1, 2, 4, 5, 6)


def test_gaps_count_frames_of_the_sequence():
    track = with_gap(range(0, 100, 5), {40, 45}, lambda f: pose((500 + f, 400)))
    assert len(fill_gaps(track, range(0, 100, 5), max_gap=2).sightings) == 20
    assert len(fill_gaps(track, range(0, 100, 5), max_gap=1).sightings) == 18


def test_noise_beside_a_gap_is_not_blown_up():
    rng = np.random.default_rng(14)
    worst = []
    for _ in range(20):
        points = dict(enumerate(noisy(rng, 20)))
        filled = fill_gaps(with_gap(range(20), {8, 9, 10, 11}, points.__getitem__), range(20), max_gap=4)
        error = [filled.sightings[f].landmarks.points - pose((600, 400)) for f in (8, 9, 10, 11)]
        worst.append(np.sqrt(np.mean(np.square(error))))
    assert np.mean(worst) < 0.6  # a single look is off by 0.5


def test_filled_frames_are_drawn_anew_by_smoothing_and_have_no_say():
    points = dict(enumerate(noisy(np.random.default_rng(15), 40)))
    gappy = with_gap(range(40), {20, 21}, points.__getitem__)
    filled = fill_gaps(gappy, range(40), max_gap=2)
    smoothed, without = smooth_track(filled, radius=5), smooth_track(gappy, radius=5)
    assert smoothed.sightings[20].origin is Origin.INTERPOLATED
    assert np.abs(smoothed.sightings[20].landmarks.points - pose((600, 400))).mean() < 0.4
    for frame in gappy.frames:
        np.testing.assert_allclose(
            smoothed.sightings[frame].landmarks.points, without.sightings[frame].landmarks.points, atol=0.5
        )


@pytest.mark.parametrize("work", [lambda t: smooth_track(t, radius=-1), lambda t: fill_gaps(t, [1], max_gap=-1)])
def test_negative_reach_is_refused(work):
    with pytest.raises(InvalidInput) as caught:
        work(track_of([1], [pose((1, 1))]))
    assert caught.value.reason == "BAD_SETTING"
