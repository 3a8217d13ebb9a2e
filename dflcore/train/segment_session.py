"""What a training run of a segmentation network takes from disk and leaves beside its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dflcore.config.segment import DEFAULT_SEGMENT_PRESET, MaskTrainSettings
from dflcore.models.checkpoint import SEGMENT_KIND, Generation, ModelDescription, ModelFolder, load_weights
from dflcore.models.segment_presets import build_segment_network, load_segment_preset
from dflcore.progress import Notice, RunControl
from dflcore.train.loop import TrainingState, state_of
from dflcore.train.segment_samples import MaskSamples
from dflcore.train.session import faceset_facts, load_generation, open_or_create
from dflcore.types import FaceType
from dflcore.version import SOFTWARE
from dflcore.weights.store import WeightStore


def open_or_create_model(settings: MaskTrainSettings, path: Path, face_type: FaceType) -> ModelFolder:
    """The segmentation model to train; see :func:`dflcore.train.session.open_or_create`.

    Args:
        face_type: of the facesets; a new model reads the same unless the settings name another.

    Raises:
        InvalidInput: a setting that is fixed once trained was given another value, or it is a face model.
        NotFound: there is no such preset.
    """
    wanted = {"preset": settings.preset, "resolution": settings.resolution, "face_type": settings.face_type}
    return open_or_create(path, SEGMENT_KIND, lambda: _new_description(settings, face_type), wanted)


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


def resume(
    settings: MaskTrainSettings, folder: ModelFolder, control: RunControl
) -> tuple[Generation | None, TrainingState]:
    """The generation to go on from and its counters.

    Switching between pretraining and training keeps the weights and starts everything else anew. Damaged generations
    are reported and set aside. Call it inside the folder's lock.
    """
    generation = load_generation(folder, control)
    if generation is None:
        return None, TrainingState()
    if bool(generation.state.get("pretrain")) is settings.pretrain:
        return generation, state_of(generation)
    done, now = ("pretraining", "training") if generation.state.get("pretrain") else ("training", "pretraining")
    message = f"The model {folder.path} goes from {done} to {now}: its weights stay, iterations count from 0."
    control.emit(Notice(message=message, reason="PRETRAIN_SWITCHED", severity="info"))
    return replace(generation, training={}), TrainingState(generation=generation.number)


def load_network(
    settings: MaskTrainSettings,
    folder: ModelFolder,
    store: WeightStore,
    generation: Generation | None,
    notices: list[Notice],
) -> nn.Module:
    """The network with its weights.

    A new one starts from weights learnt elsewhere where the preset knows some and the store has them.
    """
    network = _new_network(folder.description, settings.seed)
    if generation is not None:
        load_weights(network, generation, folder.path)
        return network
    preset = load_segment_preset(folder.description.preset)
    if preset.start is not None and not preset.start(network, store):
        message = f"The network {folder.description.preset} starts from random weights: no others are installed."
        notices.append(Notice(message=message, reason="NO_START_WEIGHTS", severity="info"))
    return network


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
