"""Work as the worker process runs it: real pipelines, small networks, no daemon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dflcore.config.qc import QcSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import Cancelled, Conflict
from dflcore.frames import FrameRange
from dflcore.models.checkpoint import load_model
from dflcore.progress import FrameProgress, Notice, Saved, StopRequest
from dflcore.qc.review import QcResult, Shot
from dflcore.train.parallel.training import TrainingTask
from dflcore.train.trainer import TrainResult
from dfldaemon.jobs import JobKind, Work
from dfldaemon.model_facts import read_model_facts
from dfldaemon.worker_jobs import run_work
from legacy_models import saehd_options, write_model
from small_facesets import Watcher, noise_faceset

SMALL_DF = {"preset": "df", "resolution": 64, "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 8}


def import_work(tmp_path: Path) -> Work:
    settings = ModelImportSettings(authorization_person="Eileen").values()
    paths = {"legacy": str(tmp_path / "old"), "model": str(tmp_path / "model")}
    return Work(kind=JobKind.IMPORT_MODEL, paths=paths, frames="", settings=settings)


def export_work(tmp_path: Path) -> Work:
    settings = ModelExportSettings(kind="torchscript").values()
    paths = {"model": str(tmp_path / "model"), "output": str(tmp_path / "face.pt")}
    return Work(kind=JobKind.EXPORT_MODEL, paths=paths, frames="", settings=settings)


def test_a_model_of_another_program_comes_in_and_goes_out(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"), name="clip", iteration=9)
    control = Watcher()
    taken = run_work(import_work(tmp_path), control, ())
    assert taken.facts == {"path": str(tmp_path / "model"), "preset": "df", "iteration": "9"}
    assert taken.stopped is None
    assert "MODEL_IMPORTED" in control.reasons()
    assert control.progress()[-1] == FrameProgress(done=6, total=6)
    assert read_model_facts(tmp_path / "model")[0].authorization.person == "Eileen"
    with pytest.raises(Conflict):
        run_work(import_work(tmp_path), Watcher(), ())
    given = run_work(export_work(tmp_path), control, ())
    assert Path(given.facts["path"]).stat().st_size == int(given.facts["size_bytes"])
    assert given.facts["model_digest"] == read_model_facts(tmp_path / "model")[0].weights_sha256
    assert float(given.facts["difference"]) < 1e-3


def test_taking_a_model_over_can_be_stopped(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))
    with pytest.raises(Cancelled):  # which the worker tells as stopped
        run_work(import_work(tmp_path), Watcher(stop_after=2), ())
    assert not (tmp_path / "model").exists()


def train_work(tmp_path: Path, *more: str, **settings: object) -> Work:
    names = ("source", "target", *(f"faceset_{number:03d}" for number in range(len(more))))
    folders = ("source", "target", *more)
    paths = {name: str(noise_faceset(tmp_path / folder)) for name, folder in zip(names, folders, strict=True)}
    values = TrainSettings.from_values({**SMALL_DF, "iterations": 3, "batch_size": 2, **settings}).values()
    return Work(kind=JobKind.TRAIN, paths={**paths, "model": str(tmp_path / "model")}, frames="", settings=values)


def test_a_training_is_reviewed_at_its_end(tmp_path: Path) -> None:
    control = Watcher()
    outcome = run_work(train_work(tmp_path), control, [str(tmp_path / "no weights")])
    assert outcome.facts["iteration"] == "3"
    assert float(outcome.facts["sharpness_ratio"]) > 0.0
    assert outcome.facts["advice"]
    assert "stopped" not in outcome.facts
    (summary,) = (one for one in control.events if isinstance(one, Notice) and one.reason == "TRAINING_SUMMARY")
    assert summary.severity == "info"
    assert {"iteration", "elapsed_s", "step_ms", "source", "target", "sharpness_ratio"} <= set(summary.details)
    assert summary.details["advice"].replace("\n", " ") == outcome.facts["advice"]


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    control = Watcher()
    work = train_work(tmp_path, "third", processes=2, device="cpu", seed=3)
    outcome = run_work(work, control, ())
    assert outcome.facts["iteration"] == "3"
    assert outcome.facts["advice"]
    assert outcome.stopped is None
    assert sum(isinstance(event, Saved) for event in control.events) == 1  # the lead alone writes
    assert [generation.iteration for generation in read_model_facts(tmp_path / "model")] == [3]
    model, *_ = load_model(tmp_path / "model")
    assert set(model.identities) == {"source", "source2", "target"}
    stopped = run_work(replace(work, settings={**work.settings, "iterations": 10_000}), Watcher(stop_after=2), ())
    assert stopped.stopped is StopRequest.CANCEL


def test_a_training_is_told_what_the_job_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[TrainingTask] = []

    def run_training(task: TrainingTask, control: object, *, worker: tuple[str, ...]) -> TrainResult:
        told.append(task)
        return TrainResult(
            iteration=0, elapsed_s=0.0, generation=0, losses={}, step_ms=0.0, data_ms=0.0, stopped=StopRequest.PAUSE
        )

    monkeypatch.setattr("dflcore.train.parallel.training.run_training", run_training)
    outcome = run_work(train_work(tmp_path, "z", "a", "m", processes=2), Watcher(), ["/weights"])
    assert outcome.stopped is StopRequest.PAUSE
    (task,) = told
    people = (task.source, task.target, *task.more_sources)
    assert [path.name for path in people] == ["source", "target", "z", "a", "m"]
    assert (task.settings.processes, task.weights) == (2, (Path("/weights"),))
    assert task.tuning_folder is not None


def test_a_review_is_told_what_the_job_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Shot, Path, QcSettings]] = []

    def review_shot(shot: Shot, output: Path, settings: QcSettings, control: object, *, store: object) -> QcResult:
        told.append((shot, output, settings))
        return QcResult(page=output / "a.html", data=output / "a.json", frames=9, flagged_frames=2, error_frames=0)

    monkeypatch.setattr("dflcore.qc.review.review_shot", review_shot)
    paths = {"plate": "/p.####.exr", "result": "/r.####.exr", "faceset": "/f", "output": str(tmp_path)}
    settings = QcSettings(max_flicker=0.25).values()
    outcome = run_work(Work(kind=JobKind.QC, paths=paths, frames="3-5", settings=settings), Watcher(), ())
    assert outcome.facts["flagged_frames"] == "2"
    assert outcome.facts["page"] == str(tmp_path / "a.html")
    ((shot, output, given),) = told
    assert (shot.result, shot.plate, shot.target, shot.source) == ("/r.####.exr", "/p.####.exr", Path("/f"), None)
    assert shot.frames == FrameRange.parse("3-5")
    assert (output, given.max_flicker) == (tmp_path, 0.25)
