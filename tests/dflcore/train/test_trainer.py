"""The loop: it learns, saves, resumes as if never stopped, stops when asked, refuses nonsense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dflcore.config.network import QuickSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import Conflict, InvalidInput, Unsupported
from dflcore.models import presets, registry
from dflcore.models.checkpoint import ModelDescription, ModelFolder, load_model
from dflcore.progress import Notice, Preview, Saved, StopRequest, TrainProgress
from dflcore.train.optim.schedule import Schedule
from dflcore.train.steps import FaceSteps
from dflcore.train.trainer import train
from dflcore.types import Authorization, FaceType
from recorder import Recorder

TINY = QuickSettings(resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny() -> registry.Preset:
        return registry.Preset(help="Tiny.", network=TINY, build=presets.quick().build, recipe=presets.QUICK_RECIPE)

    monkeypatch.setattr(presets, "tiny", tiny, raising=False)
    monkeypatch.setitem(registry._PRESETS._builtin, "tiny", "dflcore.models.presets:tiny")


def settings(**values: object) -> TrainSettings:
    return TrainSettings.from_values({"preset": "tiny", "batch_size": 2, "seed": 4, "device": "cpu", **values})


def test_it_learns_saves_previews_and_reports(source: Any, target: Any, tmp_path: Path) -> None:
    recorder = Recorder()
    result = train(settings(iterations=60), source, target, tmp_path / "model", recorder)
    assert (result.iteration, result.stopped, result.generation) == (60, None, 1)
    assert 0 < result.data_ms < result.step_ms
    progress: list[TrainProgress] = recorder.of(TrainProgress)
    assert progress[-1].iteration == 60
    assert set(progress[-1].losses) == {"source", "target"}
    assert recorder.of(Saved)[-1].iteration == 60
    picture = cv2.imread(recorder.of(Preview)[-1].path)
    assert picture.shape == (4 * 32, 7 * 32, 3)
    _, _, generation, notices = load_model(tmp_path / "model")
    assert notices == []
    assert generation.state["provenance"]["source"]["authorization"]["person"] == "Nobody"
    assert generation.state["settings"]["seed"] == 4
    assert len(generation.history) == len(progress)


def test_loss_falls(source: Any, target: Any, tmp_path: Path) -> None:
    first = train(settings(iterations=5), source, target, tmp_path / "model").losses
    train(settings(iterations=150), source, target, tmp_path / "model")
    last = train(settings(iterations=170), source, target, tmp_path / "model").losses  # of the last twenty alone
    assert sum(last.values()) < 0.75 * sum(first.values())


def test_resume_equals_a_continuous_run(source: Any, target: Any, make_faceset: Any, tmp_path: Path) -> None:
    train(settings(iterations=20), source, target, tmp_path / "whole")
    recorder = Recorder(stop_after=9, request=StopRequest.PAUSE)
    paused = train(settings(iterations=20), source, target, tmp_path / "parts", recorder)
    assert (paused.iteration, paused.stopped) == (9, StopRequest.PAUSE)
    resumed = train(settings(iterations=20), source, target, tmp_path / "parts")
    assert resumed.iteration == 20
    whole, _ = ModelFolder.open(tmp_path / "whole").load()
    parts, _ = ModelFolder.open(tmp_path / "parts").load()
    assert whole is not None
    assert parts is not None
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(parts.weights[name], tensor, rtol=0, atol=0)
    for name, tensor in whole.training.items():
        torch.testing.assert_close(parts.training[name], tensor, rtol=0, atol=0)
    assert parts.history[-1, 0] == 20


def test_stop_before_the_first_step_saves_nothing(source: Any, target: Any, tmp_path: Path) -> None:
    result = train(settings(iterations=9), source, target, tmp_path / "model", Recorder(stop_after=0))
    assert (result.iteration, result.generation, result.stopped) == (0, 0, StopRequest.CANCEL)


def test_a_used_up_budget_says_so(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=3), source, target, tmp_path / "model")
    recorder = Recorder()
    assert train(settings(iterations=3), source, target, tmp_path / "model", recorder).generation == 1
    assert [notice.reason for notice in recorder.of(Notice)] == ["BUDGET_USED"]


def test_minutes_are_a_budget_too(source: Any, target: Any, tmp_path: Path) -> None:
    result = train(settings(minutes=0.01), source, target, tmp_path / "model")
    assert result.iteration > 0
    assert 0.6 <= result.elapsed_s < 10


def test_it_saves_by_the_clock(source: Any, target: Any, tmp_path: Path) -> None:
    recorder = Recorder()
    values = settings(minutes=0.05, save_interval_s=1.0, preview_interval_s=1.0, keep_generations=2)
    train(values, source, target, tmp_path / "model", recorder)
    assert len(recorder.of(Saved)) >= 3
    assert len(list((tmp_path / "model" / "generations").iterdir())) == 2


class Poison:
    """Spoils a weight before the steps of the given numbers, counted over the run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int, value: float = float("nan")) -> None:
        self.count = 0
        original = FaceSteps.step

        def step(steps: FaceSteps, *given: Any) -> Any:
            self.count += 1
            if self.count in numbers:
                with torch.no_grad():
                    next(steps.model.parameters())[0] = value
            return original(steps, *given)

        monkeypatch.setattr(FaceSteps, "step", step)


