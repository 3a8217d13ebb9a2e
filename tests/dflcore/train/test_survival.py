"""What a training outlives: disks that take no preview, no backup and no curve; files that a power cut took."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.errors import Conflict, DataCorrupt, ResourceExhausted
from dflcore.models import checkpoint
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder
from dflcore.progress import Notice, Preview, Saved, TrainProgress
from dflcore.train import loop, trainer
from dflcore.train.trainer import train
from dflcore.types import FaceType
from killed_training import GENERATION_FILES, NETWORK, damage_file, register_tiny_preset
from recorder import Recorder

DESCRIPTION = ModelDescription(preset="tiny", network=NETWORK, face_type=FaceType.FULL)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    register_tiny_preset(monkeypatch.setitem)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder.create(tmp_path / "model", DESCRIPTION)


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves, previews and reports after every step, backups at every save."""

    def hurried(**given: Any) -> loop.LoopSettings:
        pace = {"save_interval_s": 0.0, "preview_interval_s": 0.0, "backup_interval_h": 1e-9}
        return loop.LoopSettings(**{**given, **pace})

    monkeypatch.setattr(trainer, "LoopSettings", hurried)
    monkeypatch.setattr(loop, "PROGRESS_INTERVAL_S", 0.0)


def settings(**values: object) -> TrainSettings:
    return TrainSettings.from_values({"preset": "tiny", "batch_size": 2, "seed": 4, "device": "cpu", **values})


def generation(iteration: int, **state: object) -> Generation:
    return Generation(
        weights={"w": torch.full((8,), float(iteration))},
        training={"m": torch.zeros(8)},
        history=torch.zeros(0, 4),
        state={"iteration": iteration, "elapsed_s": 0.0, **state},
    )


def iterations_of(recorder: Recorder, kind: type) -> list[int]:
    return [event.iteration for event in recorder.of(kind)]


