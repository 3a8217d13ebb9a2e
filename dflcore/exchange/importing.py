"""A model of the reference becomes one of ours, ready to merge with and to train on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.authorization import parse_last_day
from dflcore.config.exchange import ModelImportSettings
from dflcore.config.network import NetworkSettings
from dflcore.errors import Cancelled, Conflict, InvalidInput
from dflcore.exchange.legacy_model import LegacyModel, read_legacy_model
from dflcore.exchange.legacy_names import convert_weights
from dflcore.io.legacy.pickle_values import Value
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder
from dflcore.models.layout import DESCRIPTION_NAME
from dflcore.models.new_folder import check_free
from dflcore.models.registry import load_preset
from dflcore.progress import FrameProgress, Notice, RunControl
from dflcore.types import Authorization, FaceType
from dflcore.version import SOFTWARE

MAX_HISTORY_ROWS: Final = 20_000
"""Of the reference's losses, one per step; longer ones are averaged."""
_STEPS: Final = 6
"""Four parts to read, the conversion, and the save."""


def import_legacy_model(
    folder: Path, model_path: Path, settings: ModelImportSettings, control: RunControl
) -> ModelFolder:
    """Take a SAEHD, AMP or Quick96 model of the reference over into a new model folder.

    The new model paints what the old one did; its optimiser starts anew. The old files are only read.

    Args:
        folder: with the reference's files.
        model_path: of the new model; must not hold one.

    Raises:
        Conflict: something is at ``model_path``; or the folder holds several and none was named.
        NotFound: the folder holds no such model, or a file of it is missing.
        InvalidInput: a file asks for something to be run, the numbers fit no network, the face type is not known, or
            ``model_path`` cannot be written.
        DataCorrupt: a file is damaged, or does not fit the others.
        Unsupported: a network that has no counterpart here.
        ResourceExhausted: the disk is full.
        Cancelled: it was asked to stop; nothing was written.
    """
    model_path = Path(model_path)
    parse_last_day(settings.authorization_until)
    check_free(model_path)
    progress = _Progress(control)
    legacy = read_legacy_model(folder, settings.name, progress.step)
    progress.step("weights")
    description, network = _describe(legacy, settings)
    model = load_preset(description.preset).build(network)
    state, extra = convert_weights(legacy, model)
    model.load_state_dict(state, strict=True)
    progress.step("save")
    generation = _first_generation(legacy, settings, dict(model.state_dict()))
    with _undone_on_error(model_path):
        made = ModelFolder.create(model_path, description)
        with made.lock():
            made.save(generation, keep=1)
    for notice in _notices(legacy, extra, made):
        control.emit(notice)
    progress.finish()
    return made


class _Progress:
    """Says how far the import is, and stops it between steps."""

    def __init__(self, control: RunControl) -> None:
        self._control, self._done = control, 0

    def step(self, stage: str) -> None:
        """Raises Cancelled when somebody asked for it."""
        if self._control.stop_requested() is not None:
            raise Cancelled("The import was stopped; nothing was written.", reason="CANCELLED")
        self._control.emit(FrameProgress(done=self._done, total=_STEPS, stage=stage))
        self._done += 1

    def finish(self) -> None:
        self._control.emit(FrameProgress(done=_STEPS, total=_STEPS))


def _describe(legacy: LegacyModel, settings: ModelImportSettings) -> tuple[ModelDescription, NetworkSettings]:
    face_type = settings.face_type or legacy.network.face_type
    if face_type is None:
        raise InvalidInput(
            f"The model {legacy.name} names the face type {str(legacy.options.get('face_type'))[:40]!r}, which is not "
            f"known. Say with --face-type which of {', '.join(one.value for one in FaceType)} it is.",
            reason="BAD_FACE_TYPE",
            field="face_type",
            path=legacy.path,
        )
    network = load_preset(legacy.network.preset).resolve_network(legacy.network.network)
    description = ModelDescription(preset=legacy.network.preset, network=network.values(), face_type=face_type)
    return description, network


def _first_generation(legacy: LegacyModel, settings: ModelImportSettings, weights: dict[str, Tensor]) -> Generation:
    authorization = Authorization(
        person=settings.authorization_person,
        project=settings.authorization_project,
        use=settings.authorization_use,
        until=settings.authorization_until,
        reference=settings.authorization_reference,
    )
    imported = {
        "path": str(legacy.path),
        "name": legacy.name,
        "class": legacy.class_name,
        "iteration": legacy.iteration,
        "options": {name: value for name, value in legacy.options.items() if _is_plain(value)},
    }
    state: dict[str, Any] = {
        "iteration": legacy.iteration,
        "elapsed_s": 0.0,
        "loss_names": ["source", "target"],
        "pretrain": legacy.options.get("pretrain") is True,
        "settings": {},
        "software": SOFTWARE,
        "provenance": {
            "imported": imported,
            "source": {"path": "", "authorization": asdict(authorization)},
            "project": settings.authorization_project,
            "use": settings.authorization_use,
            "reference": settings.authorization_reference,
        },
    }
    history = torch.from_numpy(summarize_losses(legacy.losses, legacy.iteration))
    return Generation(weights=weights, training={}, history=history, state=state)


def summarize_losses(losses: NDArray[np.float64], iteration: int) -> NDArray[np.float64]:
    """Losses of single steps as rows of our history: iteration, seconds (not known, 0), source, target.

    Args:
        losses: (N, 2), the last row for step ``iteration``.

    Returns:
        (M, 4) with M at most :data:`MAX_HISTORY_ROWS`; each row is the mean of as many steps, and stands for the last.
    """
    count = len(losses)
    if not count:
        return np.zeros((0, 4))
    group = -(-count // MAX_HISTORY_ROWS)
    starts = np.arange(0, count, group)
    ends = np.minimum(starts + group, count)
    means = np.add.reduceat(losses, starts, axis=0) / (ends - starts)[:, None]
    steps = ends + max(iteration, count) - count
    return np.column_stack([steps, np.zeros(len(steps)), means])


def _notices(legacy: LegacyModel, extra: list[str], made: ModelFolder) -> Iterator[Notice]:
    yield Notice(
        message=f"The {legacy.class_name} model {legacy.name} was taken over at iteration {legacy.iteration} as "
        f"{made.path}; training on starts with a new optimiser.",
        reason="MODEL_IMPORTED",
        severity="info",
        details={"path": str(made.path), "preset": made.description.preset, "model_id": made.description.model_id},
    )
    if extra:
        shown = ", ".join(extra[:3])
        more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
        yield Notice(
            message=f"The model {legacy.name} holds weights that its network has no place for; they were left out: "
            f"{shown}{more}.",
            reason="WEIGHTS_LEFT_OUT",
            details={"path": str(legacy.path), "count": str(len(extra))},
        )


def _is_plain(value: Value) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


@contextlib.contextmanager
def _undone_on_error(model_path: Path) -> Iterator[None]:
    """A model that could not be saved leaves nothing behind."""
    try:
        yield
    except Conflict:
        raise  # somebody else's model appeared meanwhile
    except BaseException:
        shutil.rmtree(model_path / "generations", ignore_errors=True)
        for name in (DESCRIPTION_NAME, ".lock"):
            (model_path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            model_path.rmdir()
        raise
