"""Where things lie in a model's folder, and what a generation says about itself without its weights; needs no torch.

:mod:`dflcore.models.checkpoint` writes it all, and its docstring shows it as a tree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DESCRIPTION_NAME = "model.json"
GENERATIONS_NAME = "generations"
BACKUPS_NAME = "backups"
WEIGHTS_NAME = "weights.safetensors"
TRAINING_NAME = "training.safetensors"
HISTORY_NAME = "history.safetensors"
STATE_NAME = "state.json"
MANIFEST_NAME = "manifest.json"
_GENERATION = re.compile(r"[0-9]{8,}")
_BACKUP = re.compile(r"iteration_[0-9]{8,}(-[0-9]+)?")
"""The second number tells backups of one iteration apart: iterations count anew after pretraining."""


def generation_folders(model_path: Path) -> list[Path]:
    """Generations of a model, newest first; what is being written or was set aside is none."""
    folder = model_path / GENERATIONS_NAME
    found = [entry for entry in _entries(folder) if _GENERATION.fullmatch(entry.name)]
    return sorted(found, key=lambda entry: int(entry.name), reverse=True)


def backup_folders(model_path: Path) -> list[Path]:
    """Backups of a model, newest first; each is a model folder of its own.

    They are ordered by the generation they hold, which never counts anew as iterations do.
    """
    found = [entry for entry in _entries(model_path / BACKUPS_NAME) if _BACKUP.fullmatch(entry.name)]
    return sorted(found, key=_age, reverse=True)


def read_facts(generation: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """State of a generation, and its files: name → ``size`` in bytes and ``sha256``. Nothing is verified.

    Raises:
        OSError: it is being removed, or cannot be read.
        ValueError: it is damaged.
    """
    state = json.loads((generation / STATE_NAME).read_text("utf-8"))
    manifest = json.loads((generation / MANIFEST_NAME).read_text("utf-8"))
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(state, dict) or not isinstance(files, dict):
        raise ValueError(f"{generation} is damaged.")
    return state, files


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _age(backup: Path) -> tuple[int, list[int]]:
    generations = generation_folders(backup)
    newest = int(generations[0].name) if generations else 0
    return newest, [int(number) for number in re.findall("[0-9]+", backup.name)]
