"""Frames that are cut again with other settings: masks and labels go along with their faces."""

import cv2
import numpy as np
import pytest

from dflcore.config.extract import ExtractSettings
from dflcore.extract.corrections import Correction
from dflcore.extract.pipeline import extract_faces
from dflcore.extract.sightings import SightingStore
from dflcore.geometry import affine
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.io.open_plate import open_plate
from dflcore.progress import LoggedRun
from dflcore.weights.store import WeightStore

SIZE = 128
SETTINGS = ExtractSettings(aligned_size=SIZE, compute_identity=False, landmark_looks=1, smoothing_radius=0)
SHAKE = ((0, 0), (9, -6), (-4, 5), (10, 3))


@pytest.fixture(scope="module")
def store():
    return WeightStore()


@pytest.fixture
def shot(tmp_path, astronaut):
    """Four frames of a portrait that shakes, so that smoothing moves the squares."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for number, shift in enumerate(SHAKE, 1001):
        moved = cv2.warpAffine(astronaut, affine.shift(*shift), (512, 512), borderMode=cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / f"shot.{number}.png"), cv2.cvtColor(moved, cv2.COLOR_RGB2BGR))
    return str(folder / "shot.####.png")


def extract(shot, path, store, **changes):
    settings = SETTINGS.model_copy(update=changes)
    return extract_faces(open_plate(shot), path, settings, LoggedRun(), store=store)


def records_of(path):
    with Faceset.open(path) as faceset:
        return {record.frame: record for record in faceset.records()}


def hand_in(record):
    """A hand over the portrait's face, fixed in the picture, drawn straight into the aligned square: the truth."""
    y, x = np.mgrid[: SIZE * 4, : SIZE * 4]
    points = np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2) / 4.0
    plate = affine.apply(affine.invert(record.aligned_from_plate), points) - SHAKE[record.frame - 1001]
    hand = ((plate[:, 0] - 225) / 30) ** 2 + ((plate[:, 1] - 125) / 45) ** 2 < 1
    return cv2.resize(hand.reshape(SIZE * 4, SIZE * 4).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def similarity(a, b):
    return np.minimum(a, b).sum() / np.maximum(a, b).sum()


def nudged(record):
    """A person says where the landmarks are: turned, larger and beside where they were found."""
    turn = affine.shift(*record.landmarks.points.mean(0))
    grow = np.array([[1.06, -0.07, 4.0], [0.07, 1.06, -3.0]])
    motion = affine.compose(turn, affine.compose(grow, affine.invert(turn)))
    points = affine.apply(motion, record.landmarks.points)
    return Correction(frame=record.frame, points=tuple((float(x), float(y)) for x, y in points))


def test_smoothing_and_corrections_take_masks_and_labels_along(shot, tmp_path, store):
    path = tmp_path / "faces"
    extract(shot, path, store)
    before = records_of(path)
    corner = ((10.0, 10.0), (60.0, 12.0), (30.0, 70.0))
    with MaskStore.open(path, create=True) as masks:
        masks.add_masks("xseg", [(record.name, hand_in(record)) for record in before.values()], made_by="net")
        masks.set_label(before[1002].name, Label((Polygon(True, corner),)), made_by="A. Person")
    with SightingStore.open(path) as sightings:
        sightings.correct(before[1002].plate, [nudged(before[1002])])
    extract(shot, path, store, smoothing_radius=3)
    after = records_of(path)
    assert {record.name for record in after.values()} == {record.name for record in before.values()}
    old, new = [], []
    with MaskStore.open(path) as masks:
        for frame, record in after.items():
            truth = hand_in(record)
            new.append(similarity(masks.mask(record.name, "xseg"), truth))
            old.append(similarity(hand_in(before[frame]), truth))
        label = masks.label(after[1002].name)
        assert masks.versions(after[1002].name, "xseg")[-1].made_by == "net; moved with its face"
    assert min(new) > 0.98
    assert old[1] < 0.85
    motion = affine.compose(after[1002].aligned_from_plate, affine.invert(before[1002].aligned_from_plate))
    np.testing.assert_allclose(label.polygons[0].points, affine.apply(motion, corner))


def test_another_file_format_gives_faces_other_names_and_masks_go_along(shot, tmp_path, store):
    path = tmp_path / "faces"
    extract(shot, path, store)
    before = records_of(path)
    with MaskStore.open(path, create=True) as masks:
        masks.add_mask(before[1003].name, "xseg", hand_in(before[1003]), made_by="net")
    extract(shot, path, store, aligned_format="jpeg")
    after = records_of(path)
    with MaskStore.open(path) as masks:
        assert masks.faces_with("xseg") == [after[1003].name] == ["shot_001003_0.jpg"]
        np.testing.assert_array_equal(
            masks.mask(after[1003].name, "xseg"), masks.mask(before[1003].name, "xseg", version=1)
        )


def test_a_repeated_extraction_leaves_masks_alone(shot, tmp_path, store):
    path = tmp_path / "faces"
    extract(shot, path, store)
    with MaskStore.open(path, create=True) as masks:
        masks.add_mask("shot_001001_0.png", "xseg", np.ones((8, 8), np.float32), made_by="net")
    before = (path / "masks.sqlite").read_bytes()
    extract(shot, path, store)
    assert (path / "masks.sqlite").read_bytes() == before
