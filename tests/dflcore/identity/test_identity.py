from concurrent.futures import ThreadPoolExecutor

import cv2
import dlib
import numpy as np
import pytest
import torch

from dflcore.detect.base import create_detector
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.identity.base import (
    IDENTITY_ENCODERS,
    BatchIdentityEncoder,
    create_identity_encoder,
    describe_batch,
    identity_distance,
)
from dflcore.landmark.base import create_landmarker
from dflcore.types import Landmarks
from dflcore.weights.store import WeightStore

EXACT = 2e-6
"""Rounding of float32 in numbers of about 0.1."""


@pytest.fixture(scope="module")
def encoder():
    return create_identity_encoder()


@pytest.fixture(scope="module")
def locate():
    store = WeightStore()
    detector, landmarker = create_detector("dlib_hog", store), create_landmarker("dlib68", store)
    return lambda image: landmarker.locate(image, detector.detect(image)[0].box)


@pytest.fixture(scope="module")
def describe(encoder, locate):
    def run(image):
        image = np.ascontiguousarray(image)
        return encoder.describe(image, locate(image))

    return run


@pytest.fixture(scope="module")
def dlib_describe():
    """dlib's own way from a picture and landmarks to the descriptor."""
    network = dlib.face_recognition_model_v1(str(WeightStore().find("dlib_identity")))

    def run(image, landmarks):
        whole = [dlib.point(round(float(x) - 0.5), round(float(y) - 0.5)) for x, y in landmarks.points]
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, image.shape[1] - 1, image.shape[0] - 1), whole)
        return np.array(network.compute_face_descriptor(image, shape), dtype=np.float32)

    return run


def face_of_300(image, landmarks):
    """The picture at the size at which the encoder cuts faces out, so that nothing is resized on the way."""
    scale = 300.0 / float(np.ptp(landmarks.points, axis=0).max())
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    sized = np.ascontiguousarray(cv2.resize(image, size))
    points = landmarks.points * np.array(size, np.float32) / [image.shape[1], image.shape[0]]
    return sized, Landmarks(points=points.astype(np.float32))


def test_two_people_are_two_people(describe, astronaut, hopper):
    a, b = describe(astronaut), describe(hopper)
    assert a.shape == (128,)
    assert a.dtype == np.float32
    assert identity_distance(a, b) == pytest.approx(0.69, abs=0.03)


def test_one_person_stays_one_person(describe, astronaut):
    a = describe(astronaut)
    brighter = np.clip(astronaut * 1.15, 0, 255).astype(np.uint8)
    assert identity_distance(a, describe(brighter)) < 0.35
    assert identity_distance(a, describe(astronaut[:, ::-1])) < 0.4
    half = cv2.resize(astronaut, (300, 300), interpolation=cv2.INTER_AREA)
    assert identity_distance(a, describe(half)) < 0.45


def test_same_person_threshold_is_dlibs():
    assert create_identity_encoder().same_person_distance == 0.6


def test_registry():
    assert IDENTITY_ENCODERS.names()[0] == "dlib_resnet"
    with pytest.raises(NotFound):
        create_identity_encoder("nonsense")


def test_landmarks_outside_the_picture(astronaut):
    points = np.random.default_rng(0).random((68, 2), dtype=np.float32) * 50 + 5000
    with pytest.raises(InvalidInput):
        create_identity_encoder().describe(astronaut, Landmarks(points=points))


def test_landmarks_that_are_no_numbers(encoder, astronaut):
    with pytest.raises(InvalidInput, match="not numbers"):
        encoder.describe(astronaut, Landmarks(points=np.full((68, 2), np.nan, np.float32)))


def test_the_descriptor_is_dlibs(encoder, locate, dlib_describe, astronaut, hopper):
    for image in (astronaut, hopper):
        face = face_of_300(image, locate(image))
        assert encoder.describe(*face) == pytest.approx(dlib_describe(*face), abs=EXACT)


