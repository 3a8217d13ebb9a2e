import sqlite3

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, NotFound, Unsupported
from dflcore.extract.corrections import Correction, Placement
from dflcore.extract.sightings import SIGHTINGS_NAME, Look, SightingStore
from dflcore.types import Box, Landmarks, Origin, Sighting

PLATE = "/plates/Zoë ####.exr"


def sighting(frame: int, seed: int = 0) -> Sighting:
    rng = np.random.default_rng([frame, seed])
    return Sighting(
        frame=frame,
        box=Box(1.25, 2.5, 101.0, 99.75),
        score=0.75,
        landmarks=Landmarks(
            points=rng.uniform(0, 400, (68, 2)).astype(np.float32), depth=rng.normal(size=68).astype(np.float32)
        ),
        detector="dlib_hog",
        landmarker="mesh468",
        spread=0.004,
        identity=rng.normal(size=128).astype(np.float32),
        origin=Origin.MANUAL,
    )


def look(frame: int, count: int = 2) -> Look:
    signature = np.arange(frame, frame + 5, dtype=np.float32)
    return Look(frame, signature, tuple(sighting(frame, seed) for seed in range(count)), 2.0)


def test_everything_comes_back(tmp_path) -> None:
    with SightingStore.open(tmp_path) as store:
        for frame in (1002, 1001):
            store.add(PLATE, look(frame), digest="d", key=f"key {frame}")
        store.add("other", look(7), digest="d", key="k")
    with SightingStore.open(tmp_path) as store:
        assert store.plates() == [PLATE, "other"]
        assert store.keys(PLATE) == {1001: "key 1001", 1002: "key 1002"}
        found = store.looks(PLATE, "d")
    assert [one.frame for one in found] == [1001, 1002]
    for one in found:
        wanted = look(one.frame)
        np.testing.assert_array_equal(one.signature, wanted.signature)
        assert one.pixel_aspect == 2.0
        for got, expected in zip(one.sightings, wanted.sightings, strict=True):
            np.testing.assert_array_equal(got.landmarks.points, expected.landmarks.points)
            np.testing.assert_array_equal(got.landmarks.depth, expected.landmarks.depth)
            np.testing.assert_array_equal(got.identity, expected.identity)
            assert (got.box, got.score, got.spread, got.origin) == (
                Box(1.25, 2.5, 101.0, 99.75),
                0.75,
                0.004,
                Origin.MANUAL,
            )
            assert (got.detector, got.landmarker) == ("dlib_hog", "mesh468")


def test_a_frame_looked_at_again_forgets_what_was_seen_before(tmp_path) -> None:
    with SightingStore.open(tmp_path) as store:
        store.add(PLATE, look(1001, 3), digest="old", key="1")
        store.add(PLATE, look(1001, 1), digest="new", key="2")
        assert [len(one.sightings) for one in store.looks(PLATE, "new")] == [1]
        assert store.looks(PLATE, "old") == []


def test_corrections_are_kept_replaced_added_and_forgotten(tmp_path) -> None:
    box = Correction(frame=5, box=Box(0, 0, 10, 10))
    placed = Correction(frame=5, placement=Placement((3.0, 4.0), 50.0, 0.25))
    with SightingStore.open(tmp_path) as store:
        assert store.correct(PLATE, [box, Correction(frame=9, box=Box(1, 1, 2, 2), remove=True)]) == [5, 9]
        assert store.correct(PLATE, [placed], replace=False) == [5]
        (first, second) = store.corrections(PLATE)[5]
        assert first == box
        assert second.placement.roll == pytest.approx(0.25)
        store.correct(PLATE, [placed])
        assert len(store.corrections(PLATE)[5]) == 1
        assert store.forget_corrections(PLATE, [5, 6]) == 1
        assert list(store.corrections(PLATE)) == [9]
        assert store.corrections("unknown") == {}


def test_damage_and_foreign_files_are_named(tmp_path) -> None:
    file = tmp_path / SIGHTINGS_NAME
    file.write_bytes(b"garbage" * 500)
    with pytest.raises(DataCorrupt, match="looked at again"):
        SightingStore.open(tmp_path)
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(Unsupported, match="layout 99"):
        SightingStore.open(tmp_path)
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE strange (x)")
    with pytest.raises(Unsupported):
        SightingStore.open(tmp_path)


def test_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(NotFound, match="deleted"):
        SightingStore.open(tmp_path / "none")
