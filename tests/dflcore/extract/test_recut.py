from dataclasses import replace

import cv2
import numpy as np
import pytest

from dflcore.config.extract import ExtractSettings
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.extract.pipeline import extract_faces
from dflcore.extract.recut import PlateFaces, describe_picture
from dflcore.identity.base import identity_distance
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.weights.store import WeightStore
from small_facesets import Watcher, noise_faceset


@pytest.fixture(scope="module")
def shot(tmp_path_factory, astronaut):
    """Two frames of a portrait and the faceset made of them."""
    folder = tmp_path_factory.mktemp("shot")
    for number in (1, 2):
        moved = np.roll(astronaut, number * 3, axis=1)
        cv2.imwrite(str(folder / f"a.{number:04d}.png"), moved[..., ::-1])
    cv2.imwrite(str(folder / "portrait.jpg"), astronaut[..., ::-1])
    plate = open_plate(str(folder / "a.####.png"))
    extract_faces(plate, folder / "faces", ExtractSettings(aligned_size=96), Watcher(), store=WeightStore())
    plate.close()
    return folder


def test_a_face_cut_anew_is_the_face_that_was_cut(shot):
    with Faceset.open(shot / "faces") as faceset, PlateFaces.of_faceset(shot / "faces") as plates:
        for record in faceset.records():
            again = plates.cut(record, record.aligned_from_plate, 96)
            assert again is not None
            stored = faceset.read_image(record.name).astype(float)
            assert np.abs(np.clip(again, 0, 1) * 255 - stored).max() <= 1.0
            wider = plates.cut(record, record.aligned_from_plate * 2.0, 192)
            assert wider is not None
            assert wider.shape == (192, 192, 3)


def test_faces_whose_plate_is_gone_or_another_are_not_cut(shot, tmp_path):
    with Faceset.open(shot / "faces") as faceset:
        record = next(iter(faceset.records()))
        with PlateFaces.of_faceset(shot / "faces") as plates:
            for changed in (
                replace(record, plate=str(tmp_path / "gone.####.png")),
                replace(record, frame=77),
                replace(record, plate_size=(9, 9)),
                replace(record, plate="imported"),
            ):
                assert plates.cut(changed, record.aligned_from_plate, 96) is None
            assert plates.cut(record, record.aligned_from_plate, 96) is not None, "and the next face is cut again"


def test_a_damaged_frame_of_the_plate_is_said(shot, tmp_path):
    for number in (1, 2):
        data = (shot / f"a.{number:04d}.png").read_bytes()
        (tmp_path / f"a.{number:04d}.png").write_bytes(data if number == 1 else data[: len(data) // 2])
    plate = open_plate(str(tmp_path / "a.####.png"))
    with Faceset.open(shot / "faces") as faceset:
        second = list(faceset.records())[1]
        with PlateFaces() as plates, pytest.raises(DataCorrupt, match=r"a\.0002\.png"):
            plates.cut(replace(second, plate=plate.name), second.aligned_from_plate, 96)


def test_a_faceset_that_is_not_there_yet_reads_plates_by_default(tmp_path):
    PlateFaces.of_faceset(tmp_path / "none").close()
    with PlateFaces.of_faceset(noise_faceset(tmp_path / "faces", 1)) as plates, Faceset.open(tmp_path / "faces") as one:
        record = next(iter(one.records()))
        assert plates.cut(record, record.aligned_from_plate, 64) is None


def test_who_a_picture_shows(shot, tmp_path):
    store = WeightStore()
    descriptor = describe_picture(shot / "portrait.jpg", store)
    with Faceset.open(shot / "faces") as faceset:
        assert identity_distance(descriptor, next(iter(faceset.records())).identity) < 0.4
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((300, 300, 3), 99, np.uint8))
    with pytest.raises(InvalidInput, match=r"gray\.png shows no face"):
        describe_picture(tmp_path / "gray.png", store)
    with pytest.raises(NotFound):
        describe_picture(tmp_path / "none.png", store)
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n junk")
    with pytest.raises(DataCorrupt):
        describe_picture(tmp_path / "cut.png", store)
    with pytest.raises(InvalidInput, match="no face of the set"):
        describe_picture((shot / "portrait.jpg").relative_to(shot), store)
