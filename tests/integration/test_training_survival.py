"""Trainings killed a hundred times, disks that fill up, power cuts, two trainers at once: no work is lost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dflcore.io.faceset import Faceset
from dflcore.models.checkpoint import ModelFolder, load_model
from dflcore.progress import Notice
from dflcore.train.trainer import train
from dfldaemon.client import DaemonClient
from dflproto.v1 import common_pb2
from journey import Daemon, Shot, train_spec, wait_for_state, wait_until
from killed_training import GENERATION_FILES, TrainingNursery, damage_file, register_tiny_preset
from recorder import Recorder
from small_facesets import make_record, write_faceset

pytestmark = pytest.mark.slow

KILLS = 120
UNDISTURBED = {"save_interval_s": 1000.0, "preview_interval_s": 1000.0, "backup_interval_h": 0.0}


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    register_tiny_preset(monkeypatch.setitem)


@pytest.fixture(scope="module")
def facesets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source and target: smooth pictures with a square that wanders."""
    folder = tmp_path_factory.mktemp("facesets")
    return _faceset(folder / "source", 40), _faceset(folder / "target", 120)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingNursery]:
    made = TrainingNursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def saved_thrice(
    nursery: TrainingNursery, facesets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model with a generation at each of the iterations 3, 5 and 8; not to be changed."""
    model = tmp_path_factory.mktemp("saved") / "model"
    for iteration in (3, 5, 8):
        assert nursery.live(model, *facesets, stop_at=iteration, pace=UNDISTURBED).code == 0
    return model


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 32 MB, where this test may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _faceset(folder: Path, color: int) -> Path:
    return write_faceset(folder, [(make_record(frame), _picture(frame, color)) for frame in range(1, 7)])


def _picture(frame: int, color: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:64, :64]
    picture = np.stack([2 * x + color, 3 * y, x + y], axis=-1).astype(np.uint8)
    picture[8 + 4 * frame :][:16, 20:40] = 255 - color
    return picture


def test_a_hundred_kills_lose_nothing_that_was_saved(
    nursery: TrainingNursery, facesets: tuple[Path, Path], tmp_path: Path
) -> None:
    rng = random.Random(4)
    model = tmp_path / "model"
    saved = 0
    losses: dict[int, dict[str, float]] = {}
    struck: Counter[str] = Counter()
    for number in range(KILLS):
        if number % 2:
            life = nursery.live(model, *facesets, kill_at_call=rng.randint(1, 180))
        else:
            life = nursery.live(model, *facesets, kill_after_s=rng.uniform(0.05, 0.7))
        assert life.code == -9, life.error
        assert not life.leftovers
        assert set(life.notices) <= {"BACKED_UP"}
        struck[life.working_on] += 1
        if life.began_at is not None:
            assert life.began_at >= saved
            saved = max([life.began_at, *life.saved])
            assert list(life.losses) == list(range(life.began_at + 1, life.began_at + 1 + len(life.losses)))
            assert all(losses.setdefault(iteration, loss) == loss for iteration, loss in life.losses.items())
        for backup in (model / "backups").glob("iteration_*"):
            _assert_whole(backup)
    print(f"{KILLS} kills, {saved} iterations, struck while: {dict(struck)}")
    assert min(struck["stepping"], struck["save"], struck["back_up"]) >= 5

    last = nursery.live(model, *facesets, stop_at=saved + 3)
    assert (last.code, last.saved[-1]) == (0, saved + 3)
    assert not list(model.rglob("*.partial-*"))
    undisturbed = nursery.live(tmp_path / "undisturbed", *facesets, stop_at=saved + 3, pace=UNDISTURBED)
    assert undisturbed.code == 0
    seen = {iteration: loss for iteration, loss in (losses | last.losses).items() if iteration <= saved + 3}
    assert undisturbed.losses == seen  # no jump anywhere: the very same numbers
    wanted = ModelFolder.open(tmp_path / "undisturbed").load()[0]
    network, _, got, notices = load_model(model)
    assert wanted is not None
    assert notices == []
    for name, tensor in wanted.weights.items():
        torch.testing.assert_close(got.weights[name], tensor, rtol=0, atol=0)
    assert bool(network.swap(torch.rand(1, 3, 32, 32)).face.isfinite().all())
    times = got.history[:, 0]
    assert bool((times.diff() > 0).all())


def test_a_model_killed_while_it_is_made_can_be_made_again(
    nursery: TrainingNursery, facesets: tuple[Path, Path], tmp_path: Path
) -> None:
    """At each of the first disk operations of its life, up to the first save."""
    for calls in range(1, 100):
        model = tmp_path / f"killed at {calls}"
        life = nursery.live(model, *facesets, kill_at_call=calls, stop_at=4)
        if life.saved:
            break
        assert life.code == -9
        after = nursery.live(model, *facesets, stop_at=4)
        assert (after.code, after.saved[-1], after.leftovers) == (0, 4, [])
    assert calls > 15


def test_a_full_disk_ends_training_with_a_sentence_and_loses_nothing(
    nursery: TrainingNursery, facesets: tuple[Path, Path], tmp_path: Path, small_disk: Path
) -> None:
    """A real one, with room for nothing, for a part of the preview, and for less than one generation."""
    assert nursery.live(tmp_path / "begun", *facesets, stop_at=6).code == 0
    generation = max((tmp_path / "begun" / "generations").iterdir())
    whole_kb = sum(path.stat().st_size for path in generation.iterdir()) // 1024
    for room_kb in (0, 16, whole_kb // 10, whole_kb // 2, whole_kb - 16):
        model = small_disk / f"model {room_kb}"
        shutil.copytree(tmp_path / "begun", model)
        ballast = small_disk / "ballast"
        _fill(ballast, leave_kb=room_kb)
        full = nursery.live(model, *facesets, stop_at=40)
        assert full.error is not None
        assert full.error[0] == "DISK_FULL"
        assert full.error[1].startswith("The disk is full while")
        assert set(full.notices) <= {"PREVIEW_NOT_WRITTEN", "LOSS_CURVE_NOT_WRITTEN"}
        assert not list(model.rglob("*.partial-*"))
        kept, notices = ModelFolder.open(model).load()
        assert kept is not None
        assert (kept.iteration, notices) == (6, [])
        for backup in (model / "backups").iterdir():
            _assert_whole(backup)
        ballast.unlink()
        after = nursery.live(model, *facesets, stop_at=12)
        assert (after.code, after.began_at, after.saved[-1]) == (0, 6, 12)
        assert all(after.losses[iteration] == loss for iteration, loss in full.losses.items())
        shutil.rmtree(model)


@pytest.mark.parametrize("damage", ["zeroed", "cut", "gone"])
@pytest.mark.parametrize("name", GENERATION_FILES)
def test_training_goes_on_from_the_generation_before_a_damaged_one(
    nursery: TrainingNursery, saved_thrice: Path, facesets: tuple[Path, Path], tmp_path: Path, name: str, damage: str
) -> None:
    """A power cut may take a file of the newest generation, or all it says, on disks that lie about flushing."""
    model = tmp_path / "model"
    shutil.copytree(saved_thrice, model)
    damage_file(model / "generations" / "00000003" / name, damage)
    life = nursery.live(model, *facesets, stop_at=12)
    assert (life.code, life.began_at, life.saved[-1]) == (0, 5, 12)
    assert "GENERATION_DAMAGED" in life.notices
    assert "GENERATION_DAMAGED" not in nursery.live(model, *facesets, stop_at=14).notices


def test_two_trainers_on_one_model(facesets: tuple[Path, Path], tmp_path: Path) -> None:
    """The second is refused, also when both begin the model at once; a killed trainer holds nothing."""
    nurseries = [TrainingNursery(tmp_path / name) for name in ("one", "two")]
    try:
        for number in range(3):
            model = tmp_path / f"model {number}"
            with ThreadPoolExecutor(2) as threads:
                running = [threads.submit(one.live, model, *facesets, kill_after_s=2.5) for one in nurseries]
                lives = [one.result() for one in running]
            assert sorted(life.code for life in lives) == [-9, 2]
            refused, trained = sorted(lives, key=lambda life: life.code == -9)
            assert refused.error is not None
            assert refused.error[0] in ("MODEL_BUSY", "MODEL_EXISTS")
            assert trained.saved
            after = nurseries[0].live(model, *facesets, stop_at=trained.saved[-1] + 5)
            assert after.code == 0
            assert after.began_at is not None
            assert after.began_at >= trained.saved[-1]
    finally:
        for nursery in nurseries:
            nursery.close()


def test_training_that_really_diverges_goes_back_once_and_then_explains(
    facesets: tuple[Path, Path], tmp_path: Path
) -> None:
    """Cosine activations at a thousand times the usual rate: nothing is injected."""
    widths = {"ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}
    small = {"preset": "df", "letters": "c", "resolution": 64, **widths}
    rest = {"batch_size": 2, "device": "cpu", "seed": 4, "optimizer": "adam", "lr_dropout": 0.0, "clip_gradients": 0.0}
    recorder = Recorder(stop_after=1000)
    with Faceset.open(facesets[0]) as source, Faceset.open(facesets[1]) as target:
        train(TrainSettings.from_values({**small, **rest, "iterations": 5}), source, target, tmp_path / "model")
        wild = TrainSettings.from_values({**rest, "learning_rate": 0.1})
        with pytest.raises(InvalidInput, match="again, after going back once with a lower rate") as caught:
            train(wild, source, target, tmp_path / "model", recorder)
    assert caught.value.reason == "TRAINING_DIVERGED"
    (notice,) = (notice for notice in recorder.of(Notice) if notice.reason == "ROLLED_BACK")
    assert "goes on from iteration" in notice.message
    assert "at 50 % of the learning rate" in notice.message
    network, _, generation, notices = load_model(tmp_path / "model")
    assert notices == []
    assert f"Generation {generation.number} on disk is good" in caught.value.message
    assert all(bool(weight.isfinite().all()) for weight in network.parameters())


def test_the_daemon_goes_on_with_a_training_whose_worker_dies_five_times(shot: Shot, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon", worker_retries=5)
    model = tmp_path / "model"
    try:
        client = daemon.start()
        job_id = client.submit(train_spec(shot.source, shot.target, model, iterations=100_000)).id
        saved = 0
        for number in range(1, 6):
            saved = _wait_for_newer_save(client, model, saved)
            daemon.worker().kill()
            wait_until(lambda number=number: client.get_job(job_id).attempt_count > number, "its death is noticed")
        saved = _wait_for_newer_save(client, model, saved)
        client.cancel(job_id)
        job = wait_for_state(client, job_id, common_pb2.JOB_STATE_CANCELLED)
        assert job.attempt_count == 6
        assert client.get_model(str(model)).iteration >= saved
        told = [event.saved.iteration for event in client.watch(job_id) if event.WhichOneof("body") == "saved"]
        assert told == sorted(told)
    finally:
        daemon.close()


def _wait_for_newer_save(client: DaemonClient, model: Path, than: int) -> int:
    """Iteration of the newest generation, once it is later than the one given."""
    wait_until((model / "generations").is_dir, "the model is saved")
    wait_until(lambda: client.get_model(str(model)).iteration > than, "a generation is saved")
    return int(client.get_model(str(model)).iteration)


def _fill(ballast: Path, *, leave_kb: int) -> None:
    disk = os.statvfs(ballast.parent)
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - 1024 * leave_kb))


def _assert_whole(path: Path) -> None:
    generation, notices = ModelFolder.open(path).load()
    assert generation is not None
    assert notices == []
    assert path.name == f"iteration_{generation.iteration:08d}"
