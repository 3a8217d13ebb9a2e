"""Who is painted by which model, and what is known about it before a frame is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dflcore.config.cast_text import parse_casting
from dflcore.errors import InvalidInput, NotFound
from dflcore.merge.casting import Cast, check_tracks, open_cast
from dflcore.merge.swapper import ModelSwapper
from dflcore.models.registry import load_preset
from dflcore.progress import Notice
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose

EMPTY = FaceRecord(
    name="face.png",
    plate="shot.####.exr",
    frame=1001,
    face_index=0,
    plate_size=(320, 240),
    box=Box(0.0, 0.0, 1.0, 1.0),
    score=1.0,
    landmarks=Landmarks(points=np.zeros((68, 2), np.float32)),
    face_type=FaceType.FULL,
    aligned_size=64,
    aligned_from_plate=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    pose=Pose(0.0, 0.0, 0.0),
    sharpness=1.0,
    detector="none",
    landmarker="none",
)


def face(track, index=0, frame=1001):
    return replace(EMPTY, track_id=track, face_index=index, frame=frame)


class Model:
    """As much of a swapper as casting looks at."""

    resolution = 64
    face_type = FaceType.FULL

    def __init__(self, name):
        self.name = name
        self.digest = f"digest of {name}"


@pytest.fixture
def opened():
    """Parts in the order they were opened."""
    return []


@pytest.fixture
def cast(opened):
    def make(text, own="own"):
        def open_part(part):
            opened.append(part)
            if "missing" in part.model:
                raise NotFound("There is no such model.", path=part.model)
            return Model(part.model)

        return Cast(parse_casting(text), None if own is None else Model(own), open_part)

    return make


def names(cast, *faces):
    return [getattr(cast.swapper_for(one), "name", None) for one in faces]


FACES = [face(3), face(5), face(9), face(None)]


@pytest.mark.parametrize(
    ("text", "own", "expected"),
    [
        ("", "own", ["own", "own", "own", "own"]),
        ("", None, [None, None, None, None]),
        ("track 3 = /anna", "own", ["/anna", "own", "own", "own"]),
        ("track 3 = /anna; others = plate", "own", ["/anna", None, None, None]),
        ("track 3 = /anna", None, ["/anna", None, None, None]),
        ("track 3 = plate", "own", [None, "own", "own", "own"]),
        ("track 3 = model; others = /extra", "own", ["own", "/extra", "/extra", "/extra"]),
        ("anna: track 3, 9 = /anna; track 5 = /bob; others = plate", "own", ["/anna", "/bob", "/anna", None]),
    ],
)
def test_who_paints_whom(cast, text, own, expected):
    assert names(cast(text, own), *FACES) == expected


def test_one_model_alone_paints_everybody():
    own = Model("own")
    made = Cast.solo(own)
    assert all(made.swapper_for(one) is own for one in FACES)
    assert (made.digest, made.swappers, made.identify(FACES)) == (own.digest, (own,), ())


def test_every_part_is_opened_once(cast, opened):
    made = cast("track 3 = /anna; track 5 = /anna; track 9 = /anna, morph 0.5; others = /anna")
    assert [(part.model, part.morph) for part in opened] == [("/anna", 1.0), ("/anna", 0.5)]
    assert made.swapper_for(face(3)) is made.swapper_for(face(5))
    assert made.swapper_for(face(3)) is not made.swapper_for(face(9))
    assert len(made.swappers) == 2


def test_the_merges_own_model_comes_first_where_it_can_paint_anyone(cast):
    assert [one.name for one in cast("track 3 = /anna").swappers] == ["own", "/anna"]
    assert [one.name for one in cast("track 3 = /anna; others = plate").swappers] == ["/anna"]
    assert cast("others = plate").swappers == ()


def test_a_folder_is_loaded_once_however_many_parts_it_plays(monkeypatch):
    """Two people painted by one network that knows both, each as that network paints them alone."""
    torch.manual_seed(1)
    preset = load_preset("df")
    dims = {"resolution": 64, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16, "ae_dims": 32, "sources": 2}
    network = preset.build(preset.resolve_network(dims)).eval()
    asked = []

    def opened(path, device, *, identity, morph):
        asked.append((path, device, identity, morph))
        swapper = ModelSwapper(network, face_type=FaceType.FULL, name="m", digest="d", device=device, identity=identity)
        return swapper, [Notice(message="A generation was passed over.", reason="GENERATION_SKIPPED")]

    monkeypatch.setattr("dflcore.merge.casting.open_swapper", opened)
    authorized = []

    def authorize(path, model):
        authorized.append(path)
        return Authorization(person="Ada")

    casting = parse_casting("track 3 = /duo; track 5 = /duo, identity source2")
    made, notices = open_cast(casting, None, "cpu", authorize=authorize)
    assert authorized == [Path("/duo")]
    assert made.permissions == {"m": Authorization(person="Ada")}
    assert asked == [(Path("/duo"), "cpu", "source", 1.0)]
    assert len(notices) == 1
    faces = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for track, identity in ((3, "source"), (5, "source2")):
        with torch.inference_mode():
            expected = network.swap(faces, identity=identity).face
        torch.testing.assert_close(made.swapper_for(face(track)).swap(faces)[0], expected, rtol=0, atol=0)
    assert made.swapper_for(face(9)) is None


def test_a_model_that_cannot_be_opened_is_told_before_anything_is_painted(cast):
    with pytest.raises(NotFound):
        cast("track 3 = /missing")


def test_asking_for_a_model_the_merge_was_not_given(cast):
    with pytest.raises(InvalidInput) as caught:
        cast("track 3 = model", own=None)
    assert caught.value.reason == "NO_OWN_MODEL"


def test_people_are_named_by_role_then_track_then_place(cast):
    made = cast("anna: track 9, 12 = /anna; track 5, 7 = /bob")
    assert [made.person_of(one) for one in (face(9), face(12), face(7), face(3), face(None, 2))] == [
        "anna", "anna", "track_5", "track_3", "face_2"
    ]  # fmt: skip
    faces = [face(None, 2), face(12), face(9), face(7), face(3), face(3, 1)]
    assert made.people(faces) == ("track_3", "track_5", "anna", "face_2")


def test_only_the_painted_are_people(cast):
    made = cast("track 3 = /anna; others = plate")
    assert made.people(FACES) == ("track_3",)
    assert made.divide(FACES)[0][1] == [FACES[0]]
    assert len(made.divide(FACES)) == 1


def test_faces_are_divided_by_the_model_that_paints_them(cast):
    made = cast("track 3, 9 = /anna; track 5 = /bob")
    divided = {swapper.name: faces for swapper, faces in made.divide(FACES)}
    assert divided == {"/anna": [FACES[0], FACES[2]], "/bob": [FACES[1]], "own": [FACES[3]]}


def test_a_key_tells_every_other_way_to_paint_a_frame(cast):
    frame = [face(3, 0), face(5, 1)]
    texts = [
        "",
        "track 3 = /anna",
        "track 5 = /anna",
        "track 3 = /anna, morph 0.5",
        "track 3 = /anna, identity source2",
        "track 3 = plate",
        "track 3 = /bob",
    ]
    assert len({cast(text).identify(frame) for text in texts}) == len(texts)
    assert len({cast(text).digest for text in texts}) == len(texts)
    assert cast("").identify(frame) == ()
    assert cast("").digest == "digest of own"
    assert cast("track 3 = /anna").identify([face(5, 1)]) == ()


def test_a_renamed_role_paints_the_same(cast):
    frame = [face(3, 0), face(5, 1)]
    one, other = cast("anna: track 3 = /anna"), cast("track 3 = /anna")
    assert one.identify(frame) == other.identify(frame)
    assert one.digest == other.digest


def test_the_header_can_tell_who_painted_whom(cast):
    made = cast("anna: track 3 = /anna; track 5 = plate")
    assert made.names == {"anna": "/anna", "track 5": "plate", "others": "own"}
    assert made.title == "anna: /anna; track 5: plate; others: own"
    assert cast("").title == "own"


def test_tracks_the_plate_does_not_have_are_named_beside_those_it_has():
    records = [face(3, frame=frame) for frame in range(1001, 1051)] + [face(5, frame=1001), face(None)]
    check_tracks(parse_casting("track 3 = /anna; others = plate"), records)
    with pytest.raises(InvalidInput) as caught:
        check_tracks(parse_casting("track 3, 8 = /anna; track 4 = /bob"), records)
    assert "track 4, 8" in caught.value.message
    assert "3 (frames 1001-1050), 5 (frames 1001)" in caught.value.message
    assert caught.value.reason == "UNKNOWN_TRACK"
    assert caught.value.details["known"] == "3,5"


def test_a_faceset_without_tracks_says_so():
    with pytest.raises(InvalidInput, match="have no tracks"):
        check_tracks(parse_casting("track 3 = /anna"), [face(None)])
    check_tracks(parse_casting("others = /anna"), [face(None)])


def test_a_long_list_of_tracks_is_cut():
    with pytest.raises(InvalidInput, match="and 30 more"):
        check_tracks(parse_casting("track 99 = /anna"), [face(number) for number in range(50)])
