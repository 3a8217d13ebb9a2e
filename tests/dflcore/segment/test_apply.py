"""A segmenter over a faceset: every face type, resumable, honest about what it could not read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dflcore.config.segment import MaskTrainSettings
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.geometry.warp import warp_to_plate
from dflcore.io.faceset import Faceset
from dflcore.io.masks import MaskStore
from dflcore.models import segment_presets
from dflcore.models.checkpoint import ModelDescription, ModelFolder
from dflcore.progress import StopRequest
from dflcore.segment import apply as apply_module
from dflcore.segment.apply import apply_segmenter
from dflcore.segment.base import SEGMENTERS, create_segmenter
from dflcore.segment.crop import cut_for_network, cut_mask_for_network, mask_to_aligned
from dflcore.segment.hull import HullSegmenter
from dflcore.segment.network import NetworkSegmenter, open_segmenter
from dflcore.train.segmenter import train_segmenter
from dflcore.types import FaceType
from dflcore.weights.store import WeightStore
from mask_training import SIZE, oval_faceset, tiny_preset
from small_facesets import Watcher, make_record, write_faceset

GREY, FACE = 60, 200


class Brightness(torch.nn.Module):
    """Bright is face: what a perfectly trained network would say of the pictures here."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return (faces.mean(dim=1, keepdim=True) - 0.5) * 60.0


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name ``bright`` is a segmenter that reads full faces of 96 px."""

    def create(store: WeightStore, *, device: str) -> NetworkSegmenter:
        return NetworkSegmenter(Brightness(), 96, FaceType.FULL, "bright 1", device="cpu")

    monkeypatch.setattr(apply_module, "create_segmenter", lambda name, store, device: create(store, device=device))
    monkeypatch.setitem(SEGMENTERS._builtin, "bright", "nowhere:nothing")


def disk_faceset(folder: Path, face_type: FaceType, size: int, count: int = 1) -> Path:
    """Faces that are a bright disk around the same point of the plate, whatever the face type."""
    faces = []
    for frame in range(1, count + 1):
        record = make_record(frame, face_type=face_type, size=size)
        scale = float(np.sqrt(abs(np.linalg.det(record.aligned_from_plate[:, :2]))))
        center = record.aligned_from_plate[:, :2] @ record.landmarks.points[30] + record.aligned_from_plate[:, 2]
        y, x = np.mgrid[0:size, 0:size] + 0.5
        share = np.clip(55.0 * scale - np.hypot(x - center[0], y - center[1]) + 0.5, 0.0, 1.0)
        image = np.rint(GREY + (FACE - GREY) * share)[..., None].repeat(3, axis=2).astype(np.uint8)
        faces.append((record, image))
    return write_faceset(folder, faces)


def mask_in_plate(faceset: Path, source: str = "xseg") -> np.ndarray:
    with Faceset.open(faceset) as faces, MaskStore.open(faceset) as store:
        record = next(faces.records())
        mask = store.mask(record.name, source)
    assert mask is not None
    matrix = record.aligned_from_plate * (len(mask) / record.aligned_size)
    return warp_to_plate(torch.from_numpy(mask)[None], matrix, (0, 0, 640, 480))[0].numpy()


@pytest.mark.usefixtures("bright")
def test_faces_of_two_types_agree_in_the_plate(tmp_path: Path) -> None:
    masks = {}
    for face_type, size in ((FaceType.FULL, 96), (FaceType.WHOLE, 160), (FaceType.HEAD, 200), (FaceType.MIDFULL, 128)):
        folder = disk_faceset(tmp_path / face_type.value, face_type, size)
        result = apply_segmenter(folder, "bright")
        assert (result.faces, result.masked, result.made_by) == (1, 1, "bright 1")
        masks[face_type] = mask_in_plate(folder)
    truth = masks[FaceType.FULL] >= 0.5
    assert truth.sum() == pytest.approx(np.pi * 55**2, rel=0.02)
    for face_type, mask in masks.items():
        overlap = ((mask >= 0.5) & truth).sum() / ((mask >= 0.5) | truth).sum()
        assert overlap > 0.97, face_type


def test_masks_there_and_back() -> None:
    record = make_record(1, face_type=FaceType.WHOLE, size=128)
    y, x = np.mgrid[0:128, 0:128]
    soft = (1.0 / (1.0 + np.exp((np.hypot(x - 64, y - 60) - 25) / 3))).astype(np.float32)
    cut = cut_mask_for_network(soft, record, FaceType.FULL, 160)
    back = mask_to_aligned(cut, record, FaceType.FULL)
    assert back.shape == (128, 128)
    assert 0.0 <= back.min() <= back.max() <= 1.0
    assert np.abs(back - soft).mean() < 0.005
    image = cut_for_network(np.full((128, 128, 3), 77, np.uint8), record, FaceType.HEAD, 64)
    assert (image == 77).all()


def test_beyond_a_mask_lies_nothing_or_what_its_edge_shows() -> None:
    record = make_record(1, size=64)
    split = np.ones((64, 64), np.float32)
    split[:, 40:] = 0.0
    ended = cut_mask_for_network(split, record, FaceType.WHOLE, 128)
    assert ended[:10].max() == ended[:, :5].max() == 0.0
    longer = cut_mask_for_network(split, record, FaceType.WHOLE, 128, padding="border")
    assert longer[:, :40].min() == pytest.approx(1.0, abs=1e-5)
    assert longer[:, 100:].max() == 0.0
    middle = slice(40, 90)
    np.testing.assert_array_equal(longer[middle, middle], ended[middle, middle])


@pytest.mark.usefixtures("bright")
def test_a_second_run_finds_all_current(tmp_path: Path) -> None:
    folder = disk_faceset(tmp_path / "faces", FaceType.FULL, 96, count=5)
    first = apply_segmenter(folder, "bright", Watcher(stop_after=1), batch_size=2)
    assert (first.masked, first.stopped) == (2, StopRequest.CANCEL)
    control = Watcher()
    second = apply_segmenter(folder, "bright", control, batch_size=2)
    assert (second.masked, second.current, second.stopped) == (3, 2, None)
    assert [event.done for event in control.progress()] == [2, 4, 5]
    third = apply_segmenter(folder, "bright")
    assert (third.masked, third.current) == (0, 5)
    with MaskStore.open(folder) as store:
        assert {len(store.versions(name, "xseg")) for name in store.faces_with("xseg")} == {1}


@pytest.mark.usefixtures("bright")
def test_a_face_that_was_cut_again_gets_a_new_mask(tmp_path: Path) -> None:
    folder = disk_faceset(tmp_path / "faces", FaceType.FULL, 96, count=2)
    apply_segmenter(folder, "bright")
    later = time.time() + 5
    os.utime(next(folder.glob("*.png")), (later, later))
    assert apply_segmenter(folder, "bright").masked == 1
    with MaskStore.open(folder) as store:
        store.remove_masks("xseg")
    assert apply_segmenter(folder, "bright").masked == 2


def test_masks_stay_soft_and_faint_ones_vanish() -> None:
    segmenter = NetworkSegmenter(Brightness(), 8, FaceType.FULL, "bright 1", device="cpu")
    levels = np.array([[110, 120, 127, 130]], np.uint8)
    faces = np.zeros((1, 8, 8, 3), np.uint8)
    faces[0, 0, :4] = levels[0][:, None]
    mask = segmenter.segment(faces)[0, 0, :4]
    expected = 1 / (1 + np.exp(-(levels[0] / 255.0 - 0.5) * 60))
    assert expected[0] < 0.1 < expected[1]
    np.testing.assert_allclose(mask, np.where(expected < 0.1, 0.0, expected), atol=1e-5)
    assert segmenter.segment(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 8, 8)
    with pytest.raises(InvalidInput, match=r"\(N, 8, 8, 3\)"):
        segmenter.segment(np.zeros((1, 9, 9, 3), np.uint8))


def test_one_face_alone_equals_that_face_in_a_batch() -> None:
    torch.manual_seed(0)
    segmenter = NetworkSegmenter(tiny_preset().build(tiny_preset().network), 64, FaceType.FULL, "x", device="cpu")
    faces = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(segmenter.segment(faces)[1], segmenter.segment(faces[1:2])[0], atol=1e-4)


@pytest.mark.usefixtures("bright")
def test_damaged_images_are_left_out_and_told(tmp_path: Path) -> None:
    folder = disk_faceset(tmp_path / "faces", FaceType.FULL, 96, count=7)
    pictures = sorted(folder.glob("*.png"))
    for picture in pictures[:5]:
        picture.write_bytes(b"no picture")
    control = Watcher()
    result = apply_segmenter(folder, "bright", control)
    assert (result.masked, result.unreadable) == (2, 5)
    assert control.reasons().count("FACE_DAMAGED") == 3
    assert "FACES_UNREADABLE" in control.reasons()
    for picture in pictures:
        picture.write_bytes(b"no picture")
    with pytest.raises(DataCorrupt):
        apply_segmenter(folder, "bright", source="other")


def test_the_hull_is_a_segmenter(tmp_path: Path) -> None:
    oval_faceset(tmp_path / "faces", 2, labelled=0)
    assert apply_segmenter(tmp_path / "faces", "hull", source="outline").masked == 2
    with MaskStore.open(tmp_path / "faces") as store:
        mask = store.mask("shot_000001_0.png", "outline")
    assert mask is not None
    assert mask.shape == (SIZE, SIZE)
    assert 0.1 < mask.mean() < 0.9
    assert isinstance(create_segmenter("hull", WeightStore()), HullSegmenter)
    with pytest.raises(InvalidInput):
        apply_segmenter(tmp_path / "faces", "hull", source="hull")


def test_a_trained_model_is_applied_with_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_presets, "xseg_light", tiny_preset)
    oval_faceset(tmp_path / "faces", 3, labelled=2)
    model = tmp_path / "model"
    train_segmenter(MaskTrainSettings(iterations=1, device="cpu"), [tmp_path / "faces"], model)
    result = apply_segmenter(tmp_path / "faces", model)
    assert result.made_by == open_segmenter(model)[0].digest
    assert result.made_by.startswith("xseg-light ")
    assert apply_segmenter(tmp_path / "faces", str(model)).current == 3  # a path as text is a path
    train_segmenter(MaskTrainSettings(iterations=2, device="cpu"), [tmp_path / "faces"], model)
    assert apply_segmenter(tmp_path / "faces", model).masked == 3
    for generation in (model / "generations").glob("????????"):
        (generation / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DataCorrupt, match="No generation"):
        apply_segmenter(tmp_path / "faces", model)


def test_what_is_no_segmenter_is_named(tmp_path: Path) -> None:
    oval_faceset(tmp_path / "faces", 1, labelled=0)
    with pytest.raises(NotFound, match=r"neither a model's folder nor a segmenter; known segmenters are hull"):
        apply_segmenter(tmp_path / "faces", "hul")
    with pytest.raises(NotFound, match="no model"):
        apply_segmenter(tmp_path / "faces", tmp_path / "nowhere")
    with pytest.raises(NotFound, match="faceset"):
        apply_segmenter(tmp_path / "no faces", "hull", source="outline")
    ModelFolder.create(
        tmp_path / "model", ModelDescription(preset="quick", network={"resolution": 64}, face_type=FaceType.FULL)
    )
    with pytest.raises(InvalidInput, match="is a face model"):
        apply_segmenter(tmp_path / "faces", tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text("{")
    with pytest.raises(DataCorrupt, match="damaged"):
        apply_segmenter(tmp_path / "faces", tmp_path / "model")
