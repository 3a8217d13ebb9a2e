"""The judge knows a copy from a stranger; facesets are split without leaving a face out or taking it twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dflcore.bench.held_out import Footage, SwapJudge, split_faceset
from dflcore.detect.base import create_detector
from dflcore.errors import InvalidInput
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.io.faceset import Faceset
from dflcore.landmark.base import create_landmarker
from dflcore.types import FaceType
from dflcore.weights.store import WeightStore
from small_facesets import make_record, noise_faceset, write_faceset

SIZE = 192


def portrait_faceset(folder: Path, picture: np.ndarray, count: int) -> Path:
    """Faces cut from one portrait, each from it turned a little."""
    store = WeightStore()
    detector, landmarker = create_detector("dlib_hog", store), create_landmarker("dlib68", store)
    faces = []
    for number in range(count):
        height, width = picture.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 2.0 * number - count, 1.0)
        turned = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        box = max(detector.detect(turned), key=lambda one: one.score).box
        landmarks = landmarker.locate(turned, box)
        to_aligned = aligned_from_landmarks(landmarks.points, FaceType.FULL, SIZE)
        record = make_record(number + 1, size=SIZE, landmarks=landmarks.points, box=box, aligned_from_plate=to_aligned)
        faces.append((record, cv2.warpAffine(turned, to_aligned, (SIZE, SIZE), flags=cv2.INTER_AREA)))
    return write_faceset(folder, faces)


@pytest.fixture(scope="module")
def footage(astronaut: np.ndarray, hopper: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Footage:
    folder = tmp_path_factory.mktemp("footage")
    portrait_faceset(folder / "source_faces", astronaut, 4)
    portrait_faceset(folder / "held_out_faces", hopper, 3)
    return Footage(folder)


@pytest.fixture(scope="module")
def judge(footage: Footage) -> SwapJudge:
    return SwapJudge(footage, count=3)


class Painter:
    """Paints what it is told."""

    face_type, name, digest = FaceType.FULL, "painter", ""

    def __init__(self, resolution: int, paint, mask: float = 1.0) -> None:
        self.resolution, self._paint, self._mask = resolution, paint, mask

    def swap(self, target: torch.Tensor):
        masks = torch.full_like(target[:, :1], self._mask)
        return self._paint(target), masks, masks


def test_the_performer_unchanged_is_the_performer(judge: SwapJudge) -> None:
    same = judge.judge(Painter(SIZE, lambda target: target))
    assert same.ssim.mean == pytest.approx(1.0, abs=1e-3)
    assert same.perceptual.mean < 1e-3
    assert same.landmarks.mean < 0.5
    assert same.pose.mean < 0.5
    assert same.sharpness.mean == pytest.approx(1.0, abs=0.02)
    assert same.identity_to_target.mean < 0.3 < 0.6 < same.identity.mean
    assert same.identity.mean == pytest.approx(judge.untouched[0], abs=0.02)
    assert same.identity_to_target.mean == pytest.approx(judge.untouched[1], abs=0.02)
    assert same.identity.mean == pytest.approx(judge.source_to_target, abs=0.1)


def test_nothing_painted_under_no_matte_is_the_performer_but_has_no_sharpness(judge: SwapJudge) -> None:
    nothing = judge.judge(Painter(64, lambda target: torch.full_like(target, 0.5), mask=0.0))
    assert nothing.ssim.mean == pytest.approx(1.0, abs=1e-6)
    assert nothing.landmarks.mean == 0.0
    assert nothing.sharpness.mean < 1e-4


def test_a_face_of_the_source_is_nearer_to_the_source(judge: SwapJudge, footage: Footage) -> None:
    with Faceset.open(footage.source) as faces:
        face = torch.from_numpy(faces.read_image(faces.names[1])).permute(2, 0, 1).float() / 255.0
    swapped = judge.judge(Painter(SIZE, lambda target: face.expand_as(target)))
    assert swapped.identity.mean < swapped.identity_to_target.mean
    assert judge.source_itself < swapped.identity.mean < judge.source_to_target
    assert swapped.ssim.mean < 0.9
    assert len(swapped.faces) == len(judge.pictures) == 3
    assert swapped.faces[0].shape == (SIZE, SIZE, 3)


def test_a_small_network_is_less_sharp(judge: SwapJudge) -> None:
    ratios = [judge.judge(Painter(side, lambda target: target)).sharpness.mean for side in (SIZE, 96, 48)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[2] < 0.2


def test_every_fifth_face_is_held_out(tmp_path: Path) -> None:
    noise_faceset(tmp_path / "all", 12)
    split_faceset(tmp_path / "all", tmp_path / "kept", tmp_path / "out")
    with (
        Faceset.open(tmp_path / "all") as every,
        Faceset.open(tmp_path / "kept") as kept,
        Faceset.open(tmp_path / "out") as out,
    ):
        assert out.names == [every.names[2], every.names[7]]
        assert sorted(kept.names + out.names) == sorted(every.names)
        for name in out.names:
            np.testing.assert_array_equal(out.read_image(name), every.read_image(name))
            np.testing.assert_array_equal(out.record(name).landmarks.points, every.record(name).landmarks.points)


def test_too_few_faces_to_hold_any_out(tmp_path: Path) -> None:
    noise_faceset(tmp_path / "all", 4)
    with pytest.raises(InvalidInput, match="too few to hold any out"):
        split_faceset(tmp_path / "all", tmp_path / "kept", tmp_path / "out")
