"""What a training run carries from step to step, and how it goes to disk and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dflcore.config.train import DEFAULT_PRESET, TrainSettings
from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.models.checkpoint import (
    FACE_KIND,
    Generation,
    ModelDescription,
    ModelFolder,
    build_described,
    load_weights,
)
from dflcore.models.face_model import FaceModel
from dflcore.models.registry import load_preset
from dflcore.progress import RunControl
from dflcore.train.batches import BatchMakers
from dflcore.train.dataset import TrainingFaces
from dflcore.types import FacesetInfo, FaceType
from dflcore.version import SOFTWARE

_ADAM_KEYS = ("step", "exp_avg", "exp_avg_sq")
_FIXED_FIELDS = ("preset", "resolution", "face_type")


@dataclass(slots=True)
class TrainingState:
    """Counters and curves of one model's whole life.

    Attributes:
        iteration: finished steps. elapsed_s: seconds spent training.
        history: rows of iteration, seconds, source loss, target loss.
        generation: number of the newest save, 0 before the first.
    """

    iteration: int = 0
    elapsed_s: float = 0.0
    history: list[tuple[float, float, float, float]] = field(default_factory=list)
    generation: int = 0


def open_or_create_model(settings: TrainSettings, path: Path, face_type: FaceType) -> ModelFolder:
    """The model to train. An existing one keeps its own network; settings that say otherwise are refused.

    Args:
        face_type: of the facesets; a new model paints the same unless the settings name another.

    Raises:
        InvalidInput: a setting that is fixed once trained was given another value, or it is no face model.
        NotFound: there is no such preset.
    """
    if not ModelFolder.exists(path):
        return ModelFolder.create(path, _new_description(settings, face_type))
    folder = ModelFolder.open(path)
    folder.require_kind(FACE_KIND)
    if not folder.is_saved:  # made, then given up before the first save: nothing is fixed yet
        with folder.lock():
            folder.describe_anew(_new_description(settings, face_type))
        return folder
    has = {
        "preset": folder.description.preset,
        "resolution": folder.description.resolution,
        "face_type": folder.description.face_type,
    }
    faults = [
        f"{name} is {_plain(has[name])}, not {_plain(getattr(settings, name))}"
        for name in _FIXED_FIELDS
        if getattr(settings, name) not in (None, has[name])
    ]
    if faults:
        raise InvalidInput(
            f"The model {path} was created with other settings ({'; '.join(faults)}), which cannot change any more. "
            "Leave them out, or train into another folder.",
            reason="FIXED_ONCE_TRAINED",
            path=path,
        )
    return folder


def _new_description(settings: TrainSettings, face_type: FaceType) -> ModelDescription:
    """Raises NotFound for an unknown preset, InvalidInput for a resolution that does not fit it."""
    name = settings.preset or DEFAULT_PRESET
    preset = load_preset(name)
    overrides = {} if settings.resolution is None else {"resolution": settings.resolution}
    network = preset.resolve_network(overrides)
    preset.build(network)  # a resolution that does not fit must not leave a folder behind
    return ModelDescription(preset=name, network=network.values(), face_type=settings.face_type or face_type)


def check_face_types(wanted: FaceType, facesets: Mapping[str, FacesetInfo]) -> None:
    """Refuse facesets whose faces show more or less of the head than the model paints.

    Args:
        wanted: the model's.
        facesets: side → what the faceset says of itself.

    Raises:
        InvalidInput: names every side that differs.
    """
    others = [
        f"the {side} faceset {info.path} holds {info.face_type.value} faces"
        for side, info in facesets.items()
        if info.face_type is not wanted
    ]
    if others:
        raise InvalidInput(
            f"The model paints {wanted.value} faces, but {' and '.join(others)}. "
            f"Extract again with face_type {wanted.value}, or train another model.",
            reason="FACE_TYPE_DIFFERS",
            field="face_type",
        )


def new_network(description: ModelDescription, seed: int) -> FaceModel:
    """A freshly initialised network; the same for the same seed, without touching torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_described(description)


