"""What a training run of a segmentation network takes from disk and leaves beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dflcore.config.segment import DEFAULT_SEGMENT_PRESET, MaskTrainSettings
from dflcore.errors import InvalidInput
from dflcore.models.checkpoint import SEGMENT_KIND, ModelDescription, ModelFolder, load_weights
from dflcore.models.segment_presets import build_segment_network, load_segment_preset
from dflcore.progress import Notice, RunControl
from dflcore.train.segment_samples import MaskSamples
from dflcore.train.session import TrainingState, faceset_facts
from dflcore.types import FaceType
from dflcore.version import SOFTWARE
from dflcore.weights.store import WeightStore


def open_or_create_model(settings: MaskTrainSettings, path: Path, face_type: FaceType) -> ModelFolder:
    """The model to train. An existing one keeps its own network; settings that say otherwise are refused.

    Args:
        face_type: of the facesets; a new model reads the same unless the settings name another.

    Raises:
        InvalidInput: a setting that is fixed once trained was given another value, or it is a face model.
        NotFound: there is no such preset.
    """
    if not ModelFolder.exists(path):
        return ModelFolder.create(path, _new_description(settings, face_type))
    folder = ModelFolder.open(path)
    folder.require_kind(SEGMENT_KIND)
    if not folder.is_saved:  # made, then given up before the first save: nothing is fixed yet
        with folder.lock():
            folder.describe_anew(_new_description(settings, face_type))
        return folder
    description = folder.description
    wanted = {"preset": settings.preset, "resolution": settings.resolution, "face_type": settings.face_type}
    has = {"preset": description.preset, "resolution": description.resolution, "face_type": description.face_type}
    faults = [
        f"{name} is {_plain(has[name])}, not {_plain(value)}"
        for name, value in wanted.items()
        if value not in (None, has[name])
    ]
    if faults:
        raise InvalidInput(
            f"The model {path} was created with other settings ({'; '.join(faults)}), which cannot change any more. "
            "Leave them out, or train into another folder.",
            reason="FIXED_ONCE_TRAINED",
            path=path,
        )
    return folder


def _new_description(settings: MaskTrainSettings, face_type: FaceType) -> ModelDescription:
    """Raises NotFound for an unknown preset, InvalidInput for a resolution that does not fit it."""
    name = settings.preset or DEFAULT_SEGMENT_PRESET
    preset = load_segment_preset(name)
    overrides = {} if settings.resolution is None else {"resolution": settings.resolution}
    network = preset.resolve_network(overrides)
    preset.build(network)  # a resolution that does not fit must not leave a folder behind
    return ModelDescription(
        preset=name, network=network.values(), face_type=settings.face_type or face_type, kind=SEGMENT_KIND
    )


def load_network(
    settings: MaskTrainSettings, folder: ModelFolder, control: RunControl, store: WeightStore
) -> tuple[nn.Module, TrainingState, dict[str, Tensor]]:
    """The network with its weights, counters, and saved random and optimiser state.

    A new network starts from weights learnt elsewhere where the preset knows some and the store has them. Switching
    between pretraining and training keeps the weights and starts everything else anew. Damaged generations are
    reported and set aside. Call it inside the folder's lock.
    """
    network = _new_network(folder.description, settings.seed)
    generation, notices = folder.load()
    for notice in notices:
        control.emit(notice)
    if generation is None:
        preset = load_segment_preset(folder.description.preset)
        if preset.start is not None and not preset.start(network, store):
            message = f"The network {folder.description.preset} starts from random weights: no others are installed."
            control.emit(Notice(message=message, reason="NO_START_WEIGHTS", severity="info"))
        return network, TrainingState(), {}
    if notices:
        folder.set_aside_damaged(generation.number)
    load_weights(network, generation, folder.path)
    if bool(generation.state.get("pretrain")) is not settings.pretrain:
        done, now = ("pretraining", "training") if generation.state.get("pretrain") else ("training", "pretraining")
        message = f"The model {folder.path} goes from {done} to {now}: its weights stay, iterations count from 0."
        control.emit(Notice(message=message, reason="PRETRAIN_SWITCHED", severity="info"))
        return network, TrainingState(generation=generation.number), {}
    rows = [(row[0], row[1], row[2], row[3]) for row in generation.history.tolist()]
    state = TrainingState(generation.iteration, float(generation.state["elapsed_s"]), rows, generation.number)
    return network, state, generation.training


def describe_run(settings: MaskTrainSettings, samples: MaskSamples) -> dict[str, Any]:
    """What goes beside the weights: resolved settings, software, and where the faces came from."""
    return {
        "pretrain": settings.pretrain,
        "settings": settings.values(),
        "software": SOFTWARE,
        "provenance": {
            "facesets": [faceset_facts(info) for info in samples.infos],
            "samples": len(samples.names),
            "project": settings.authorization_project,
            "use": settings.authorization_use,
            "reference": settings.authorization_reference,
        },
    }


def _new_network(description: ModelDescription, seed: int) -> nn.Module:
    """The same for the same seed, without touching torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_segment_network(description)


def _plain(value: object) -> object:
    return getattr(value, "value", value)
