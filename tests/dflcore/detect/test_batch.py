import math

import numpy as np
import pytest

from dflcore.detect.base import create_detector
from dflcore.detect.batch import ALL_TURNS, detect_batch, detect_with_turns
from dflcore.errors import InvalidInput
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore


class UprightPatch:
    """Finds the red patch, if a green one lies above it: knows up from down."""

    def __init__(self):
        self.looked = 0

    def detect(self, image):
        self.looked += 1
        red, green = (np.argwhere(image[..., channel] > 0) for channel in (0, 1))
        if not len(red) or green[:, 0].max() >= red[:, 0].min() or abs(green[:, 1].mean() - red[:, 1].mean()) > 3:
            return []
        (top, left), (bottom, right) = red.min(0), red.max(0) + 1
        return [Detection(Box(float(left), float(top), float(right), float(bottom)), 1.0)]


class BatchPatch(UprightPatch):
    """Counts how often it was asked."""

    def detect_batch(self, images):
        assert images.ndim == 4
        assert images.flags["C_CONTIGUOUS"]
        found = [self.detect(image) for image in images]
        self.looked += 1 - len(found)
        return found


@pytest.fixture
def picture():
    image = np.zeros((60, 100, 3), np.uint8)
    image[10:15, 20:33, 1] = 255
    image[15:42, 20:33, 0] = 255
    return image


@pytest.mark.parametrize("turn", ALL_TURNS)
def test_boxes_come_back_exactly(picture, turn):
    lying = np.ascontiguousarray(np.rot90(picture, turn // 90))  # needs turning clockwise to be upright
    (found,) = detect_with_turns(UprightPatch(), lying)
    assert found.turn == turn
    rows, columns = np.nonzero(lying[..., 0])
    assert found.box == Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_it_stops_at_the_first_turn_that_shows_a_face(picture):
    detector = UprightPatch()
    detect_with_turns(detector, picture)
    assert detector.looked == 1
    lying = np.ascontiguousarray(np.rot90(picture, 3))
    detect_with_turns(detector, lying)
    assert detector.looked == 1 + 3
    assert detect_with_turns(detector, lying, (0, 180)) == []
    assert detect_with_turns(detector, lying, ()) == []


@pytest.mark.parametrize("turn", [45, -90, 360])
def test_other_turns_are_refused(picture, turn):
    with pytest.raises(InvalidInput, match="degrees"):
        detect_with_turns(UprightPatch(), picture, (0, turn))


def test_a_batch_gives_what_single_images_give(picture):
    small = picture[5:45, 15:60]
    images = [picture, np.rot90(picture), small, np.zeros_like(picture), np.rot90(picture, 2), np.rot90(small, 2)]
    single = [detect_with_turns(UprightPatch(), image) for image in images]
    for detector in (UprightPatch(), BatchPatch()):
        assert detect_batch(detector, images, turns=ALL_TURNS) == single
    assert [len(found) for found in single] == [1, 1, 1, 0, 1, 1]
    batching = BatchPatch()
    detect_batch(batching, [picture] * 5 + [small] * 3)
    assert batching.looked == 2
    assert detect_batch(batching, []) == []


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_lying_portrait_is_found_where_it_is(astronaut, turn):
    hog = create_detector("dlib_hog", WeightStore())
    (upright,) = hog.detect(astronaut)
    image = np.ascontiguousarray(np.rot90(astronaut[:300], turn // 90))
    (found,) = detect_with_turns(hog, image)
    assert found.turn == turn
    assert found.box.left < found.box.right
    assert found.box.top < found.box.bottom
    x, y = (upright.box.left + upright.box.right) / 2, (upright.box.top + upright.box.bottom) / 2
    angle = -math.radians(turn)  # the face lies counter-clockwise, about the middle of the picture
    dx, dy = x - 256, y - 150
    expected = np.array([dx * math.cos(angle) - dy * math.sin(angle), dx * math.sin(angle) + dy * math.cos(angle)])
    got = [(found.box.left + found.box.right) / 2, (found.box.top + found.box.bottom) / 2]
    np.testing.assert_allclose(got, expected + np.array(image.shape[1::-1]) / 2, atol=6)
