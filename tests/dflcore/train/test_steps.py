"""What a step does beside the plain one: resting weights, means, recomputing, pretraining, modules that rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recorder import Recorder

from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dflcore.models.checkpoint import Generation, ModelFolder, load_model
from dflcore.progress import Notice
from dflcore.train.session import new_network
from dflcore.train.trainer import train

TINY = {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4, "batch_size": 2, "device": "cpu"}


def settings(preset: str = "df", **values: object) -> TrainSettings:
    return TrainSettings.from_values({**TINY, "preset": preset, "seed": 4, **values})


def newest(path: Path) -> Generation:
    generation, _ = ModelFolder.open(path).load()
    assert generation is not None
    return generation


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "values",
    [
        {"lr_dropout": 0.7, "lr_cycle": 5},
        {"ema_decay": 0.9},
        {"optimizer": "rmsprop", "clip_gradients": 0.01},
        {"accumulate_steps": 2},
        {"preset": "amp", "ae_dims": 16, "inter_dims": 32},
    ],
    ids=str,
)
def test_resume_equals_a_continuous_run(source: Any, target: Any, tmp_path: Path, values: dict[str, Any]) -> None:
    train(settings(iterations=8, **values), source, target, tmp_path / "whole")
    train(settings(iterations=8, **values), source, target, tmp_path / "stopped", Recorder(stop_after=3))
    train(settings(iterations=8, **values), source, target, tmp_path / "stopped")
    whole, stopped = newest(tmp_path / "whole"), newest(tmp_path / "stopped")
    assert_equal(whole.weights, stopped.weights)
    assert_equal(whole.training, stopped.training)


def test_a_mean_of_weights_is_what_others_paint_with(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=6, ema_decay=0.9), source, target, tmp_path / "model")
    generation = newest(tmp_path / "model")
    raw = {name[4:]: tensor for name, tensor in generation.training.items() if name.startswith("raw.")}
    assert raw.keys() == generation.weights.keys()
    assert any(not torch.equal(raw[name], tensor) for name, tensor in generation.weights.items())
    model = load_model(tmp_path / "model")[0]
    assert_equal(generation.weights, dict(model.state_dict()))
    train(settings(iterations=7), source, target, tmp_path / "model")  # without: goes on from what was trained
    plain = newest(tmp_path / "model")
    assert not [name for name in plain.training if name.startswith("raw.")]
    drift = {name: (plain.weights[name] - raw[name]).abs().max() for name in raw}
    mean_drift = {name: (plain.weights[name] - generation.weights[name]).abs().max() for name in raw}
    assert sum(drift.values()) < sum(mean_drift.values())


def test_recomputing_changes_nothing_but_memory(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=3), source, target, tmp_path / "plain")
    train(settings(iterations=3, checkpoint_activations=True), source, target, tmp_path / "again")
    plain, again = newest(tmp_path / "plain").weights, newest(tmp_path / "again").weights
    for name, tensor in plain.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-4, atol=1e-6)


def test_liae_rests_what_both_share_while_faces_are_straight(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings("liae", iterations=2), source, target, tmp_path / "model")
    before = newest(tmp_path / "model").weights
    train(settings("liae", iterations=4, random_warp=False), source, target, tmp_path / "model")
    after = newest(tmp_path / "model").weights
    moved = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert moved == {"encoder", "inter_B", "decoder"}


def test_after_pretraining_people_start_anew(source: Any, target: Any, tmp_path: Path) -> None:
    pretraining = settings("liae", iterations=4, pretrain=True, random_warp=False, learning_rate=1e-2)
    train(pretraining, source, target, tmp_path / "model")
    learnt = newest(tmp_path / "model")
    assert learnt.state["pretrain"] is True
    recorder = Recorder(stop_after=1)
    result = train(settings("liae", iterations=9, learning_rate=1e-6), source, target, tmp_path / "model", recorder)
    assert result.iteration == 1
    assert "PRETRAIN_SWITCHED" in [notice.reason for notice in recorder.of(Notice)]
    fresh = new_network(ModelFolder.open(tmp_path / "model").description, 4).state_dict()
    for name, weight in newest(tmp_path / "model").weights.items():
        came_from, other = (fresh, learnt.weights) if name.startswith("inter") else (learnt.weights, fresh)
        torch.testing.assert_close(weight, came_from[name], rtol=0, atol=1e-5)
        if name.endswith("weight"):  # nothing rested in pretraining
            assert float((weight - other[name]).abs().max()) > 1e-4


def test_convolutions_start_convolution_aware_when_asked(source: Any, target: Any, tmp_path: Path) -> None:
    stopped = Recorder(stop_after=1)
    train(settings(iterations=9, ca_init=True), source, target, tmp_path / "model", stopped)
    weights = newest(tmp_path / "model").weights
    kernel = weights["encoder.downs.2.conv.weight"]
    assert float(kernel.var()) == pytest.approx(2.0 / kernel[0].numel(), rel=0.05)


@pytest.mark.parametrize(
    ("preset", "values"),
    [("amp", {"true_face_power": 0.1}), ("amp", {"face_style_power": 1.0}), ("amp", {"pretrain": True})],
)
def test_what_does_not_fit_a_network_is_refused(
    source: Any, target: Any, tmp_path: Path, preset: str, values: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput, match=next(iter(values))):
        train(settings(preset, iterations=1, **values), source, target, tmp_path / "model")
    assert not (tmp_path / "model").exists()
