"""What a training run of a detail network takes from disk and leaves beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dflcore.config.detail import DEFAULT_DETAIL_PRESET, DetailTrainSettings
from dflcore.errors import InvalidInput
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder, load_weights
from dflcore.models.detail_presets import DETAIL_KIND, build_detail_network, load_detail_preset
from dflcore.progress import Notice, RunControl
from dflcore.train.detail_samples import DetailSamples, FacePainter
from dflcore.train.loop import TrainingState, state_of
from dflcore.train.session import faceset_facts, load_generation, open_or_create
from dflcore.types import FaceType
from dflcore.version import SOFTWARE


def open_or_create_model(
    settings: DetailTrainSettings, path: Path, face_type: FaceType, painter: FacePainter | None
) -> ModelFolder:
    """The detail model to train; see :func:`dflcore.train.session.open_or_create`.

    Args:
        face_type: of the facesets; a new model takes the face model's, unless the settings name one.

    Raises:
        InvalidInput: a setting that is fixed once trained was given another value, it is a model of another kind, or
            the face model shows more or less of the head.
        NotFound: there is no such preset.
    """
    wanted = {
        "preset": settings.preset,
        "resolution": settings.resolution,
        "scale": settings.scale,
        "face_type": settings.face_type,
    }
    folder = open_or_create(path, DETAIL_KIND, lambda: _new_description(settings, face_type, painter), wanted)
    description = folder.description
    load_detail_preset(description.preset).resolve_network(description.network)  # before memory is asked for
    if painter is not None:
        _check_face_type(painter, folder.description.face_type)
    return folder


def _new_description(
    settings: DetailTrainSettings, face_type: FaceType, painter: FacePainter | None
) -> ModelDescription:
    """Raises NotFound for an unknown preset, InvalidInput for numbers that do not fit it."""
    name = settings.preset or DEFAULT_DETAIL_PRESET
    preset = load_detail_preset(name)
    resolution = settings.resolution or (None if painter is None else painter.resolution)
    given = {"resolution": resolution, "scale": settings.scale}
    network = preset.resolve_network({field: value for field, value in given.items() if value is not None})
    with torch.device("meta"):
        preset.build(network)  # numbers that do not fit must not leave a folder behind
    shown = settings.face_type or (face_type if painter is None else painter.face_type)
    if painter is not None:
        _check_face_type(painter, shown)
    return ModelDescription(preset=name, network=network.values(), face_type=shown, kind=DETAIL_KIND)


def _check_face_type(painter: FacePainter, face_type: FaceType) -> None:
    if painter.face_type is not face_type:
        raise InvalidInput(
            f"The face model {painter.path} paints faces of the type {painter.face_type.value}, where this detail "
            f"model learns {face_type.value} ones. Leave face_type out, or train into another folder.",
            reason="FACE_TYPE_DIFFERS",
            field="face_model",
        )


def resume(
    folder: ModelFolder, control: RunControl, painter: FacePainter | None
) -> tuple[Generation | None, TrainingState]:
    """The generation to go on from and its counters.

    Damaged generations are reported and set aside; so is a face model that paints otherwise than it did. Call it
    inside the folder's lock.
    """
    generation = load_generation(folder, control)
    if generation is None:
        return None, TrainingState()
    before = dict(generation.state.get("provenance", {}).get("face_model") or {})
    now = {} if painter is None else painter.facts
    if before.get("weights_sha256") != now.get("weights_sha256"):
        message = "The face model whose painting is learnt from is not the one, or not as trained, as last time."
        control.emit(Notice(message=message, reason="FACE_MODEL_CHANGED", severity="info"))
    return generation, state_of(generation)


def load_network(settings: DetailTrainSettings, folder: ModelFolder, generation: Generation | None) -> nn.Module:
    """The network with its weights; a new one is the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_detail_network(folder.description)
    if generation is not None:
        load_weights(network, generation, folder.path)
    return network


def describe_run(settings: DetailTrainSettings, samples: DetailSamples, painter: FacePainter | None) -> dict[str, Any]:
    """What goes beside the weights: resolved settings, software, and where the faces came from."""
    return {
        "settings": settings.values(),
        "software": SOFTWARE,
        "provenance": {
            "facesets": [faceset_facts(info) for info in samples.infos],
            "samples": len(samples.names),
            "face_model": None if painter is None else painter.facts,
            "project": settings.authorization_project,
            "use": settings.authorization_use,
            "reference": settings.authorization_reference,
        },
    }
