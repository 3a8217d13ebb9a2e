"""What a run says of itself when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.models.face_model import FaceModel, Swap
from dflcore.train.review import advise, is_falling, review_training
from dflcore.weights.store import WeightStore

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
