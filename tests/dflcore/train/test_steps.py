"""What a step does beside the plain one: resting weights, means, recomputing, pretraining, modules that rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dflcore.models.checkpoint import Generation, ModelFolder, load_model
from dflcore.progress import Notice, TrainProgress
from dflcore.train.session import new_network
from dflcore.train.trainer import train
from recorder import Recorder

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


def test_what_was_trained_is_kept_when_pretraining_begins(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings("liae", iterations=2), source, target, tmp_path / "model")
    trained = newest(tmp_path / "model").weights
    train(settings("liae", iterations=3, pretrain=True), source, target, tmp_path / "model")
    (backup,) = (tmp_path / "model" / "backups").iterdir()
    assert_equal(newest(backup).weights, trained)


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


def losses_of(recorder: Recorder) -> dict[str, float]:
    return recorder.of(TrainProgress)[-1].losses


@pytest.mark.parametrize("preset", ["df", "liae"])
def test_true_face_trains_a_critic_of_codes(source: Any, target: Any, tmp_path: Path, preset: str) -> None:
    recorder = Recorder()
    train(settings(preset, iterations=4, true_face_power=0.1), source, target, tmp_path / "model", recorder)
    assert set(losses_of(recorder)) == {"source", "target", "true_face", "true_face_critic"}
    assert any(name.startswith("critic.true_face.weights.") for name in newest(tmp_path / "model").training)


@pytest.mark.parametrize("preset", ["df", "amp"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_gan_trains_a_critic_of_pictures(
    source: Any, target: Any, tmp_path: Path, preset: str, *, masked: bool
) -> None:
    recorder = Recorder()
    more = {"inter_dims": 32} if preset == "amp" else {}
    values = settings(preset, iterations=4, gan_power=0.1, gan_dims=4, masked_training=masked, **more)
    train(values, source, target, tmp_path / "model", recorder)
    assert set(losses_of(recorder)) == {"source", "target", "gan", "gan_critic"}
    before = newest(tmp_path / "model").training
    train(values.model_copy(update={"iterations": 5}), source, target, tmp_path / "model")
    after = newest(tmp_path / "model").training
    critic = [name for name in before if name.startswith("critic.gan.weights.") and name.endswith("weight")]
    assert critic
    assert all(not torch.equal(before[name], after[name]) for name in critic)


def test_a_critic_that_rests_for_a_while_is_kept(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=2, gan_power=0.1, gan_dims=4), source, target, tmp_path / "model")
    critic = {n: t for n, t in newest(tmp_path / "model").training.items() if n.startswith("critic.")}
    train(settings(iterations=3), source, target, tmp_path / "model")
    kept = {n: t for n, t in newest(tmp_path / "model").training.items() if n.startswith("critic.")}
    assert_equal(critic, kept)
    recorder = Recorder()
    train(settings(iterations=4, gan_power=0.1, gan_dims=8), source, target, tmp_path / "model", recorder)
    assert "CRITIC_STARTED_ANEW" in [notice.reason for notice in recorder.of(Notice)]


def test_resume_with_critics_equals_a_continuous_run(source: Any, target: Any, tmp_path: Path) -> None:
    values = settings(iterations=8, gan_power=0.1, gan_dims=4, true_face_power=0.1, lr_dropout=0.5)
    train(values, source, target, tmp_path / "whole")
    train(values, source, target, tmp_path / "parts", Recorder(stop_after=3))
    train(values, source, target, tmp_path / "parts")
    whole, parts = newest(tmp_path / "whole"), newest(tmp_path / "parts")
    assert_equal(whole.weights, parts.weights)
    assert_equal(whole.training, parts.training)


def test_styles_and_priorities_are_part_of_the_loss(source: Any, target: Any, tmp_path: Path) -> None:
    recorder, plain = Recorder(), Recorder()
    values = {"face_style_power": 1.0, "background_style_power": 2.0, "blur_out_mask": True}
    train(settings(iterations=3, **values), source, target, tmp_path / "styled", recorder)
    assert set(losses_of(recorder)) == {"source", "target", "face_style", "background_style"}
    train(settings(iterations=3), source, target, tmp_path / "plain", plain)
    train(settings(iterations=3, eyes_mouth_priority=True), source, target, tmp_path / "eyes", recorder)
    assert losses_of(recorder)["source"] > losses_of(plain)["source"] + 0.1


def test_several_sources_have_a_decoder_each(source: Any, target: Any, tmp_path: Path) -> None:
    recorder = Recorder()
    train(settings(iterations=3), source, target, tmp_path / "model", recorder, more_sources=[target])
    assert set(losses_of(recorder)) == {"source", "target", "source2"}
    model = load_model(tmp_path / "model")[0]
    assert model.identities == ("source", "source2", "target")
    faces = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(model.swap(faces).face, model.swap(faces, identity="source2").face)
    with pytest.raises(InvalidInput, match="sources is 2, not 1"):
        train(settings(iterations=4), source, target, tmp_path / "model")
    with pytest.raises(InvalidInput, match="learns one source, not 2"):
        train(settings("liae", iterations=3), source, target, tmp_path / "liae", more_sources=[target])


@pytest.mark.parametrize("values", [{"random_hsv": 0.1}, {"color_transfer": "rct"}, {"uniform_yaw": True}], ids=str)
def test_what_faces_go_through_trains(source: Any, target: Any, tmp_path: Path, values: dict[str, Any]) -> None:
    assert train(settings(iterations=3, **values), source, target, tmp_path / "model").iteration == 3


def test_measured_arithmetic_is_remembered(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=2), source, target, tmp_path / "model", tuning_folder=tmp_path / "tuning")
    assert list((tmp_path / "tuning").iterdir())
