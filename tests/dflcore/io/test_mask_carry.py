"""Masks follow faces that are cut again: to where they are now, past kills, and never to another face."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.geometry import affine
from dflcore.io import mask_carry
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.mask_carry import IN_FLIGHT_NAME, MOVED, SET_ASIDE, MaskMover, carry_masks, move_label, warp_mask
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.types import Affine, Authorization, Box, FaceRecord, FaceType, FloatArray, Landmarks, Pose

SIZE = 64
PLATE = "shot.####.png"
PLATE_SIZE = (400, 300)
HERE = (150.0, 120.0)
"""A face's middle in the plate."""


class Killed(BaseException):
    """The process ends here."""


def face(
    middle: tuple[float, float] = HERE, *, index: int = 0, frame: int = 1, span: float = 80.0, turn: float = 0.0
) -> FaceRecord:
    """A face whose square of ``span`` plate pixels lies about a point, turned by degrees."""
    cosine, sine = np.cos(np.radians(turn)) * SIZE / span, np.sin(np.radians(turn)) * SIZE / span
    linear = np.array([[cosine, -sine], [sine, cosine]])
    offset = SIZE / 2.0 - linear @ np.array(middle)
    x, y = middle
    return FaceRecord(
        name=f"shot_{frame:06d}_{index}.png",
        plate=PLATE,
        frame=frame,
        face_index=index,
        plate_size=PLATE_SIZE,
        box=Box(x - span / 2, y - span / 2, x + span / 2, y + span / 2),
        score=1.0,
        landmarks=Landmarks(points=np.tile(np.array([middle], np.float32), (68, 1))),
        face_type=FaceType.FULL,
        aligned_size=SIZE,
        aligned_from_plate=np.concatenate([linear, offset[:, None]], axis=1),
        pose=Pose(0.0, 0.0, 0.0),
        sharpness=1.0,
        detector="d",
        landmarker="l",
    )


def seen_in_plate(aligned_from_plate: Affine, middle: tuple[float, float] = HERE, size: int = SIZE) -> FloatArray:
    """The mask of an oval that is fixed in the plate, drawn straight into an aligned square: the truth."""
    y, x = np.mgrid[: size * 4, : size * 4]
    points = np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2) / 4.0 * (SIZE / size)
    plate = affine.apply(affine.invert(aligned_from_plate), points) - np.array(middle)
    inside = ((plate[:, 0] / 20.0) ** 2 + (plate[:, 1] / 27.0) ** 2 < 1).reshape(size * 4, size * 4)
    shrunk = cv2.resize(inside.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.float32)


def similarity(a: FloatArray, b: FloatArray) -> float:
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


