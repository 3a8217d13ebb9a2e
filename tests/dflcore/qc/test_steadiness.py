import numpy as np
import pytest

from dflcore.qc.steadiness import compare_traces, excess, oddness, oddness_and_jumps, trace_face

FRAMES = list(range(10, 19))


def pairs(values):
    """Changes between neighbours of a series."""
    return {frame: abs(b - a) for frame, a, b in zip(FRAMES, values, values[1:], strict=False)}


def odd(values):
    return [oddness(pairs(values), FRAMES).get(frame) for frame in FRAMES]


def test_a_pop_is_one_frame():
    for place in range(9):
        values = [float(index == place) for index in range(9)]
        assert odd(values) == values


def test_a_step_blames_nobody():
    assert odd([0.0] * 4 + [1.0] * 5) == [0.0] * 9


def test_alternation_is_odd_everywhere_but_at_the_ends():
    assert odd([0.0, 1.0] * 4 + [0.0]) == [0.0, *[1.0] * 7, 0.0]


def test_a_drift_is_odd_by_its_pace():
    assert odd([0.1 * index for index in range(9)])[1:-1] == pytest.approx([0.1] * 7)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1, 1], {14: 1.0}),  # a step, once
        ([0, 0, 0, 1, 1, 0, 0, 0, 0], {13: 1.0, 15: 1.0}),  # there and back
        ([0, 0, 0, 1, 0, 0, 0, 0, 0], {13: 1.0}),  # one odd frame explains both its changes
        ([1, 0, 0, 0, 0, 0, 0, 0, 0], {10: 1.0}),
        ([0, 0, 0, 0, 0, 0, 0, 0, 1], {18: 1.0}),
    ],
)
def test_colour_may_not_change_even_once(values, expected):
    found = oddness_and_jumps(pairs([float(value) for value in values]), FRAMES)
    assert {frame: value for frame, value in found.items() if value} == expected


def test_gaps_are_ends():
    changes = {10: 1.0, 14: 2.0}
    assert oddness(changes, FRAMES) == {10: 1.0, 11: 1.0, 14: 2.0, 15: 2.0}
    assert oddness({}, [5]) == {}


def test_excess():
    assert excess(5.0, 3.0) == 4.0
    assert excess(3.0, 5.0) == 0.0


@pytest.fixture
def face():
    rng = np.random.default_rng(0)
    picture = rng.random((256, 256, 3)).astype(np.float32) * 0.5
    matte = np.ones((256, 256), np.float32)
    points = (rng.random((68, 2)) * 256).astype(np.float32)

    def trace(plate=0.0, result=0.0, plate_shift=0.0, result_shift=0.0):
        return trace_face(
            picture + np.float32(plate),
            picture + np.float32(result),
            matte,
            points + plate_shift,
            points + result_shift,
        )

    return trace


def test_what_the_plate_does_is_no_flicker(face):
    changes = compare_traces(face(), face(plate=0.1, result=0.1, plate_shift=2.0, result_shift=2.0))
    assert changes == pytest.approx({"flicker": 0.0, "boil": 0.0, "jitter": 0.0}, abs=1e-4)


def test_what_the_plate_does_not_is(face):
    changes = compare_traces(face(), face(result=0.04, result_shift=3.0))
    assert changes["flicker"] == pytest.approx(4.0, abs=1e-3)
    assert changes["boil"] == pytest.approx(0.0, abs=1e-3)
    assert changes["jitter"] > 1.0
    assert compare_traces(face(), face(plate=0.04))["flicker"] == pytest.approx(4.0, abs=1e-3)
