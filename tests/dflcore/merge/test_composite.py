"""Compositing and stacking, and the steps' machinery."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from dflcore.io.plate import Window
from dflcore.merge.composite import FaceLayers, composite, inside, intersect, stack_faces, to_float, to_half
from dflcore.merge.stages import run_stages


def layers(window, color, matte):
    shape = (window.height, window.width)
    return FaceLayers(
        window=window,
        swap=np.full((*shape, 3), color, np.float32),
        raw=np.full((*shape, 3), color, np.float32),
        matte=np.full(shape, matte, np.float32),
        learned_source=np.ones(shape, np.float32),
        learned_target=np.ones(shape, np.float32),
        hull=np.ones(shape, np.float32),
        segmentation=np.ones(shape, np.float32),
        st=np.full((2, *shape), 0.5, np.float32),
    )


def test_full_matte_is_the_swap_and_no_matte_the_plate():
    rng = np.random.default_rng(0)
    plate = rng.uniform(-1, 65504, (8, 8, 3)).astype(np.float32)
    swap = rng.uniform(0, 1e-3, (8, 8, 3)).astype(np.float32)
    matte = np.zeros((8, 8), np.float32)
    matte[:4] = 1
    mixed = composite(plate, swap, matte)
    assert (mixed[:4] == swap[:4]).all()
    assert (mixed[4:] == plate[4:]).all()


def test_a_matte_under_broken_pixels_gives_numbers():
    plate = np.array([[[np.nan] * 3, [np.inf] * 3, [-np.inf] * 3]], np.float32)
    mixed = composite(plate, np.full((1, 3, 3), 0.5, np.float32), np.full((1, 3), 0.5, np.float32))
    assert np.isfinite(mixed).all()
    assert mixed[0, 0, 0] == 0.5


def test_conversions_equal_numpys():
    half = np.arange(65536, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(to_float(half), half.astype(np.float32))
    values = np.random.default_rng(0).uniform(-70000, 70000, 10000).astype(np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(to_half(values), values.astype(np.float16))


def test_stacked_faces_composite_as_one_after_the_other():
    plate = np.full((20, 30, 3), 2.0, np.float32)
    first = layers(Window(x=0, y=0, width=20, height=12), 1.0, 0.6)
    second = layers(Window(x=10, y=4, width=15, height=14), 5.0, 0.3)
    expected = plate.copy()
    for face in (first, second):
        w = face.window
        part = expected[w.y : w.y + w.height, w.x : w.x + w.width]
        part[:] = composite(part, face.swap, face.matte)
    stacked = stack_faces([first, second])
    w = stacked.window
    assert (w.x, w.y, w.width, w.height) == (0, 0, 25, 18)
    result = plate.copy()
    part = result[: w.height, : w.width]
    part[:] = composite(part, stacked.swap, stacked.matte)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def crowd(seed=0):
    """Five faces over a plate of 40 x 30, some apart, some over each other, one solid."""
    rng = np.random.default_rng(seed)
    windows = [(0, 0, 20, 12), (10, 4, 15, 14), (12, 2, 8, 8), (30, 20, 10, 10), (11, 6, 4, 4)]
    faces = []
    for number, (x, y, width, height) in enumerate(windows):
        face = layers(Window(x=x, y=y, width=width, height=height), 0.0, 0.0)
        matte = rng.uniform(0, 1, (height, width)).astype(np.float32) * (rng.random((height, width)) < 0.8)
        matte = np.ones_like(matte) if number == 4 else matte
        swap = rng.uniform(0, 4, (height, width, 3)).astype(np.float32)
        faces.append(replace(face, swap=swap, raw=swap + 1, matte=matte, person=f"track_{number}"))
    return faces


def test_a_single_face_is_handed_on_as_it_is():
    face = layers(Window(x=0, y=0, width=20, height=12), 1.0, 0.6)
    assert stack_faces([face]) is face
    assert stack_faces([]) is None
    (part,) = face.parts()
    assert part.matte is face.matte


def test_a_stacked_crowd_composites_as_one_after_the_other():
    plate = np.random.default_rng(1).uniform(0, 8, (30, 40, 3)).astype(np.float32)
    expected = plate.copy()
    for face in crowd():
        area = inside(face.window, Window(x=0, y=0, width=40, height=30))
        expected[area] = composite(expected[area], face.swap, face.matte)
    stacked = stack_faces(crowd())
    result = composite(plate, stacked.swap, stacked.matte)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    assert (stacked.raw[6:10, 11:15] == crowd()[4].raw).all()


def test_stacking_changes_none_of_the_faces():
    faces, before = crowd(), crowd()
    stack_faces(faces)
    for face, same in zip(faces, before, strict=True):
        assert (face.matte == same.matte).all()
        assert (face.swap == same.swap).all()


def test_shares_are_what_is_seen_of_each_face_and_sum_to_the_matte():
    faces = crowd()
    stacked = stack_faces(faces)
    assert [part.person for part in stacked.parts()] == [face.person for face in faces]
    total = np.zeros_like(stacked.matte)
    for part, face in zip(stacked.parts(), faces, strict=True):
        assert part.window == face.window
        assert (part.matte <= face.matte).all()
        total[inside(part.window, stacked.window)] += part.matte
    np.testing.assert_allclose(total, stacked.matte, atol=1e-6)
    assert not stacked.parts()[1].matte[2:6, 1:5].any()  # behind the solid one
    assert (stacked.parts()[4].matte == 1).all()
    assert (stacked.parts()[3].matte == faces[3].matte).all()


def test_windows_that_miss_each_other_have_nothing_in_common():
    a = Window(x=0, y=0, width=5, height=5)
    assert intersect(a, Window(x=5, y=0, width=5, height=5)) is None
    assert intersect(a, Window(x=-2, y=3, width=4, height=9)) == Window(x=0, y=3, width=2, height=2)


def test_stages_keep_order_and_bound_what_waits():
    alive = {"now": 0, "most": 0}
    lock = threading.Lock()

    def items():
        for number in range(40):
            with lock:
                alive["now"] += 1
                alive["most"] = max(alive["most"], alive["now"])
            yield number

    def slow(number):
        time.sleep(0.002)
        return number

    results = []
    stop = threading.Event()
    for number in run_stages(items(), (lambda n: n, lambda n: n, slow), depth=1, stop=stop):
        with lock:
            alive["now"] -= 1
        results.append(number)
    assert results == list(range(40))
    assert alive["most"] <= 8


def test_an_error_arrives_after_the_results_before_it():
    def fragile(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = []
    with pytest.raises(ValueError, match="three"):
        for number in run_stages(range(10), (fragile, lambda n: n), depth=1, stop=threading.Event()):
            results.append(number)
    assert results == [0, 1, 2]


def test_stopping_and_leaving_early_end_the_threads():
    before = threading.active_count()
    stop = threading.Event()
    results = []
    for number in run_stages(range(1000), (lambda n: n, lambda n: n, lambda n: n), depth=1, stop=stop):
        results.append(number)
        if number == 5:
            stop.set()
    assert results == list(range(len(results)))
    assert 6 <= len(results) < 15
    for _ in run_stages(range(1000), (lambda n: n, lambda n: n), depth=1, stop=threading.Event()):
        break
    time.sleep(0.3)
    assert threading.active_count() <= before
