"""What the saved generations of a model say about themselves, read without their weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

from dflcore.types import Authorization

GENERATIONS_NAME = "generations"
BACKUPS_NAME = "backups"
STATE_NAME = "state.json"
MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "weights.safetensors"
"""As :mod:`dflcore.models.checkpoint` lays a model out; a test holds the two together."""
_BACKUP_NAME = re.compile(r"iteration_\d{8,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFacts:
    """One saved generation.

    Attributes:
        weights_sha256: the model hash in frame headers. save_time: seconds since the epoch.
        authorization: of the source's face.
    """

    number: int
    iteration: int
    trained_s: float
    save_time: float
    size_bytes: int
    weights_sha256: str
    software: str
    authorization: Authorization


def read_model_facts(model_path: Path) -> list[GenerationFacts]:
    """All readable generations, newest first; one that is being removed or is damaged is passed over."""
    folder = model_path / GENERATIONS_NAME
    names = (
        sorted((entry.name for entry in folder.iterdir() if entry.name.isdigit()), reverse=True)
        if folder.is_dir()
        else []
    )
    found = (_read(folder / name) for name in names)
    return [facts for facts in found if facts is not None]


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """One backup: a model folder of its own, and what it holds."""

    path: Path
    newest: GenerationFacts


def read_model_backups(model_path: Path) -> list[BackupFacts]:
    """All readable backups, newest first; one that is being made or removed, or is damaged, is passed over."""
    folder = model_path / BACKUPS_NAME
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = [
        BackupFacts(folder / name, generations[0])
        for name in names
        if _BACKUP_NAME.fullmatch(name) and (generations := read_model_facts(folder / name))
    ]
    return sorted(found, key=lambda backup: backup.newest.iteration, reverse=True)


def _read(folder: Path) -> GenerationFacts | None:
    try:
        state = json.loads((folder / STATE_NAME).read_text("utf-8"))
        files = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))["files"]
        stated = state.get("provenance", {}).get("source", {}).get("authorization", {})
        known = {field.name for field in fields(Authorization)}
        return GenerationFacts(
            number=int(folder.name),
            iteration=int(state["iteration"]),
            trained_s=float(state["elapsed_s"]),
            save_time=(folder / MANIFEST_NAME).stat().st_mtime,
            size_bytes=sum(int(file["size"]) for file in files.values()),
            weights_sha256=str(files[WEIGHTS_NAME]["sha256"]),
            software=str(state.get("software", "")),
            authorization=Authorization(**{name: str(value) for name, value in stated.items() if name in known}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