def test_a_loss_that_is_not_a_number_goes_back_once_with_a_lower_rate(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings(iterations=4), source, target, tmp_path / "model")
    Poison(monkeypatch, 3)
    recorder = Recorder()
    assert train(settings(iterations=9), source, target, tmp_path / "model", recorder).iteration == 9
    notice = next(notice for notice in recorder.of(Notice) if notice.reason == "ROLLED_BACK")
    assert "diverged at iteration 7" in notice.message
    assert "goes on from iteration 4" in notice.message
    _, _, generation, _ = load_model(tmp_path / "model")
    assert generation.state["rate_factor"] == 0.5
    assert bool(generation.history.isfinite().all())
    recorder = Recorder()
    train(settings(iterations=10), source, target, tmp_path / "model", recorder)  # the lower rate outlives the run
    usual = Schedule(peak=presets.QUICK_RECIPE.learning_rate, iterations=10, seconds=None).rate(10, 0.0)
    assert recorder.of(TrainProgress)[-1].learning_rate == pytest.approx(usual / 2)


def test_the_second_time_is_the_end_and_keeps_the_last_good_generation(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings(iterations=4), source, target, tmp_path / "model")
    Poison(monkeypatch, 3, 6)
    with pytest.raises(InvalidInput, match=r"diverged at iteration 7 again.*Generation 1 on disk is good") as caught:
        train(settings(iterations=30), source, target, tmp_path / "model")
    assert caught.value.reason == "TRAINING_DIVERGED"
    assert load_model(tmp_path / "model")[2].iteration == 4


