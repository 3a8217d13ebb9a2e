"""How a track's motion is read, and what an open shutter makes of moving light."""

import math

import numpy as np
import pytest

from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.merge.motion import Motion, blur_by_motion, blur_reach, track_motion
from dflcore.types import Box, FaceRecord, FaceType, Landmarks, Pose

CENTER = (200.0, 150.0)
STILL = Motion(vector_px=(0.0, 0.0), center_px=(32.5, 32.5))


@pytest.fixture(scope="module")
def face_points():
    """(68, 2) landmarks of a face of about 120 pixels around :data:`CENTER`."""
    points = np.random.default_rng(3).uniform(-60, 60, (68, 2))
    points[list(ALIGNMENT_INDEXES)] = (np.asarray(ALIGNMENT_TEMPLATE, np.float64) - 0.5) * 120
    return points + CENTER


def moved(points, x, y):
    return points + np.array([x, y])


def make_record(points, frame, *, aspect=1.0):
    square = points * [aspect, 1.0]
    square_from_plate = np.array([[aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])
    aligned = affine.compose(aligned_from_landmarks(square, FaceType.FULL, 64), square_from_plate)
    return FaceRecord(
        name=f"{frame}.png",
        plate="shot",
        frame=frame,
        face_index=0,
        plate_size=(400, 300),
        box=Box(0, 0, 1, 1),
        score=1.0,
        landmarks=Landmarks(points=points.astype(np.float32)),
        face_type=FaceType.FULL,
        aligned_size=64,
        aligned_from_plate=aligned,
        pose=Pose(0.0, 0.0, 0.0),
        sharpness=1.0,
        detector="none",
        landmarker="none",
    )


def by_frame(*records):
    return {record.frame: record for record in records}


def test_a_steady_motion_is_told_from_both_sides(face_points):
    records = [make_record(moved(face_points, 4.0 * i, -2.5 * i), 10 + i) for i in range(5)]
    for record in records:
        motion = track_motion(by_frame(*records), record)
        np.testing.assert_allclose(motion.vector_px, (4.0, -2.5), atol=1e-4)
        assert abs(motion.turn) < 1e-6
        assert abs(motion.growth) < 1e-6
        assert motion.pixel_aspect == pytest.approx(1.0)


def test_the_middle_of_an_uneven_motion_is_the_central_difference(face_points):
    records = by_frame(*(make_record(moved(face_points, x, 0.0), f) for f, x in ((1, 0.0), (2, 3.0), (3, 10.0))))
    assert track_motion(records, records[2]).vector_px[0] == pytest.approx(5.0, abs=1e-4)
    assert track_motion(records, records[1]).vector_px[0] == pytest.approx(3.0, abs=1e-4)
    assert track_motion(records, records[3]).vector_px[0] == pytest.approx(7.0, abs=1e-4)


@pytest.mark.parametrize("aspect", [1.0, 2.0])
def test_turn_and_growth_come_with_the_shift(face_points, aspect):
    flat = face_points / [aspect, 1.0]
    middle = flat[17:48].mean(0)
    motion = Motion(vector_px=(3.0, 2.0), center_px=tuple(middle), turn=0.05, growth=0.03, pixel_aspect=aspect)
    records = by_frame(
        *(make_record(affine.apply(motion.plate_from_plate(t), flat), t, aspect=aspect) for t in (-1, 0, 1))
    )
    told = track_motion(records, records[0])
    assert told.turn == pytest.approx(0.05, abs=1e-5)
    assert told.growth == pytest.approx(0.03, abs=1e-5)
    assert told.pixel_aspect == pytest.approx(aspect, rel=1e-6)
    np.testing.assert_allclose(told.vector_px, (3.0, 2.0), atol=0.02)
    np.testing.assert_allclose(told.center_px, middle, atol=1e-3)


def test_speech_is_no_motion(face_points):
    closed, opened = face_points.copy(), face_points.copy()
    opened[48:] += [0.0, 9.0]
    opened[:17] += [0.0, 6.0]
    records = by_frame(make_record(closed, 1), make_record(opened, 2))
    np.testing.assert_allclose(track_motion(records, records[2]).vector_px, (0.0, 0.0), atol=1e-4)


def test_frames_that_were_left_out_do_not_hasten_the_motion(face_points):
    records = by_frame(*(make_record(moved(face_points, 2.0 * f, 0.0), f) for f in (0, 2, 5)))
    for frame in records:
        assert track_motion(records, records[frame]).vector_px[0] == pytest.approx(2.0, abs=1e-4)


def test_no_neighbours_no_motion(face_points):
    records = by_frame(make_record(face_points, 1), make_record(face_points + 1, 9))
    assert track_motion(records, records[1]) is None


@pytest.mark.parametrize("jump", [lambda p: p + 150.0, lambda p: (p - CENTER) * 1.8 + CENTER])
def test_a_jump_is_a_cut_and_the_other_side_tells(face_points, jump):
    records = by_frame(
        make_record(face_points, 1), make_record(face_points + 2.0, 2), make_record(jump(face_points), 3)
    )
    assert track_motion(records, records[2]).vector_px == pytest.approx((2.0, 2.0), abs=1e-4)
    del records[1]
    assert track_motion(records, records[2]) is None


@pytest.mark.parametrize("turn", [0.0, 1e-9, 1e-4, 0.2])
def test_parts_of_a_motion_add_up_to_it(turn):
    motion = Motion(vector_px=(5.0, -3.0), center_px=CENTER, turn=turn, growth=-turn / 2, pixel_aspect=1.5)
    whole = motion.plate_from_plate(1.0)
    np.testing.assert_allclose(
        affine.compose(motion.plate_from_plate(0.7), motion.plate_from_plate(0.3)), whole, atol=1e-8
    )
    np.testing.assert_allclose(affine.compose(motion.plate_from_plate(-1.0), whole), affine.IDENTITY, atol=1e-8)
    np.testing.assert_allclose(motion.plate_from_plate(0.0), affine.IDENTITY, atol=1e-12)


def point_of_light(side=65, channels=5):
    light = np.zeros((side, side, channels), np.float32)
    light[side // 2, side // 2] = 1000.0
    return light


@pytest.mark.parametrize("power", [100.0, 50.0])
@pytest.mark.parametrize("vector", [(8.0, 0.0), (0.0, 8.0), (6.0, 6.0), (-7.3, 2.1), (25.0, -11.0), (0.6, 0.3)])
def test_a_point_of_light_becomes_a_line_of_the_same_light(vector, power):
    motion = Motion(vector_px=vector, center_px=(10.0, 70.0))
    line = blur_by_motion(point_of_light(), motion, power)[..., 0].astype(np.float64)
    assert line.min() >= 0.0
    assert line.sum() == pytest.approx(1000.0, rel=1e-5)
    ys, xs = np.mgrid[:65, :65] - 32.0
    assert (line * xs).sum() / 1000 == pytest.approx(0.0, abs=1e-3)
    assert (line * ys).sum() / 1000 == pytest.approx(0.0, abs=1e-3)
    spread = np.array([[(line * a * b).sum() for a in (xs, ys)] for b in (xs, ys)]) / 1000
    even_line = np.outer(vector, vector) * (power / 100) ** 2 / 12
    np.testing.assert_allclose(spread, even_line, atol=0.45)  # pixels are not points: up to 1/4 a bilinear look-up


def test_along_the_rows_nothing_is_lost_across_them():
    line = blur_by_motion(point_of_light(), Motion(vector_px=(9.0, 0.0), center_px=CENTER), 100.0)
    assert line[32].sum() == pytest.approx(5000.0, rel=1e-5)
    profile = line[32, :, 0] / 1000
    np.testing.assert_allclose(profile[28:37][1:-1], 1 / 9, rtol=0.03)
    assert profile[:27].max() == profile[38:].max() == 0.0


def test_a_turning_face_smears_at_its_rim_and_not_in_its_middle():
    rng = np.random.default_rng(0)
    light = np.pad(rng.random((81, 81, 1), np.float32), ((10, 10), (10, 10), (0, 0)))
    motion = Motion(vector_px=(0.0, 0.0), center_px=(50.5, 50.5), turn=0.2)
    change = np.abs(blur_by_motion(light, motion, 100.0) - light)[..., 0]
    assert change[50, 50] < 0.02
    assert change[40:61, 40:61].mean() < 0.6 * change[14:87, 14:24].mean()
    growing = Motion(vector_px=(0.0, 0.0), center_px=(50.5, 50.5), growth=0.2)
    assert np.abs(blur_by_motion(light, growing, 100.0) - light)[50, 50, 0] < 0.02


def test_a_point_on_the_rim_follows_the_turn():
    light = np.zeros((101, 101, 1), np.float32)
    light[50, 90] = 1.0
    motion = Motion(vector_px=(0.0, 0.0), center_px=(50.5, 50.5), turn=0.5)
    rows, columns = np.nonzero(blur_by_motion(light, motion, 100.0)[..., 0] > 0.005)
    angles = np.arctan2(rows - 50, columns - 50)
    np.testing.assert_allclose(np.hypot(rows - 50, columns - 50), 40.0, atol=1.5)
    assert angles.min() == pytest.approx(-0.25, abs=0.03)
    assert angles.max() == pytest.approx(0.25, abs=0.03)


def test_shorter_and_shorter_motion_goes_over_into_the_picture():
    rng = np.random.default_rng(1)
    light = rng.random((40, 40, 4), np.float32)
    differences = []
    for length in (1.0, 0.5, 0.1, 0.01):
        motion = Motion(vector_px=(length, 0.0), center_px=(20.0, 20.0))
        differences.append(np.abs(blur_by_motion(light, motion, 100.0) - light)[:, 2:-2].max())
    np.testing.assert_allclose(differences[1:], np.array([0.5, 0.1, 0.01]) * differences[0], rtol=0.05)
    assert blur_by_motion(light, STILL, 100.0) is light
    assert blur_by_motion(light, Motion(vector_px=(30.0, 2.0), center_px=(0.0, 0.0)), 0.0) is light


@pytest.mark.parametrize("length", [1.0, 2.0, 4.0, 5.0, 8.0, 16.0, 32.0, 64.0])
def test_length_moves_without_jumps(length):
    rng = np.random.default_rng(2)
    light = np.pad(rng.random((64, 64, 1), np.float32), ((40, 40), (40, 40), (0, 0)))
    near, far = (
        blur_by_motion(light, Motion(vector_px=(0.8 * x, 0.6 * x), center_px=(32.0, 32.0)), 100.0)
        for x in (length - 0.02, length + 0.02)
    )
    assert math.sqrt(float(np.square(near - far)[40:-40, 40:-40].mean())) < 0.015  # of white noise, the hardest picture
    assert np.abs(near - far).max() < 0.05


def test_long_paths_are_even():
    line = blur_by_motion(point_of_light(257), Motion(vector_px=(100.0, 0.0), center_px=CENTER), 100.0)[128, :, 0]
    np.testing.assert_allclose(line[80:177], 10.0, rtol=0.05)
    assert line.sum() == pytest.approx(1000.0, rel=1e-5)


def test_where_the_picture_lies_decides_what_turns():
    motion = Motion(vector_px=(1.0, 0.0), center_px=(500.0, 400.0), turn=0.1)
    whole = np.zeros((120, 120, 1), np.float32)
    whole[40:80, 40:80] = np.random.default_rng(4).random((40, 40, 1))
    blurred = blur_by_motion(whole, motion, 80.0, origin=(440.0, 340.0))
    part = blur_by_motion(whole[20:110, 30:100], motion, 80.0, origin=(470.0, 360.0))
    np.testing.assert_allclose(part[12:-12, 12:-12], blurred[32:98, 42:88], atol=0.02)


def test_reach_holds_all_light():
    motion = Motion(vector_px=(13.0, -7.0), center_px=(50.0, 50.0), turn=0.1, growth=0.05)
    for power in (0.0, 10.0, 100.0):
        reach = blur_reach(motion, power, (0, 0, 100, 100))
        assert (reach == 0) == (power == 0.0)
        margin = reach + 3
        light = np.pad(np.ones((100, 100, 1), np.float32), ((margin, margin), (margin, margin), (0, 0)))
        blurred = blur_by_motion(light, motion, power, origin=(-margin, -margin))
        border = np.ones(light.shape, bool)
        border[3:-3, 3:-3] = False
        assert np.abs(blurred[border]).max() == 0.0


def test_highlights_go_through_and_the_matte_goes_with_the_light():
    light = point_of_light()
    light[..., 3] = 0.0
    light[24:41, 24:41, 3] = 1.0
    light[24:41, 24:41, :3] += 0.5
    blurred = blur_by_motion(light[..., :4], Motion(vector_px=(5.0, 1.0), center_px=(0.0, 0.0)), 100.0)
    far = blurred[30:35, 20:24]
    np.testing.assert_allclose(far[..., 0], 0.5 * far[..., 3], atol=1e-6)
    assert blurred.max() > 100.0
    assert blurred[..., 3].max() <= 1.0 + 1e-6
