"""What the saved generations of a model say about themselves, read without their weights."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from dflcore.models.layout import MANIFEST_NAME, WEIGHTS_NAME, backup_folders, generation_folders, read_facts
from dflcore.types import Authorization


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
    found = (_read(folder) for folder in generation_folders(model_path))
    return [facts for facts in found if facts is not None]


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """One backup: a model folder of its own, and what it holds."""

    path: Path
    newest: GenerationFacts


def read_model_backups(model_path: Path) -> list[BackupFacts]:
    """All readable backups, newest first; one that is being made or removed, or is damaged, is passed over."""
    return [
        BackupFacts(folder, generations[0])
        for folder in backup_folders(model_path)
        if (generations := read_model_facts(folder))
    ]


def _read(folder: Path) -> GenerationFacts | None:
    try:
        state, files = read_facts(folder)
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
