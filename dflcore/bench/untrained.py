"""Weights of the right format and size with random numbers in them: enough to measure speed where none are here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from dflcore.weights.store import WeightStore

_SURE = 4.0
"""Logit by which untrained detectors call everything background, as trained ones call nearly everything."""
_BLAZEFACE_ANCHORS = 896


def fill_store(
    folder: Path, store: WeightStore, *, components: Collection[str] | None = None
) -> tuple[WeightStore, frozenset[str]]:
    """A store that has what ``store`` has and, untrained, what can be made of the rest.

    Args:
        folder: where the made files go.
        components: make only what these need; None for all.

    Returns:
        the store, and the names of the weights that are untrained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, str] = {}
    for name, make in _MAKERS.items():
        if store.has(name) or not (components is None or name.removesuffix("_anchors") in components):
            continue
        path = folder / store.info(name).file
        try:
            torch.manual_seed(0)
            make(path)
        except ImportError:  # its detector cannot be loaded either, and says so
            continue
        with path.open("rb") as stream:
            made[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    index = folder / "index.toml"
    index.write_text("\n".join(_entry(store, name, made) for name in store.names()), encoding="utf-8")
    return WeightStore([folder, *store.folders], index=index), frozenset(made)


def _entry(store: WeightStore, name: str, made: Mapping[str, str]) -> str:
    """A table of the index. A JSON string is a TOML string."""
    values = {**asdict(store.info(name)), **({"sha256": made[name]} if name in made else {})}
    del values["name"]
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _save_s3fd(path: Path) -> None:
    from face_alignment.detection.sfd.net_s3fd import s3fd  # takes seconds, hence not at the top

    network = s3fd()
    _spread(network)
    for name, layer in network.named_modules():
        if name.endswith("mbox_conf"):
            background = layer.out_channels - 1  # the finest map has three kinds of background
            _answer(layer, [_SURE] * background + [-_SURE])
        if name.endswith("mbox_loc"):
            nn.init.zeros_(layer.weight)
    torch.save(network.state_dict(), path)


def _save_retinaface(path: Path) -> None:
    from dflcore.detect.retinaface import RetinaFace

    network = RetinaFace()
    for head in network.ClassHead:
        _answer(head.get_submodule("conv1x1"), [_SURE, -_SURE] * 2)
    torch.save(network.state_dict(), path)


def _save_blazeface(path: Path) -> None:
    from face_alignment.detection.blazeface.net_blazeface import BlazeFace

    network = BlazeFace()
    for layer in (network.classifier_8, network.classifier_16):
        _answer(layer, [-_SURE] * layer.out_channels)
    torch.save(network.state_dict(), path)


def _save_blazeface_anchors(path: Path) -> None:
    np.save(path, np.full((_BLAZEFACE_ANCHORS, 4), 0.5, dtype=np.float32))


def _save_fan2d(path: Path) -> None:
    from face_alignment.models.fan import FAN

    torch.save(FAN(4).state_dict(), path)


def _spread(network: nn.Module) -> None:
    """Activations keep their size through the layers: neither infinite nor so small that a processor slows down."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)


def _answer(layer: Any, values: list[float]) -> None:
    """A convolution computes as ever and says the same of every place."""
    nn.init.zeros_(layer.weight)
    layer.bias.data = torch.tensor(values)


_MAKERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "s3fd": _save_s3fd,
    "retinaface": _save_retinaface,
    "blazeface": _save_blazeface,
    "blazeface_anchors": _save_blazeface_anchors,
    "fan2d": _save_fan2d,
}
