import math

import cv2
import numpy as np
import pytest

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.errors import InvalidInput
from dflcore.extract.corrections import Correction, Placement, mean_face
from dflcore.extract.look import Looker, Networks
from dflcore.io.plate import PlateImage, Window
from dflcore.landmark.locate import LocatedFace
from dflcore.types import Box, Detection, Landmarks, Origin

SPACE = "sRGB Encoded Rec.709 (sRGB)"
SETTINGS = ExtractSettings(detector="stub", landmarker="stub", detect_size=400, landmark_looks=1, min_face_size=24)


class Detector:
    """Sees what it is told, at any turn asked for."""

    def __init__(self, *boxes, turn=0):
        self.boxes, self.turn, self.shapes = boxes, turn, []

    def detect(self, image):
        self.shapes.append(image.shape)
        is_turned = image.shape[0] > image.shape[1]  # frames here are wider than high
        if is_turned != bool(self.turn % 180):
            return []
        return [Detection(Box(*box), 0.9) for box in self.boxes]


class Locator:
    """A mean face that fills the box; ``factor`` makes it too large, ``points`` replaces it."""

    def __init__(self, factor=1.0, points=None):
        self.factor, self.points, self.turns = factor, points, []

    def locate(self, image, box, *, turn=0):
        self.turns.append(turn)
        side = max(box.width, box.height) * self.factor
        center = np.array([box.left + box.right, box.top + box.bottom]) / 2
        face = mean_face()
        points = (face - face.mean(0)) * side * 0.6 + center if self.points is None else self.points
        return LocatedFace(
            landmarks=Landmarks(points=points.astype(np.float32)), spread=None, yaw=0.0, landmarker="stub"
        )


class Encoder:
    same_person_distance = 0.6

    def describe(self, image, landmarks):
        return np.full(128, image.mean(), np.float32)


def looker(detector, locator=None, encoder=None, **settings):
    networks = Networks(detector, locator or Locator(), encoder)
    return Looker(networks, SETTINGS.model_copy(update=settings), ColorConverter())


def picture(frame=7, width=400, height=300, aspect=1.0):
    pixels = np.full((height, width, 3), 0.5, np.float32)
    return PlateImage(
        frame=frame,
        pixels=pixels,
        channel_names=("R", "G", "B"),
        data_window=Window(x=0, y=0, width=width, height=height),
        display_window=Window(x=0, y=0, width=width, height=height),
        pixel_aspect=aspect,
        color_space=SPACE,
        source_path="x.png",
    )


def boxes_of(look):
    return [(one.box.left, one.box.top, one.box.right, one.box.bottom) for one in look.sightings]


def test_faces_come_largest_first_and_small_ones_are_passed_over():
    large, middle, small = (10, 10, 110, 110), (150, 10, 210, 70), (250, 10, 270, 30)
    (look,) = looker(Detector(small, middle, large)).look([picture()], [()])
    assert boxes_of(look) == [large, middle]
    assert look.frame == 7
    assert all(one.origin is Origin.DETECTED and one.detector == "stub" for one in look.sightings)
    (look,) = looker(Detector(large, middle), max_faces=1).look([picture()], [()])
    assert len(look.sightings) == 1


def test_a_picture_without_a_face_describes_nobody(tmp_path):
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((300, 400, 3), 128, np.uint8))
    with pytest.raises(InvalidInput, match=r"grey\.png shows no face"):
        looker(Detector()).describe_picture(path)


def test_frames_looked_at_together_are_as_looked_at_alone():
    detector = Detector((10, 10, 110, 110))
    together = looker(detector).look([picture(1), picture(2)], [(), ()])
    alone = [looker(detector).look([picture(frame)], [()])[0] for frame in (1, 2)]
    assert [one.frame for one in together] == [1, 2]
    for one, other in zip(together, alone, strict=True):
        assert boxes_of(one) == boxes_of(other)
        np.testing.assert_array_equal(one.signature, other.signature)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_landmarks_far_from_the_size_of_the_face_are_no_face(factor):
    (look,) = looker(Detector((10, 10, 110, 110)), Locator(factor=factor)).look([picture()], [()])
    assert look.sightings == ()


