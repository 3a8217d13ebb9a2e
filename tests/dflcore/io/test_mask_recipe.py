from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import InvalidInput, NotFound
from dflcore.geometry.landmarks import aligned_from_landmarks, hull_mask
from dflcore.geometry.template import HEAD_MODEL
from dflcore.io.mask_labels import Label, Polygon, rasterize
from dflcore.io.mask_recipe import MaskRecipe, resize_mask
from dflcore.io.masks import MaskStore
from dflcore.types import Box, FaceRecord, FaceType, Landmarks, Pose

SIZE = 48
FACE = "a.png"


def make_record() -> FaceRecord:
    points = (np.asarray(HEAD_MODEL)[:68, :2] * [1.0, 1.0]).astype(np.float64)
    points = (points - points.min(0)) / np.ptp(points, axis=0) * 200.0 + 100.0
    return FaceRecord(
        name=FACE,
        plate="p",
        frame=1,
        face_index=0,
        plate_size=(400, 400),
        box=Box(0, 0, 1, 1),
        score=1.0,
        landmarks=Landmarks(points=points.astype(np.float32)),
        face_type=FaceType.WHOLE,
        aligned_size=96,
        aligned_from_plate=aligned_from_landmarks(points, FaceType.WHOLE, 96),
        pose=Pose(0, 0, 0),
        sharpness=0.0,
        detector="d",
        landmarker="l",
    )


RECORD = make_record()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MaskStore:
    store = MaskStore.open(tmp_path_factory.mktemp("faces"), create=True)
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        store.add_mask(FACE, name, rng.random((SIZE, SIZE), dtype=np.float32), made_by="test")
    return store


def combined(store: MaskStore, text: str, size: int = SIZE, face: str = FACE) -> np.ndarray:
    return MaskRecipe.parse(text).combine(face, store, RECORD, size)


EQUAL = [
    ("!(a & b)", "!a | !b"),
    ("!(a | b)", "!a & !b"),
    ("!!a", "a"),
    ("a & a", "a"),
    ("a | a", "a"),
    ("a & b", "b & a"),
    ("a | b", "b | a"),
    ("a & (b | c)", "(a & b) | (a & c)"),
    ("a | b & c", "(a | b) & (a | c)"),
    ("a | (a & b)", "a"),
    ("(a & b) & c", "a & (b & c)"),
    ("a > b", "a"),
    ("missing > b > a", "b"),
    ("missing & a", "a"),
    ("missing | a", "a"),
    ("(a | missing) & !missing", "a"),
    ("!missing > b", "b"),
    ("(missing & gone) > c", "c"),
    ("a > b | c", "a"),
    ("missing > b | c", "b | c"),
    ("missing > b & c > a", "b & c"),
    ("(missing > a) & b", "a & b"),
    ("!a & b", "(!a) & b"),
    (" ( ( a ) )\n", "a"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_laws(store: MaskStore, left: str, right: str) -> None:
    np.testing.assert_allclose(combined(store, left), combined(store, right), atol=1e-6)


def test_intersection_union_and_complement_of_values(store: MaskStore) -> None:
    a, b = combined(store, "a"), combined(store, "b")
    np.testing.assert_array_equal(combined(store, "a & b"), np.minimum(a, b))
    np.testing.assert_array_equal(combined(store, "a | b"), np.maximum(a, b))
    np.testing.assert_array_equal(combined(store, "!a"), 1 - a)
    assert combined(store, "a&b").dtype == np.float32


NAMES = st.sampled_from(["a", "b", "c", "missing", "hull", "label"])
TEXTS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, st.sampled_from("&|>"), inner).map(lambda three: f"({three[0]}){three[1]}({three[2]})"),
        st.tuples(inner, st.sampled_from("&|>"), inner).map(lambda three: f"{three[0]}{three[1]}{three[2]}"),
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_the_canonical_text_parses_back_to_the_same_recipe(text: str) -> None:
    recipe = MaskRecipe.parse(text)
    assert MaskRecipe.parse(str(recipe)) == recipe


def test_the_hull_is_that_of_the_landmarks_at_any_size(store: MaskStore) -> None:
    for size in (48, 96, 200):
        points = (RECORD.landmarks.points @ RECORD.aligned_from_plate[:, :2].T + RECORD.aligned_from_plate[:, 2]) * (
            size / 96
        )
        hull = combined(store, "missing > hull", size)
        np.testing.assert_array_equal(hull, hull_mask(points, size, size))
        assert 0.1 < hull.mean() < 0.9


def test_a_label_is_drawn_and_one_of_excludes_cuts_the_hull(tmp_path: Path) -> None:
    store = MaskStore.open(tmp_path, create=True)
    label = Label((Polygon(True, ((10.0, 10.0), (80.0, 12.0), (50.0, 90.0))),))
    assert MaskRecipe.parse("label").find(FACE, store, RECORD, SIZE) is None
    store.set_label(FACE, label, made_by="hand")
    np.testing.assert_array_equal(combined(store, "label > hull"), rasterize(label, SIZE, label_size=96))
    hand = Label((Polygon(False, ((0.0, 0.0), (96.0, 0.0), (96.0, 50.0), (0.0, 50.0))),))
    store.set_label(FACE, hand, made_by="hand")
    mask = combined(store, "label")
    assert mask[: SIZE // 2].max() == 0.0
    np.testing.assert_array_equal(mask[30:], combined(store, "hull")[30:])


def test_stored_masks_are_resized(store: MaskStore) -> None:
    a = combined(store, "a")
    small = combined(store, "a", SIZE // 2)
    np.testing.assert_allclose(small, a.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3)), atol=1e-5)
    large = combined(store, "a", SIZE * 3)
    assert large.shape == (SIZE * 3, SIZE * 3)
    np.testing.assert_allclose(large[1::3, 1::3], a, atol=1e-5)
    flat = np.full((5, 5), 1.0, np.float32)
    for size in (1, 3, 5, 8, 33):
        assert (resize_mask(flat, size) == 1.0).all()


def test_a_face_without_any_of_the_masks_is_named(store: MaskStore) -> None:
    with pytest.raises(NotFound, match=r"b\.png.*hull"):
        combined(store, "a | b", face="b.png")
    assert MaskRecipe.parse("a | label").faces_without([FACE, "b.png"], store) == ["b.png"]
    assert MaskRecipe.parse("a > hull").faces_without([FACE, "b.png"], store) == []


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("   ", 4),
        ("a b", 3),
        ("a >", 4),
        ("> a", 1),
        ("(a", 3),
        ("a)", 2),
        ("a & & b", 5),
        ("a + b", 3),
        ("a & B", 5),
        ("a & ä", 5),
        ("a; import os", 2),
        ("__import__('os')", 12),
        ("x" * 33, 1),
        ("a !b", 3),
        ("a\x00", 2),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, position: int) -> None:
    with pytest.raises(InvalidInput, match=f"at character {position}:"):
        MaskRecipe.parse(text)


@pytest.mark.parametrize(
    "text", ["a" * 2000, "(" * 900, "!" * 900 + "a", "|".join("a" * 65), "(" * 33 + "a" + ")" * 33]
)
def test_absurd_recipes_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        MaskRecipe.parse(text)
    assert len(refusal.value.message) < 600


def test_sources_are_listed_once_in_order() -> None:
    assert MaskRecipe.parse("label > (b | a) & !b > hull").sources == ("label", "b", "a", "hull")
