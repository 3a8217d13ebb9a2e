"""Every face network of the product, small enough for tests, with weights that make it paint lively pictures.

Freshly initialised small networks paint grey, so that almost any two outputs would count as equal.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from dflcore.models.amp import AmpModel
from dflcore.models.deepfakes import DeepfakesModel
from dflcore.models.df import DfModel
from dflcore.models.face_model import FaceModel
from dflcore.models.hd import DfHdModel, LiaeHdModel
from dflcore.models.liae import LiaeModel
from dflcore.models.quick import QuickModel

WIDTHS = {"ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}
LETTERS = {"u": "likeness", "d": "subpixel", "t": "deep", "c": "cosine"}

_Model = TypeVar("_Model", bound=FaceModel)


def enliven(model: _Model) -> _Model:
    """Weights of such size that contrast survives every layer, and biases other than zero."""
    is_cosine = any(getattr(layer, "cosine", False) for layer in model.modules())
    slope = 2.0 if is_cosine else 0.1  # x cos(x) of large numbers is chaotic
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=slope, generator=generator)
            nn.init.normal_(layer.bias, std=0.2, generator=generator)
    return model


def tiny_df(letters: str = "ud", *, resolution: int = 64, sources: int = 1) -> DfModel:
    return enliven(DfModel(resolution=resolution, sources=sources, **WIDTHS, **{LETTERS[one]: True for one in letters}))


def tiny_liae(letters: str = "ud", *, resolution: int = 64) -> LiaeModel:
    return enliven(LiaeModel(resolution=resolution, **WIDTHS, **{LETTERS[one]: True for one in letters}))


def tiny_dfhd() -> DfHdModel:
    return enliven(DfHdModel(resolution=32, **WIDTHS))


def tiny_liaehd() -> LiaeHdModel:
    return enliven(LiaeHdModel(resolution=32, **WIDTHS))


def tiny_amp(*, morph_factor: float = 0.5) -> AmpModel:
    return enliven(AmpModel(resolution=64, inter_dims=32, morph_factor=morph_factor, **WIDTHS))


def tiny_deepfakes() -> DeepfakesModel:
    return enliven(DeepfakesModel(resolution=32, ae_dims=16, base_width=16))


def tiny_quick() -> QuickModel:
    numbers = {"code_dims": 16, "e_dims": 8, "coarse_dims": 16, "middle_dims": 16, "fine_dims": 16}
    return enliven(QuickModel(resolution=32, grid_blocks=8, **numbers))


TINY_NETWORKS: dict[str, Callable[[], FaceModel]] = {
    "quick": tiny_quick,
    "df": lambda: tiny_df(""),
    "df-ud": tiny_df,
    "df-t": lambda: tiny_df("t"),
    "df-udtc": lambda: tiny_df("udtc"),
    "liae": lambda: tiny_liae(""),
    "liae-ud": tiny_liae,
    "liae-udtc": lambda: tiny_liae("udtc"),
    "dfhd": tiny_dfhd,
    "liaehd": tiny_liaehd,
    "amp": tiny_amp,
    "deepfakes": tiny_deepfakes,
}
