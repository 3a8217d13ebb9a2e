"""Cuts: where one shot ends, and everything that only looks like it."""

import cv2
import numpy as np
import pytest

from dflcore.errors import InvalidInput
from dflcore.extract.cuts import SIGNATURE_SIZE, find_cuts, frame_signature, signature_distance
from dflcore.io.open_plate import open_plate

SIZE = (480, 360)


def signatures(images):
    return np.stack([frame_signature(np.ascontiguousarray(image)) for image in images])


def cuts(images, frames=None):
    return find_cuts(list(range(len(images)) if frames is None else frames), signatures(images))


def backdrop(seed):
    """A place: a few large soft shapes in its own colours."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 255, (4, 6, 3)).astype(np.float32)
    return np.clip(cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC), 0, 255)


def talking_head(portrait, place, index):
    """The portrait before a place, as it talks: it nods and sways a little."""
    width, height = SIZE
    rows, columns = np.mgrid[:height, :width]
    head = ((columns - 225) / 95) ** 2 + ((rows - 150) / 120) ** 2 < 1
    body = ((columns - 225) / 170) ** 2 + ((rows - 380) / 150) ** 2 < 1
    matte = cv2.GaussianBlur((head | body).astype(np.float32), (0, 0), 4)
    move = np.array([[1, 0, 4 * np.sin(index / 3)], [0, 1, 3 * np.sin(index / 2)]])
    picture = cv2.resize(portrait[:384, :512], SIZE).astype(np.float32)
    picture, matte = (cv2.warpAffine(p, move, SIZE, borderMode=cv2.BORDER_REPLICATE) for p in (picture, matte))
    return (picture * matte[..., None] + place * (1 - matte[..., None])).astype(np.uint8)


@pytest.fixture
def shot(astronaut):
    return [talking_head(astronaut, backdrop(1), index) for index in range(40)]


def test_a_signature_is_a_kilobyte_and_does_not_depend_on_the_size(astronaut):
    signature = frame_signature(astronaut)
    assert signature.dtype == np.float32
    assert signature.shape == (SIGNATURE_SIZE,)
    assert signature.nbytes <= 1024
    half = frame_signature(cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA))
    assert signature_distance(signature[None].astype(float), half[None].astype(float))[0] < 1e-3


def test_a_shot_has_no_cut(shot):
    assert cuts(shot) == []


@pytest.mark.parametrize("seed", range(2, 8))
def test_two_talking_heads_before_other_places_are_a_cut(astronaut, hopper, seed):
    first = [talking_head(astronaut, backdrop(1), index) for index in range(15)]
    second = [talking_head(hopper, backdrop(seed), index) for index in range(15)]
    assert cuts(first + second, range(1001, 1031)) == [1016]


@pytest.mark.parametrize("seed", range(2, 8))
def test_one_person_in_another_place_is_a_cut(astronaut, seed):
    first = [talking_head(astronaut, backdrop(1), index) for index in range(15)]
    second = [talking_head(astronaut, backdrop(seed), index) for index in range(15)]
    assert cuts(first + second) == [15]


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("kind", ["white", "brighter"])
def test_a_flash_is_no_cut(shot, length, kind):
    for index in range(20, 20 + length):
        bright = np.full_like(shot[index], 255) if kind == "white" else shot[index].astype(int) * 2 + 60
        shot[index] = np.clip(bright, 0, 255).astype(np.uint8)
    assert cuts(shot) == []


def test_light_switched_off_is_no_cut(shot):
    assert cuts([image if index < 20 else (image * 0.3).astype(np.uint8) for index, image in enumerate(shot)]) == []


@pytest.mark.parametrize("speed", [10, 40, 90])
def test_a_fast_pan_is_no_cut(astronaut, speed):
    """Still, then up to a fifth of the picture per frame, then still."""
    wide = cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_AREA)
    left = np.cumsum([0] * 10 + [speed] * (900 // speed) + [0] * 10)
    assert cuts([wide[300 : 300 + SIZE[1], x : x + SIZE[0]] for x in left]) == []


@pytest.mark.parametrize(("width", "speed"), [(120, 15), (240, 30), (300, 60)])
def test_somebody_who_passes_by_is_no_cut(shot, width, speed):
    for index, image in enumerate(shot):
        left = int(speed * (index - 8)) - width
        image[40:, max(left, 0) : max(left + width, 0)] = (34, 28, 40)
    assert cuts(shot) == []


def test_missing_frames_are_no_cut(shot):
    kept = [index for index in range(40) if not 15 <= index < 27]
    assert cuts([shot[index] for index in kept], kept) == []
    assert cuts(shot[::8], range(0, 40, 8)) == []


def test_short_shots_are_found(astronaut, hopper):
    first = [talking_head(astronaut, backdrop(1), index) for index in range(24)]
    other = [talking_head(hopper, backdrop(2), index) for index in range(5)]
    assert cuts(first[:12] + other + first[12:]) == [12, 17]


def test_black_is_no_cut_by_itself(shot):
    """A take that fades to black and stays there."""
    faded = [(image * max(0.0, 1 - index / 15)).astype(np.uint8) for index, image in enumerate(shot)]
    assert cuts(faded) == []


def test_one_frame_and_none(shot):
    assert cuts(shot[:1]) == []
    assert find_cuts([], np.zeros((0, SIGNATURE_SIZE), np.float32)) == []


def test_signatures_of_another_kind_are_refused(shot):
    with pytest.raises(InvalidInput) as caught:
        find_cuts([1, 2], np.zeros((2, 9), np.float32))
    assert caught.value.reason == "BAD_SIGNATURES"
    with pytest.raises(InvalidInput):
        frame_signature(np.zeros((4, 4), np.uint8))


@pytest.mark.footage
def test_the_join_of_two_clips_is_the_only_cut(material):
    """Whole clips, and every fifth frame of them."""
    clips = []
    for name in ("target_talk.mp4", "source_talk.mp4"):
        plate = open_plate(str(material / "footage" / name))
        images = (np.clip(plate.read(frame).rgb() * 255.0, 0, 255).astype(np.uint8) for frame in plate.frames)
        clips.append(signatures(images))
        plate.close()
    for step in (1, 5):
        target, source = (clip[::step] for clip in clips)
        count = len(target) + len(source)
        assert find_cuts(range(count), np.concatenate([target, source])) == [len(target)]
        assert find_cuts(range(count), np.concatenate([source, target])) == [len(source)]
