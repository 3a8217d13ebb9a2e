"""How many faces fit, and what is said when they do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.errors import ResourceExhausted
from dflcore.progress import Notice, StopRequest
from dflcore.train import fitting
from dflcore.train.learner import Learner
from dflcore.train.steps import FaceSteps
from dflcore.train.trainer import train
from dflcore.tuning import advice
from recorder import Recorder
from small_facesets import Watcher

TINY = {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4, "device": "cpu", "preset": "df"}


def test_the_largest_batch_that_fits_is_taken(
    source: Any, target: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Learner.learn_from

    def small_card(learner: Learner, batches: Any, **given: Any) -> Any:
        if len(next(iter(batches.values())).seen) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(learner, batches, **given)

    monkeypatch.setattr(Learner, "learn_from", small_card)
    recorder = Recorder()
    settings = TrainSettings.from_values({**TINY, "iterations": 1, "batch_size": 2, "fit_batch": True})
    train(settings, source, target, tmp_path / "model", recorder)
    notice = next(notice for notice in recorder.of(Notice) if notice.reason == "BATCH_FITTED")
    assert "memory for 5 faces" in notice.message


def test_who_stops_it_need_not_wait_for_the_largest(source: Any, target: Any, tmp_path: Any) -> None:
    settings = TrainSettings.from_values({**TINY, "iterations": 1, "batch_size": 2, "fit_batch": True})
    watcher = Watcher(stop_after=1)
    result = train(settings, source, target, tmp_path / "model", watcher)
    assert (result.iteration, result.stopped) == (0, StopRequest.CANCEL)
    notice = next(one for one in watcher.events if isinstance(one, Notice) and one.reason == "BATCH_FITTED")
    assert "memory for 4 faces" in notice.message


def test_out_of_memory_names_what_to_lower(
    source: Any, target: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(FaceSteps, "step", full)
    settings = TrainSettings.from_values({**TINY, "iterations": 1, "batch_size": 8})
    with pytest.raises(ResourceExhausted, match=r"batch_size 8 needs about .*MB") as caught:
        train(settings, source, target, tmp_path / "model")
    assert "batch_size" in caught.value.message.split("needs about")[1]


def test_other_errors_stay_what_they_are(
    source: Any, target: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(FaceSteps, "step", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        train(TrainSettings.from_values({**TINY, "iterations": 1, "batch_size": 2}), source, target, tmp_path / "model")


def test_what_the_settings_ask_of_the_memory() -> None:
    settings = TrainSettings(optimizer="adam", ema_decay=0.9, batch_size=4, checkpoint_activations=True)
    load = fitting.training_load(settings, torch.device("cpu"), None, 7)
    assert (load.batch_size, load.has_mean, load.checkpoint_activations, load.on_gpu) == (7, True, True, False)


def test_a_step_that_may_not_fit_is_told_before_it_is_taken(
    source: Any, target: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "available_memory", lambda device: 10**6)
    recorder = Recorder()
    settings = TrainSettings.from_values({**TINY, "iterations": 1, "batch_size": 8})
    train(settings, source, target, tmp_path / "model", recorder)
    (notice,) = [notice for notice in recorder.of(Notice) if notice.reason == "MEMORY_SHORT"]
    assert notice.severity == "warning"
    assert "batch_size 8 needs about" in notice.message


def test_nothing_is_said_where_there_is_room(source: Any, target: Any, tmp_path: Any) -> None:
    recorder = Recorder()
    train(
        TrainSettings.from_values({**TINY, "iterations": 1, "batch_size": 1}), source, target, tmp_path / "m", recorder
    )
    assert "MEMORY_SHORT" not in [notice.reason for notice in recorder.of(Notice)]