def test_going_back_before_the_first_save_starts_anew(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Poison(monkeypatch, 3)
    assert train(settings(iterations=5), source, target, tmp_path / "model").iteration == 5
    assert load_model(tmp_path / "model")[2].state["rate_factor"] == 0.5


def test_bad_weights_are_never_saved(source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FaceSteps.step

    def poisoned(steps: FaceSteps, *given: Any) -> Any:
        losses = original(steps, *given)
        with torch.no_grad():
            next(steps.model.parameters())[0] = float("inf")
        return losses

    monkeypatch.setattr(FaceSteps, "step", poisoned)
    with pytest.raises(InvalidInput, match="Nothing was saved"):
        train(settings(iterations=1), source, target, tmp_path / "model")
    assert ModelFolder.open(tmp_path / "model").load()[0] is None


def test_backups_are_models_and_outlive_generations(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = settings(iterations=3, backup_interval_h=1e-9, keep_backups=2, keep_generations=2)
    for iterations in (3, 4, 5, 6):
        train(often.model_copy(update={"iterations": iterations}), source, target, tmp_path / "model")
    backups = sorted(path.name for path in (tmp_path / "model" / "backups").iterdir())
    assert backups == ["iteration_00000005", "iteration_00000006"]
    train(settings(iterations=9, keep_generations=2), source, target, tmp_path / "model")
    _, _, generation, notices = load_model(tmp_path / "model" / "backups" / backups[0])
    assert (generation.iteration, notices) == (5, [])


def test_a_time_lapse_keeps_previews(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=7, preview_history=3), source, target, tmp_path / "model")
    kept = sorted(path.name for path in (tmp_path / "model" / "previews" / "history").iterdir())
    assert kept == ["00000003.png", "00000006.png"]


def test_a_number_that_the_network_does_not_have_is_refused(source: Any, target: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no inter_dims and no letters"):
        train(settings(iterations=1, inter_dims=64, letters="ud"), source, target, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("change", [{"resolution": 64}, {"preset": "quick"}, {"face_type": "whole"}])
def test_what_is_fixed_cannot_change(source: Any, target: Any, tmp_path: Path, change: dict[str, object]) -> None:
    train(settings(iterations=1), source, target, tmp_path / "model")
    with pytest.raises(InvalidInput, match=next(iter(change))):
        train(settings(iterations=2, **change), source, target, tmp_path / "model")
    kept = TrainSettings.from_values({"iterations": 2, "batch_size": 2})  # says nothing: keeps what the model has
    assert train(kept, source, target, tmp_path / "model").iteration == 2


def test_a_resolution_that_does_not_fit_leaves_no_folder(source: Any, target: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="multiple of 8"):
        train(settings(iterations=1, resolution=76), source, target, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InvalidInput, match="speed"):
        settings(speed=9)


def test_a_busy_model_is_refused(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=1), source, target, tmp_path / "model")
    with ModelFolder.open(tmp_path / "model").lock(), pytest.raises(Conflict):
        train(settings(iterations=2), source, target, tmp_path / "model")


def test_damage_is_reported_and_training_goes_on(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=2), source, target, tmp_path / "model")
    train(settings(iterations=4), source, target, tmp_path / "model")
    (tmp_path / "model" / "generations" / "00000002" / "weights.safetensors").write_bytes(b"\0" * 100)
    recorder = Recorder()
    result = train(settings(iterations=6), source, target, tmp_path / "model", recorder)
    assert "GENERATION_DAMAGED" in [notice.reason for notice in recorder.of(Notice)]
    assert result.iteration == 6
    assert load_model(tmp_path / "model")[3] == []


def test_event_files_hold_the_curves(source: Any, target: Any, tmp_path: Path) -> None:
    train(settings(iterations=3), source, target, tmp_path / "model")
    train(settings(iterations=6), source, target, tmp_path / "model")
    events = EventAccumulator(str(tmp_path / "model" / "events"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/source")] == [3, 6]


def test_bfloat16_on_a_cpu_trains_too(source: Any, target: Any, tmp_path: Path) -> None:
    result = train(settings(iterations=3, precision="bfloat16"), source, target, tmp_path / "model")
    assert result.iteration == 3


def test_schedule_warms_up_then_falls() -> None:
    schedule = Schedule(peak=1e-3, iterations=1000, seconds=None)
    rates = [schedule.rate(i, 0.0) for i in (0, 60, 500, 999)]
    assert rates[0] < rates[1] > rates[2] > rates[3]
    assert rates[1] == pytest.approx(1e-3, rel=0.02)
    assert rates[3] == pytest.approx(1e-5, rel=0.05)
    assert schedule.is_over(1000, 0.0)
    timed = Schedule(peak=1e-3, iterations=None, seconds=100.0)
    assert timed.progress(10**6, 50.0) == 0.5
    assert timed.is_over(0, 100.0)
    both = Schedule(peak=1e-3, iterations=100, seconds=100.0)
    assert both.progress(90, 10.0) == 0.9
    open_end = Schedule(peak=1e-3, iterations=None, seconds=None, open_end_factor=0.3)
    assert not open_end.is_over(10**9, 1e9)
    assert open_end.rate(10**9, 1e9) == pytest.approx(3e-4)


def test_nothing_is_fixed_before_the_first_save(source: Any, target: Any, tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        train(settings(iterations=1, device="cuda:77"), source, target, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    ModelFolder.create(
        tmp_path / "model", ModelDescription(preset="quick", network=TINY.values(), face_type=FaceType.HEAD)
    )
    assert train(settings(iterations=1), source, target, tmp_path / "model").iteration == 1
    assert ModelFolder.open(tmp_path / "model").description.face_type is FaceType.FULL


def test_an_expired_permission_stops_training(source: Any, target: Any, tmp_path: Path) -> None:
    class Expired:
        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        @property
        def info(self) -> Any:
            return replace(source.info, authorization=Authorization(person="Nobody", until="2020-01-01"))

    with pytest.raises(InvalidInput, match="ended on 2020-01-01"):
        train(settings(iterations=1), Expired(), target, tmp_path / "model")
    assert not (tmp_path / "model").exists()
