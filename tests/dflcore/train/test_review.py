"""What a run says of itself when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.geometry.warp import warp_to_aligned
from dflcore.models.face_model import FaceModel, Swap
from dflcore.train.review import advise, is_falling, review_training
from dflcore.types import Authorization, FacesetInfo, FaceType
from dflcore.weights.store import WeightStore
from small_facesets import make_record, plate_landmarks

FLAT = [(float(i), float(i), 1.0, 1.0) for i in range(50)]
FALLING = [(float(i), float(i), 100.0 / (i + 1), 1.0) for i in range(50)]


class Mirror(FaceModel):
    """Paints what it sees, blurred if asked."""

    resolution = 96

    def __init__(self, blur: int = 1) -> None:
        super().__init__()
        self.blur = blur
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def reconstruct(self, faces: Any) -> Any:
        raise NotImplementedError

    def paint_swap(self, target_code: Any) -> Any:
        raise NotImplementedError

    def swap(self, faces: torch.Tensor, *, identity: str = "source", morph: float = 1.0) -> Swap:
        painted = torch.nn.functional.avg_pool2d(faces, self.blur, 1, self.blur // 2, count_include_pad=False)
        mask = torch.ones_like(faces[:, :1])
        return Swap(painted, mask, mask)


def test_a_swap_that_paints_the_target_is_told_apart_from_the_source(source: Any, target: Any) -> None:
    review = review_training(Mirror(), target, target, TrainSettings(), FLAT, WeightStore())
    assert review is not None
    assert review.identity_to_source < 0.35  # the same person, compared with the mean of the pictures
    assert review.source_to_target == pytest.approx(0.0, abs=1e-6)
    assert review.sharpness_ratio == pytest.approx(1.0, rel=0.01)


def test_facesets_of_another_type_are_shown_as_the_model_sees_them(astronaut: np.ndarray) -> None:
    """The same picture, wide and narrow: to the model it is the same face, as sharp and by the same person."""
    narrow, wide = portrait(astronaut, FaceType.FULL, 256), portrait(astronaut, FaceType.HEAD, 512)
    alike = review_training(Mirror(), narrow, wide, TrainSettings(), FLAT, WeightStore(), FaceType.FULL)
    assert alike is not None
    assert alike.identity_to_source < 0.2
    assert alike.sharpness_ratio == pytest.approx(1.0, abs=0.1)
    by_the_settings = review_training(Mirror(), wide, narrow, TrainSettings(face_type="full"), FLAT, WeightStore())
    assert by_the_settings is not None
    assert by_the_settings.sharpness_ratio == pytest.approx(1.0, abs=0.1)


def portrait(astronaut: np.ndarray, face_type: FaceType, size: int) -> Any:
    """A faceset in memory of one real face."""
    points = plate_landmarks(scale=70.0, angle=0.1, shift=(190.0, 75.0))
    face = make_record(0, face_type=face_type, size=size, landmarks=points)
    plate = torch.from_numpy(astronaut.copy()).permute(2, 0, 1).float()
    image = warp_to_aligned(plate, face.aligned_from_plate, size).clamp(0, 255).round().to(torch.uint8)

    class One:
        names = (face.name,)
        info = FacesetInfo(
            path="one",
            face_count=1,
            face_type=face_type,
            aligned_size=size,
            plates=("plate",),
            authorization=Authorization(),
        )

        def record(self, _: str) -> Any:
            return face

        def read_image(self, _: str) -> Any:
            return image.permute(1, 2, 0).numpy()

    return One()


def test_softness_is_seen(source: Any, target: Any) -> None:
    review = review_training(Mirror(blur=7), target, target, TrainSettings(), FLAT, WeightStore())
    assert review is not None
    assert review.sharpness_ratio < 0.3
    assert "random_warp" in review.sentence()


def test_without_an_encoder_the_rest_is_still_said(
    source: Any, target: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dflcore.errors import NotFound
    from dflcore.train import review as module

    def refuse(**_: object) -> None:
        raise NotFound("no weights", reason="WEIGHTS_MISSING")

    monkeypatch.setattr(module, "create_identity_encoder", refuse)
    review = review_training(Mirror(), source, target, TrainSettings(), FLAT, WeightStore())
    assert review is not None
    assert np.isnan(review.identity_to_source)
    assert "distance" not in review.sentence()


def test_advice_follows_the_order_of_a_training() -> None:
    assert "train on" in advise(TrainSettings(), FALLING, 0.2, 0.4)[0]
    assert "random_warp" in advise(TrainSettings(), FLAT, 0.2, 0.4)[0]
    assert "lr_dropout" in advise(TrainSettings(random_warp=False), FLAT, 0.2, 0.4)[0]
    assert "gan_power" in advise(TrainSettings(random_warp=False, lr_dropout=0.7), FLAT, 0.2, 0.4)[0]
    assert "merge" in advise(TrainSettings(), FLAT, 0.9, 0.4)[0]
    assert "coverage" in advise(TrainSettings(), FLAT, 0.9, 0.8)[0]
    assert "pretrain" in advise(TrainSettings(pretrain=True), FLAT, 0.9, 0.8)[0]


def test_a_short_history_is_no_rest() -> None:
    assert is_falling(FLAT[:5])
    assert not is_falling(FLAT)
    assert is_falling(FALLING)