def test_several_faces_at_once(encoder, locate, astronaut, hopper):
    images = [astronaut, hopper, np.ascontiguousarray(astronaut[:, ::-1])] * 7  # more than go through in one go
    landmarks = [locate(image) for image in images[:3]] * 7
    together = encoder.describe_batch(images, landmarks)
    assert together.shape == (21, 128)
    assert together.dtype == np.float32
    alone = [encoder.describe(image, points) for image, points in zip(images[:3], landmarks, strict=False)]
    assert together == pytest.approx(np.array(alone * 7), abs=EXACT)
    assert encoder.describe_batch([], []).shape == (0, 128)


def test_the_face_that_cannot_be_described_is_named(encoder, locate, astronaut):
    good = locate(astronaut)
    with pytest.raises(InvalidInput) as raised:
        encoder.describe_batch([astronaut] * 3, [good, good, Landmarks(points=good.points + 5000)])
    assert raised.value.reason == "BAD_POINTS"
    assert raised.value.details["index"] == "2"


def test_chips_can_be_kept_and_described_later(encoder, locate, astronaut, hopper):
    chips = np.stack([encoder.cut_chip(image, locate(image)) for image in (astronaut, hopper)])
    assert (chips.shape, chips.dtype) == ((2, 150, 150, 3), np.uint8)
    described = encoder.describe_chips(chips)
    assert described[0] == pytest.approx(encoder.describe(astronaut, locate(astronaut)), abs=EXACT)
    assert described[1] == pytest.approx(encoder.describe(hopper, locate(hopper)), abs=EXACT)
    with pytest.raises(InvalidInput, match="150"):
        encoder.describe_chips(chips[:, :149])


class OneByOne:
    same_person_distance = 1.0

    def describe(self, image, landmarks):
        return np.array([image.mean(), landmarks.points.mean()], np.float32)


def test_batches_for_encoders_that_know_none(encoder, locate, astronaut, hopper):
    assert isinstance(encoder, BatchIdentityEncoder)
    assert not isinstance(OneByOne(), BatchIdentityEncoder)
    faces = [astronaut, hopper], [locate(astronaut), locate(hopper)]
    assert np.array(describe_batch(encoder, *faces)) == pytest.approx(encoder.describe_batch(*faces), abs=EXACT)
    assert describe_batch(OneByOne(), *faces)[1][0] == pytest.approx(hopper.mean())
    assert describe_batch(encoder, [], []) == []
    with pytest.raises(ValueError, match="zip"):
        describe_batch(OneByOne(), [astronaut], [])


def test_threads_share_an_encoder(encoder, locate, astronaut, hopper):
    faces = [(astronaut, locate(astronaut)), (hopper, locate(hopper))] * 6
    alone = [encoder.describe(*face) for face in faces]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda face: encoder.describe(*face), faces))
    assert np.array(together) == pytest.approx(np.array(alone), abs=EXACT)


def test_damaged_weights(tmp_path):
    store = WeightStore()
    whole = store.find("dlib_identity")
    (tmp_path / whole.name).write_bytes(whole.read_bytes()[:1_000_000])
    with pytest.raises(DataCorrupt, match="damaged") as raised:
        create_identity_encoder(store=WeightStore([tmp_path]))
    assert raised.value.details["path"] == str(tmp_path / whole.name)


@pytest.mark.gpu
def test_a_gpu_describes_alike(encoder, locate, astronaut):
    """Convolutions on a GPU may round to 10 bits of mantissa."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    face = astronaut, locate(astronaut)
    on_gpu = create_identity_encoder(device="cuda").describe(*face)
    assert identity_distance(on_gpu, encoder.describe(*face)) < 0.01


@pytest.mark.footage
def test_faces_of_footage_are_described_as_dlib_does(encoder, locate, dlib_describe, material):
    for name in ("source_talk.mp4", "target_talk.mp4"):
        movie = cv2.VideoCapture(str(material / "footage" / name))
        for frame in (5, 60, 120):
            movie.set(cv2.CAP_PROP_POS_FRAMES, frame)
            _, image = movie.read()
            image = np.ascontiguousarray(image[..., ::-1])
            face = face_of_300(image, locate(image))
            assert encoder.describe(*face) == pytest.approx(dlib_describe(*face), abs=EXACT)
        movie.release()
