"""What training takes from disk and leaves there: the model's description, its optimiser, where its faces came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dflcore.config.network import NetworkSettings
from dflcore.config.train import DEFAULT_PRESET, LETTERS, TrainSettings
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
from dflcore.models.new_folder import check_free
from dflcore.models.registry import load_preset
from dflcore.progress import Notice, RunControl
from dflcore.train.dataset import TrainingFaces
from dflcore.train.parallel.sharded import ShardedOptimizer
from dflcore.types import FacesetInfo, FaceType
from dflcore.version import SOFTWARE

_NUMBERS = ("resolution", "ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims", "morph_factor")
"""Settings of training that replace a number of the network."""


def open_or_create(
    path: Path, kind: str, describe: Callable[[], ModelDescription], wanted: Mapping[str, object]
) -> ModelFolder:
    """The model to train. An existing one keeps its own network; settings that say otherwise are refused.

    Args:
        kind: ``face`` or ``segment``.
        describe: what a new model is; called before any folder is made, so that it may refuse.
        wanted: what the settings say of the model's description and network; None says nothing.

    Raises:
        InvalidInput: a setting that is fixed once trained was given another value, or it is a model of another kind.
        Conflict: something else than a model is there.
    """
    if not ModelFolder.exists(path):
        check_free(path)
        return ModelFolder.create(path, describe())
    folder = ModelFolder.open(path)
    folder.require_kind(kind)
    if not folder.is_saved:  # made, then given up before the first save: nothing is fixed yet
        with folder.lock():
            folder.describe_anew(describe())
        return folder
    description = folder.description
    has = {**description.network, "preset": description.preset, "face_type": description.face_type}
    faults = [
        f"{name} is {_plain(has.get(name))}, not {_plain(value)}"
        for name, value in wanted.items()
        if value is not None and has.get(name) != value
    ]
    if faults:
        raise InvalidInput(
            f"The model {path} was created with other settings ({'; '.join(faults)}), which cannot change any more. "
            "Leave them out, or train into another folder.",
            reason="FIXED_ONCE_TRAINED",
            path=path,
        )
    return folder


def open_or_create_model(settings: TrainSettings, path: Path, face_type: FaceType, sources: int = 1) -> ModelFolder:
    """The face model to train; see :func:`open_or_create`.

    Args:
        face_type: of the facesets; a new model paints the same unless the settings name another.
        sources: people to put on the performer.

    Raises:
        InvalidInput: as :func:`open_or_create`; or a number does not fit the preset's network.
        NotFound: there is no such preset.
    """

    def describe() -> ModelDescription:
        name = settings.preset or DEFAULT_PRESET
        preset = load_preset(name)
        check_supported(settings, name)
        network = preset.resolve_network(network_overrides(settings, name, preset.network, sources))
        _check_patch(settings, network.values())
        with torch.device("meta"):
            preset.build(network)  # a resolution that does not fit must not leave a folder behind
        return ModelDescription(preset=name, network=network.values(), face_type=settings.face_type or face_type)

    wanted: dict[str, object] = {"preset": settings.preset, "face_type": settings.face_type}
    if ModelFolder.exists(path) and _is_trained_face(existing := ModelFolder.open(path)):
        description = existing.description
        preset = load_preset(description.preset)
        wanted |= network_overrides(settings, description.preset, preset.network, sources)
        _check_patch(settings, description.network)
        if "sources" in type(preset.network).model_fields:
            wanted["sources"] = sources
    return open_or_create(path, FACE_KIND, describe, wanted)


def network_overrides(
    settings: TrainSettings, preset_name: str, network: NetworkSettings, sources: int = 1
) -> dict[str, object]:
    """The numbers of a preset's network that the settings replace.

    Raises:
        InvalidInput: names every setting that the network does not have, or it takes one source only.
    """
    wanted: dict[str, object] = {name: value for name in _NUMBERS if (value := getattr(settings, name)) is not None}
    if settings.letters is not None:
        wanted |= {field: letter in settings.letters for letter, field in LETTERS.items()}
    fields = type(network).model_fields
    if sources > 1:
        if "sources" not in fields:
            raise InvalidInput(
                f"The preset {preset_name} learns one source, not {sources}; give one, or take a preset of the df "
                "family.",
                reason="SETTING_DOES_NOT_FIT",
                field="source",
            )
        wanted["sources"] = sources
    foreign = [name for name in wanted if name not in fields]
    if set(foreign) & set(LETTERS.values()):
        foreign = [name for name in foreign if name not in LETTERS.values()] + ["letters"]
    if foreign:
        raise InvalidInput(
            f"The network of the preset {preset_name} has no {' and no '.join(foreign)}. Leave it out, or choose "
            "another preset: df and liae have letters and widths, amp has inter_dims.",
            reason="SETTING_DOES_NOT_FIT",
            field=",".join(foreign),
        )
    return wanted


def _is_trained_face(folder: ModelFolder) -> bool:
    return folder.is_saved and folder.description.kind == FACE_KIND


def _check_patch(settings: TrainSettings, network: Mapping[str, object]) -> None:
    """Refuse a critic that looks further than the face. Raises InvalidInput."""
    side = network["resolution"]
    if settings.gan_power and settings.gan_patch_size is not None and settings.gan_patch_size > int(str(side)):
        raise InvalidInput(
            f"gan_patch_size is {settings.gan_patch_size} px, more than the face of {side} px; leave it empty for an "
            "eighth of the face.",
            reason="SETTING_DOES_NOT_FIT",
            field="gan_patch_size",
        )


def check_supported(settings: TrainSettings, preset_name: str) -> None:
    """Refuse losses that do not fit the preset's network.

    Raises:
        InvalidInput: names every setting to leave out.
    """
    supports = load_preset(preset_name).recipe.supports
    asked: dict[str, dict[str, float]] = {
        "true_face": {"true_face_power": settings.true_face_power},
        "style": {
            "face_style_power": settings.face_style_power,
            "background_style_power": settings.background_style_power,
        },
        "gan": {"gan_power": settings.gan_power},
        "pretrain": {"pretrain": settings.pretrain},
    }
    faults = [name for what, values in asked.items() if what not in supports for name, v in values.items() if v]
    if faults:
        raise InvalidInput(
            f"The preset {preset_name} cannot be trained with {' and '.join(faults)}; leave it out, or choose another.",
            reason="SETTING_DOES_NOT_FIT",
            field=",".join(faults),
        )


def new_network(description: ModelDescription, seed: int) -> FaceModel:
    """A freshly initialised network; the same for the same seed, without touching torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_described(description)


