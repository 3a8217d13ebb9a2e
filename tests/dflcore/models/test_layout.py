"""Where things lie in a model's folder."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder
from dflcore.models.layout import WEIGHTS_NAME, backup_folders, generation_folders, read_facts
from dflcore.types import FaceType


def save(folder: ModelFolder, iteration: int) -> None:
    state = {"iteration": iteration, "elapsed_s": 1.0}
    one = Generation(weights={"w": torch.zeros(3)}, training={}, history=torch.zeros(0, 3), state=state)
    folder.save(one, keep=3)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    description = ModelDescription(preset="p", network={"resolution": 64}, face_type=FaceType.FULL)
    return ModelFolder.create(tmp_path / "m", description)


def test_what_is_saved_is_found_newest_first(folder: ModelFolder) -> None:
    assert generation_folders(folder.path) == []
    with folder.lock():
        for iteration in (5, 9):
            save(folder, iteration)
            folder.back_up(keep=5)
    found = [read_facts(path) for path in generation_folders(folder.path)]
    assert [state["iteration"] for state, _ in found] == [9, 5]
    assert found[0][1][WEIGHTS_NAME]["size"] == (generation_folders(folder.path)[0] / WEIGHTS_NAME).stat().st_size
    assert [read_facts(generation_folders(path)[0])[0]["iteration"] for path in backup_folders(folder.path)] == [9, 5]


def test_backups_of_iterations_that_count_anew_are_the_newest(folder: ModelFolder) -> None:
    with folder.lock():
        for iteration in (500, 20):
            save(folder, iteration)
            folder.back_up(keep=5)
    assert [path.name for path in backup_folders(folder.path)] == ["iteration_00000020", "iteration_00000500"]


def test_what_is_no_generation_is_passed_over(folder: ModelFolder) -> None:
    with folder.lock():
        save(folder, 5)
    generations = folder.path / "generations"
    for name in ("damaged-00000002-ab12", ".00000003.partial-1", "00000004 copy", "4", "notes"):
        (generations / name).mkdir()
    (generations / "00000009").write_text("a file")
    assert [path.name for path in generation_folders(folder.path)] == ["00000001"]


@pytest.mark.parametrize("text", ["[]", "null", '{"files": 3}'])
def test_damaged_facts_are_an_error(folder: ModelFolder, text: str) -> None:
    with folder.lock():
        save(folder, 5)
    newest = generation_folders(folder.path)[0]
    (newest / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="00000001 is damaged"):
        read_facts(newest)


def test_no_torch_is_needed() -> None:
    code = "import sys, dflcore.models.layout; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
