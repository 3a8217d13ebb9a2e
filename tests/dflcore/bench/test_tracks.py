"""What smoothing does to known motion: no lag, less error; and to real footage: less tremble."""

import numpy as np
import pytest

from dflcore.bench.tracks import (
    bench_looks,
    bench_moves,
    find_lag,
    look_at_movie,
    make_moves,
    make_track,
    measure_jitter,
)
from dflcore.errors import InvalidInput
from dflcore.extract.smooth import smooth_track
from dflcore.frames import FrameRange


def values(figures):
    return {figure.name: figure.value for figure in figures}


@pytest.fixture(scope="module")
def moves():
    return values(bench_moves(pairs=3))


def test_nothing_lags(moves):
    lags = {name: value for name, value in moves.items() if name.endswith(": lag")}
    assert len(lags) == len(make_moves()) - 1
    assert all(abs(lag) < 0.02 for lag in lags.values()), lags


def test_the_error_against_the_truth_falls_in_every_move(moves):
    left = {name: value for name, value in moves.items() if name.endswith("error, left")}
    assert all(share < 95.0 for share in left.values()), left
    assert left["held still: error, left"] < 60.0


def test_nothing_shoots_past_its_end(moves):
    overshoots = [value for name, value in moves.items() if name.endswith("overshoot")]
    assert overshoots
    assert max(overshoots) < 0.4  # px, of a face of 160


def test_a_known_delay_is_measured():
    move = next(move for move in make_moves() if move.name.startswith("sway"))
    moments = np.arange(72.0)
    assert find_lag(move.points(moments - 0.37), move) == pytest.approx(0.37, abs=0.005)
    assert find_lag(move.points(moments + 1.2), move) == pytest.approx(-1.2, abs=0.005)


def test_white_noise_of_one_has_jitter_and_tremble_of_one():
    """In the points; the square they steer is steadier, as it follows 33 of them."""
    exact = make_moves()[0].points(np.arange(400.0))
    noise = np.random.default_rng(0).normal(size=exact.shape)
    figures = {what: value for what, (value, _) in measure_jitter(make_track(exact + noise)).items()}
    expected = 1000.0 / 160.0
    assert figures["jitter of all points inside it"] == pytest.approx(expected, rel=0.1)
    assert figures["tremble of all points inside it"] == pytest.approx(expected, rel=0.1)
    assert figures["jitter of the aligned square"] < 0.5


def test_a_face_that_does_not_tremble_has_none():
    figures = measure_jitter(make_track(make_moves()[0].points(np.arange(20.0))))
    assert all(value < 0.01 for value, _ in figures.values())
    assert all(value == 0.0 for value, _ in measure_jitter(make_track(make_moves()[0].points(np.arange(2.0)))).values())


@pytest.mark.footage
@pytest.mark.slow
@pytest.mark.parametrize("name", ["target_talk.mp4", "source_talk.mp4"])
def test_real_footage_trembles_less_and_its_blinks_stay(material, name):
    looks = look_at_movie(material / "footage" / name, frames=FrameRange.parse("1-130"))
    figures = values(bench_looks(looks, name, radius=5, max_gap=8))
    assert figures["cuts"] == 0
    assert figures["tracks"] == 1
    for what, most in {"the aligned square": 60, "all points inside it": 45, "eyes": 35, "mouth": 65}.items():
        assert figures[f"tremble of {what}, left"] < most
        assert figures[f"jitter of {what}, left"] < 99.0
    track = make_track(np.array([looks.sightings[frame][0].landmarks.points for frame in looks.frames]))
    opening, steady = (eye_opening(one) for one in (track, smooth_track(track, radius=5)))
    blinks = np.argsort(opening)[:3]
    assert opening[blinks].max() < 0.65 * np.median(opening)
    assert np.abs(steady - opening)[blinks].max() < 0.15 * np.median(opening)


def eye_opening(track):
    points = np.array([one.landmarks.points for one in track.sightings.values()])
    return (points[:, [40, 41, 46, 47], 1] - points[:, [38, 37, 44, 43], 1]).mean(1)


@pytest.mark.footage
def test_footage_without_a_face_is_an_error_that_names_it(material):
    looks = look_at_movie(material / "footage" / "target_talk.mp4", frames=FrameRange.parse("1-2"))
    with pytest.raises(InvalidInput, match="some_clip") as caught:
        bench_looks(looks, "some_clip", radius=5, max_gap=8)
    assert caught.value.reason == "NO_FACE_FOUND"