class Folder:
    """A faceset and the runs over it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write([face()])

    def write(self, records: Sequence[FaceRecord], *, frame: int = 1, die: str = "", again: bool = True) -> None:
        """One extraction of one frame; ``die``: before, between or after the rows are replaced."""
        writer = FacesetWriter(
            self.path, face_type=FaceType.FULL, aligned_size=SIZE, settings={}, authorization=Authorization()
        )
        pairs = [(record, np.zeros((SIZE, SIZE, 3), np.uint8)) for record in records]
        with writer, contextlib.suppress(Killed), MaskMover.open(self.path, PLATE, [frame] if again else []) as masks:
            if not again:
                return
            with masks.moving(frame, records):
                if die == "before":
                    raise Killed
                writer.add_frame(PLATE, frame, PLATE_SIZE, pairs)
                if die == "between":
                    writer._database.execute("DELETE FROM face WHERE frame = ?", (frame,))
                    writer._database.commit()
                if die:
                    raise Killed

    def paint(self, record: FaceRecord, source: str = "painted", middle: tuple[float, float] = HERE) -> None:
        with MaskStore.open(self.path, create=True) as store:
            store.add_mask(record.name, source, seen_in_plate(record.aligned_from_plate, middle), made_by="A. Person")

    def store(self) -> MaskStore:
        return MaskStore.open(self.path)

    def mask(self, record: FaceRecord, source: str = "painted") -> FloatArray | None:
        with self.store() as store:
            return store.mask(record.name, source)

    def has_nothing_wrong(self, middle: tuple[float, float] = HERE) -> bool:
        """Every mask that is there lies right in the face that is there."""
        with self.store() as store, Faceset.open(self.path) as faceset:
            for record in faceset.every_record(PLATE):
                for source in store.masks_of(record.name):
                    mask = store.mask(record.name, source)
                    assert mask is not None
                    if similarity(mask, seen_in_plate(record.aligned_from_plate, middle)) < 0.97:
                        return False
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "faces")


MOVED_FACE = face((153.3, 117.8), span=86.0, turn=3.0)


def test_a_mask_keeps_lying_on_what_it_was_painted_for(folder: Folder) -> None:
    folder.paint(face())
    folder.write([MOVED_FACE])
    mask = folder.mask(MOVED_FACE)
    assert mask is not None
    truth = seen_in_plate(MOVED_FACE.aligned_from_plate)
    assert similarity(mask, truth) > 0.98
    assert similarity(seen_in_plate(face().aligned_from_plate), truth) < 0.85  # it would be wrong where it was
    with folder.store() as store:
        history = store.versions(face().name, "painted")
        assert [entry.is_removed for entry in history] == [False, True, False]
        assert history[1].made_by.startswith(SET_ASIDE)
        assert history[2].made_by == f"A. Person; {MOVED}"
    folder.write([face()])
    with folder.store() as store:
        assert store.versions(face().name, "painted")[-1].made_by == f"A. Person; {MOVED}"
    assert folder.has_nothing_wrong()
    assert not (folder.path / IN_FLIGHT_NAME).exists()


def test_labels_and_all_sources_go_along_with_their_depth(folder: Folder) -> None:
    folder.paint(face())
    triangle = Polygon(False, ((20.0, 20.0), (40.0, 24.0), (30.0, 44.0)))
    fine = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    with folder.store() as store:
        store.set_label(face().name, Label((triangle,)), made_by="A. Person")
        store.add_mask(face().name, "xseg", fine, made_by="net 12", bits=16)
    folder.write([MOVED_FACE])
    motion = affine.compose(MOVED_FACE.aligned_from_plate, affine.invert(face().aligned_from_plate))
    with folder.store() as store:
        label = store.label(MOVED_FACE.name)
        assert label is not None
        np.testing.assert_allclose(label.polygons[0].points, affine.apply(motion, triangle.points))
        assert not label.polygons[0].include
        entry = store.versions(MOVED_FACE.name, "xseg")[-1]
        assert (entry.size, entry.bits, entry.made_by) == (32, 16, f"net 12; {MOVED}")
        mask = store.mask(MOVED_FACE.name, "xseg")
        assert mask is not None
        assert np.abs(mask - warp_mask(fine, motion, SIZE, SIZE)).max() < 1e-4


def test_a_face_that_stays_keeps_its_versions(folder: Folder) -> None:
    folder.paint(face())
    before = (folder.path / "masks.sqlite").read_bytes()
    folder.write([face()])
    folder.write([face(), face((300.0, 200.0), index=1)])
    assert (folder.path / "masks.sqlite").read_bytes() == before


def test_a_faceset_without_masks_gets_nothing(folder: Folder) -> None:
    folder.write([MOVED_FACE])
    assert sorted(path.name for path in folder.path.iterdir() if not path.name.startswith(".")) == [
        "index.sqlite", "shot_000001_0.png"
    ]  # fmt: skip


def test_another_face_of_the_name_does_not_get_the_mask_and_the_face_gets_it_back(folder: Folder) -> None:
    folder.paint(face())
    stranger = face((320.0, 220.0))
    folder.write([stranger])
    with folder.store() as store:
        assert store.masks_of(stranger.name) == {}
    folder.write([stranger, face((151.0, 121.0), index=1)])  # the first one again, as the second of the frame now
    with folder.store() as store:
        assert store.masks_of(stranger.name) == {}
        assert list(store.masks_of("shot_000001_1.png")) == ["painted"]
    assert folder.has_nothing_wrong()


def test_faces_that_change_places_keep_their_own_masks(folder: Folder) -> None:
    there = (300.0, 200.0)
    folder.write([face(), face(there, index=1)])
    folder.paint(face())
    folder.paint(face(there, index=1), "xseg", there)
    folder.write([face(there), face(index=1)])
    with folder.store() as store:
        assert list(store.masks_of("shot_000001_0.png")) == ["xseg"]
        assert list(store.masks_of("shot_000001_1.png")) == ["painted"]
    first, second = folder.mask(face(), "xseg"), folder.mask(face(index=1))
    np.testing.assert_array_equal(first, second)  # nothing moved, so nothing was resampled
    folder.write([face(there), face(index=1)])
    with folder.store() as store:
        assert list(store.masks_of("shot_000001_0.png")) == ["xseg"]


def test_a_face_that_is_gone_for_a_while_gets_its_masks_back_where_it_is(folder: Folder) -> None:
    folder.paint(face())
    folder.write([])
    with folder.store() as store:
        assert store.masks_of(face().name) == {}
    folder.write([])
    folder.write([MOVED_FACE])
    assert folder.has_nothing_wrong()
    assert folder.mask(MOVED_FACE) is not None


def test_what_a_person_did_since_is_not_undone(folder: Folder) -> None:
    folder.paint(face())
    folder.write([])
    folder.write([face((320.0, 220.0)), face(index=1)])
    with folder.store() as store:
        store.remove_masks("painted", ["shot_000001_1.png"], made_by="A. Person")
    folder.write([face((320.0, 220.0)), face((150.5, 120.0), index=1)])
    with folder.store() as store:
        assert store.sources() == {}


@pytest.mark.parametrize("die", ["before", "between", "after"])
@pytest.mark.parametrize("then", ["same", "back", "other", "nothing to do"])
def test_a_kill_leaves_masks_right_or_set_aside_and_the_next_run_takes_them_along(
    folder: Folder, die: str, then: str
) -> None:
    folder.paint(face())
    folder.write([MOVED_FACE], die=die)
    assert folder.has_nothing_wrong()
    with folder.store() as store:
        assert [entry.is_removed for entry in store.versions(face().name, "painted")] == [False, True]
    if then == "nothing to do" and die == "between":
        return
    now = {"same": MOVED_FACE, "back": face(), "other": face((148.0, 121.0)), "nothing to do": MOVED_FACE}[then]
    folder.write([now], again=then != "nothing to do")
    mask = folder.mask(now)
    assert mask is not None
    assert folder.has_nothing_wrong()


def test_a_mask_that_stays_is_not_lost_between_two_settings(folder: Folder) -> None:
    """Killed while the rows of an unmoved face were being replaced; the next run cuts it elsewhere."""
    folder.paint(face())
    folder.write([face()], die="between")
    assert (folder.path / IN_FLIGHT_NAME).exists()
    folder.write([], frame=2)  # a run that ends before it gets there
    folder.write([MOVED_FACE])
    assert folder.mask(MOVED_FACE) is not None
    assert folder.has_nothing_wrong()
    assert not (folder.path / IN_FLIGHT_NAME).exists()


def test_a_kill_while_several_masks_are_added_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in ("painted", "xseg"):
        folder.paint(face(), source)
    carry, calls = mask_carry._carry_waiting, []

    def dying(*values: object) -> None:
        calls.append(values)
        if len(calls) == 2:
            raise Killed
        carry(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(mask_carry, "_carry_waiting", dying)
    folder.write([MOVED_FACE])
    monkeypatch.undo()
    assert folder.has_nothing_wrong()
    folder.write([MOVED_FACE], again=False)
    with folder.store() as store:
        assert store.masks_of(face().name) == {"painted": 3, "xseg": 3}
    assert folder.has_nothing_wrong()


def test_carry_to_another_faceset_of_another_size(folder: Folder, tmp_path: Path) -> None:
    folder.paint(face())
    (tmp_path / "new").mkdir()
    half = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    with folder.store() as store, MaskStore.open(tmp_path / "new", create=True) as target:
        carry_masks(store, target, face(), "b.png", SIZE // 2, half, "resized")
        carry_masks(store, target, face(), "c.png", SIZE, None, "copied")
        np.testing.assert_array_equal(target.mask("c.png", "painted"), store.mask(face().name, "painted"))
        resized, mask = target.mask("b.png", "painted"), store.mask(face().name, "painted")
        assert resized is not None
        assert mask is not None
        assert np.abs(resized - mask).max() <= 1 / 255  # the same picture of a smaller square
        assert target.versions("b.png", "painted")[-1].made_by == "A. Person; resized"
        assert store.masks_of(face().name) == {"painted": 1}


def test_points_outside_the_square_are_moved_too() -> None:
    label = Label((Polygon(True, ((-5.0, 0.0), (70.0, 0.0), (0.0, 99.0))),))
    moved = move_label(label, affine.shift(10.0, -3.0))
    assert moved.polygons[0].points == ((5.0, -3.0), (80.0, -3.0), (10.0, 96.0))