class FullAtFirst:
    """Refuses its first calls as a full disk does."""

    def __init__(self, real: Any, refused: int) -> None:
        self._real, self._left = real, refused

    def __call__(self, *given: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._real(*given, **options)


@pytest.mark.usefixtures("in_a_hurry")
def test_a_preview_that_cannot_be_written_is_told_once_and_ends_nothing(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "write_png", FullAtFirst(loop.write_png, refused=3))
    recorder = Recorder()
    assert train(settings(iterations=6), source, target, tmp_path / "model", recorder).iteration == 6
    (notice,) = (notice for notice in recorder.of(Notice) if notice.reason == "PREVIEW_NOT_WRITTEN")
    assert notice.severity == "warning"
    assert "training goes on" in notice.message
    assert iterations_of(recorder, Preview) == [4, 5, 6, 6]
    assert iterations_of(recorder, Saved)[-1] == 6


@pytest.mark.usefixtures("in_a_hurry")
def test_a_backup_that_cannot_be_made_is_tried_again_at_the_next_save(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_link_or_copy", FullAtFirst(checkpoint._link_or_copy, refused=2))
    recorder = Recorder()
    train(settings(iterations=4), source, target, tmp_path / "model", recorder)
    (notice,) = (notice for notice in recorder.of(Notice) if notice.reason == "BACKUP_NOT_WRITTEN")
    assert "The disk is full" in notice.message
    made = sorted(path.name for path in (tmp_path / "model" / "backups").iterdir())
    assert made == ["iteration_00000003", "iteration_00000004"]


@pytest.mark.usefixtures("in_a_hurry")
def test_curves_that_cannot_be_written_are_told_once_and_end_nothing(source: Any, target: Any, tmp_path: Path) -> None:
    ModelFolder.create(tmp_path / "model", DESCRIPTION)
    (tmp_path / "model" / "events").write_text("in the way")
    recorder = Recorder()
    assert train(settings(iterations=4), source, target, tmp_path / "model", recorder).iteration == 4
    assert [notice.reason for notice in recorder.of(Notice)].count("LOSS_CURVE_NOT_WRITTEN") == 1
    assert iterations_of(recorder, TrainProgress) == [1, 2, 3, 4]


def test_a_kill_after_a_backup_makes_no_further_one_due(
    source: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings(iterations=3, backup_interval_h=1e-9), source, target, tmp_path / "model")
    (backup,) = (tmp_path / "model" / "backups").iterdir()
    kept = ModelFolder.open(backup).load()[0]
    assert kept is not None
    assert kept.state["backup_s"] == kept.state["elapsed_s"]


def test_backups_outlive_iterations_that_count_anew(folder: ModelFolder) -> None:
    """After pretraining, or from further back after a divergence: the newest are kept, whatever their number."""
    with folder.lock():
        for iteration in (800, 900, 10, 20):
            folder.save(generation(iteration), keep=2)
            assert folder.back_up(keep=3) == folder.back_up(keep=3)  # the same is not backed up twice
    made = {path.name for path in folder.backups_path.iterdir()}
    assert made == {"iteration_00000900", "iteration_00000010", "iteration_00000020"}
    with folder.lock():
        folder.save(generation(900, elapsed_s=9.0), keep=2)
        twin = folder.back_up(keep=9)
        assert folder.back_up(keep=9) == twin
    assert twin.name == "iteration_00000900-2"
    for path, elapsed_s in ((folder.backups_path / "iteration_00000900", 0.0), (twin, 9.0)):
        kept, notices = ModelFolder.open(path).load()
        assert kept is not None
        assert (kept.iteration, kept.state["elapsed_s"], notices) == (900, elapsed_s, [])


def test_a_reader_slower_than_the_trainer_finds_a_generation(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All it had seen is dropped while it reads: it looks again."""
    with folder.lock():
        folder.save(generation(1), keep=2)
        original, saves = checkpoint._read_generation, iter([2, 3, 4])

        def slow(*given: Any, **options: Any) -> Generation:
            for iteration in saves:
                folder.save(generation(iteration), keep=2)
            return original(*given, **options)

        monkeypatch.setattr(checkpoint, "_read_generation", slow)
        found, notices = ModelFolder.open(folder.path).load()
    assert found is not None
    assert (found.iteration, notices) == (4, [])


def test_leftovers_of_every_kind_are_cleared_and_nothing_else(folder: ModelFolder) -> None:
    killed = [".model.partial-1-a.json", "previews/.preview.partial-1-b.png"]
    killed += ["previews/history/.00000003.partial-1-c.png", "backups/.iteration_00000003.partial-d/model.json"]
    killed += ["generations/.00000003.partial-e/weights.safetensors"]
    others = ["previews/preview.png", ".export.partial-2-f.dfm", "backups/iteration_00000001/model.json"]
    for name in killed + others:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_bytes(b"half")
    with folder.lock():
        left = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}
    assert left == {*others, "model.json", ".lock"}


def test_a_file_that_may_not_grow_as_large_is_a_full_disk(folder: ModelFolder) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    with folder.lock():
        folder.save(generation(1), keep=3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
        try:
            with pytest.raises(ResourceExhausted, match="The disk is full while saving"):
                folder.save(generation(2, note="x" * 9000), keep=3)  # its numbers would fit
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert [path.name for path in (folder.path / "generations").iterdir()] == ["00000001"]


def test_of_two_who_make_a_model_at_once_one_is_refused(folder: ModelFolder, tmp_path: Path) -> None:
    other = ModelDescription(preset="quick", network=NETWORK, face_type=FaceType.HEAD)
    with pytest.raises(Conflict, match="holds a model already"):
        ModelFolder.create(folder.path, other)
    (tmp_path / "new").mkdir()
    with ModelFolder(tmp_path / "new", DESCRIPTION).lock(), pytest.raises(Conflict, match="Another process"):
        ModelFolder.create(tmp_path / "new", other)
    assert not ModelFolder.exists(tmp_path / "new")


@pytest.mark.slow
def test_every_combination_of_damaged_files_falls_back(folder: ModelFolder, tmp_path: Path) -> None:
    """Each file of the newest generation whole, zeroed, cut or gone, in all 1023 combinations that are not whole."""
    with folder.lock():
        for iteration in (1, 2, 3):
            folder.save(generation(iteration), keep=3)
    newest = folder.path / "generations" / "00000003"
    shutil.copytree(newest, tmp_path / "whole")
    for damages in itertools.product(("whole", "zeroed", "cut", "gone"), repeat=len(GENERATION_FILES)):
        shutil.rmtree(newest)
        shutil.copytree(tmp_path / "whole", newest)
        for name, damage in zip(GENERATION_FILES, damages, strict=True):
            damage_file(newest / name, damage)
        found, notices = folder.load()
        assert found is not None
        is_whole = set(damages) == {"whole"}
        assert found.iteration == (3 if is_whole else 2), damages
        assert [notice.reason for notice in notices] == ([] if is_whole else ["GENERATION_DAMAGED"])


def test_two_damaged_generations_are_passed_over_and_three_are_an_error(folder: ModelFolder) -> None:
    with folder.lock():
        for iteration in (1, 2, 3):
            folder.save(generation(iteration), keep=3)
    for number in (3, 2):
        damage_file(folder.path / "generations" / f"{number:08d}" / "training.safetensors", "zeroed")
    found, notices = folder.load()
    assert found is not None
    assert (found.iteration, len(notices)) == (1, 2)
    damage_file(folder.path / "generations" / "00000001" / "manifest.json", "gone")
    with pytest.raises(DataCorrupt, match="backup"):
        folder.load()
