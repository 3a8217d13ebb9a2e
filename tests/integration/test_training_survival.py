"""Trainings killed a hundred times, disks that fill up, power cuts, two trainers at once: no work is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_training import TrainingNursery, make_tiny_preset
from numpy.typing import NDArray

from dflcore.models.checkpoint import ModelFolder, load_model
from small_facesets import make_record, write_faceset

pytestmark = pytest.mark.slow

KILLS = 120
UNDISTURBED = {"save_interval_s": 1000.0, "preview_interval_s": 1000.0, "backup_interval_h": 0.0}


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_preset()


@pytest.fixture(scope="module")
def facesets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source and target: smooth pictures with a square that wanders."""
    folder = tmp_path_factory.mktemp("facesets")
    return _faceset(folder / "source", 40), _faceset(folder / "target", 120)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[TrainingNursery]:
    made = TrainingNursery(tmp_path)
    yield made
    made.close()


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
    assert struck["starting"]
    assert min(struck["stepping"], struck["save"], struck["back_up"]) >= 5

    last = nursery.live(model, *facesets, stop_at=saved + 3)
    assert (last.code, last.saved[-1]) == (0, saved + 3)
    assert not list(model.rglob("*.partial-*"))
    undisturbed = nursery.live(tmp_path / "undisturbed", *facesets, stop_at=saved + 3, pace=UNDISTURBED)
    assert undisturbed.code == 0
    assert undisturbed.losses == losses | last.losses  # no jump anywhere: the very same numbers
    wanted = ModelFolder.open(tmp_path / "undisturbed").load()[0]
    network, _, got, notices = load_model(model)
    assert wanted is not None
    assert notices == []
    for name, tensor in wanted.weights.items():
        torch.testing.assert_close(got.weights[name], tensor, rtol=0, atol=0)
    assert bool(network.swap(torch.rand(1, 3, 32, 32)).face.isfinite().all())
    times = got.history[:, 0]
    assert bool((times.diff() > 0).all())


def _assert_whole(path: Path) -> None:
    generation, notices = ModelFolder.open(path).load()
    assert generation is not None
    assert notices == []
    assert path.name == f"iteration_{generation.iteration:08d}"
