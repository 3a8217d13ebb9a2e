"""Folders of people stay theirs, whatever number a plan gives a person."""

from dataclasses import replace

import numpy as np
import pytest

from dflcore.extract.person_folders import known_numbers, number_people
from dflcore.extract.plan import Plan, PlannedFace
from dflcore.io.faceset import FacesetWriter
from dflcore.types import Authorization, Box, FaceType, Sighting
from small_facesets import PLATE, make_image, make_record

BOXES = {"ada": Box(10, 10, 110, 110), "bob": Box(300, 10, 400, 110), "eve": Box(500, 300, 600, 400)}
LOOKS = {name: np.eye(128, dtype=np.float32)[number] for number, name in enumerate(BOXES)}


def put(folder, number, name, frames, *, plate=PLATE, encoder="dlib_resnet"):
    with FacesetWriter(
        folder / f"person_{number:02d}",
        face_type=FaceType.FULL,
        aligned_size=64,
        settings={"identity_encoder": encoder},
        authorization=Authorization(),
    ) as writer:
        for frame in frames:
            record = replace(make_record(frame), plate=plate, box=BOXES[name], identity=LOOKS[name])
            writer.add_frame(plate, frame, (640, 480), [(record, make_image(frame))])


def plan_of(*people, identities=True):
    """A plan whose persons, from 1, are these names in these frames."""
    faces = {}
    for person, (name, frames) in enumerate(people, 1):
        for frame in frames:
            seen = Sighting(
                frame=frame,
                box=BOXES[name],
                score=1.0,
                landmarks=make_record(frame).landmarks,
                detector="x",
                landmarker="y",
                identity=LOOKS[name] if identities else None,
            )
            faces.setdefault(frame, []).append(PlannedFace(seen, person, person))
    return Plan(
        faces={frame: tuple(some) for frame, some in faces.items()},
        cuts=(),
        track_count=len(people),
        person_count=len(people),
    )


def numbers(folder, plan, *, plate=PLATE, encoder="dlib_resnet"):
    return number_people(folder, plate, plan, encoder=encoder, same_person_distance=0.6)


def test_in_an_empty_folder_the_person_seen_most_is_the_first(tmp_path):
    assert numbers(tmp_path / "none", plan_of(("ada", [1, 2]), ("bob", [1]))) == ({1: 1, 2: 2}, [])


@pytest.mark.parametrize("identities", [True, False])
def test_more_frames_of_a_plate_change_no_persons_folder(tmp_path, identities):
    put(tmp_path, 1, "ada", [1, 2, 3])
    put(tmp_path, 2, "bob", [2])
    more = plan_of(("bob", range(2, 9)), ("eve", range(4, 9)), ("ada", [1, 2, 3]), identities=identities)
    assert numbers(tmp_path, more) == ({1: 2, 2: 3, 3: 1}, [])


def test_another_plate_finds_the_folder_of_who_looks_alike(tmp_path):
    put(tmp_path, 1, "ada", [1, 2, 3])
    put(tmp_path, 2, "bob", [2])
    assert numbers(tmp_path, plan_of(("eve", [1, 2]), ("bob", [1])), plate="/other.mov") == ({1: 3, 2: 2}, [])


@pytest.mark.parametrize(("encoder", "stored"), [("", "dlib_resnet"), ("another", "dlib_resnet")])
def test_people_who_cannot_be_compared_get_folders_of_their_own(tmp_path, encoder, stored):
    put(tmp_path, 1, "ada", [1], encoder=stored)
    assert numbers(tmp_path, plan_of(("ada", [1])), plate="/other.mov", encoder=encoder) == ({1: 2}, [])


def test_folders_of_people_who_are_not_in_the_plate_any_more_are_told(tmp_path):
    put(tmp_path, 1, "ada", [1, 2])
    put(tmp_path, 2, "bob", [2])
    put(tmp_path, 3, "eve", [2], plate="/other.mov")
    assert numbers(tmp_path, plan_of(("ada", [1, 2]))) == ({1: 1}, [2])
    assert known_numbers(tmp_path) == [1, 2, 3]


def test_a_folder_somebody_removed_is_free_again(tmp_path):
    put(tmp_path, 2, "bob", [2])
    assert numbers(tmp_path, plan_of(("bob", [2]), ("ada", [2]))) == ({1: 2, 2: 1}, [])