def load_training(
    folder: ModelFolder, model: nn.Module, control: RunControl
) -> tuple[TrainingState, dict[str, Tensor]]:
    """Weights into the network, counters and saved random state out. A new model gives zeros and nothing.

    Damaged generations are reported and set aside. Call it inside the folder's lock.
    """
    generation, notices = folder.load()
    for notice in notices:
        control.emit(notice)
    if generation is None:
        return TrainingState(), {}
    if notices:
        folder.set_aside_damaged(generation.number)
    load_weights(model, generation, folder.path)
    rows = [(row[0], row[1], row[2], row[3]) for row in generation.history.tolist()]
    state = TrainingState(generation.iteration, float(generation.state["elapsed_s"]), rows, generation.number)
    return state, generation.training


def save_training(
    folder: ModelFolder,
    model: FaceModel,
    optimizer: torch.optim.Optimizer,
    batches: BatchMakers,
    state: TrainingState,
    about: dict[str, Any],
    keep: int,
) -> Generation:
    """Write a generation. Raises ResourceExhausted when the disk is full; what was saved before stays."""
    training = optimizer_tensors(model, optimizer)
    for side, maker in (("source", batches.source), ("target", batches.target)):
        training |= {f"batches.{side}.{name}": tensor for name, tensor in maker.state().items()}
    generation = Generation(
        weights=dict(model.state_dict()),
        training=training,
        history=torch.tensor(state.history, dtype=torch.float64).reshape(-1, 4),
        state={"iteration": state.iteration, "elapsed_s": state.elapsed_s, **about},
    )
    saved = folder.save(generation, keep)
    state.generation = saved.number
    return saved


def restore_batches(batches: BatchMakers, training: dict[str, Tensor]) -> bool:
    """Random state and pools as saved; False when a faceset changed, which then starts in a new order."""
    kept = True
    for side, maker in (("source", batches.source), ("target", batches.target)):
        prefix = f"batches.{side}."
        state = {name[len(prefix) :]: t for name, t in training.items() if name.startswith(prefix)}
        kept = bool(state) and maker.restore(state) and kept
    return kept


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state by parameter name."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for key in _ADAM_KEYS:
            if key in optimizer.state.get(parameter, {}):
                tensors[f"adam.{key}.{name}"] = optimizer.state[parameter][key]
    return tensors


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, training: dict[str, Tensor]) -> None:
    """Adam's state as saved; parameters without one start afresh.

    Raises:
        DataCorrupt: a saved tensor has another shape than its parameter.
    """
    for name, parameter in model.named_parameters():
        saved = {key: training.get(f"adam.{key}.{name}") for key in _ADAM_KEYS}
        step, first, second = (saved[key] for key in _ADAM_KEYS)
        if step is None or first is None or second is None:
            continue
        if first.shape != parameter.shape or second.shape != parameter.shape:
            raise DataCorrupt(
                f"The optimiser's state of {name} has the shape {tuple(first.shape)}, its weights "
                f"{tuple(parameter.shape)}. Restore the model from a backup.",
                reason="OPTIMIZER_DIFFERS",
                field=name,
            )
        optimizer.state[parameter] = {
            "step": step.to(parameter.device),
            "exp_avg": torch.empty_like(parameter).copy_(first),
            "exp_avg_sq": torch.empty_like(parameter).copy_(second),
        }


def describe_run(settings: TrainSettings, source: TrainingFaces, target: TrainingFaces) -> dict[str, Any]:
    """What goes beside the weights: resolved settings, software, and where the faces came from."""
    return {
        "settings": settings.values(),
        "software": SOFTWARE,
        "provenance": {
            "source": faceset_facts(source.info),
            "target": faceset_facts(target.info),
            "project": settings.authorization_project,
            "use": settings.authorization_use,
            "reference": settings.authorization_reference,
        },
    }


def faceset_facts(info: FacesetInfo) -> dict[str, Any]:
    """What a model remembers of a faceset it was trained on."""
    return {
        "path": info.path,
        "face_count": info.face_count,
        "plates": list(info.plates),
        "authorization": asdict(info.authorization),
        "software": info.software,
    }


def _plain(value: object) -> object:
    return getattr(value, "value", value)
