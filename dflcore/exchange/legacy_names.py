"""Variables of the reference's weight files ↔ parameters of our networks, and how their numbers are laid out.

========================  =================================================  ==========================================
                          there                                              here
========================  =================================================  ==========================================
convolution               (height, width, in, out)                           (out, in, height, width)
dense                     (in, out)                                          (out, in)
before a doubling         phase slow, channel fast                           channel slow, phase fast (pixel_shuffle)
colours                   blue, green, red                                   red, green, blue
========================  =================================================  ==========================================

Source: names and layouts as measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied; fact sheet §2.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from dflcore.errors import DataCorrupt
from dflcore.exchange.legacy_model import LegacyModel
from dflcore.models.face_model import FaceModel
from dflcore.types import FloatArray

PHASES: Final = 4
"""Sub-pixels of a doubled picture."""
_DF_NAMES: Final = {"decoder_src": "decoder_source", "decoder_dst": "decoder_target"}
_AMP_NAMES: Final = {"inter_src": "inter_source", "inter_dst": "inter_target"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer in both worlds.

    Attributes:
        ours: path of the convolution or dense layer in our model.
        part: file of the reference's model. variable: path in it, without ``/weight:0`` and ``/bias:0``.
        doubles: its channels become the four phases of a picture twice as large.
        reads_colors, paints_colors: its inputs, its outputs are the colours of a picture.
    """

    ours: str
    part: str
    variable: str
    doubles: bool = False
    reads_colors: bool = False
    paints_colors: bool = False


def name_layers(legacy: LegacyModel) -> list[Layer]:
    """Every layer of the network that a model of the reference describes."""
    is_amp = legacy.network.preset == "amp"
    letters = legacy.network.letters
    renamed = _AMP_NAMES if is_amp else _DF_NAMES
    layers: list[Layer] = []
    for part in legacy.network.parts:
        ours = renamed.get(part, part)
        if part == "encoder":
            layers += _encoder(f"{ours}.levels" if is_amp else ours, part, letters)
            if is_amp:
                layers.append(Layer(ours=f"{ours}.dense", part=part, variable="dense1"))
        elif part.startswith("decoder"):
            layers += _decoder(ours, part, letters)
        elif is_amp:
            layers.append(Layer(ours=f"{ours}.dense", part=part, variable="dense2"))
        else:
            layers += _inter(ours, part, letters)
    return layers


def convert_weights(legacy: LegacyModel, model: FaceModel) -> tuple[dict[str, Tensor], list[str]]:
    """A state dict of ``model`` out of a model of the reference.

    Where the reference gives a part new random weights without a word when one of its variables does not fit, this
    ends: such a model would look trained and paint noise.

    Returns:
        The state dict, complete for ``model``, and the variables nothing here asks for, as ``file: name``.

    Raises:
        DataCorrupt: a variable is missing or of another shape; names the file.
    """
    state: dict[str, Tensor] = {}
    used: set[tuple[str, str]] = set()
    for layer in name_layers(legacy):
        module = model.get_submodule(layer.ours)
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        for name in ("weight", "bias"):
            variable = f"{layer.variable}/{name}:0"
            used.add((layer.part, variable))
            values = _fitting(legacy.parts[layer.part], variable, _shape_there(module, name), legacy, layer.part)
            state[f"{layer.ours}.{name}"] = torch.from_numpy(_rearranged(values, layer))
    extra = [
        f"{legacy.part_path(part).name}: {variable}"
        for part, weights in legacy.parts.items()
        for variable in weights
        if (part, variable) not in used
    ]
    return state, extra


def _encoder(ours: str, part: str, letters: str) -> Iterator[Layer]:
    is_deep = "t" in letters
    for number in range(5 if is_deep else 4):
        variable = f"down{number + 1}/conv1" if is_deep else f"down1/downs_{number}/conv1"
        yield Layer(ours=f"{ours}.downs.{number}.conv", part=part, variable=variable, reads_colors=number == 0)
    if is_deep:
        yield from _residual(f"{ours}.residuals.0", part, "res1")
        yield from _residual(f"{ours}.residuals.4", part, "res5")


def _inter(ours: str, part: str, letters: str) -> Iterator[Layer]:
    for name in ("dense1", "dense2"):
        yield Layer(ours=f"{ours}.{name}", part=part, variable=name)
    if "t" not in letters:
        yield Layer(ours=f"{ours}.upscale.conv", part=part, variable="upscale1/conv1", doubles=True)


def _decoder(ours: str, part: str, letters: str) -> Iterator[Layer]:
    levels = 4 if "t" in letters else 3
    for level in range(levels):
        yield Layer(ours=f"{ours}.upscales.{level}.conv", part=part, variable=f"upscale{level}/conv1", doubles=True)
        yield from _residual(f"{ours}.residuals.{level}", part, f"res{level}")
    for level in range(levels + ("d" in letters)):
        name = f"{ours}.mask_upscales.{level}.conv"
        yield Layer(ours=name, part=part, variable=f"upscalem{level}/conv1", doubles=True)
    if "d" in letters:
        for phase in range(PHASES):
            name = f"{ours}.face_head.phases.{phase}"
            yield Layer(ours=name, part=part, variable=f"out_conv{phase or ''}", paints_colors=True)
    else:
        yield Layer(ours=f"{ours}.face_head", part=part, variable="out_conv", paints_colors=True)
    yield Layer(ours=f"{ours}.mask_head", part=part, variable="out_convm")


def _residual(ours: str, part: str, variable: str) -> Iterator[Layer]:
    for name in ("conv1", "conv2"):
        yield Layer(ours=f"{ours}.{name}", part=part, variable=f"{variable}/{name}")


def _shape_there(module: nn.Conv2d | nn.Linear, name: str) -> tuple[int, ...]:
    """What the reference's array of our parameter must be shaped like."""
    if name == "bias":
        return (module.weight.shape[0],)
    if isinstance(module, nn.Linear):
        return (module.in_features, module.out_features)
    out_channels, in_channels, height, width = module.weight.shape
    return (height, width, in_channels, out_channels)


def _fitting(
    weights: Mapping[str, FloatArray], variable: str, shape: tuple[int, ...], legacy: LegacyModel, part: str
) -> FloatArray:
    """An array in its full shape; some writers flattened it."""
    path = legacy.part_path(part)
    if variable not in weights:
        raise _unfit(path, f"it lacks the variable {variable}")
    values = weights[variable]
    if values.shape == shape:
        return values
    if values.ndim < len(shape) and values.size == int(np.prod(shape)):
        return values.reshape(shape)
    raise _unfit(path, f"its variable {variable} has the shape {values.shape}, where {shape} is needed")


def _rearranged(values: FloatArray, layer: Layer) -> FloatArray:
    """From the reference's order of numbers to ours; the last axis is that of outputs."""
    if layer.doubles:
        *lead, channels = values.shape
        values = values.reshape(*lead, PHASES, channels // PHASES).swapaxes(-1, -2).reshape(*lead, channels)
    if layer.paints_colors:
        values = values[..., ::-1]
    if layer.reads_colors and values.ndim == 4:
        values = values[:, :, ::-1]
    if values.ndim == 4:
        values = values.transpose(3, 2, 0, 1)
    elif values.ndim == 2:
        values = values.T
    return np.array(values, dtype=np.float32, order="C")


def _unfit(path: Path, what: str) -> DataCorrupt:
    return DataCorrupt(
        f"{path} does not fit the network that the model's options describe: {what}. Take all files of the model from "
        "one backup.",
        reason="WEIGHTS_DIFFER",
        path=path,
    )