def test_landmarks_that_are_no_numbers_are_no_face():
    broken = Locator(points=np.full((68, 2), np.nan))
    (look,) = looker(Detector((10, 10, 110, 110)), broken).look([picture()], [()])
    assert look.sightings == ()


@pytest.mark.parametrize(
    "box", [(math.nan, 1, 90, 90), (10, 10, math.inf, 90), (5000, 10, 5100, 110), (90, 90, 10, 10)]
)
def test_boxes_no_face_can_have_are_passed_over(box):
    """A network with damaged weights says such things; the frame's other faces are still found."""
    (look,) = looker(Detector(box, (10, 10, 110, 110))).look([picture()], [()])
    assert boxes_of(look) == [(10, 10, 110, 110)]


def test_turned_faces_are_found_only_when_asked_for():
    lying = Detector((10, 10, 110, 110), turn=90)
    assert looker(lying).look([picture()], [()])[0].sightings == ()
    locator = Locator()
    (look,) = looker(lying, locator, rotations="all").look([picture()], [()])
    assert len(look.sightings) == 1
    assert set(locator.turns) <= {90, 270}
    box = look.sightings[0].box
    assert 0 <= box.left < box.right <= 400
    assert 0 <= box.top < box.bottom <= 300


def test_wide_pixels_and_a_shrunk_frame_come_back_to_plate_pixels():
    detector = Detector((50, 50, 150, 150))
    (look,) = looker(detector, detect_size=200).look([picture(width=400, height=300)], [()])
    assert boxes_of(look) == [(100, 100, 300, 300)]
    (look,) = looker(detector, detect_size=400).look([picture(width=200, height=300, aspect=2.0)], [()])
    assert detector.shapes[-1] == (300, 400, 3)
    assert boxes_of(look) == [(25, 50, 75, 150)]
    assert look.pixel_aspect == 2.0


def test_a_correction_replaces_the_face_it_lies_on():
    seen = (10, 10, 110, 110)
    points = tuple((float(x), float(y)) for x, y in mean_face() * 60 + [30, 30])
    by_hand = Correction(frame=7, points=points)
    (look,) = looker(Detector(seen), encoder=Encoder()).look([picture()], [[by_hand]])
    (one,) = look.sightings
    assert one.origin is Origin.MANUAL
    assert (one.landmarker, one.detector) == ("manual", "stub")
    np.testing.assert_allclose(one.landmarks.points, points, atol=1e-4)
    assert one.identity is not None
    away = Correction(frame=7, placement=Placement((320.0, 150.0), 60.0))
    (look,) = looker(Detector(seen)).look([picture()], [[away]])
    assert [one.origin for one in look.sightings].count(Origin.MANUAL) == 1
    assert len(look.sightings) == 2
    gone = Correction(frame=7, box=Box(*map(float, seen)), remove=True)
    assert looker(Detector(seen)).look([picture()], [[gone]])[0].sightings == ()
    nobody_there = Correction(frame=7, box=Box(300.0, 10.0, 390.0, 90.0), remove=True)
    assert len(looker(Detector(seen)).look([picture()], [[nobody_there]])[0].sightings) == 1


def test_a_correction_that_leads_nowhere_says_which_frame():
    outside = Correction(frame=7, box=Box(900.0, 10.0, 990.0, 90.0))
    with pytest.raises(InvalidInput, match="frame 7 lies outside the picture"):
        looker(Detector()).look([picture()], [[outside]])
    hopeless = Correction(frame=7, box=Box(10.0, 10.0, 90.0, 90.0))
    with pytest.raises(InvalidInput, match="Give landmarks or a placement instead"):
        looker(Detector(), Locator(factor=9.0)).look([picture()], [[hopeless]])