def load_generation(folder: ModelFolder, control: RunControl) -> Generation | None:
    """The newest whole generation, None for a new model.

    Damaged generations are reported and set aside; so are those whose time there is over. Call it inside the folder's
    lock.
    """
    generation, notices = folder.load()
    for notice in notices:
        control.emit(notice)
    if generation is not None and notices and (removed := folder.set_aside_damaged(generation.number)):
        names = ", ".join(path.name for path in removed)
        message = f"Damaged generations of {folder.path} that were set aside long ago were removed: {names}."
        control.emit(Notice(message=message, reason="DAMAGED_REMOVED", severity="info"))
    return generation


def put_weights(model: nn.Module, generation: Generation, path: Path) -> None:
    """The weights that were trained into the network: beside a running mean, those the mean was taken of.

    Raises:
        DataCorrupt: as :func:`dflcore.models.checkpoint.load_weights`.
    """
    raw = _with_prefix(generation.training, "raw.")
    if raw:
        generation = Generation(
            weights=raw, training={}, history=generation.history, state=generation.state, number=generation.number
        )
    load_weights(model, generation, path)


def optimizer_tensors(
    prefix: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[nn.Parameter, Mapping[str, Any]] | None = None,
) -> dict[str, Tensor]:
    """An optimiser's state by kind, name and parameter.

    Args:
        state: all of it, where several processes share it out.
    """
    kind = _kind_of(optimizer)
    states: Mapping[Any, Mapping[str, Any]] = optimizer.state if state is None else state
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        for key, value in states.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}.{kind}.{key}.{name}"] = value
    return tensors


def restore_optimizer(
    prefix: str, network: nn.Module, optimizer: torch.optim.Optimizer, training: Mapping[str, Tensor]
) -> None:
    """State as saved. Parameters without one, and those last trained by another kind of optimiser, start afresh.

    Raises:
        DataCorrupt: a saved tensor has another shape than its parameter.
    """
    saved = _with_prefix(training, f"{prefix}.{_kind_of(optimizer)}.")
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for name, tensor in saved.items():
        key, _, parameter_name = name.partition(".")
        by_parameter.setdefault(parameter_name, {})[key] = tensor
    is_offloaded = any(group.get("offload") for group in optimizer.param_groups)
    for name, parameter in network.named_parameters():
        place = torch.device("cpu") if is_offloaded else parameter.device
        state: dict[str, Tensor] = {}
        for key, tensor in by_parameter.get(name, {}).items():
            if tensor.ndim and tensor.shape != parameter.shape:
                raise DataCorrupt(
                    f"The optimiser's state of {name} has the shape {tuple(tensor.shape)}, its weights "
                    f"{tuple(parameter.shape)}. Restore the model from a backup.",
                    reason="OPTIMIZER_DIFFERS",
                    field=name,
                )
            state[key] = (
                torch.empty_like(parameter, dtype=tensor.dtype, device=place).copy_(tensor)
                if tensor.shape == parameter.shape
                else tensor.clone().to(parameter.device)
            )
        if state:
            optimizer.state[parameter] = state


def describe_run(settings: TrainSettings, facesets: Mapping[str, FacesetInfo]) -> dict[str, Any]:
    """What goes beside the weights: resolved settings, software, and where the faces came from."""
    return {
        "settings": settings.values(),
        "software": SOFTWARE,
        "provenance": {
            **{side: faceset_facts(info) for side, info in facesets.items()},
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


def infos_of(faces: Iterable[tuple[str, TrainingFaces]]) -> dict[str, FacesetInfo]:
    """Side → what its faceset says of itself."""
    return {side: one.info for side, one in faces}


def _kind_of(optimizer: torch.optim.Optimizer) -> str:
    if isinstance(optimizer, ShardedOptimizer):
        return _kind_of(optimizer.inner)
    return type(optimizer).__name__.lower().removeprefix("sliced")  # a plain Adam's moments are the sliced one's


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _plain(value: object) -> object:
    return getattr(value, "value", value)
