"""Models on disk: round trip, damage, full disk, kill -9, locks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dflcore.errors import Conflict, DataCorrupt, NotFound, ResourceExhausted
from dflcore.models.checkpoint import (
    KEPT_DAMAGED,
    Generation,
    ModelDescription,
    ModelFolder,
    build_described,
    load_model,
)
from dflcore.types import FaceType

NETWORK: dict[str, Any] = {
    "resolution": 32,
    "grid_blocks": 8,
    "code_dims": 16,
    "e_dims": 8,
    "coarse_dims": 16,
    "middle_dims": 16,
    "fine_dims": 16,
}


def description() -> ModelDescription:
    return ModelDescription(preset="quick", network=NETWORK, face_type=FaceType.FULL)


def generation(iteration: int) -> Generation:
    torch.manual_seed(iteration)
    model = build_described(description())
    return Generation(
        weights=dict(model.state_dict()),
        training={"adam.step": torch.tensor(float(iteration)), "draws": torch.arange(8, dtype=torch.uint8)},
        history=torch.tensor([[iteration, 1.5, 0.1, 0.2]], dtype=torch.float64),
        state={"iteration": iteration, "elapsed_s": 1.5},
    )


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder.create(tmp_path / "model", description())


def newest(folder: ModelFolder) -> Path:
    return max((folder.path / "generations").glob("????????"))


def test_round_trip(folder: ModelFolder) -> None:
    saved = generation(7)
    with folder.lock():
        number = folder.save(saved, keep=3).number
    opened = ModelFolder.open(folder.path)
    assert opened.description == folder.description
    loaded, notices = opened.load()
    assert loaded is not None
    assert not notices
    assert (loaded.number, loaded.iteration, loaded.state) == (number, 7, saved.state)
    for name, tensor in saved.weights.items():
        torch.testing.assert_close(loaded.weights[name], tensor, rtol=0, atol=0)
    torch.testing.assert_close(loaded.training["draws"], saved.training["draws"])
    torch.testing.assert_close(loaded.history, saved.history)


def test_load_model_gives_the_trained_network(folder: ModelFolder) -> None:
    saved = generation(3)
    with folder.lock():
        written = folder.save(saved, keep=3)
    model, _, loaded, notices = load_model(folder.path)
    assert not notices
    assert loaded.weights_sha256 == written.weights_sha256
    assert len(loaded.weights_sha256) == 64
    assert not model.training
    expected = build_described(folder.description)
    expected.load_state_dict(saved.weights)
    face = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.swap(face).face, expected.swap(face).face)


def test_rolling_generations_keep_counting(folder: ModelFolder) -> None:
    with folder.lock():
        numbers = [folder.save(generation(i), keep=2).number for i in range(5)]
    assert numbers == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in (folder.path / "generations").iterdir()) == ["00000004", "00000005"]


def test_saved_files_follow_the_umask(folder: ModelFolder) -> None:
    with folder.lock():
        folder.save(generation(1), keep=2)
    plain = folder.path / "plain"
    plain.touch()
    wanted = stat.S_IMODE(plain.stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in newest(folder).iterdir()} == {wanted}


@pytest.mark.parametrize("name", ["weights.safetensors", "training.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_falls_back_and_says_so(folder: ModelFolder, name: str, damage: str) -> None:
    with folder.lock():
        folder.save(generation(1), keep=3)
        folder.save(generation(2), keep=3)
    victim = newest(folder) / name
    data = bytearray(victim.read_bytes())
    if damage == "remove":
        victim.unlink()
    else:
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(data if damage == "flip" else data[: len(data) // 2])
    loaded, notices = folder.load()
    assert loaded is not None
    assert loaded.iteration == 1
    assert [notice.reason for notice in notices] == ["GENERATION_DAMAGED"]
    folder.set_aside_damaged(loaded.number)
    with folder.lock():
        assert folder.save(generation(3), keep=3).number == 2
    assert folder.load()[1] == []


def test_damaged_generations_do_not_pile_up(folder: ModelFolder) -> None:
    def damage(times: int) -> list[Path]:
        """So many saves go bad at once; what was removed when they were set aside."""
        nonlocal clock
        whole = max(folder._numbers())
        for _ in range(times):
            folder.save(generation(2), keep=9)
            clock += 1
            (newest(folder) / "weights.safetensors").write_bytes(b"")
            os.utime(newest(folder), (clock, clock))
        loaded, notices = folder.load()
        assert loaded is not None
        assert (loaded.number, len(notices)) == (whole, times)
        return folder.set_aside_damaged(loaded.number)

    def aside() -> list[Path]:
        return sorted(generations.glob("damaged-*"), key=lambda path: path.stat().st_mtime)

    clock, generations = 1_000_000, folder.path / "generations"
    with folder.lock():
        folder.save(generation(1), keep=9)
        assert [damage(1) for _ in range(KEPT_DAMAGED)] == KEPT_DAMAGED * [[]]
        before = aside()
        assert damage(1) == before[:1]
        assert aside()[:-1] == before[1:]
        before = aside()
        assert sorted(damage(KEPT_DAMAGED + 1)) == sorted(before)  # none that was set aside just now
        assert len(aside()) == KEPT_DAMAGED + 1
        (aside()[0] / "rescued weights.bin").write_bytes(b"mine")
        (generations / "damaged-00000007-abcd").write_text("a file of mine")
        assert len(damage(1)) == 1
        assert len(aside()) == KEPT_DAMAGED + 2
        assert list(generations.glob("damaged-*/rescued weights.bin"))
    assert not [path for path in generations.iterdir() if path.name.startswith(".")]
    assert [path.name for path in generations.glob("????????")] == ["00000001"]


def test_nothing_whole_is_an_error(folder: ModelFolder) -> None:
    with folder.lock():
        folder.save(generation(1), keep=3)
    (newest(folder) / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DataCorrupt, match="backup"):
        folder.load()


def test_full_disk_keeps_what_was_saved(folder: ModelFolder) -> None:
    with folder.lock():
        folder.save(generation(1), keep=3)
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
        try:
            with pytest.raises(ResourceExhausted, match="Free some space"):
                folder.save(generation(2), keep=3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        loaded, notices = folder.load()
        assert loaded is not None
        assert (loaded.iteration, notices) == (1, [])
        assert [path.name for path in (folder.path / "generations").iterdir()] == ["00000001"]


@pytest.mark.parametrize("text", ["{}", "[]", '{"iteration": "x", "elapsed_s": 1.0}'])
def test_a_state_that_says_nothing_is_damaged_whatever_its_checksum(folder: ModelFolder, text: str) -> None:
    with folder.lock():
        folder.save(generation(1), keep=3)
        folder.save(generation(2), keep=3)
    (newest(folder) / "state.json").write_text(text)
    manifest = json.loads((newest(folder) / "manifest.json").read_text())
    manifest["files"]["state.json"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (newest(folder) / "manifest.json").write_text(json.dumps(manifest))
    loaded, notices = folder.load()
    assert loaded is not None
    assert (loaded.iteration, len(notices)) == (1, 1)


def test_two_trainers_never_share_a_model(folder: ModelFolder) -> None:
    with folder.lock(), pytest.raises(Conflict, match="Another process"), ModelFolder.open(folder.path).lock():
        pass
    with folder.lock():
        pass


def test_leftovers_of_a_killed_save_are_cleared(folder: ModelFolder) -> None:
    leftover = folder.path / "generations" / ".00000009.partial-dead"
    leftover.mkdir(parents=True)
    (leftover / "weights.safetensors").write_bytes(b"half")
    with folder.lock():
        assert not leftover.exists()


def test_missing_exists_and_damaged_descriptions(tmp_path: Path, folder: ModelFolder) -> None:
    with pytest.raises(NotFound, match="dfl train"):
        ModelFolder.open(tmp_path / "nowhere")
    with pytest.raises(Conflict, match="holds a model already"):
        ModelFolder.create(folder.path, description())
    with pytest.raises(NotFound, match="never been saved"):
        load_model(folder.path)
    (folder.path / "model.json").write_text("{")
    with pytest.raises(DataCorrupt, match="damaged"):
        ModelFolder.open(folder.path)


def test_weights_of_another_network_are_refused(folder: ModelFolder) -> None:
    with folder.lock():
        folder.save(generation(1), keep=2)
    path = folder.path / "model.json"
    values = json.loads(path.read_text())
    values["network"]["fine_dims"] = 24
    path.write_text(json.dumps(values))
    with pytest.raises(DataCorrupt, match="do not fit"):
        load_model(folder.path)


_SAVER = """
import sys, torch
from pathlib import Path
from dflcore.models.checkpoint import Generation, ModelFolder
folder = ModelFolder.open(Path(sys.argv[1]))
weights = {"w": torch.arange(400_000, dtype=torch.float32)}
with folder.lock():
    loaded, notices = folder.load()
    assert not notices, notices
    iteration = 0 if loaded is None else loaded.iteration
    while True:
        iteration += 1
        state = {"iteration": iteration, "elapsed_s": 0.0}
        folder.save(Generation(weights=weights, training={}, history=torch.zeros(0, 4), state=state), keep=2)
        print(iteration, flush=True)
"""


@pytest.mark.slow
def test_kill_at_any_instant_loses_nothing_that_was_saved(folder: ModelFolder) -> None:
    rng = random.Random(11)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _SAVER, str(folder.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stderr is not None
        first = child.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.2))
        child.send_signal(signal.SIGKILL)
        rest, errors = child.communicate()
        said = (first + rest).split()
        assert said, errors
        loaded, notices = folder.load()
        assert loaded is not None
        assert notices == []
        assert loaded.iteration >= int(said[-1])
