"""What an extraction does with faces that are there already, without finding any."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dflcore.extract.ledger import Ledger
from dflcore.extract.plan import PlannedFace
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.types import Authorization, Box, FaceType, Origin, Sighting
from small_facesets import PLATE, make_image, make_record, write_faceset

LEFT, RIGHT, ELSEWHERE = Box(10, 10, 110, 110), Box(300, 10, 380, 90), Box(500, 300, 560, 360)


@dataclass(frozen=True)
class Named:
    """As much of a plate as a ledger asks for."""

    name: str = PLATE
    size: tuple[int, int] = (640, 480)
    frames: tuple[int, ...] = (1, 2, 3, 4, 5, 6)


def face(box, frame=1, index=0, **changes):
    return replace(make_record(frame, index), box=box, **changes)


def cut_again(folder, pairs, frame=1, *, restore=False):
    """As the extraction does it; returns what each face's picture is, by its place."""
    with Ledger(folder, Named(), {}) as ledger:
        settled = ledger.settle(frame, pairs, restore=restore)
        stale = ledger.stale_images(frame, settled)
    with FacesetWriter(
        folder, face_type=FaceType.FULL, aligned_size=64, settings={}, authorization=Authorization()
    ) as writer:
        writer.add_frame(PLATE, frame, (640, 480), settled, stale=stale)
    return pictures(folder)


def pictures(folder):
    with Faceset.open(folder) as faceset:
        return {
            record.box: (record.name, int(faceset.read_image(record.name)[0, 0, 0])) for record in faceset.records()
        }


def grey(value):
    return np.full((64, 64, 3), value, np.uint8)


@pytest.fixture
def pair(tmp_path):
    return write_faceset(tmp_path / "set", [(face(LEFT), grey(10)), (face(RIGHT, index=1), grey(20))])


def test_a_face_keeps_its_name_when_another_becomes_larger(pair):
    again = cut_again(pair, [(face(RIGHT), grey(21)), (face(LEFT, index=1), grey(11))])
    assert again == {RIGHT: ("shot_000001_1.png", 21), LEFT: ("shot_000001_0.png", 11)}


def test_a_deleted_face_never_gets_the_picture_of_another(pair):
    (pair / "shot_000001_0.png").unlink()
    faces = [(face(RIGHT), grey(21)), (face(LEFT, index=1), grey(11))]
    for _ in range(2):
        assert cut_again(pair, faces) == {RIGHT: ("shot_000001_1.png", 21)}
    assert cut_again(pair, faces, restore=True) == {
        RIGHT: ("shot_000001_1.png", 21),
        LEFT: ("shot_000001_0.png", 11),
    }


def test_a_deletion_is_remembered_while_nobody_finds_the_face(pair):
    (pair / "shot_000001_1.png").unlink()
    assert cut_again(pair, [(face(LEFT), grey(11))]) == {LEFT: ("shot_000001_0.png", 11)}
    assert cut_again(pair, []) == {}
    again = cut_again(pair, [(face(LEFT), grey(12)), (face(RIGHT, index=1), grey(22))])
    assert again == {LEFT: ("shot_000001_0.png", 12)}


def test_the_name_of_a_deleted_face_is_not_given_to_another(pair):
    (pair / "shot_000001_0.png").unlink()
    again = cut_again(pair, [(face(ELSEWHERE), grey(30)), (face(RIGHT, index=1), grey(21))])
    name, picture = again.pop(ELSEWHERE)
    assert name != "shot_000001_0.png"
    assert (picture, again) == (30, {RIGHT: ("shot_000001_1.png", 21)})


def test_of_faces_on_top_of_each_other_only_the_deleted_one_stays_deleted(tmp_path):
    near = Box(14, 12, 112, 112)
    folder = write_faceset(tmp_path / "set", [(face(LEFT), grey(10)), (face(near, index=1), grey(20))])
    (folder / "shot_000001_1.png").unlink()
    again = cut_again(folder, [(face(LEFT), grey(11)), (face(near, index=1), grey(21))])
    assert again == {LEFT: ("shot_000001_0.png", 11)}


def test_another_format_leaves_no_picture_of_the_old_one(pair):
    with Ledger(pair, Named(), {}) as ledger:
        settled = ledger.settle(1, [(face(LEFT, name="shot_000001_0.jpg"), grey(10))], restore=False)
        assert [record.name for record, _ in settled] == ["shot_000001_0.jpg"]
        assert ledger.stale_images(1, settled) == ["shot_000001_0.png", "shot_000001_1.png"]


def test_a_face_of_an_earlier_run_is_known_by_its_place_not_by_its_track_number(tmp_path):
    faces = [
        (face(box, frame, index, track_id=1 + index), grey(10 * (index + 1) + frame))
        for frame in (1, 5)
        for index, box in enumerate((LEFT, RIGHT))
    ]
    folder = write_faceset(tmp_path / "set", faces)
    renumbered = {
        frame: [planned(frame, LEFT, 2), planned(frame, RIGHT, 1), planned(3, LEFT, 9, Origin.INTERPOLATED)]
        for frame in (1, 5)
    }
    with Ledger(folder, Named(), renumbered) as ledger:
        assert ledger.recall(2, 2)[0, 0, 0] == 11
        assert ledger.recall(1, 4)[0, 0, 0] == 25
        assert ledger.recall(9, 3) is None
        (folder / "shot_000005_1.png").unlink()
        assert ledger.recall(1, 4)[0, 0, 0] in (21, 25)


def planned(frame, box, track_id, origin=Origin.DETECTED):
    record = make_record(frame)
    seen = Sighting(
        frame=frame,
        box=box,
        score=1.0,
        landmarks=record.landmarks,
        detector="x",
        landmarker="y",
        origin=origin,
    )
    return PlannedFace(seen, track_id, 1)


def test_a_random_picture_is_no_neighbour(tmp_path):
    folder = write_faceset(tmp_path / "set", [(face(LEFT, origin=Origin.INTERPOLATED), make_image(1))])
    with Ledger(folder, Named(), {1: [planned(1, LEFT, 1)]}) as ledger:
        assert ledger.recall(1, 2) is None
