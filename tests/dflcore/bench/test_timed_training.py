"""Training by the clock: slices add up to one life, and looking does not disturb what is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dflcore.bench.held_out import Footage
from dflcore.bench.timed_training import open_look, train_and_look, train_until, trained_seconds
from dflcore.config.train import TrainSettings
from dflcore.merge.swapper import open_swapper
from dflcore.models.checkpoint import ModelFolder

SETTINGS = TrainSettings(preset="tiny", minutes=0.02, batch_size=2, device="cpu")

pytestmark = pytest.mark.usefixtures("tiny_preset", "ticking_clock")


def test_slices_add_up(noise_facesets: Path, tmp_path: Path) -> None:
    model, footage = tmp_path / "model", Footage(noise_facesets)
    first = train_until(SETTINGS, footage, model, 0.4, trained_seconds(model))
    assert first.elapsed_s == pytest.approx(0.4, abs=0.3)
    assert first.stopped is not None
    assert trained_seconds(model) == pytest.approx(first.elapsed_s)
    second = train_until(SETTINGS, footage, model, 1.2, first.elapsed_s)
    assert second.elapsed_s == pytest.approx(1.2, abs=0.3)
    assert second.iteration > first.iteration


def test_looks_are_the_model_of_their_moments(noise_facesets: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    description, looks = train_and_look(SETTINGS, Footage(noise_facesets), model, [0.3, 0.6, 1.2])
    assert [look.seconds for look in looks] == pytest.approx([0.3, 0.6, 1.2], abs=0.3)
    assert looks[0].iteration < looks[1].iteration < looks[-1].iteration
    faces = torch.rand(2, 3, 32, 32)
    saved, _ = open_swapper(model)
    painted = [open_look(description, look).swap(faces)[0] for look in looks]
    torch.testing.assert_close(painted[-1], saved.swap(faces)[0])
    assert not torch.equal(painted[0], painted[-1])


def test_moments_stepped_over_at_once_are_one_look(noise_facesets: Path, tmp_path: Path) -> None:
    _, looks = train_and_look(SETTINGS, Footage(noise_facesets), tmp_path / "model", [1e-6, 2e-6, 3e-6])
    assert len(looks) == 2


def test_what_cannot_be_gone_on_with_starts_anew(tmp_path: Path) -> None:
    assert trained_seconds(tmp_path / "none") == 0.0
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.json").write_text("{")
    assert ModelFolder.exists(broken)
    assert trained_seconds(broken) == 0.0
    assert not broken.exists()
